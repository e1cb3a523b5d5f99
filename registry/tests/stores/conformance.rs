//! What every store must do, written against [`Store`] and what uses it: a new kind of store calls [`conforms`].

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use kadapter_registry::digest::Difference;
use kadapter_registry::note::Note;
use kadapter_registry::package::{Content, Plugin};
use kadapter_registry::publish::{Checked, check, publish};
use kadapter_registry::release::{ReleaseFile, ReleaseRecord, Role};
use kadapter_registry::store::{Put, Scope, Source, Store, Stream};
use kadapter_registry::verify::{Verified, verify_release};
use kadapter_registry::{Error, PackageId, PackageName, Registry, Version};
use tempfile::TempDir;

use crate::packages::{backbone_content, package, parse, write_package};

/// Publishers of one version at the same time.
const PUBLISHERS: u8 = 16;
/// Content that no store may hold in one piece of a request, in bytes: two parts of 16 MiB and a little.
const LARGE: usize = 33 * 1024 * 1024 + 7;

/// Makes a store in a place of its own, where nothing is yet.
pub(crate) type Make<'a> = &'a (dyn Fn() -> Box<dyn Store> + 'a);

/// A check of one property.
type Property = fn(Make<'_>);

/// Checks every property; each gets fresh stores.
pub(crate) fn conforms(make: Make<'_>) {
    let properties: [(&str, Property); 11] = [
        ("what was published is read back", what_was_published_is_read_back),
        ("what is missing is none", what_is_missing_is_none),
        ("a failing source leaves no release", a_failing_source_leaves_no_release),
        ("a release is never replaced", a_release_is_never_replaced),
        ("the same content again is fine", the_same_content_again_is_fine),
        ("one of sixteen publishers wins", one_of_sixteen_publishers_wins),
        ("notes are written once", notes_are_written_once),
        ("notes of many at once are all kept", notes_of_many_at_once_are_all_kept),
        ("listing keeps to its scope", listing_keeps_to_its_scope),
        ("large content streams", large_content_streams),
        ("look-alikes are refused", look_alikes_are_refused),
    ];
    for (name, property) in properties {
        // The name of what failed stands above its panic.
        eprintln!("{} … {name}", make().location());
        property(make);
    }
}

/// A package directory that is checked and ready to publish.
struct Ready {
    directory: TempDir,
    checked: Checked,
}

impl Ready {
    fn backbone(name: &str, version: &str, seed: u8) -> Self {
        Self::with(|directory| write_package(directory, &package(name, version, backbone_content()), seed))
    }

    fn with(write: impl Fn(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        let checked = check(directory.path()).unwrap();
        Self { directory, checked }
    }

    fn record(&self) -> &ReleaseRecord {
        &self.checked.record
    }

    fn id(&self) -> PackageId {
        self.record().release.id()
    }

    fn publish(&self, store: &dyn Store) -> Result<kadapter_registry::publish::Published, Error> {
        publish(store, self.directory.path())
    }

    fn content(&self, file: &ReleaseFile) -> Vec<u8> {
        fs::read(file.path.below(self.directory.path())).unwrap()
    }
}

impl Source for Ready {
    fn open(&self, file: &ReleaseFile) -> Result<Stream, Error> {
        Ok(Box::new(io::Cursor::new(self.content(file))))
    }

    fn altered(&self, file: &ReleaseFile, difference: Difference) -> Error {
        Error::Altered { file: file.path.to_string(), difference }
    }
}

/// Checks that a store has this release, whole, for whoever opens it as a registry.
fn assert_has(store: Box<dyn Store>, ready: &Ready) -> Registry {
    let registry = Registry::with_store(store).unwrap();
    let id = ready.id();
    let record = registry.release(&id.name, &id.version).unwrap().expect("the release is there");
    assert_eq!(&record, ready.record());
    for file in &record.release.files {
        assert_eq!(registry.read(&id, file, u64::MAX).unwrap(), ready.content(file), "{}", file.path);
    }
    let verified = verify_release(&registry, &record);
    assert_eq!(verified.len(), record.release.files.len());
    assert!(verified.iter().all(Verified::is_whole), "{verified:?}");
    registry
}

fn what_was_published_is_read_back(make: Make<'_>) {
    let store = make();
    let backbone = Ready::with(|directory| {
        write_package(directory, &package("k/base", "1.0.0", backbone_content()), 1);
        // Two files of one content are two files and one blob.
        fs::write(directory.join("LICENSE"), "text").unwrap();
        fs::write(directory.join("NOTICE"), "text").unwrap();
    });
    let targets = ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin"];
    let library = |target: &str| (parse(target), parse(&format!("plugins/{target}/libnet.so")));
    let content =
        Content::Plugin(Plugin { abi: parse("1.0"), libraries: targets.iter().map(|name| library(name)).collect() });
    let plugin = Ready::with(|directory| write_package(directory, &package("p/net", "2.0.0-rc.1", content.clone()), 2));
    let published = backbone.publish(&*store).unwrap();
    assert!(published.created);
    assert!(published.uploaded > 0);
    assert!(plugin.publish(&*store).unwrap().created);
    let registry = assert_has(store, &backbone);
    assert_eq!(registry.versions(&parse("p/net")).unwrap(), [parse::<Version>("2.0.0-rc.1")]);
    assert_eq!(registry.release(&parse("p/net"), &parse("2.0.0")).unwrap(), None);
    let found = registry.release(&parse("p/net"), &parse("2.0.0-rc.1")).unwrap().unwrap();
    assert_eq!(&found, plugin.record());
    assert!(verify_release(&registry, &found).iter().all(Verified::is_whole));
}

fn what_is_missing_is_none(make: Make<'_>) {
    let store = make();
    let ready = Ready::backbone("k/base", "1.0.0", 1);
    let assert_nothing = |id: &PackageId| {
        assert_eq!(store.record(id).unwrap(), None);
        for file in &ready.record().release.files {
            assert!(store.content(id, file).unwrap().is_none());
            assert_eq!(store.local_path(file), None);
        }
        assert_eq!(store.notes(id).unwrap(), []);
        assert_eq!(store.note(id, &Note::Yank { at: 1, key: None }).unwrap(), None);
    };
    assert_eq!(store.releases(Scope::Package(&ready.id().name)).unwrap(), []);
    assert_nothing(&ready.id());
    store.create_registry().unwrap();
    store.create_registry().unwrap();
    assert!(store.is_registry().unwrap());
    assert_nothing(&ready.id());
    let other = Ready::backbone("k/other", "1.0.0", 9);
    other.publish(&*store).unwrap();
    assert_eq!(store.releases(Scope::Package(&ready.id().name)).unwrap(), []);
    assert_eq!(store.record(&ready.id()).unwrap(), None);
    assert_eq!(store.record(&PackageId::new(&other.id().name, &parse("1.0.1"))).unwrap(), None);
}

/// How a source fails at one of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// It cannot be opened.
    Closed,
    /// It breaks off with an error.
    Broken,
    /// It ends early, and says so as a source must.
    Short,
}

/// The files of a package, of which one fails.
struct Failing<'a> {
    ready: &'a Ready,
    file: usize,
    failure: Failure,
    opened: AtomicUsize,
}

impl Source for Failing<'_> {
    fn open(&self, file: &ReleaseFile) -> Result<Stream, Error> {
        if self.ready.record().release.files[self.file].path != file.path {
            return self.ready.open(file);
        }
        self.opened.fetch_add(1, Ordering::Relaxed);
        let content = self.ready.content(file);
        let half = io::Cursor::new(content[..content.len() / 2].to_vec());
        match self.failure {
            Failure::Closed => Err(Error::Vanished { file: file.path.to_string() }),
            Failure::Broken => Ok(Box::new(half.chain(Broken))),
            Failure::Short => Ok(Box::new(kadapter_registry::digest::Verifying::new(half, file.sha256, file.size))),
        }
    }

    fn altered(&self, file: &ReleaseFile, _difference: Difference) -> Error {
        Error::Changed { file: file.path.to_string() }
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the cable was pulled"))
    }
}

