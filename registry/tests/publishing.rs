//! Publishing: what is written, in which order, and what is refused before anything is.

use std::fs;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kadapter_registry::gc::Options;
use kadapter_registry::layout::{Key, Prefix};
use kadapter_registry::package::CARD_FILE;
use kadapter_registry::progress::nobody;
use kadapter_registry::publish::{check, check_for, publish, publish_checked};
use kadapter_registry::release::Release;
use kadapter_registry::store::{Directory, LocalStore, Objects, Put, Scope, Store, Stream, Tree};
use kadapter_registry::verify::{Verified, verify_release};
use kadapter_registry::{Error, PackageId, Registry};

use crate::world::{World, backbone_content, package, parse, task_content, weights, write_package};

#[test]
fn a_release_is_what_was_in_the_directory() {
    let world = World::new();
    let record = world.backbone("1.0.0", 1);
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    let read = registry.release(&parse("k/base"), &parse("1.0.0")).unwrap().unwrap();
    assert_eq!(read, record);
    assert_eq!(record.release.tensors[&parse("weights.safetensors")][0].shape, [2]);
    let weights_file = record.release.file(&parse("weights.safetensors")).unwrap();
    assert_eq!(registry.read(&record.release.id(), weights_file, 1000).unwrap(), weights(1));
    assert!(verify_release(&registry, &record).iter().all(Verified::is_whole));
    assert_eq!(Release::decode("again", record.bytes.clone()).unwrap(), record);
}

#[test]
fn publishing_again_changes_nothing_and_other_content_is_refused() {
    let world = World::new();
    let base = package("k/base", "1.0.0", backbone_content());
    assert!(world.try_publish(&base, 1).unwrap().created);
    let again = world.try_publish(&base, 1).unwrap();
    assert!(!again.created);
    assert_eq!(again.uploaded, 0);
    assert!(matches!(world.try_publish(&base, 2), Err(Error::VersionTaken { .. })));
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    let record = registry.release(&parse("k/base"), &parse("1.0.0")).unwrap().unwrap();
    assert_eq!(record, again.record);
}

#[test]
fn content_that_is_there_is_not_uploaded_twice() {
    let world = World::new();
    world.try_publish(&package("k/base", "1.0.0", backbone_content()), 1).unwrap();
    let second = world.try_publish(&package("k/base", "1.0.1", backbone_content()), 1).unwrap();
    let manifest = second.record.release.file(&parse("kadapter-package.toml")).unwrap();
    assert_eq!(second.uploaded, manifest.size);
}

#[test]
fn a_name_that_differs_in_separators_only_is_refused() {
    let world = World::new();
    world.publish(&package("k/my-base", "1.0.0", backbone_content()), 1);
    for name in ["k/my_base", "k/mybase", "k/my.base", "k/m-y-base"] {
        let refused = world.try_publish(&package(name, "1.0.0", backbone_content()), 1);
        assert!(matches!(refused, Err(Error::LookAlike { .. })), "{name}");
    }
    world.publish(&package("k/my-base", "1.0.1", backbone_content()), 1);
    world.publish(&package("other/mybase", "1.0.0", backbone_content()), 1);
}

/// What lies in a registry under no name.
fn unnamed(world: &World) -> usize {
    fs::read_dir(world.path("registry/tmp")).map_or(0, Iterator::count)
}

