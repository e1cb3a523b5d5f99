//! Doctor over directories: what it finds, and that it leaves nothing.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use kadapter_registry::doctor::{Diagnosis, Finding, Status, examine};
use kadapter_registry::store::LocalStore;

use crate::world::World;

fn finding<'a>(diagnosis: &'a Diagnosis, id: &str) -> &'a Finding {
    diagnosis.findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no `{id}` in {diagnosis:#?}"))
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_sound_directory_is_told_to_be_sound_and_left_as_it_was() {
    let world = World::new();
    world.usual();
    let before = files(&world.path("registry"));
    let diagnosis = examine(&world.store());
    assert_eq!(files(&world.path("registry")), before);
    assert_eq!(files(&world.path("registry/tmp")), [""; 0]);
    assert_ne!(diagnosis.worst(), Status::Failed, "{diagnosis:#?}");
    let told: Vec<_> = diagnosis.findings.iter().filter(|finding| finding.id != "space").collect();
    let told: Vec<_> =
        told.iter().map(|finding| format!("{:<7} {:<18} {}", finding.status, finding.id, finding.found)).collect();
    insta::assert_snapshot!(world.plain(told.join("\n")), @r"
    ok      read               it can be read, and has a registry
    ok      listing            two listings name the same releases: 5
    ok      records            all records that were read are sound: 5
    ok      write              files can be written, and last through a power cut
    ok      conditional-writes a second write of one file is refused
    ok      clock              its clock and ours differ by no more than 30 seconds
    ok      remove             what was written to try it out is removed
    ok      permissions        not everybody on this machine may change it
    ok      leftovers          no publisher left anything
    ");
}

#[test]
fn an_empty_place_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = LocalStore::new(&folder.path().join("none")).unwrap();
    let diagnosis = examine(&nowhere);
    assert_eq!(diagnosis.worst(), Status::Warning);
    assert!(!folder.path().join("none").exists());
    let empty = examine(&LocalStore::new(folder.path()).unwrap());
    assert_eq!(finding(&empty, "read").status, Status::Warning);
    assert_eq!(finding(&empty, "conditional-writes").status, Status::Ok);
}

#[test]
fn records_that_are_not_sound_are_found() {
    let world = World::new();
    world.usual();
    fs::write(world.path("registry/index/k/factual/1.0.0.json"), "<html>").unwrap();
    let diagnosis = examine(&world.store());
    let records = finding(&diagnosis, "records");
    assert_eq!(records.status, Status::Failed);
    assert!(records.found.starts_with("1 of 5 records are not sound: "), "{}", records.found);
    fs::write(world.path("registry/registry.json"), "<html>").unwrap();
    let diagnosis = examine(&world.store());
    assert_eq!((diagnosis.findings.len(), diagnosis.worst()), (1, Status::Failed));
}

#[test]
fn what_a_killed_publisher_left_is_told() {
    let world = World::new();
    world.usual();
    let path = world.path("registry/tmp/.kadapter-killed");
    fs::write(&path, "half").unwrap();
    assert_eq!(finding(&examine(&world.store()), "leftovers").status, Status::Ok);
    let yesterday = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    File::options().write(true).open(&path).unwrap().set_modified(yesterday).unwrap();
    let diagnosis = examine(&world.store());
    let leftovers = finding(&diagnosis, "leftovers");
    assert_eq!(leftovers.status, Status::Warning);
    assert_eq!(leftovers.found, "publishers that were killed left 1 file of 4 bytes");
}

/// Another doctor's leftover, of a process with our number, is not taken for what we wrote; when it is old it goes.
#[test]
fn what_a_killed_doctor_left_misleads_nobody_and_is_removed_when_it_is_old() {
    let world = World::new();
    world.usual();
    let left = world.path(&format!("registry/probe/doctor-{}", std::process::id()));
    let mine = world.path("registry/probe/notes.txt");
    fs::create_dir(left.parent().unwrap()).unwrap();
    for path in [&left, &mine] {
        fs::write(path, "left").unwrap();
    }
    let told = || finding(&examine(&world.store()), "remove").found.clone();
    assert_eq!(told(), "what was written to try it out is removed");
    assert!(left.exists());
    let yesterday = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    for path in [&left, &mine] {
        File::options().write(true).open(path).unwrap().set_modified(yesterday).unwrap();
    }
    assert_eq!(told(), "what was written to try it out is removed, and 1 older files of that kind");
    assert_eq!(files(&world.path("registry/probe")), ["notes.txt"]);
}

#[cfg(unix)]
#[test]
fn a_directory_that_anyone_may_change_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.usual();
    fs::set_permissions(world.path("registry"), fs::Permissions::from_mode(0o777)).unwrap();
    let diagnosis = examine(&world.store());
    let permissions = finding(&diagnosis, "permissions");
    assert_eq!(permissions.status, Status::Warning);
    assert_eq!(world.plain(permissions.cure.as_ref().unwrap()), "`chmod o-w $WORLD/registry`");
}

#[test]
fn clocks_that_differ_are_told_with_both_ways() {
    let now = SystemTime::now();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let told = |written| Finding::clock(now, written, now).found;
    assert_eq!(told(now + minutes(3)), "its clock is 180 seconds ahead of ours");
    assert_eq!(told(now - minutes(20)), "its clock is 1200 seconds behind ours");
    assert_eq!(Finding::clock(now, now - Duration::from_secs(1), now).status, Status::Ok);
}