fn a_failing_source_leaves_no_release(make: Make<'_>) {
    let ready = Ready::backbone("k/base", "1.0.0", 1);
    for failure in [Failure::Closed, Failure::Broken, Failure::Short] {
        for file in 0..ready.record().release.files.len() {
            let store = make();
            store.create_registry().unwrap();
            let source = Failing { ready: &ready, file, failure, opened: AtomicUsize::new(0) };
            let told = store.publish(ready.record(), &source).expect_err("the source failed");
            assert!(source.opened.load(Ordering::Relaxed) > 0);
            match failure {
                Failure::Closed => assert!(matches!(told, Error::Vanished { .. }), "{told}"),
                Failure::Short => assert!(matches!(told, Error::Changed { .. }), "{told}"),
                Failure::Broken => assert!(chain(&told).contains("the cable was pulled"), "{}", chain(&told)),
            }
            assert_eq!(store.record(&ready.id()).unwrap(), None, "{failure:?} {file}");
            assert_eq!(store.releases(Scope::Package(&ready.id().name)).unwrap(), [], "{failure:?} {file}");
            assert!(ready.publish(&*store).unwrap().created, "{failure:?} {file}");
            assert_has(store, &ready);
        }
    }
}

/// An error with its causes.
pub(super) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn a_release_is_never_replaced(make: Make<'_>) {
    let store = make();
    let (first, second) = (Ready::backbone("k/base", "1.0.0", 1), Ready::backbone("k/base", "1.0.0", 2));
    first.publish(&*store).unwrap();
    match second.publish(&*store) {
        Err(Error::VersionTaken { ours, theirs, .. }) => {
            assert_eq!((ours, theirs), (second.record().digest, first.record().digest));
        }
        other => panic!("{other:?}"),
    }
    // The store itself decides when nobody has asked it before.
    assert_eq!(store.publish(second.record(), &second).unwrap().put, Put::Exists);
    assert_has(store, &first);
}

