//! Collecting garbage: what no release names goes, and nothing else, whoever publishes meanwhile.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

use kadapter_registry::digest::Verifying;
use kadapter_registry::gc::{Collected, GRACE, Options};
use kadapter_registry::layout::{Key, Prefix};
use kadapter_registry::note::Note;
use kadapter_registry::publish::publish;
use kadapter_registry::store::sweep::{Found, Hold};
use kadapter_registry::store::{Directory, Objects, Put, Store, Stream, Sweep, Tree};
use kadapter_registry::verify::{Verified, verify_release};
use kadapter_registry::{Cache, Digest, Error, PackageId, Registry};

use crate::world::{World, backbone_content, package, parse, write_package};

const ALL: Options = Options { older_than: Duration::ZERO, dry_run: false };

/// Makes a file look as old as this.
fn age(path: &Path, age: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
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

/// Puts content under its digest that no release names.
fn orphan(world: &World, content: &[u8]) -> PathBuf {
    let hex = Digest::of(content).hex();
    let path = world.path("registry/blobs/sha256").join(&hex[..2]).join(&hex);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn all_whole(world: &World) -> usize {
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    let releases = registry.releases().unwrap();
    for (name, version) in &releases {
        let record = registry.release(name, version).unwrap().unwrap();
        assert!(verify_release(&registry, &record).iter().all(Verified::is_whole), "{name} {version}");
    }
    releases.len()
}

fn sizes(collected: &Collected) -> (usize, usize, u64) {
    (collected.removed.len(), collected.young.len(), collected.removed_bytes())
}

#[test]
fn what_no_release_names_is_removed_when_it_is_old_and_nothing_else_is() {
    let world = World::new();
    world.usual();
    let id = PackageId::new(&parse("k/base"), &parse("1.0.0"));
    world.store().put_note(&id, &Note::Yank { at: 5, key: None }, b"{}").unwrap();
    let before = files_below(&world.path("registry"));
    for file in &before {
        age(file, GRACE * 3);
    }
    let (old, young) = (orphan(&world, b"old one"), orphan(&world, b"young"));
    let temporary = world.path("registry/tmp/.kadapter-abc");
    let foreign = world.path("registry/tmp/notes.txt");
    let stray = world.path("registry/blobs/sha256/README");
    for file in [&temporary, &foreign, &stray] {
        fs::write(file, "begun").unwrap();
    }
    for file in [&old, &temporary, &foreign, &stray] {
        age(file, GRACE + Duration::from_secs(60));
    }

    let dry = world.store().collect(&Options { dry_run: true, ..Options::default() }).unwrap();
    assert_eq!(sizes(&dry), (2, 1, 12));
    assert!(old.exists() && temporary.exists());
    let collected = world.store().collect(&Options::default()).unwrap();
    assert_eq!(collected, dry);
    assert!(!old.exists() && !temporary.exists() && young.exists() && foreign.exists() && stray.exists());
    assert_eq!(sizes(&world.store().collect(&ALL).unwrap()), (1, 0, 5));
    fs::remove_file(foreign).unwrap();
    fs::remove_file(stray).unwrap();
    assert_eq!(files_below(&world.path("registry")), before);
    assert_eq!(all_whole(&world), 5);
}

#[test]
fn what_seems_to_come_from_the_future_stays() {
    let world = World::new();
    world.usual();
    let path = orphan(&world, b"ahead");
    File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() + GRACE).unwrap();
    assert_eq!(sizes(&world.store().collect(&ALL).unwrap()), (0, 1, 0));
}

#[test]
fn a_record_that_cannot_be_read_ends_the_collection_before_anything_is_removed() {
    let world = World::new();
    world.usual();
    let path = world.path("registry/index/k/factual/1.0.0.json");
    let record = fs::read(&path).unwrap();
    let other = fs::read(world.path("registry/index/k/linguistic/1.0.0.json")).unwrap();
    let newer = br#"{"schema":2,"name":"k/factual"}"#.to_vec();
    let garbage = orphan(&world, b"garbage");
    for content in [b"half".to_vec(), Vec::new(), other, newer, record[..record.len() - 1].to_vec()] {
        fs::write(&path, content).unwrap();
        let error = world.store().collect(&ALL).unwrap_err();
        assert!(matches!(error, Error::NotCollected { .. }), "{error:?}");
        assert!(garbage.exists());
    }
    insta::assert_snapshot!(world.told(&world.store().collect(&ALL).unwrap_err()), @r"
    Could not collect garbage in `$WORLD/registry`: nobody can tell what `k/factual 1.0.0` needs
      because: Could not accept `$WORLD/registry/index/k/factual/1.0.0.json`: its bytes are not in the canonical form
    hint: restore the record and look at it: `kadapter info k/factual@1.0.0 --registry $WORLD/registry`
    ");
    fs::write(&path, record).unwrap();
    assert_eq!(sizes(&world.store().collect(&ALL).unwrap()), (1, 0, 7));
    assert_eq!(all_whole(&world), 5);
}

/// A folder of the index on another disk, behind a link: its releases can be read and are in no listing.
#[cfg(unix)]
#[test]
fn links_and_strangers_in_the_index_end_the_collection_before_anything_is_removed() {
    use std::os::unix::fs::symlink;
    let world = World::new();
    world.usual();
    let (index, away) = (world.path("registry/index"), world.path("away"));
    let before = files_below(&world.path("registry/blobs"));
    let refused = || {
        let error = world.store().collect(&ALL).unwrap_err();
        assert!(matches!(error, Error::NotCollected { .. }), "{error:?}");
        assert_eq!(files_below(&world.path("registry/blobs")), before);
        world.told(&error)
    };
    for moved in ["k", "k/base", "k/base/1.0.0.json"] {
        fs::rename(index.join(moved), &away).unwrap();
        symlink(&away, index.join(moved)).unwrap();
        let told = refused();
        if moved == "k" {
            insta::assert_snapshot!(told, @r"
            Could not collect garbage in `$WORLD/registry`: nobody can tell what `index/k` needs
              because: Could not accept `$WORLD/registry/index/k`: it is neither a regular file nor a folder
            hint: put what a link leads to in its place, move what is no record elsewhere: `ls -l $WORLD/registry/index/k`
            ");
        }
        fs::remove_file(index.join(moved)).unwrap();
        fs::rename(&away, index.join(moved)).unwrap();
    }
    // The index itself, where the disk behind the link is not there just now.
    fs::rename(&index, &away).unwrap();
    symlink(world.path("nowhere"), &index).unwrap();
    refused();
    fs::remove_file(&index).unwrap();
    symlink(&away, &index).unwrap();
    assert_eq!(sizes(&world.store().collect(&ALL).unwrap()), (0, 0, 0));
    fs::remove_file(&index).unwrap();
    fs::rename(&away, &index).unwrap();
    for stranger in ["k/factual/1.0.json", "k/README.md", "k/Base/1.0.0.json"] {
        fs::create_dir_all(index.join("k/Base")).unwrap();
        fs::write(index.join(stranger), "{}").unwrap();
        let told = refused();
        if stranger == "k/README.md" {
            insta::assert_snapshot!(told, @r"
            Could not collect garbage in `$WORLD/registry`: nobody can tell what `index/k/README.md` needs
              because: Could not accept `$WORLD/registry/index/k/README.md`: its name is no release's, expected `index/NAMESPACE/NAME/VERSION.json`
            hint: put what a link leads to in its place, move what is no record elsewhere: `ls -l $WORLD/registry/index/k/README.md`
            ");
        }
        fs::remove_file(index.join(stranger)).unwrap();
    }
    assert_eq!(sizes(&world.store().collect(&ALL).unwrap()), (0, 0, 0));
    assert_eq!(all_whole(&world), 5);
}

#[test]
fn a_folder_without_a_registry_is_left_alone() {
    let world = World::new();
    let path = orphan(&world, b"mine");
    assert!(matches!(world.store().collect(&ALL), Err(Error::NoRegistry { .. })));
    assert!(path.exists());
}

/// A publisher that finds its content there, under no name, never ends with a release that lacks it.
#[test]
fn a_collector_takes_nothing_from_a_publisher_at_work() {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let world = World::new();
    publish(&world.store(), directory.path()).unwrap();
    let record = world.path("registry/index/k/base/1.0.0.json");
    for round in 0..200 {
        // As if the publisher had died before its record.
        fs::remove_file(&record).unwrap();
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                publish(&world.store(), directory.path()).unwrap();
            });
            scope.spawn(|| {
                start.wait();
                world.store().collect(&ALL).unwrap();
            });
        });
        assert_eq!(all_whole(&world), 1, "round {round}");
    }
}

