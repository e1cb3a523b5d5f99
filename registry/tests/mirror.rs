//! Mirroring: the same bytes elsewhere, as cheaply as can be, and one bad release costs only itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kadapter_registry::layout::{Key, Prefix};
use kadapter_registry::mirror::{Mirrored, Outcome, Wanted, mirror};
use kadapter_registry::note::Note;
use kadapter_registry::path::PackagePath;
use kadapter_registry::progress::{Activity, Meter, Observer, Progress, nobody};
use kadapter_registry::release::ReleaseRecord;
use kadapter_registry::store::{Directory, LocalStore, Objects, Put, Store, Stream, Tree};
use kadapter_registry::yank;
use kadapter_registry::{Digest, Error, Registry};

use crate::keys::TestKey;
use crate::world::{World, backbone_content, package, parse};

/// Every file below a folder with its content, by relative path.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(root, root, &mut files);
    files
}

fn source(world: &World) -> Registry {
    Registry::with_store(Box::new(world.store())).unwrap()
}

fn target(world: &World) -> LocalStore {
    LocalStore::new(&world.path("mirror")).unwrap()
}

/// The release `k/base 1.0.0`.
fn base(world: &World) -> ReleaseRecord {
    source(world).release(&parse("k/base"), &parse("1.0.0")).unwrap().unwrap()
}

fn mirror_all(world: &World) -> Vec<Mirrored> {
    mirror(&source(world), &target(world), &[], false, &nobody(), |_| {}).unwrap()
}

/// A report in a line per release.
fn told(world: &World, report: &[Mirrored]) -> String {
    let line = |mirrored: &Mirrored| {
        let outcome = match &mirrored.outcome {
            Outcome::Copied { uploaded } => format!("copied {uploaded}"),
            Outcome::Present => "present".to_owned(),
            Outcome::Missing { size } => format!("missing {size}"),
            Outcome::Failed(error) => world.told(error),
        };
        format!("{}: {outcome}, {} notes\n", mirrored.id, mirrored.notes)
    };
    report.iter().map(line).collect()
}

#[test]
fn a_mirror_has_every_byte_and_what_was_said_later() {
    let world = World::new();
    world.usual();
    let record = base(&world);
    TestKey::grace().sign_release(&world.store(), &record);
    let report = mirror_all(&world);
    assert_eq!(report.len(), 5);
    assert!(report.iter().all(|mirrored| matches!(mirrored.outcome, Outcome::Copied { .. })), "{report:?}");
    assert_eq!(tree(&world.path("mirror")), tree(&world.path("registry")));
    // A yank that comes later goes over with the next run, which copies nothing else.
    yank::say(&world.store(), &record, true, "broken", None).unwrap();
    let report = mirror_all(&world);
    assert!(report.iter().all(|mirrored| matches!(mirrored.outcome, Outcome::Present)), "{report:?}");
    assert_eq!(report.iter().map(|mirrored| mirrored.notes).sum::<usize>(), 1);
    assert_eq!(tree(&world.path("mirror")), tree(&world.path("registry")));
}