fn the_same_content_again_is_fine(make: Make<'_>) {
    let store = make();
    let ready = Ready::backbone("k/base", "1.0.0", 1);
    assert!(ready.publish(&*store).unwrap().created);
    let again = ready.publish(&*store).unwrap();
    assert_eq!((again.created, again.uploaded), (false, 0));
    let again = store.publish(ready.record(), &ready).unwrap();
    assert_eq!((again.put, again.uploaded), (Put::Exists, 0));
    assert_has(store, &ready);
}

fn one_of_sixteen_publishers_wins(make: Make<'_>) {
    let store = make();
    let publishers: Vec<Ready> = (0..PUBLISHERS).map(|seed| Ready::backbone("k/base", "1.0.0", seed)).collect();
    let start = Barrier::new(publishers.len() + 1);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let (store, start) = (&*store, &start);
        let publishing: Vec<_> = publishers
            .iter()
            .map(|ready| {
                scope.spawn(move || {
                    start.wait();
                    ready.publish(store)
                })
            })
            .collect();
        start.wait();
        // Whoever sees the release sees all of it, while the others still publish.
        let bytes = loop {
            let all_ended = publishing.iter().all(std::thread::ScopedJoinHandle::is_finished);
            if let Some(bytes) = store.record(&publishers[0].id()).unwrap() {
                break bytes;
            }
            assert!(!all_ended, "nobody published");
            std::thread::yield_now();
        };
        let seen = publishers.iter().find(|ready| ready.record().bytes == bytes).expect("a publisher's record");
        for file in &seen.record().release.files {
            let mut content = Vec::new();
            store.content(&seen.id(), file).unwrap().unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(content, seen.content(file));
        }
        publishing.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let bytes = store.record(&publishers[0].id()).unwrap().unwrap();
    let there = publishers.iter().find(|ready| ready.record().bytes == bytes).expect("a publisher's record");
    let won: BTreeSet<_> = outcomes.iter().flatten().map(|published| published.record.digest).collect();
    if store.picks_one_publisher() {
        assert_eq!(won, BTreeSet::from([there.record().digest]));
    } else {
        assert!(won.contains(&there.record().digest));
    }
    for outcome in &outcomes {
        match outcome {
            Ok(_) => {}
            Err(Error::VersionTaken { theirs, .. }) if store.picks_one_publisher() => {
                assert_eq!(*theirs, there.record().digest);
            }
            Err(Error::VersionTaken { .. }) => {}
            Err(error) => panic!("{}", chain(error)),
        }
    }
    let there = there.record().digest;
    let ready = publishers.iter().find(|ready| ready.record().digest == there).unwrap();
    assert_has(store, ready);
}

