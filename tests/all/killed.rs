//! `kill -9` at every step that changes a file (`tests/killer`): what is left is valid, and the same command then succeeds.

use kadapter_registry::gc::Options;
use kadapter_registry::store::{LocalStore, Store};
use kadapter_registry::verify::verify_release;
use kadapter_registry::{Digest, Registry, yank};
use kadapter_tests::{World, paths};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The signal that nobody can handle.
const SIGKILL: i32 = 9;
/// More steps than any command here takes: the loop must end.
const MOST: u64 = 5000;

fn kadapter(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(paths::kadapter());
    command.args(words).current_dir(folder).env("KADAPTER_HOME", folder.join("home")).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The command, to be killed instead of its n-th step.
fn killed_at(n: u64, folder: &Path, words: &[&str]) -> Command {
    let mut command = kadapter(folder, words);
    command.env("LD_PRELOAD", paths::plugin("killer")).env("KADAPTER_KILL_AT", n.to_string());
    command
}

fn succeed(folder: &Path, words: &[&str]) {
    let output = kadapter(folder, words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Kills the command at each of its steps in turn; every time `prepare` comes before, then `examine`, then the command is run
/// again, which must succeed, and then `examine_end`.
fn at_every_step(
    folder: &Path,
    words: &[&str],
    prepare: impl Fn(),
    examine: impl Fn(u64),
    examine_end: impl Fn(u64),
) -> u64 {
    for n in 1..MOST {
        prepare();
        let output = killed_at(n, folder, words).output().unwrap();
        examine(n);
        if output.status.signal() != Some(SIGKILL) {
            assert!(output.status.success(), "{n}: {}", String::from_utf8_lossy(&output.stderr));
            examine_end(n);
            return n;
        }
        succeed(folder, words);
        examine(n);
        examine_end(n);
    }
    panic!("the command has no end");
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        _ => {}
    }
}

/// Every file below a folder with its content, by relative path.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Reads every byte of every release in a registry, if there is one, and counts the releases.
fn whole_releases(root: &Path) -> usize {
    let store = LocalStore::new(root).unwrap();
    if !store.is_registry().unwrap() {
        assert_eq!(tree(&root.join("index")), BTreeMap::new(), "releases without a registry");
        return 0;
    }
    let registry = Registry::with_store(Box::new(store)).unwrap();
    let releases = registry.releases().unwrap();
    for (name, version) in &releases {
        let record = registry.release(name, version).unwrap().unwrap();
        for file in verify_release(&registry, &record) {
            assert!(file.is_whole(), "{name} {version} {}: {:?}", file.path, file.outcome);
        }
    }
    releases.len()
}

/// Reads every file of a cache: what has a name has the content that the name promises, and signatures are whole.
fn whole_cache(root: &Path) -> usize {
    let mut named = 0;
    for (path, content) in tree(root) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".minisig") {
            assert!(
                content.ends_with(b"\n") && content.split(|&byte| byte == b'\n').count() == 5,
                "{}",
                path.display()
            );
            named += 1;
        } else if !name.starts_with(".kadapter-") {
            assert_eq!(Digest::of(&content).hex(), name, "{}", path.display());
            named += 1;
        }
    }
    named
}

/// The releases and notes of a registry, without what was begun.
fn settled(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree(root);
    files.retain(|path, _| !path.starts_with("tmp"));
    files
}

const ALL: Options = Options { older_than: Duration::ZERO, dry_run: false };

#[test]
fn publishing_is_all_or_nothing() {
    let world = World::new();
    let (folder, registry) = (world.path("publish"), world.path("publish/registry"));
    fs::create_dir(&folder).unwrap();
    let words = ["publish", "../packages/backbone", "--registry", "registry"];
    succeed(&folder, &words);
    let expected = settled(&registry);
    let steps = at_every_step(
        &folder,
        &words,
        || remove(&registry),
        |n| assert!(whole_releases(&registry) <= 1, "{n}"),
        |n| {
            assert_eq!(whole_releases(&registry), 1, "{n}");
            LocalStore::new(&registry).unwrap().collect(&ALL).unwrap();
            assert!(tree(&registry) == expected, "{n}: what was begun is left over");
        },
    );
    // registry.json, five files and the record: each is made, written, synced and named.
    assert!(steps > 7 * 4, "{steps}");
}