/// What is published is what was hashed, whatever becomes of the file between the two.
#[test]
fn weights_that_change_after_they_were_checked_are_not_published() {
    let world = World::new();
    world.backbone("1.0.0", 1);
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.1.0", backbone_content()), 2);
    let checked = check_for(&world.store(), directory.path(), &nobody()).unwrap();
    assert_eq!(unnamed(&world), 1);
    fs::write(directory.path().join("weights.safetensors"), weights(3)).unwrap();
    let published = publish_checked(&world.store(), &checked).unwrap();
    assert_eq!(unnamed(&world), 0);
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    assert!(verify_release(&registry, &published.record).iter().all(Verified::is_whole));
    let file = published.record.release.file(&parse("weights.safetensors")).unwrap();
    assert_eq!(registry.read(&published.record.release.id(), file, 1000).unwrap(), weights(2));
    // A collector that takes what has no name for garbage costs a second pass and nothing else.
    write_package(directory.path(), &package("k/base", "1.2.0", backbone_content()), 4);
    let collected = check_for(&world.store(), directory.path(), &nobody()).unwrap();
    world.store().collect(&Options { older_than: Duration::ZERO, dry_run: false }).unwrap();
    assert_eq!(unnamed(&world), 0);
    let record = publish_checked(&world.store(), &collected).unwrap().record;
    assert!(verify_release(&registry, &record).iter().all(Verified::is_whole));
    // What is given once is not there a second time: the file is read anew, and is another now.
    fs::remove_file(world.path("registry/index/k/base/1.1.0.json")).unwrap();
    fs::remove_file(Key::blob(&file.sha256).below(&world.path("registry"))).unwrap();
    assert!(matches!(publish_checked(&world.store(), &checked), Err(Error::Changed { .. })));
}

#[test]
fn what_is_checked_and_not_published_leaves_nothing() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let check = |version: &str, content: &[u8]| {
        write_package(directory.path(), &package("k/base", version, backbone_content()), 2);
        fs::write(directory.path().join("weights.safetensors"), content).unwrap();
        check_for(&world.store(), directory.path(), &nobody())
    };
    check("1.1.0", &weights(2)).unwrap();
    assert!(!world.path("registry").exists(), "there is no registry yet");
    world.backbone("1.0.0", 1);
    let there = || world.store().objects().list(&Prefix::blobs()).unwrap().len();
    let before = there();
    let checked = check("1.1.0", &weights(2)).unwrap();
    assert_eq!(unnamed(&world), 1);
    drop(checked);
    let whole = weights(2);
    for bad in [&whole[..whole.len() - 1], &whole[..20], &[whole.clone(), vec![0]].concat(), b""] {
        assert!(matches!(check("1.1.0", bad), Err(Error::Tensors { .. })));
        assert_eq!(unnamed(&world), 0);
    }
    // Of a version that is taken nothing is copied.
    let taken = check("1.0.0", &weights(2)).unwrap();
    assert_eq!(unnamed(&world), 0);
    assert!(matches!(publish_checked(&world.store(), &taken), Err(Error::VersionTaken { .. })));
    assert_eq!(there(), before);
}

/// Stops working after some writes.
#[derive(Debug)]
struct Failing {
    inner: Directory,
    left: AtomicUsize,
}

impl Objects for Failing {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn open(&self, key: &Key) -> Result<Option<Stream>, Error> {
        self.inner.open(key)
    }

    fn put_new(&self, key: &Key, content: &mut dyn Read) -> Result<Put, Error> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_err(|_| Error::Vanished { file: "the cable".to_owned() })?;
        self.inner.put_new(key, content)
    }

    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, Error> {
        self.inner.list(prefix)
    }
}

#[test]
fn a_failure_at_any_write_leaves_no_release_and_the_next_try_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    // registry.json, five files, the record.
    for fail_after in 0..7 {
        let root = tempfile::tempdir().unwrap();
        let inner = LocalStore::new(root.path()).unwrap();
        let failing = Tree::over(Failing { inner: inner.objects().clone(), left: AtomicUsize::new(fail_after) });
        assert!(publish(&failing, directory.path()).is_err(), "{fail_after}");
        assert_eq!(inner.releases(Scope::All).unwrap(), [], "{fail_after}");
        assert!(publish(&inner, directory.path()).unwrap().created);
        let record = inner.record(&PackageId::new(&parse("k/base"), &parse("1.0.0"))).unwrap();
        let record = Release::decode("record", record.unwrap()).unwrap();
        let registry = Registry::with_store(Box::new(inner)).unwrap();
        assert!(verify_release(&registry, &record).iter().all(Verified::is_whole));
    }
    let inner = LocalStore::new(tempfile::tempdir().unwrap().path()).unwrap();
    let patient = Failing { inner: inner.objects().clone(), left: AtomicUsize::new(7) };
    assert!(publish(&Tree::over(patient), directory.path()).is_ok());
}