fn notes_are_written_once(make: Make<'_>) {
    let store = make();
    let (ready, later) = (Ready::backbone("k/base", "1.0.0", 1), Ready::backbone("k/base", "1.0.1", 2));
    ready.publish(&*store).unwrap();
    later.publish(&*store).unwrap();
    let key = || parse("0123456789ABCDEF");
    let notes = [
        Note::Signature(key()),
        Note::Signature(parse("FEDCBA9876543210")),
        Note::Yank { at: 7, key: None },
        Note::Yank { at: 1_700_000_000_000, key: Some(key()) },
    ];
    let (id, later) = (ready.id(), later.id());
    for (index, note) in notes.iter().enumerate().rev() {
        assert_eq!(store.put_note(&id, note, format!("note {index}").as_bytes()).unwrap(), Put::Created);
        assert_eq!(store.put_note(&id, note, b"another").unwrap(), Put::Exists);
    }
    assert_eq!(store.notes(&id).unwrap(), notes);
    for (index, note) in notes.iter().enumerate() {
        assert_eq!(store.note(&id, note).unwrap().unwrap(), format!("note {index}").into_bytes());
        assert_eq!(store.note(&later, note).unwrap(), None);
    }
    assert_eq!(store.notes(&later).unwrap(), []);
    assert_eq!(store.note(&id, &Note::Yank { at: 8, key: None }).unwrap(), None);
    // What is said about releases is no release.
    let mut releases = store.releases(Scope::Package(&id.name)).unwrap();
    releases.sort();
    assert_eq!(releases, [(id.name.clone(), id.version.clone()), (later.name, later.version)]);
    assert_has(store, &ready);
}

fn notes_of_many_at_once_are_all_kept(make: Make<'_>) {
    let store = make();
    let ready = Ready::backbone("k/base", "1.0.0", 1);
    ready.publish(&*store).unwrap();
    let id = ready.id();
    let notes: Vec<Note> = (0..8).map(|at| Note::Yank { at, key: None }).collect();
    let start = Barrier::new(notes.len());
    std::thread::scope(|scope| {
        for note in &notes {
            let (store, start, id) = (&*store, &start, &id);
            scope.spawn(move || {
                start.wait();
                assert_eq!(store.put_note(id, note, note.file_name().as_bytes()).unwrap(), Put::Created);
            });
        }
    });
    assert_eq!(store.notes(&id).unwrap(), notes);
    for note in &notes {
        assert_eq!(store.note(&id, note).unwrap().unwrap(), note.file_name().into_bytes());
    }
}