#[test]
fn fetching_puts_nothing_wrong_under_a_name() {
    let world = World::with_adapters();
    let manifest = world.manifest("fetch", &["fac"], "[tasks.features]\nkind = \"features\"\nstack = [\"fac\"]\n");
    let (folder, lock) = (world.path("fetch"), manifest.with_extension("lock"));
    let home = folder.join("home/cache");
    succeed(&folder, &["fetch"]);
    let (expected_lock, expected_files) = (fs::read(&lock).unwrap(), whole_cache(&home));
    let steps = at_every_step(
        &folder,
        &["fetch"],
        || {
            remove(&home);
            fs::remove_file(&lock).unwrap();
        },
        |n| {
            whole_cache(&home);
            assert!(fs::read(&lock).is_ok_and(|lock| lock == expected_lock) || !lock.exists(), "{n}");
        },
        |n| {
            assert_eq!(whole_cache(&home), expected_files, "{n}");
            assert_eq!(fs::read(&lock).unwrap(), expected_lock, "{n}");
        },
    );
    assert!(steps > expected_files as u64 * 3, "{steps}");
    succeed(&folder, &["verify"]);
}

/// A locked project, and a newer release of its adapter in the registry.
fn outdated(world: &mut World, project: &str) -> PathBuf {
    let manifest = world.manifest(project, &["fac"], "[tasks.features]\nkind = \"features\"\nstack = [\"fac\"]\n");
    succeed(manifest.parent().unwrap(), &["lock"]);
    let package = world.path("packages/fac");
    let text = fs::read_to_string(package.join("kadapter-package.toml")).unwrap();
    assert!(text.contains("version = \"1.0.0\""));
    fs::write(package.join("kadapter-package.toml"), text.replacen("version = \"1.0.0\"", "version = \"1.1.0\"", 1))
        .unwrap();
    world.publish(&package);
    manifest
}

/// Kills a command that moves a lock at each of its steps: the lock is the old one or the new one every time.
fn moves_the_lock_at_once(folder: &Path, lock: &Path, words: &[&str]) {
    let old = fs::read(lock).unwrap();
    succeed(folder, words);
    let new = fs::read(lock).unwrap();
    assert_ne!(old, new);
    assert!(String::from_utf8_lossy(&new).contains("1.1.0"));
    let counts = std::cell::Cell::new((0, 0));
    let steps = at_every_step(
        folder,
        words,
        || fs::write(lock, &old).unwrap(),
        |n| {
            let found = fs::read(lock).unwrap();
            assert!(found == old || found == new, "{n}: {}", String::from_utf8_lossy(&found));
            let (old_ones, new_ones) = counts.get();
            counts.set((old_ones + u64::from(found == old), new_ones + u64::from(found == new)));
        },
        |n| assert_eq!(fs::read(lock).unwrap(), new, "{n}"),
    );
    let (old_ones, new_ones) = counts.get();
    // Made, written and synced it is still the old one; before its folder is synced it is the new one.
    assert!(old_ones >= 3 && new_ones > steps, "{old_ones} old, {new_ones} new, {steps} steps");
}

#[test]
fn the_lock_is_the_old_one_or_the_new_one() {
    let mut world = World::with_adapters();
    let manifest = outdated(&mut world, "locked");
    let folder = manifest.parent().unwrap();
    moves_the_lock_at_once(folder, &manifest.with_extension("lock"), &["lock", "--update"]);
}

