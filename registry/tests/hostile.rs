//! Hostile registries, caches, locks and manifests: every flipped byte is found, no name leads elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use kadapter_registry::project::LockMode;
use kadapter_registry::verify::{Verified, verify_release};
use kadapter_registry::{Error, Manifest, Package, PackageName, PackagePath, Registry};

use crate::world::{World, parse, usual_manifest};

fn locked() -> World {
    let world = World::new();
    world.usual();
    world.write_manifest(&usual_manifest(r#"["factual"]"#));
    world.project().resolve(LockMode::KeepLocked).unwrap();
    world
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn a_flipped_byte_of_a_release_record_is_refused_wherever_it_is() {
    let world = locked();
    let path = world.path("registry/index/k/factual/1.0.0.json");
    let record = fs::read(&path).unwrap();
    for index in 0..record.len() {
        let mut flipped = record.clone();
        flipped[index] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert!(world.project().resolve(LockMode::Frozen).is_err(), "byte {index}");
        assert!(world.project().resolve(LockMode::KeepLocked).is_err(), "byte {index}");
        assert!(world.project().resolve(LockMode::Update).is_err(), "byte {index}");
    }
    fs::write(&path, &record).unwrap();
    world.project().resolve(LockMode::Frozen).unwrap();
}

#[test]
fn a_record_that_is_well_formed_but_other_is_refused_by_the_lock() {
    let world = locked();
    let path = world.path("registry/index/k/factual/1.0.0.json");
    let record = fs::read_to_string(&path).unwrap();
    fs::write(&path, record.replace("What k/factual is", "What k/factual was")).unwrap();
    for mode in [LockMode::Frozen, LockMode::KeepLocked, LockMode::Update] {
        assert!(matches!(world.project().resolve(mode), Err(Error::LockedDiffers { .. })), "{mode:?}");
    }
}

#[test]
fn a_record_that_says_something_else_than_its_package_file_is_refused() {
    let world = locked();
    fs::remove_file(world.path("project/kadapter.lock")).unwrap();
    let path = world.path("registry/index/k/factual/1.0.0.json");
    let record = fs::read_to_string(&path).unwrap();
    fs::write(&path, record.replace("What k/factual is", "What k/factual was")).unwrap();
    world.write_manifest(&usual_manifest("[]"));
    assert!(matches!(world.project().resolve(LockMode::Update), Err(Error::ReleaseDiffers { .. })));
}

#[test]
fn records_in_each_others_place_are_refused() {
    let world = locked();
    fs::remove_file(world.path("project/kadapter.lock")).unwrap();
    let index = world.path("registry/index/k");
    fs::copy(index.join("linguistic/1.0.0.json"), index.join("factual/1.0.0.json")).unwrap();
    assert!(matches!(world.project().resolve(LockMode::Update), Err(Error::OtherRelease { .. })));
    let world = locked();
    let index = world.path("registry/index/k");
    fs::copy(index.join("factual/1.0.0.json"), index.join("factual/1.5.0.json")).unwrap();
    assert!(matches!(world.project().resolve(LockMode::Update), Err(Error::OtherRelease { .. })));
}

#[test]
fn every_flipped_cut_lengthened_or_missing_blob_is_found() {
    let world = locked();
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    let records: Vec<_> = registry
        .releases()
        .unwrap()
        .into_iter()
        .map(|(name, version)| registry.release(&name, &version).unwrap().unwrap())
        .collect();
    let all_whole = || records.iter().all(|record| verify_release(&registry, record).iter().all(Verified::is_whole));
    assert!(all_whole());
    let blobs = files_below(&world.path("registry/blobs"));
    assert!(blobs.len() > 10);
    for blob in blobs {
        let content = fs::read(&blob).unwrap();
        let mut flipped = content.clone();
        flipped[content.len() / 2] ^= 0x80;
        let changed = [flipped, content[..content.len() - 1].to_vec(), [&content[..], b"x"].concat(), Vec::new()];
        for change in changed {
            fs::write(&blob, change).unwrap();
            assert!(!all_whole(), "{}", blob.display());
        }
        fs::remove_file(&blob).unwrap();
        assert!(!all_whole(), "{}", blob.display());
        // What is read or measured when resolving is refused there already; fetching refuses all that it copies.
        let fetched = world.project().fetch(LockMode::Frozen);
        let resolved = world.project().resolve(LockMode::Frozen);
        assert_eq!(fetched.is_err(), resolved.is_err(), "{}", blob.display());
        fs::remove_dir_all(world.path("cache")).ok();
        fs::write(&blob, content).unwrap();
    }
    assert!(all_whole());
}

#[test]
fn a_blob_that_was_swapped_does_not_reach_the_cache() {
    let world = locked();
    let resolved = world.project().resolve(LockMode::Frozen).unwrap();
    let weights = &resolved.backbone.weights;
    let mut content = fs::read(&weights.path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(&weights.path, content).unwrap();
    assert!(matches!(world.project().fetch(LockMode::Frozen), Err(Error::Altered { .. })));
    assert!(!world.project().cache().path(&weights.digest).exists());
    let leftovers = files_below(&world.path("cache"));
    assert!(
        leftovers.iter().all(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.')),
        "{leftovers:?}"
    );
}

#[test]
fn a_flipped_digit_in_the_lock_is_refused() {
    let world = locked();
    let lock = world.lock_text();
    let path = world.path("project/kadapter.lock");
    for (position, _) in lock.match_indices("sha256:") {
        let mut bytes = lock.clone().into_bytes();
        let digit = &mut bytes[position + 7];
        *digit = if *digit == b'0' { b'1' } else { b'0' };
        fs::write(&path, &bytes).unwrap();
        for mode in [LockMode::Frozen, LockMode::KeepLocked, LockMode::Update] {
            assert!(matches!(world.project().resolve(mode), Err(Error::LockedDiffers { .. })), "{mode:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "the lock was written over");
    }
}

#[test]
fn a_crash_while_publishing_leaves_what_nobody_sees() {
    let world = locked();
    fs::create_dir_all(world.path("registry/tmp")).unwrap();
    fs::write(world.path("registry/tmp/.kadapter-abc"), "half").unwrap();
    fs::write(world.path("registry/index/k/factual/.kadapter-abc"), "half").unwrap();
    fs::write(world.path("registry/index/k/factual/README"), "half").unwrap();
    fs::write(world.path("registry/index/k/factual/1.0.json"), "half").unwrap();
    fs::write(world.path("registry/index/stray.json"), "half").unwrap();
    world.project().resolve(LockMode::Update).unwrap();
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    assert_eq!(registry.releases().unwrap().len(), 5);
}

#[test]
fn an_endless_record_is_not_read_to_its_end() {
    let world = locked();
    let file = fs::File::create(world.path("registry/index/k/factual/1.9.0.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(matches!(world.project().resolve(LockMode::Update), Err(Error::TooLong { .. })));
    let file = fs::File::create(world.path("project/kadapter.lock")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(matches!(world.project().resolve(LockMode::KeepLocked), Err(Error::TooLong { .. })));
}

#[test]
fn a_record_of_a_later_schema_is_passed_over() {
    let world = locked();
    let path = world.path("registry/index/k/factual/1.9.0.json");
    fs::write(path, r#"{"schema":2,"name":"k/factual","something":"new"}"#).unwrap();
    let resolved = world.project().resolve(LockMode::Update).unwrap();
    assert_eq!(resolved.adapters["factual"].id.version, parse("1.0.0"));
}

#[test]
fn names_and_paths_that_lead_elsewhere_are_refused() {
    let names = [
        "k",
        "k/",
        "/k",
        "k/a/b",
        "../k",
        "k/..",
        "k/.",
        "k/.a",
        "k/-a",
        "k/a b",
        "k/A",
        "K/a",
        "k/con",
        "k/nul.x",
        "k/a.",
        "k/a\0",
        "k/a\n",
        "k\\a/b",
        "k/a%2f",
        "k/fаctual",
        "k/factual\u{200b}",
        "k/ﬁ",
        "",
    ];
    for name in names {
        assert!(name.parse::<PackageName>().is_err(), "{name:?}");
    }
    assert!(format!("k/{}", "a".repeat(65)).parse::<PackageName>().is_err());
    let paths = [
        "",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "a//b",
        "./a",
        "a/.",
        "a/",
        ".git/config",
        "a\\b",
        "C:a",
        "a\0b",
        "con",
        "plugins/aux.so",
        "a b",
        "a/.hidden",
        "ä",
        "a.",
    ];
    for path in paths {
        assert!(path.parse::<PackagePath>().is_err(), "{path:?}");
    }
    assert!("a/".repeat(9).parse::<PackagePath>().is_err());
    for path in ["factual+linguistic.safetensors", "plugins/x86_64-unknown-linux-gnu/libkadapter_factual.so"] {
        assert!(path.parse::<PackagePath>().is_ok(), "{path:?}");
    }
}

#[test]
fn files_that_are_one_where_case_does_not_count_are_refused() {
    let text = r#"
        schema = 1
        [package]
        name = "k/base"
        version = "1.0.0"
        kind = "backbone"
        license = "MIT"
        description = "x"
        [backbone]
        architecture = "roberta"
        config = "Weights.safetensors"
        weights = "weights.safetensors"
        tokenizer = "tokenizer.json"
    "#;
    assert!(matches!(Package::from_toml("x", text), Err(Error::Package { .. })));
}

#[test]
fn a_version_with_build_metadata_is_refused() {
    let text = usual_manifest("[]");
    assert!(Manifest::from_toml("x", &text).is_ok());
    for version in ["1.0.0+build", "1.0", "01.0.0", "1.0.0-RC.1", "v1.0.0", "", "1.0.0 "] {
        assert!(version.parse::<kadapter_registry::Version>().is_err(), "{version}");
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_registry_lead_to_no_release() {
    let world = locked();
    let index = world.path("registry/index");
    std::os::unix::fs::symlink(index.join("k"), index.join("linked")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", index.join("k/factual/1.9.0.json")).unwrap();
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    assert_eq!(registry.releases().unwrap().len(), 5);
    world.project().resolve(LockMode::Update).unwrap();
    fs::remove_file(index.join("k/factual/1.0.0.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", index.join("k/factual/1.0.0.json")).unwrap();
    assert!(world.project().resolve(LockMode::Frozen).is_err());
}