/// A directory without locks, as a bucket is, and with a collector that is at work between a publisher's last look at its
/// content and its record.
#[derive(Debug)]
struct Unheld {
    inner: Directory,
    /// What the collector removes when the record comes.
    removes: PathBuf,
}

impl Objects for Unheld {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn open(&self, key: &Key) -> Result<Option<Stream>, Error> {
        self.inner.open(key)
    }

    fn put_new(&self, key: &Key, content: &mut dyn Read) -> Result<Put, Error> {
        if key.as_release().is_some() {
            fs::remove_file(&self.removes).unwrap();
        }
        self.inner.put_new(key, content)
    }

    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, Error> {
        self.inner.list(prefix)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }
}

impl Sweep for Unheld {
    fn hold_to_publish(&self) -> Result<Hold, Error> {
        Ok(Hold::nothing())
    }

    fn hold_to_collect(&self) -> Result<Hold, Error> {
        Ok(Hold::nothing())
    }

    fn blobs(&self) -> Result<Vec<Found>, Error> {
        self.inner.blobs()
    }

    fn unfinished(&self) -> Result<Vec<Found>, Error> {
        self.inner.unfinished()
    }

    fn has(&self, key: &Key) -> Result<bool, Error> {
        self.inner.has(key)
    }

    fn freshen(&self, key: &Key) -> Result<bool, Error> {
        self.inner.freshen(key)
    }