/// `update` alone, with a package named, and with a release named; and a dry one, which leaves the lock whatever happens.
#[test]
fn an_update_moves_the_lock_at_once_or_not_at_all() {
    let mut world = World::with_adapters();
    let manifest = outdated(&mut world, "updated");
    let (folder, lock) = (manifest.parent().unwrap(), manifest.with_extension("lock"));
    let old = fs::read(&lock).unwrap();
    for words in [&["update"][..], &["update", "official/fac"], &["update", "official/fac@1.1.0"]] {
        fs::write(&lock, &old).unwrap();
        moves_the_lock_at_once(folder, &lock, words);
    }
    fs::write(&lock, &old).unwrap();
    let beside = || fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let before = beside();
    let unchanged = |n| assert_eq!(fs::read(&lock).unwrap(), old, "{n}");
    at_every_step(folder, &["update", "--dry-run"], || {}, unchanged, unchanged);
    assert_eq!(beside(), before, "a dry run left something");
}

#[test]
fn a_mirror_is_a_registry_at_any_time() {
    let world = World::new();
    let source = Registry::with_store(Box::new(LocalStore::new(&world.registry()).unwrap())).unwrap();
    let record = source.release(&"official/tiny".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap().unwrap();
    for yanked in [true, false] {
        yank::say(source.store(), &record, yanked, "broken", None).unwrap();
    }
    let (folder, mirror) = (world.path("mirror"), world.path("mirror/registry"));
    fs::create_dir(&folder).unwrap();
    let words = ["mirror", "--from", "../registry", "--to", "registry", "official/tiny", "plugins/factual"];
    succeed(&folder, &words);
    let expected = settled(&mirror);
    let there = settled(&world.registry());
    assert!(expected.iter().all(|(path, content)| there[path] == *content));
    assert_eq!(expected.keys().filter(|path| path.starts_with("sigs") || path.starts_with("yanks")).count(), 3);
    let steps = at_every_step(
        &folder,
        &words,
        || remove(&mirror),
        |_| assert!(whole_releases(&mirror) <= 2),
        |n| assert!(settled(&mirror) == expected, "{n}"),
    );
    assert!(steps > expected.len() as u64 * 4, "{steps}");
}

/// Sixteen packages of one version with different content.
fn rivals(world: &World) -> Vec<PathBuf> {
    let rival = |index: usize| {
        let directory = world.path(&format!("rival-{index}"));
        fs::create_dir(&directory).unwrap();
        for (path, content) in tree(&world.path("packages/backbone")) {
            fs::write(directory.join(path), content).unwrap();
        }
        fs::write(directory.join("README.md"), format!("The package of number {index}.\n")).unwrap();
        directory
    };
    (0..16).map(rival).collect()
}

/// Starts all of them at once and waits for all.
fn race(commands: impl Iterator<Item = Command>) -> Vec<Output> {
    let children: Vec<Child> = commands.map(|mut command| command.spawn().unwrap()).collect();
    children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

fn published(registry: &Path) -> Digest {
    let registry = Registry::with_store(Box::new(LocalStore::new(registry).unwrap())).unwrap();
    registry.release(&"official/tiny".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap().unwrap().digest
}

/// Whoever lost was told so, by the digest of the release that won.
fn assert_lost(output: &Output, winner: &Digest) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("published with another content") && stderr.contains(&winner.short()), "{stderr}");
}

#[test]
fn one_of_sixteen_processes_wins_and_the_others_are_told_who_did() {
    let world = World::new();
    let rivals = rivals(&world);
    let registry = world.path("contested");
    let words = |rival: &Path| {
        ["publish".to_owned(), rival.display().to_string(), "--registry".to_owned(), "contested".to_owned()]
    };
    let command = |rival: &PathBuf| kadapter(&world.path(""), &words(rival).each_ref().map(String::as_str));
    for _ in 0..5 {
        remove(&registry);
        let outputs = race(rivals.iter().map(command));
        let winner = published(&registry);
        assert_eq!(whole_releases(&registry), 1);
        let (won, lost): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status.success());
        assert_eq!(won.len(), 1);
        assert!(String::from_utf8_lossy(&won[0].stdout).contains(&winner.to_string()));
        lost.iter().for_each(|output| assert_lost(output, &winner));
    }
}