/// Changes a package directory and tells what checking it says.
fn refused(change: impl Fn(&std::path::Path)) -> Error {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    check(directory.path()).unwrap();
    change(directory.path());
    let world = World::new();
    let error = publish(&world.store(), directory.path()).unwrap_err();
    assert!(!world.path("registry").exists(), "something was written although {error}");
    error
}

#[test]
fn incomplete_and_overfull_directories_are_refused_before_anything_is_written() {
    let missing = refused(|directory| fs::remove_file(directory.join("tokenizer.json")).unwrap());
    assert!(matches!(missing, Error::MissingFile { .. }), "{missing}");
    let card = refused(|directory| fs::remove_file(directory.join(CARD_FILE)).unwrap());
    assert!(matches!(card, Error::MissingFile { .. }), "{card}");
    let extra = refused(|directory| fs::write(directory.join("notes.txt"), "x").unwrap());
    assert!(matches!(extra, Error::UnnamedFile { .. }), "{extra}");
    let hidden = refused(|directory| fs::write(directory.join(".env"), "TOKEN=1").unwrap());
    assert!(matches!(hidden, Error::UnnamedFile { .. }), "{hidden}");
    let nested = refused(|directory| {
        fs::create_dir(directory.join("more")).unwrap();
        fs::write(directory.join("more/x"), "x").unwrap();
    });
    assert!(matches!(nested, Error::UnnamedFile { .. }), "{nested}");
}

#[test]
fn empty_and_malformed_files_are_refused() {
    let write = |name: &'static str, content: &'static [u8]| {
        refused(move |directory| fs::write(directory.join(name), content).unwrap())
    };
    for name in ["config.json", "tokenizer.json", "README.md"] {
        assert!(matches!(write(name, b""), Error::Content { .. }), "{name}");
    }
    assert!(matches!(write("weights.safetensors", b""), Error::Tensors { .. }));
    assert!(matches!(write("config.json", b"[1]"), Error::Content { .. }));
    assert!(matches!(write("config.json", b"{\"a\":1"), Error::Content { .. }));
    assert!(matches!(write("README.md", b"\xff"), Error::Content { .. }));
    assert!(matches!(write("README.md", b" \n"), Error::Content { .. }));
    let cut = refused(|directory| {
        let whole = weights(1);
        fs::write(directory.join("weights.safetensors"), &whole[..whole.len() - 1]).unwrap();
    });
    assert!(matches!(cut, Error::Tensors { .. }), "{cut}");
    let long = refused(|directory| {
        let whole = [weights(1), vec![0]].concat();
        fs::write(directory.join("weights.safetensors"), whole).unwrap();
    });
    assert!(matches!(long, Error::Tensors { .. }), "{long}");
    let none = refused(|directory| {
        fs::write(directory.join("weights.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    });
    assert!(matches!(none, Error::Content { .. }), "{none}");
}

#[cfg(unix)]
#[test]
fn links_are_refused() {
    let file = refused(|directory| {
        fs::remove_file(directory.join("config.json")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.join("config.json")).unwrap();
    });
    assert!(matches!(file, Error::NotAFile { .. }), "{file}");
    let folder = refused(|directory| std::os::unix::fs::symlink("/etc", directory.join("more")).unwrap());
    assert!(matches!(folder, Error::NotAFile { .. }), "{folder}");
}

#[test]
fn licence_texts_need_not_be_named() {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    for name in ["LICENSE", "LICENSE-MIT", "NOTICE.txt"] {
        fs::write(directory.path().join(name), "text").unwrap();
    }
    let record = check(directory.path()).unwrap().record;
    assert_eq!(record.release.files.len(), 8);
}

#[test]
fn a_task_publishes_each_variant() {
    let world = World::new();
    let usual = world.usual();
    let content = task_content(usual.backbone, &[("fac", &usual.factual)], &[&[], &["fac"]]);
    let record = world.publish(&package("k/other", "1.0.0", content), 3);
    assert_eq!(record.release.tensors.len(), 2);
}