fn listing_keeps_to_its_scope(make: Make<'_>) {
    let store = make();
    let releases = [
        ("a/b", "1.0.0-rc.1"),
        ("a/b", "1.0.0"),
        ("a/b", "1.10.0"),
        ("a/b", "1.9.0"),
        ("a/b2", "1.0.0"),
        ("a/c-d_e.f", "0.1.0"),
        ("a-b/c", "1.0.0"),
        ("b/b", "1.0.0"),
    ];
    for (seed, (name, version)) in (0..).zip(releases) {
        Ready::backbone(name, version, seed).publish(&*store).unwrap();
    }
    let expected = |keep: &dyn Fn(&PackageName) -> bool| {
        let parsed = releases.iter().map(|(name, version)| (parse(name), parse(version)));
        let mut kept: Vec<(PackageName, Version)> = parsed.filter(|(name, _)| keep(name)).collect();
        kept.sort();
        kept
    };
    let listed = |scope: Scope<'_>| match store.releases(scope) {
        Err(Error::NotOffered { .. }) if !matches!(scope, Scope::Package(_)) => None,
        found => {
            let mut found = found.unwrap();
            found.sort();
            Some(found)
        }
    };
    for name in ["a/b", "a/b2", "a/c-d_e.f", "a-b/c", "b/b", "a/none", "none/b"].map(parse::<PackageName>) {
        assert_eq!(listed(Scope::Package(&name)).unwrap(), expected(&|other| *other == name), "{name}");
    }
    for namespace in ["a", "a-b", "b", "none"].map(parse) {
        if let Some(found) = listed(Scope::Namespace(&namespace)) {
            assert_eq!(found, expected(&|name| *name.namespace() == namespace), "{namespace}");
        }
    }
    if let Some(found) = listed(Scope::All) {
        assert_eq!(found, expected(&|_| true));
    }
    let registry = Registry::with_store(store).unwrap();
    let versions = ["1.10.0", "1.9.0", "1.0.0", "1.0.0-rc.1"].map(parse::<Version>);
    assert_eq!(registry.versions(&parse("a/b")).unwrap(), versions);
}

/// Writes weights of one tensor of [`LARGE`] bytes.
fn write_large(path: &Path) {
    let mut header = format!(r#"{{"weight":{{"dtype":"U8","shape":[{LARGE}],"data_offsets":[0,{LARGE}]}}}}"#);
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    // Parts that are mixed up are found, since none is like another.
    file.extend((0..LARGE as u64).map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8));
    fs::write(path, file).unwrap();
}

fn large_content_streams(make: Make<'_>) {
    let store = make();
    let ready = Ready::with(|directory| {
        write_package(directory, &package("k/base", "1.0.0", backbone_content()), 1);
        write_large(&directory.join("weights.safetensors"));
    });
    let published = ready.publish(&*store).unwrap();
    assert!(published.created);
    assert!(published.uploaded > LARGE as u64);
    let weights = ready.record().release.files_of(Role::Weights).next().unwrap().clone();
    // A reader that had enough hangs nothing up.
    let mut start = [0; 8];
    store.content(&ready.id(), &weights).unwrap().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(start, ready.content(&weights)[..8]);
    let again = store.publish(ready.record(), &ready).unwrap();
    assert_eq!((again.put, again.uploaded), (Put::Exists, 0));
    assert_has(store, &ready);
}

fn look_alikes_are_refused(make: Make<'_>) {
    let store = make();
    Ready::backbone("k/my-base", "1.0.0", 1).publish(&*store).unwrap();
    let look_alike = Ready::backbone("k/my_base", "1.0.0", 1);
    match (store.releases(Scope::Namespace(&parse("k"))), look_alike.publish(&*store)) {
        // Where names cannot be listed, they are the operator's to keep apart; they are two packages then.
        (Err(Error::NotOffered { .. }), outcome) => assert!(outcome.unwrap().created),
        (_, Err(Error::LookAlike { name, other })) => {
            assert_eq!((name, other), (parse("k/my_base"), parse("k/my-base")));
            assert_eq!(store.record(&look_alike.id()).unwrap(), None);
        }
        (_, other) => panic!("{other:?}"),
    }
    assert!(Ready::backbone("k/my-base", "1.0.1", 2).publish(&*store).unwrap().created);
    assert!(Ready::backbone("other/mybase", "1.0.0", 3).publish(&*store).unwrap().created);
}
