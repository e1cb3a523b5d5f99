//! What every store's users must withstand: a store that lies in one way at a time, wrapped around an honest one.
//!
//! Whatever it says, a project refuses it with an error that tells what was promised and what came, and neither the cache
//! nor the lock has anything of it. Files of a directory that are changed in place are `hostile.rs` of the program
//! `registry`; servers that misbehave below a store are the tests of that store.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kadapter_registry::note::Note;
use kadapter_registry::package::{Adapter, BackboneNeed, Content, Plugin, PluginNeed};
use kadapter_registry::project::{LockMode, Options, Project};
use kadapter_registry::publish::publish;
use kadapter_registry::release::{MAX_RELEASE, ReleaseFile, ReleaseRecord, Role};
use kadapter_registry::resolve::Platform;
use kadapter_registry::store::{Put, Scope, Source, Store, Stored, Stream};
use kadapter_registry::verify::{Verified, verify_release};
use kadapter_registry::{AbiVersion, Cache, Digest, Error, PackageId, PackageName, Registry, Trust, Version};
use tempfile::TempDir;

use super::conformance::{Make, chain};
use crate::packages::{backbone_content, package, parse, write_package};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What a proxy answers instead of content.
const HTML: &[u8] = b"<!DOCTYPE html><html><head><title>403 Forbidden</title></head><body>403</body></html>\n";
/// The most that may be read of a stream past its promised end, in bytes: what a buffer holds.
const SLACK: u64 = 1024 * 1024;

/// What a lock can be held to.
const MODES: [LockMode; 3] = [LockMode::Frozen, LockMode::KeepLocked, LockMode::Update];

/// Checks that no lie of a store around what `make` makes is believed.
pub(crate) fn withstands(make: Make<'_>) {
    let world = World::new(make());
    world.check_honest();
    for (id, role) in [
        ("k/base 1.0.0", Role::Config),
        ("k/base 1.0.0", Role::Weights),
        ("k/base 1.0.0", Role::Manifest),
        ("k/factual 1.1.0", Role::Weights),
        ("p/net 1.0.0", Role::Library),
        ("p/net 1.0.0", Role::Manifest),
    ] {
        for lie in CONTENT_LIES {
            world.check_content(&world.record(id), role, *lie);
        }
    }
    for id in ["k/base 1.0.0", "k/factual 1.1.0", "p/net 1.0.0"] {
        for lie in record_lies() {
            world.check_record(&world.record(id), &lie);
        }
        world.check_swapped(&world.record(id));
    }
    world.check_stale_listing();
    world.check_ghosts();
    world.check_noise();
}

/// What is wrong with a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentLie {
    Empty,
    Truncated,
    Endless,
    Flipped,
    Html,
    /// The content of another file.
    Swapped,
    Silent,
    Missing,
}

const CONTENT_LIES: &[ContentLie] = &[
    ContentLie::Empty,
    ContentLie::Truncated,
    ContentLie::Endless,
    ContentLie::Flipped,
    ContentLie::Html,
    ContentLie::Swapped,
    ContentLie::Silent,
    ContentLie::Missing,
];

/// What is wrong with a record: its new bytes, and what the error must name.
struct RecordLie {
    name: &'static str,
    change: fn(&str) -> Vec<u8>,
    told: &'static str,
}