    fn remove(&self, found: &Found) -> Result<bool, Error> {
        self.inner.remove(found)
    }
}

#[test]
fn what_went_while_the_record_was_written_is_brought_back() {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let world = World::new();
    let record = publish(&world.store(), directory.path()).unwrap().record;
    let file = record.release.files.iter().find(|file| file.path.as_str() == "weights.safetensors").unwrap();
    let removes = Key::blob(&file.sha256).below(&world.path("registry"));
    // As if the publisher had died before its record.
    fs::remove_file(world.path("registry/index/k/base/1.0.0.json")).unwrap();
    let store = Tree::over(Unheld { inner: world.store().objects().clone(), removes: removes.clone() });
    let published = publish(&store, directory.path()).unwrap();
    assert!(published.created && removes.exists());
    assert_eq!(published.uploaded, file.size);
    assert_eq!(all_whole(&world), 1);
}

#[test]
fn the_cache_keeps_what_is_used_and_gives_up_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    let put = |content: &[u8]| {
        let digest = Digest::of(content);
        cache.insert(&mut Verifying::new(content, digest, content.len() as u64), &digest).unwrap()
    };
    let (used, unused, fresh) = (put(b"used"), put(b"unused"), put(b"fresh"));
    let begun = unused.with_file_name(".kadapter-abc");
    let begun_lately = unused.with_file_name(".kadapter-def");
    fs::write(&begun, "begun").unwrap();
    fs::write(&begun_lately, "begun").unwrap();
    for path in [&used, &unused, &begun] {
        age(path, Duration::from_secs(40 * 24 * 60 * 60));
    }
    // Use is marked, whether the file is read or only located.
    assert!(cache.find(&Digest::of(b"used"), 4).is_some());
    let month = Options { older_than: kadapter_registry::cache::UNUSED, dry_run: false };
    assert_eq!(sizes(&cache.collect(&Options { dry_run: true, ..month }).unwrap()), (2, 3, 11));
    assert_eq!(sizes(&cache.collect(&month).unwrap()), (2, 3, 11));
    assert!(used.exists() && fresh.exists() && !unused.exists() && !begun.exists() && begun_lately.exists());
    // Everything that is content, on demand; what another process may be writing stays.
    assert_eq!(sizes(&cache.collect(&ALL).unwrap()), (2, 1, 9));
    assert_eq!(sizes(&Cache::new(folder.path().join("none")).collect(&ALL).unwrap()), (0, 0, 0));
}
