//! Tampering, seen through the command: a changed byte in anything that is run is refused before it is used, in the registry
//! and in the cache, and so is a file that was swapped between resolution and load.

use kadapter_host::pipeline::{Job, Plan, Settings, open};
use kadapter_host::task::Record;
use kadapter_host::tensor::device::{DeviceChoice, Dtype};
use kadapter_registry::project::FileRef;
use kadapter_registry::{Lock, Resolved};
use kadapter_tests::{World, paths};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TASKS: &str = "[tasks.features]\nkind = \"features\"\nstack = [\"fac\"]\n";

fn kadapter(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(paths::kadapter());
    command.args(words).current_dir(folder).env("KADAPTER_HOME", folder.join("home")).stdin(Stdio::null());
    command.output().unwrap()
}

fn answer(folder: &Path) -> Output {
    kadapter(folder, &["run", "--frozen", "--json", "features", "Ada saw the river ."])
}

/// Places in a file of this length: both ends and some between.
fn places(length: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..5).map(|part| (length - 1) * part / 4).collect();
    places.dedup();
    places
}

/// Changes a byte here and there in a file; every time the command must refuse to answer.
fn assert_no_byte_is_accepted(folder: &Path, path: &Path) {
    let content = fs::read(path).unwrap();
    for place in places(content.len()) {
        let mut changed = content.clone();
        changed[place] ^= 0x01;
        fs::write(path, changed).unwrap();
        let output = answer(folder);
        let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert_eq!(output.status.code(), Some(1), "byte {place} of {}: {told}", path.display());
        // An adapter that cannot be opened is an answer that says so; nothing is an answer to the text.
        assert!(told.contains("error") && !told.contains("\"answer\""), "byte {place} of {}: {told}", path.display());
    }
    fs::write(path, content).unwrap();
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

#[test]
fn no_changed_byte_in_registry_or_cache_is_used() {
    let world = World::with_adapters();
    world.manifest("tampered", &["fac"], TASKS);
    let folder = world.path("tampered");
    assert!(kadapter(&folder, &["fetch"]).status.success());
    let expected = answer(&folder);
    assert!(expected.status.success(), "{}", String::from_utf8_lossy(&expected.stderr));
    assert!(String::from_utf8_lossy(&expected.stdout).contains("\"answer\""));
    // Records, package files, weights, configuration, tokenizer and library: exactly what the project runs.
    // Signatures have tests of their own: a byte of their untrusted comment may change.
    let mut cached = files_below(&folder.join("home/cache"));
    cached.retain(|path| path.extension().is_none_or(|extension| extension != "minisig"));
    assert!(cached.len() >= 10, "{cached:?}");
    for path in &cached {
        assert_no_byte_is_accepted(&folder, path);
    }
    // Without a cache the same content is used where it is in the registry.
    fs::rename(folder.join("home/cache"), folder.join("away")).unwrap();
    let registry = files_below(&world.registry());
    let mut tried = 0;
    for name in cached.iter().filter_map(|path| path.file_name()) {
        if let Some(blob) = registry.iter().find(|path| path.file_name() == Some(name)) {
            assert_no_byte_is_accepted(&folder, blob);
            tried += 1;
        }
    }
    for record in
        ["index/official/tiny/1.0.0.json", "index/official/fac/1.0.0.json", "index/plugins/factual/1.1.0.json"]
    {
        assert_no_byte_is_accepted(&folder, &world.registry().join(record));
        tried += 1;
    }
    assert_eq!(tried, cached.len(), "everything in the cache is somewhere in the registry");
    assert_eq!(answer(&folder).stdout, expected.stdout);
}

#[test]
fn no_changed_byte_of_a_lock_means_another_release() {
    let world = World::with_adapters();
    let manifest = world.manifest("locked", &["fac"], TASKS);
    let (folder, path) = (world.path("locked"), manifest.with_extension("lock"));
    assert!(kadapter(&folder, &["fetch"]).status.success());
    let (content, expected) = (fs::read(&path).unwrap(), answer(&folder));
    let meaning = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| Lock::from_toml("lock", text).ok());
    let mut refused = 0;
    for place in (0..content.len()).step_by(13) {
        let mut changed = content.clone();
        changed[place] ^= 0x01;
        fs::write(&path, &changed).unwrap();
        let output = answer(&folder);
        if output.status.success() {
            // A byte of a comment: the lock says what it said.
            assert_eq!(meaning(&changed), meaning(&content), "byte {place}");
            assert_eq!(output.stdout, expected.stdout);
        } else {
            assert!(!String::from_utf8_lossy(&output.stdout).contains("\"answer\""), "byte {place}");
            refused += 1;
        }
        assert_eq!(fs::read(&path).unwrap(), changed, "a frozen lock is not written");
    }
    assert!(refused > 20, "{refused}");
}

/// Opens what was resolved a while ago and asks it something; an adapter that cannot be opened says so then.
fn load(resolved: &Resolved) -> Result<(), String> {
    let load = || {
        let opened = open(Plan::all(resolved)?, DeviceChoice::Cpu, Dtype::F32, Settings::default())?;
        let record = Record::from_text("Ada saw the river .").unwrap();
        opened.runner.answer(&[Job { record: &record, task: 0 }]).remove(0)
    };
    load().map(|_| ()).map_err(|error: kadapter_host::Error| {
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
    })
}

#[test]
fn a_file_swapped_between_resolution_and_load_is_not_loaded() {
    let mut world = World::with_adapters();
    // A library of its own: this process may have opened the usual one, and what is open is not read again.
    let (package, record) =
        (world.path("packages/plugin-factual"), world.registry().join("index/plugins/factual/1.1.0.json"));
    let library = package.join("plugins/library.so");
    let bytes = [fs::read(&library).unwrap(), b"a library of its own".to_vec()].concat();
    fs::write(&library, bytes).unwrap();
    fs::remove_file(record).unwrap();
    fs::remove_dir_all(world.registry().join("sigs/plugins/factual")).unwrap();
    world.publish(&package);
    let resolved = world.resolve(&world.manifest("swapped", &["fac"], TASKS));
    let plugin = resolved.plugins.values().next().unwrap();
    let adapter = &resolved.adapters["fac"];
    let backbone = &resolved.backbone;
    let files: [&FileRef; 5] =
        [&plugin.library, &adapter.weights, &backbone.weights, &backbone.config, &backbone.tokenizer];
    for file in files {
        let content = fs::read(&file.path).unwrap();
        let mut other = content.clone();
        // Still well-formed: the last number of the weights, a byte behind the code of the library, a space in the JSON.
        let place = if content.ends_with(b"\n") { other.len() - 1 } else { other.len() - 2 };
        other[place] = if other[place] == b'\n' { b' ' } else { other[place] ^ 1 };
        let replacement = file.path.with_extension("other");
        fs::write(&replacement, other).unwrap();
        fs::rename(&replacement, &file.path).unwrap();
        let refused = load(&resolved).expect_err(&file.path.display().to_string());
        assert!(refused.contains("digest") || refused.contains("sha256"), "{}: {refused}", file.path.display());
        fs::write(&file.path, content).unwrap();
    }
    load(&resolved).unwrap();
}