fn record_lies() -> Vec<RecordLie> {
    let lie = |name, told, change| RecordLie { name, change, told };
    vec![
        lie("empty", "EOF", |_| Vec::new()),
        lie("truncated", "EOF", |text| text.as_bytes()[..text.len() / 2].to_vec()),
        lie("HTML", "expected value", |_| HTML.to_vec()),
        lie("oversized", "it is longer than 8388608 bytes", |text| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(usize::try_from(MAX_RELEASE).unwrap() + 1, b' ');
            bytes
        }),
        lie("a path that leads out", "`../../../evil` is not a valid path", |text| {
            text.replacen("\"kadapter-package.toml\"", "\"../../../evil\"", 1).into_bytes()
        }),
        lie("an absolute path", "`/etc/passwd` is not a valid path", |text| {
            text.replacen("\"kadapter-package.toml\"", "\"/etc/passwd\"", 1).into_bytes()
        }),
        lie("a name that leads out", "is not a valid package name", |text| {
            replace_value(text, "\"name\":\"", "../../evil").into_bytes()
        }),
        lie("a version that leads out", "is not a valid version", |text| {
            replace_value(text, "\"version\":\"", "../1.0.0").into_bytes()
        }),
        lie("a digest that leads out", "is not a valid digest", |text| {
            replace_value(text, "\"manifest\":\"", "sha256:../../../../evil").into_bytes()
        }),
        lie("another manifest", "with the digest in `manifest`", |text| {
            replace_value(text, "\"manifest\":\"", &Digest::of(b"other").to_string()).into_bytes()
        }),
        lie("a file twice", "not sorted by path, each once", |text| {
            let (start, end) = files(text);
            let first = &text[start..start + text[start..].find('}').unwrap() + 1];
            format!("{}{first},{}{}", &text[..start], &text[start..end], &text[end..]).into_bytes()
        }),
        lie("no files", "list", |text| {
            let (start, end) = files(text);
            format!("{}{}", &text[..start], &text[end..]).into_bytes()
        }),
        lie("other spelling", "its bytes are not in the canonical form", |text| {
            text.replacen("{\"schema\":1,", "{ \"schema\":1,", 1).into_bytes()
        }),
        lie("an unknown key", "unknown field `evil`", |text| {
            text.replacen("{\"schema\":1,", "{\"schema\":1,\"evil\":1,", 1).into_bytes()
        }),
        lie("deep nesting", "unknown field `deep`", |text| {
            let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            text.replacen("\"files\":", &format!("\"deep\":{deep},\"files\":"), 1).into_bytes()
        }),
        lie("sizes of all the world", "expected 18446744073709551615 bytes", |text| {
            let size = text.find("\"role\":\"weights\"").or_else(|| text.find("\"role\":\"library\"")).unwrap();
            let size = size + text[size..].find("\"size\":").unwrap() + "\"size\":".len();
            let end = size + text[size..].find(',').unwrap();
            format!("{}{}{}", &text[..size], u64::MAX, &text[end..]).into_bytes()
        }),
    ]
}

/// Replaces the text value after the first occurrence of `key`.
fn replace_value(text: &str, key: &str, value: &str) -> String {
    let start = text.find(key).unwrap() + key.len();
    let end = start + text[start..].find('"').unwrap();
    format!("{}{value}{}", &text[..start], &text[end..])
}

/// Where the entries of a record's `files` begin and end.
fn files(text: &str) -> (usize, usize) {
    let start = text.find("\"files\":[").unwrap() + "\"files\":[".len();
    (start, start + text[start..].find(']').unwrap())
}

/// What a store lies about.
enum Lie {
    /// About nothing; its streams are just slow: a byte at a time, with interruptions.
    None,
    /// About one file's content.
    Content(PackageId, ReleaseFile, ContentLie),
    /// About one record.
    Record(PackageId, Vec<u8>),
    /// That there is no such release.
    Hidden(PackageId),
    /// That there is such a release.
    Ghost(PackageId),
    /// In its listings, which name everything thrice, whatever was asked.
    Noise,
}

/// A store that lies.
struct Hostile {
    inner: Arc<dyn Store>,
    lie: Lie,
    /// What was read of endless content.
    read: Arc<AtomicU64>,
}

impl fmt::Debug for Hostile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Hostile").field(&self.inner).finish()
    }
}

impl Store for Hostile {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn is_registry(&self) -> Result<bool, Error> {
        self.inner.is_registry()
    }

    fn create_registry(&self) -> Result<(), Error> {
        self.inner.create_registry()
    }

    fn releases(&self, scope: Scope<'_>) -> Result<Vec<(PackageName, Version)>, Error> {
        let mut releases = match (&self.lie, self.inner.releases(Scope::All)) {
            (Lie::Noise, Ok(all)) => [all.clone(), all.clone(), all].concat(),
            _ => self.inner.releases(scope)?,
        };
        match &self.lie {
            Lie::Hidden(id) => releases.retain(|(name, version)| (name, version) != (&id.name, &id.version)),
            Lie::Ghost(id) => releases.push((id.name.clone(), id.version.clone())),
            _ => {}
        }
        Ok(releases)
    }

    fn record(&self, id: &PackageId) -> Result<Option<Vec<u8>>, Error> {
        match &self.lie {
            Lie::Record(about, bytes) if about == id => Ok(Some(bytes.clone())),
            Lie::Hidden(about) if about == id => Ok(None),
            _ => self.inner.record(id),
        }
    }