#[test]
fn sixteen_processes_of_which_some_are_killed_leave_one_release_or_none() {
    let world = World::new();
    let rivals = rivals(&world);
    let registry = world.path("contested");
    let words = |rival: &Path| {
        ["publish".to_owned(), rival.display().to_string(), "--registry".to_owned(), "contested".to_owned()]
    };
    for round in 0..12_u64 {
        remove(&registry);
        // Every other one dies, each at another step; in some rounds all do.
        let all_die = round % 4 == 3;
        let commands = rivals.iter().zip(0_u64..).map(|(rival, index)| {
            let words = words(rival);
            let words = words.each_ref().map(String::as_str);
            if all_die || index % 2 == 0 {
                killed_at(1 + (index * 5 + round * 7) % 55, &world.path(""), &words)
            } else {
                kadapter(&world.path(""), &words)
            }
        });
        let outputs = race(commands);
        let releases = whole_releases(&registry);
        let won = outputs.iter().filter(|output| output.status.success()).count();
        // A release that is there may be that of one who died behind its last write.
        assert!(won <= releases && releases <= 1 && (all_die || releases == 1), "{won} won, {releases} are there");
        if releases == 1 {
            let winner = published(&registry);
            let ended = outputs.iter().filter(|output| output.status.signal().is_none() && !output.status.success());
            ended.for_each(|output| assert_lost(output, &winner));
        } else {
            succeed(&world.path(""), &words(&rivals[0]).each_ref().map(String::as_str));
            assert_eq!(whole_releases(&registry), 1);
        }
    }
}

#[test]
fn a_fetched_project_runs_without_a_network() {
    let world = World::with_adapters();
    let manifest = world.manifest("offline", &["fac"], "[tasks.features]\nkind = \"features\"\nstack = [\"fac\"]\n");
    let (folder, lock) = (world.path("offline"), manifest.with_extension("lock"));
    succeed(&folder, &["fetch"]);
    // As if it had been locked from a place that nobody answers at.
    for path in [&manifest, &lock] {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("\"../registry\""));
        fs::write(path, text.replace("\"../registry\"", "\"s3://192.0.2.1/registry\"")).unwrap();
    }
    fs::rename(world.registry(), world.path("gone")).unwrap();
    for words in [
        &["run", "--frozen", "features", "Ada saw the river ."][..],
        &["run", "features", "Ada ."],
        &["verify"],
        &["tree"],
    ] {
        let mut command = kadapter(&folder, words);
        let output =
            command.env("LD_PRELOAD", paths::plugin("killer")).env("KADAPTER_KILL_OFFLINE", "1").output().unwrap();
        assert!(output.status.success(), "{words:?}: {:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
}

/// What the test above relies on: a process that reaches for the network is caught.
#[test]
fn whoever_reaches_for_a_network_is_caught() {
    for attempt in ["connect", "look-up"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::reach_for_a_network", "--ignored"]).env("KADAPTER_ATTEMPT", attempt);
        command.env("LD_PRELOAD", paths::plugin("killer")).env("KADAPTER_KILL_OFFLINE", "1");
        assert_eq!(command.output().unwrap().status.signal(), Some(SIGKILL), "{attempt}");
    }
}

#[test]
#[ignore = "run by `whoever_reaches_for_a_network_is_caught` in a process of its own"]
fn reach_for_a_network() {
    match std::env::var("KADAPTER_ATTEMPT").as_deref() {
        Ok("look-up") => drop(std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 1))),
        _ => drop(std::net::TcpStream::connect(("127.0.0.1", 1))),
    }
}