/// What is said about a release is written once, so what is damaged must not take the place of what is whole.
#[test]
fn notes_that_are_not_what_their_names_promise_are_not_copied_and_others_are() {
    let world = World::new();
    world.backbone("1.0.0", 1);
    let (record, ada) = (base(&world), TestKey::ada());
    ada.sign_release(&world.store(), &record);
    TestKey::grace().sign_release(&world.store(), &record);
    let path = ada.path(&world.path("registry"), "k/base", "1.0.0");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    insta::assert_snapshot!(told(&world, &mirror_all(&world)), @r"
    k/base 1.0.0: Could not mirror `CF82E211D5392720.minisig` of `k/base 1.0.0` from `$WORLD/registry`: it must have four lines, as minisign writes them
    hint: tell its publisher, since notes never change, and say it anew: `kadapter info k/base@1.0.0`, 1 notes
    ");
    assert!(TestKey::grace().path(&world.path("mirror"), "k/base", "1.0.0").is_file());
    assert!(!ada.path(&world.path("mirror"), "k/base", "1.0.0").exists());
    // One by another key than its name says.
    fs::copy(TestKey::grace().path(&world.path("registry"), "k/base", "1.0.0"), &path).unwrap();
    let report = mirror_all(&world);
    assert!(matches!(report[..], [Mirrored { outcome: Outcome::Failed(Error::NoteRefused { .. }), .. }]), "{report:?}");
    // When it is restored the next run makes up for it.
    fs::write(&path, &whole).unwrap();
    let report = mirror_all(&world);
    assert!(matches!(report[..], [Mirrored { outcome: Outcome::Present, notes: 1, .. }]), "{report:?}");
    // A yank, and one of another release.
    let said = Note::Yank { at: 17, key: None };
    for content in [&b"{}"[..], br#"{"schema":1}"#] {
        world.store().put_note(&record.release.id(), &said, content).unwrap();
        let report = mirror_all(&world);
        assert!(
            matches!(report[..], [Mirrored { outcome: Outcome::Failed(Error::NoteRefused { .. }), .. }]),
            "{report:?}"
        );
        fs::remove_file(world.path("registry/yanks/k/base/1.0.0/17-unsigned.json")).unwrap();
    }
    assert_eq!(tree(&world.path("mirror")), tree(&world.path("registry")));
}

#[test]
fn another_note_under_a_name_is_named_with_both_digests() {
    let world = World::new();
    world.backbone("1.0.0", 1);
    let (record, ada) = (base(&world), TestKey::ada());
    ada.sign_release(&world.store(), &record);
    mirror_all(&world);
    let path = ada.path(&world.path("mirror"), "k/base", "1.0.0");
    fs::write(&path, "cut off").unwrap();
    let report = mirror_all(&world);
    let differs = match &report[..] {
        [Mirrored { outcome: Outcome::Failed(error), notes: 0, .. }] => world.told(error),
        other => panic!("{other:?}"),
    };
    let there = Digest::of(b"cut off").short();
    let here = Digest::of(&fs::read(ada.path(&world.path("registry"), "k/base", "1.0.0")).unwrap()).short();
    let expected = format!("it is `{here}` in `$WORLD/registry` and `{there}` in `$WORLD/mirror`");
    assert!(differs.contains(&expected), "{differs}");
    assert_eq!(fs::read(path).unwrap(), b"cut off");
}

/// Writes down what is asked of a directory.
#[derive(Debug, Clone)]
struct Watched {
    inner: Directory,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Objects for Watched {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn open(&self, key: &Key) -> Result<Option<Stream>, Error> {
        self.asked.lock().unwrap().push(format!("open {key}"));
        self.inner.open(key)
    }

    fn put_new(&self, key: &Key, content: &mut dyn Read) -> Result<Put, Error> {
        self.asked.lock().unwrap().push(format!("put {key}"));
        self.inner.put_new(key, content)
    }

    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, Error> {
        self.asked.lock().unwrap().push(format!("list {}", prefix.as_str()));
        self.inner.list(prefix)
    }
}

#[test]
fn what_is_mirrored_already_costs_one_record_on_either_side() {
    let world = World::new();
    world.backbone("1.0.0", 1);
    world.backbone("1.1.0", 1);
    mirror_all(&world);
    let watched = |store: LocalStore| Watched { inner: store.objects().clone(), asked: Arc::default() };
    let (from, to) = (watched(world.store()), watched(target(&world)));
    let registry = Registry::with_store(Box::new(Tree::over(from.clone()))).unwrap();
    mirror(&registry, &Tree::over(to.clone()), &[], false, &nobody(), |_| {}).unwrap();
    insta::assert_snapshot!(from.asked.lock().unwrap().join("\n"), @r"
    open registry.json
    list index/
    open index/k/base/1.0.0.json
    list sigs/k/base/1.0.0/
    list yanks/k/base/1.0.0/
    open index/k/base/1.1.0.json
    list sigs/k/base/1.1.0/
    list yanks/k/base/1.1.0/
    ");
    insta::assert_snapshot!(to.asked.lock().unwrap().join("\n"), @r"
    open registry.json
    open index/k/base/1.0.0.json
    open index/k/base/1.1.0.json
    ");
}

#[test]
fn another_release_under_a_version_is_named_with_both_digests_and_others_go_on() {
    let world = World::new();
    world.usual();
    // Somebody published another k/base 1.0.0 over there.
    let other = World::new();
    other.backbone("1.0.0", 99);
    fs::rename(other.path("registry"), world.path("mirror")).unwrap();
    let before = tree(&world.path("mirror"));
    let report = mirror_all(&world);
    insta::assert_snapshot!(told(&world, &report), @r"
    k/base 1.0.0: Could not mirror `k/base 1.0.0`: it is `f0ead3b70e65` in `$WORLD/registry` and `d9f3ddf3648b` in `$WORLD/mirror`
    hint: a release never changes, so one of the two is not its publisher's: `kadapter info k/base@1.0.0 --registry $WORLD/mirror`, 0 notes
    k/factual 1.0.0: copied 496, 0 notes
    k/linguistic 1.0.0: copied 425, 0 notes
    k/relation 1.0.0: copied 1121, 0 notes
    p/net 1.0.0: copied 280, 1 notes
    ");
    let after = tree(&world.path("mirror"));
    assert!(before.iter().all(|(path, content)| after[path] == *content));
}

#[test]
fn damaged_content_is_not_mirrored_and_the_next_run_makes_up_for_it() {
    let world = World::new();
    world.usual();
    let record = source(&world).release(&parse("k/factual"), &parse("1.0.0")).unwrap().unwrap();
    let card = record.release.file(&parse("README.md")).unwrap();
    let path = Key::blob(&card.sha256).below(&world.path("registry"));
    let content = fs::read(&path).unwrap();
    for damaged in [b"# k/Factual\n".to_vec(), b"#".to_vec(), [&content[..], b"more"].concat()] {
        fs::write(&path, damaged).unwrap();
        let report = mirror_all(&world);
        let failed: Vec<_> = report.iter().filter(|mirrored| matches!(mirrored.outcome, Outcome::Failed(_))).collect();
        assert!(matches!(failed[..], [Mirrored { outcome: Outcome::Failed(Error::Altered { .. }), .. }]), "{failed:?}");
        assert_eq!(target(&world).record(&record.release.id()).unwrap(), None);
        assert!(tree(&world.path("mirror/tmp")).is_empty());
    }
    fs::write(&path, content).unwrap();
    let report = mirror_all(&world);
    let copied = report.iter().filter(|mirrored| matches!(mirrored.outcome, Outcome::Copied { .. }));
    assert_eq!(copied.map(|mirrored| mirrored.id.to_string()).collect::<Vec<_>>(), ["k/factual 1.0.0"]);
    assert_eq!(tree(&world.path("mirror")), tree(&world.path("registry")));
}

#[test]
fn packages_and_versions_can_be_chosen_and_tried_first() {
    let world = World::new();
    for version in ["1.0.0", "1.1.0", "2.0.0", "2.1.0-rc.1"] {
        world.backbone(version, 1);
    }
    world.plugin("p/net", "1.0.0", "1.0", &[crate::world::TARGET]);
    let choose = |wanted: &[&str], dry_run| {
        let wanted: Vec<Wanted> = wanted.iter().map(|wanted| parse(wanted)).collect();
        mirror(&source(&world), &target(&world), &wanted, dry_run, &nobody(), |_| {})
    };
    insta::assert_snapshot!(told(&world, &choose(&["k/base", "p/net@*"], true).unwrap()), @r"
    k/base 1.0.0: missing 365, 0 notes
    k/base 1.1.0: missing 365, 0 notes
    k/base 2.0.0: missing 365, 0 notes
    k/base 2.1.0-rc.1: missing 370, 0 notes
    p/net 1.0.0: missing 280, 1 notes
    ");
    assert!(!world.path("mirror").exists(), "a dry run writes nothing");
    insta::assert_snapshot!(told(&world, &choose(&["k/base@^1", "k/base@=1.1.0"], false).unwrap()), @r"
    k/base 1.0.0: copied 365, 0 notes
    k/base 1.1.0: copied 242, 0 notes
    ");
    insta::assert_snapshot!(told(&world, &choose(&["k/base"], true).unwrap()), @r"
    k/base 1.0.0: present, 0 notes
    k/base 1.1.0: present, 0 notes
    k/base 2.0.0: missing 365, 0 notes
    k/base 2.1.0-rc.1: missing 370, 0 notes
    ");
    insta::assert_snapshot!(world.told(&choose(&["k/base", "k/nothing"], false).unwrap_err()), @r"
    Could not find `k/nothing` in `$WORLD/registry`
    hint: see what there is: `kadapter search --registry $WORLD/registry`
    ");
    insta::assert_snapshot!(world.told(&choose(&["k/base@^7"], false).unwrap_err()), @r"
    Could not find a version of `k/base` in `$WORLD/registry` that fits `^7`
    hint: see what there is: `kadapter info k/base --registry $WORLD/registry`
    ");
    insta::assert_snapshot!(world.told(&"k/base@newest".parse::<Wanted>().unwrap_err()), @"`newest` is not a valid version requirement: it must look like `^1.2`, `~0.3`, `=1.0.0` or `>=1, <3`");
}

#[test]
fn a_mirror_accepts_no_name_that_looks_like_one_it_has() {
    let world = World::new();
    world.publish(&package("k/my-base", "1.0.0", backbone_content()), 1);
    mirror_all(&world);
    fs::remove_dir_all(world.path("registry")).unwrap();
    world.publish(&package("k/mybase", "1.0.0", backbone_content()), 1);
    let report = mirror_all(&world);
    assert!(matches!(report[..], [Mirrored { outcome: Outcome::Failed(Error::LookAlike { .. }), .. }]), "{report:?}");
}

/// Writes down what it is told.
#[derive(Debug, Default, Clone)]
struct Noted(Arc<Mutex<Vec<NotedTransfer>>>);

/// Activity, path, size, and the bytes that were told.
type NotedTransfer = (Activity, String, u64, u64);

struct NotedFile(Noted, usize);

impl Progress for Noted {
    fn start(&self, activity: Activity, path: &PackagePath, size: u64) -> Box<dyn Meter> {
        let mut files = self.0.lock().unwrap();
        files.push((activity, path.to_string(), size, 0));
        Box::new(NotedFile(self.clone(), files.len() - 1))
    }
}

impl Meter for NotedFile {
    fn advance(&mut self, bytes: u64) {
        self.0.0.lock().unwrap()[self.1].3 += bytes;
    }
}

#[test]
fn every_byte_of_every_transfer_is_reported_once() {
    let world = World::new();
    let noted = Noted::default();
    let observer: Observer = Arc::new(noted.clone());
    let directory = tempfile::tempdir().unwrap();
    crate::world::write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let checked = kadapter_registry::publish::check_observed(directory.path(), &observer).unwrap();
    kadapter_registry::publish::publish_observed(&world.store(), &checked, &observer).unwrap();
    let take = || std::mem::take(&mut *noted.0.lock().unwrap());
    let files = &checked.record.release.files;
    let expected =
        |activity| files.iter().map(|file| (activity, file.path.to_string(), file.size, file.size)).collect();
    let weights = files.iter().find(|file| file.path.as_str() == "weights.safetensors").unwrap();
    let mut told: Vec<_> = vec![(Activity::Checking, weights.path.to_string(), weights.size, weights.size)];
    let published: Vec<_> = expected(Activity::Publishing);
    told.extend(published);
    assert_eq!(take(), told);
    mirror(&source(&world), &target(&world), &[], false, &observer, |_| {}).unwrap();
    let told: Vec<_> = expected(Activity::Mirroring);
    assert_eq!(take(), told);
    // Into a registry that is there, weights go in one pass.
    crate::world::write_package(directory.path(), &package("k/base", "1.1.0", backbone_content()), 2);
    let store = world.store();
    let checked = kadapter_registry::publish::check_for(&store, directory.path(), &observer).unwrap();
    kadapter_registry::publish::publish_observed(&store, &checked, &observer).unwrap();
    let told = take();
    let weights: Vec<_> = told.iter().filter(|(_, path, ..)| path == "weights.safetensors").collect();
    let size = checked.record.release.file(&parse("weights.safetensors")).unwrap().size;
    assert_eq!(weights, [&(Activity::Publishing, "weights.safetensors".to_owned(), size, size)]);
    assert!(told.iter().all(|(activity, ..)| *activity == Activity::Publishing), "{told:?}");
    mirror(&source(&world), &target(&world), &[], false, &observer, |_| {}).unwrap();
    take();
    // What is there is not transferred.
    mirror(&source(&world), &target(&world), &[], false, &observer, |_| {}).unwrap();
    assert_eq!(take(), []);
}