    fn content(&self, id: &PackageId, file: &ReleaseFile) -> Result<Option<Stream>, Error> {
        let honest = self.inner.content(id, file)?;
        let lie = match &self.lie {
            Lie::None => return Ok(honest.map(|stream| Box::new(Slow { stream, interrupted: false }) as Stream)),
            Lie::Content(about, of, lie) if (about, of) == (id, file) => *lie,
            _ => return Ok(honest),
        };
        let Some(honest) = honest else { return Ok(None) };
        Ok(Some(match lie {
            ContentLie::Empty => Box::new(io::empty()),
            ContentLie::Truncated => Box::new(honest.take(file.size - 1)),
            ContentLie::Endless => Box::new(honest.chain(Endless(self.read.clone()))),
            ContentLie::Flipped => Box::new(Flipped { stream: honest, left: file.size }),
            ContentLie::Html => Box::new(HTML),
            ContentLie::Swapped => Box::new(io::Cursor::new(vec![b'x'; usize::try_from(file.size).unwrap()])),
            ContentLie::Silent => Box::new(honest.take(file.size / 2).chain(Silent)),
            ContentLie::Missing => return Ok(None),
        }))
    }

    fn publish(&self, record: &ReleaseRecord, source: &dyn Source) -> Result<Stored, Error> {
        self.inner.publish(record, source)
    }

    fn notes(&self, id: &PackageId) -> Result<Vec<Note>, Error> {
        self.inner.notes(id)
    }

    fn note(&self, id: &PackageId, note: &Note) -> Result<Option<Vec<u8>>, Error> {
        self.inner.note(id, note)
    }

    fn put_note(&self, id: &PackageId, note: &Note, bytes: &[u8]) -> Result<Put, Error> {
        self.inner.put_note(id, note, bytes)
    }

    fn record_location(&self, id: &PackageId) -> String {
        self.inner.record_location(id)
    }

    fn content_location(&self, id: &PackageId, file: &ReleaseFile) -> String {
        self.inner.content_location(id, file)
    }
}

struct Endless(Arc<AtomicU64>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        assert!(read <= SLACK, "an endless stream is read on and on");
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

struct Silent;

impl Read for Silent {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the server was silent for 60 seconds"))
    }
}

/// Changes one bit of the last byte.
struct Flipped {
    stream: Stream,
    left: u64,
}

impl Read for Flipped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let before = self.left;
        self.left = self.left.saturating_sub(count as u64);
        if before > 0 && self.left == 0 {
            buffer[count - 1] ^= 1;
        }
        Ok(count)
    }
}

struct Slow {
    stream: Stream,
    interrupted: bool,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = buffer.len().min(1);
        self.stream.read(&mut buffer[..count])
    }
}

/// Releases in an honest store, and the lock of a project that uses them.
struct World {
    store: Arc<dyn Store>,
    lock: Vec<u8>,
}

/// A project in a folder of its own, with an empty cache.
struct Place {
    folder: TempDir,
    project: Project,
}

impl World {
    fn new(store: Box<dyn Store>) -> Self {
        let publish = |name: &str, version: &str, content: Content, seed| {
            let directory = tempfile::tempdir().unwrap();
            write_package(directory.path(), &package(name, version, content), seed);
            publish(&*store, directory.path()).unwrap().record
        };
        let base = publish("k/base", "1.0.0", backbone_content(), 1);
        let libraries = [(parse(TARGET), parse("plugins/libnet.so"))].into_iter().collect();
        publish("p/net", "1.0.0", Content::Plugin(Plugin { abi: parse("1.0"), libraries }), 2);
        let adapter = Content::Adapter(Adapter {
            weights: parse("weights.safetensors"),
            taps: vec![0, 1],
            plugin: PluginNeed { package: parse("p/net"), version: "^1".parse().unwrap() },
            backbone: BackboneNeed { package: parse("k/base"), weights: base.release.backbone_weights().unwrap() },
            config: toml::Table::new(),
        });
        publish("k/factual", "1.0.0", adapter.clone(), 3);
        publish("k/factual", "1.1.0", adapter, 4);
        let mut world = Self { store: Arc::from(store), lock: Vec::new() };
        let place = world.place(Lie::None, false);
        place.project.fetch(LockMode::Update).unwrap();
        world.lock = fs::read(place.lock()).unwrap();
        world
    }

    fn record(&self, id: &str) -> ReleaseRecord {
        let (name, version) = id.split_once(' ').unwrap();
        let registry = Registry::with_store(self.hostile(Lie::None).0).unwrap();
        registry.release(&parse(name), &parse(version)).unwrap().unwrap()
    }

    fn hostile(&self, lie: Lie) -> (Box<dyn Store>, Arc<AtomicU64>) {
        let read = Arc::new(AtomicU64::new(0));
        (Box::new(Hostile { inner: self.store.clone(), lie, read: read.clone() }), read)
    }

    /// A project whose registry lies, with the lock or without one.
    fn place(&self, lie: Lie, locked: bool) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let manifest = r#"
            [registries]
            k = "registry"
            p = "registry"
            [backbone]
            package = "k/base"
            version = "^1"
            [adapters]
            factual = { package = "k/factual", version = "*" }
            [tasks.features]
            kind = "features"
            stack = ["factual"]
        "#;
        fs::write(folder.path().join("kadapter.toml"), manifest).unwrap();
        if locked {
            fs::write(folder.path().join("kadapter.lock"), &self.lock).unwrap();
        }
        let options = Options {
            platform: Some(Platform { target: parse(TARGET), abi: AbiVersion { major: 1, minor: 0 } }),
            cache: Some(Cache::new(folder.path().join("cache"))),
            // What a store can lie about is told from digests alone; signatures have tests of their own.
            trust: Some(Trust::any()),
            ..Options::default()
        };
        let project = Project::open_with(folder.path(), options).unwrap();
        let registry = Arc::new(Registry::with_store(self.hostile(lie).0).unwrap());
        for namespace in ["k", "p"] {
            project.use_registry(&parse(namespace), registry.clone());
        }
        Place { folder, project }
    }

    /// Fetches, resolves and verifies with a store that lies: all are refused. Returns what a project without a lock is told.
    fn refused(&self, what: &str, modes: &[LockMode], lie: impl Fn() -> Lie) -> String {
        for &mode in modes {
            let place = self.place(lie(), true);
            assert!(place.project.fetch(mode).is_err(), "{what} was fetched");
            assert!(place.project.resolve(mode).is_err(), "{what} was resolved");
            let verified = place.project.verify();
            assert!(!verified.is_ok_and(|files| files.iter().all(Verified::is_whole)), "{what} was verified");
            assert_eq!(fs::read(place.lock()).unwrap(), self.lock, "{what} changed the lock");
            place.assert_cache_is_whole(what);
        }
        let place = self.place(lie(), false);
        let told = chain(&place.project.fetch(LockMode::Update).expect_err(what));
        assert!(place.project.resolve(LockMode::KeepLocked).is_err(), "{what} was resolved");
        place.assert_cache_is_whole(what);
        told
    }

    /// A slow store is no liar.
    fn check_honest(&self) {
        for (locked, mode) in [(false, LockMode::Update), (true, LockMode::Frozen)] {
            let place = self.place(Lie::None, locked);
            place.project.fetch(mode).unwrap();
            place.project.resolve(LockMode::Frozen).unwrap();
            let verified = place.project.verify().unwrap();
            assert!(verified.len() >= 5 && verified.iter().all(Verified::is_whole), "{verified:?}");
            place.assert_cache_is_whole("what is honest");
        }
    }

    fn check_content(&self, record: &ReleaseRecord, role: Role, lie: ContentLie) {
        let id = record.release.id();
        let file = record.release.files_of(role).next().unwrap();
        let what = format!("{lie:?} content of {} in {id}", file.path);
        let about = || Lie::Content(id.clone(), file.clone(), lie);
        let told = self.refused(&what, &[LockMode::Frozen], about);
        let both_sides = match lie {
            ContentLie::Empty => vec![format!("expected {} bytes, found 0", file.size)],
            ContentLie::Truncated => vec![format!("expected {} bytes, found {}", file.size, file.size - 1)],
            ContentLie::Endless => vec![format!("expected {} bytes, found at least {}", file.size, file.size + 1)],
            ContentLie::Flipped | ContentLie::Swapped => vec![format!("expected `{}`, found `sha256:", file.sha256)],
            ContentLie::Html => vec![format!("expected {} bytes, found ", file.size)],
            ContentLie::Silent => vec!["the server was silent".to_owned()],
            ContentLie::Missing => vec![file.sha256.to_string(), file.path.to_string()],
        };
        let place = match lie {
            ContentLie::Missing => self.store.location(),
            // Where reading breaks off, the one that writes tells it.
            ContentLie::Silent => String::new(),
            _ => self.store.content_location(&id, file),
        };
        for side in both_sides.iter().chain([&place]) {
            assert!(told.contains(side), "{what}: {told}");
        }
        // Whoever reads the registry itself is told as well, and reads no more than what was promised.
        let (store, read) = self.hostile(about());
        let registry = Registry::with_store(store).unwrap();
        let verified = verify_release(&registry, record);
        let bad: Vec<_> = verified.iter().filter(|verified| !verified.is_whole()).map(|bad| &bad.path).collect();
        assert_eq!(bad, [&file.path], "{what}");
        assert!(registry.read(&id, file, u64::MAX).is_err(), "{what}");
        assert!(matches!(registry.read(&id, file, file.size - 1), Err(Error::TooLong { .. })), "{what}");
        assert!(read.load(Ordering::Relaxed) <= 4 * SLACK, "{what}");
    }

    fn check_record(&self, record: &ReleaseRecord, lie: &RecordLie) {
        let id = record.release.id();
        let what = format!("a record ({}) of {id}", lie.name);
        let bytes = (lie.change)(std::str::from_utf8(&record.bytes).unwrap());
        assert_ne!(bytes, record.bytes, "{what}");
        let told = self.refused(&what, &MODES, || Lie::Record(id.clone(), bytes.clone()));
        assert!(told.contains(lie.told), "{what}: {told}");
        // What is wrong with the record itself names the record; what contradicts it names the content.
        let well_formed = kadapter_registry::Release::decode("record", bytes.clone()).is_ok();
        assert!(well_formed || told.contains(&self.store.record_location(&id)), "{what}: {told}");
        let registry = Registry::with_store(self.hostile(Lie::Record(id.clone(), bytes)).0).unwrap();
        assert_eq!(registry.release(&id.name, &id.version).is_ok(), well_formed, "{what}");
    }

    /// A record in another's place.
    fn check_swapped(&self, record: &ReleaseRecord) {
        let id = record.release.id();
        let what = format!("another record in the place of {id}");
        let other = self.record(if id.name == parse("k/base") { "p/net 1.0.0" } else { "k/base 1.0.0" });
        let told = self.refused(&what, &MODES, || Lie::Record(id.clone(), other.bytes.clone()));
        assert!(told.contains(&id.to_string()) && told.contains(&other.release.id().to_string()), "{told}");
    }

    /// A store that shows an older state moves no lock down, and no lock is written for it.
    fn check_stale_listing(&self) {
        let hidden: PackageId = PackageId::new(&parse("k/factual"), &parse("1.1.0"));
        let told = |mode| {
            let place = self.place(Lie::Hidden(hidden.clone()), true);
            let told = chain(&place.project.fetch(mode).expect_err("a stale index was believed"));
            assert_eq!(fs::read(place.lock()).unwrap(), self.lock);
            place.assert_cache_is_whole("a stale index");
            told
        };
        let update = told(LockMode::Update);
        assert!(update.contains("from 1.1.0 to 1.0.0"), "{update}");
        for mode in [LockMode::Frozen, LockMode::KeepLocked] {
            let told = told(mode);
            assert!(told.contains("`k/factual 1.1.0`") && told.contains(&self.store.location()), "{told}");
        }
    }

    /// A store that lists what it does not have.
    fn check_ghosts(&self) {
        let ghost = || Lie::Ghost(PackageId::new(&parse("k/factual"), &parse("1.9.9")));
        let place = self.place(ghost(), false);
        let told = chain(&place.project.fetch(LockMode::Update).expect_err("a ghost was fetched"));
        assert!(told.contains("`k/factual 1.9.9`") && told.contains(&self.store.location()), "{told}");
        assert!(!place.lock().exists());
        // Who has a lock does not even list.
        self.place(ghost(), true).project.fetch(LockMode::KeepLocked).unwrap();
    }

    /// A store that lists too much.
    fn check_noise(&self) {
        let place = self.place(Lie::Noise, false);
        place.project.fetch(LockMode::Update).unwrap();
        assert_eq!(fs::read(place.lock()).unwrap(), self.lock);
        let registry = Registry::with_store(self.hostile(Lie::Noise).0).unwrap();
        let versions = registry.versions(&parse("k/base")).unwrap();
        assert_eq!(versions, [parse::<Version>("1.0.0")]);
    }
}

impl Place {
    fn lock(&self) -> PathBuf {
        self.folder.path().join("kadapter.lock")
    }

    /// Every file in the cache is the content of its name, and nothing else is there.
    fn assert_cache_is_whole(&self, what: &str) {
        let cache = self.folder.path().join("cache");
        if cache.exists() {
            assert_whole_below(&cache, what);
        }
    }
}

fn assert_whole_below(folder: &Path, what: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_whole_below(&path, what);
        } else {
            let (digest, _) = Digest::of_reader(File::open(&path).unwrap()).unwrap();
            assert_eq!(digest.hex(), path.file_name().unwrap().to_str().unwrap(), "{what}: {}", path.display());
        }
    }
}
