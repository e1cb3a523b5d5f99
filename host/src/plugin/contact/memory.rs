//! What is remembered of plugins, one small file per digest.
//!
//! ```text
//! $KADAPTER_HOME/state/contacts/v1/<64 hex>.json        {"schema":1,"plugin":"ns/name 1.0.0","digest":"sha256:…","met":seconds,"death":null}
//! ```
//! A file gets its name when it is whole, so processes that meet a plugin at once do not disturb each other.

use super::{ContactError, When};
use kadapter_registry::Digest;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;

/// The version of the layout; another layout gets another folder.
const LAYOUT: &str = "contacts/v1";
/// The longest file: a record is a few hundred bytes.
const MAX_RECORD: u64 = 64 << 10;
const SCHEMA: u32 = 1;

/// How a contact went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Package and version of the plugin, for people.
    pub plugin: String,
    /// The digest of its file.
    pub digest: Digest,
    /// When it was met.
    pub met: When,
    /// How it died; nothing when it did not.
    pub death: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    schema: u32,
    plugin: String,
    digest: Digest,
    met: When,
    death: Option<String>,
}

/// The records in a folder.
#[derive(Clone, Debug)]
pub struct Memory {
    folder: PathBuf,
}

impl Memory {
    /// The memory below a folder for state, which need not exist.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self { folder: state.into().join(LAYOUT) }
    }

    /// The user's memory; none when the environment names no home directory.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        kadapter_registry::home::state().map(Self::new)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", digest.hex()))
    }

    /// How the contact with this plugin went; nothing when it was not met.
    ///
    /// # Errors
    /// When the record cannot be read or is none.
    pub fn recall(&self, digest: &Digest) -> Result<Option<Record>, ContactError> {
        let path = self.path(digest);
        let bytes = match read(&path) {
            // Where no folder can be, nothing was remembered: the plugin is tried out each time, which is as safe.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(source) => return Err(ContactError::Io { action: "read", path, source }),
            Ok(bytes) => bytes,
        };
        let broken = |reason: String| ContactError::Broken { digest: *digest, path: path.clone(), reason };
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        if wire.schema != SCHEMA {
            return Err(broken(format!("it has schema {}, expected {SCHEMA}", wire.schema)));
        }
        if wire.digest != *digest {
            return Err(broken(format!("it is about {}", wire.digest)));
        }
        Ok(Some(Record { plugin: wire.plugin, digest: wire.digest, met: wire.met, death: wire.death }))
    }

    /// Remembers how a contact went.
    ///
    /// # Errors
    /// When it cannot be written; what was remembered before is then still there.
    pub fn remember(&self, record: &Record) -> Result<(), ContactError> {
        let path = self.path(&record.digest);
        let Record { plugin, digest, met, death } = record.clone();
        let wire = Wire { schema: SCHEMA, plugin, digest, met, death };
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::Builder::new().prefix(".kadapter-").tempfile_in(&self.folder)?;
            file.write_all(&serde_json::to_vec(&wire)?)?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| ContactError::Io { action: "write", path: path.clone(), source })
    }

    /// Forgets a plugin, also where its record cannot be read; tells whether there was one.
    ///
    /// # Errors
    /// When the record cannot be removed.
    pub fn forget(&self, digest: &Digest) -> Result<bool, ContactError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(ContactError::Io { action: "remove", path, source }),
        }
    }

    /// Every record, by digest; one that cannot be read is an error in its place.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn records(&self) -> Result<Vec<Result<Record, ContactError>>, ContactError> {
        let failed = |source| ContactError::Io { action: "list", path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut digests = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            // Anything else in the folder is not ours.
            let hex = name.to_str().and_then(|name| name.strip_suffix(".json"));
            digests.extend(hex.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok()));
        }
        digests.sort();
        Ok(digests.iter().filter_map(|digest| self.recall(digest).transpose()).collect())
    }
}

fn read(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_RECORD).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, death: Option<&str>) -> Record {
        let digest = Digest::of(name.as_bytes());
        Record { plugin: name.into(), digest, met: When::from_seconds(0), death: death.map(str::to_owned) }
    }

    #[test]
    fn what_was_remembered_is_recalled_listed_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path().join("not there yet"));
        let (good, bad) = (record("good", None), record("bad", Some("it died")));
        assert_eq!(memory.recall(&good.digest).unwrap(), None);
        assert!(memory.records().unwrap().is_empty());
        memory.remember(&good).unwrap();
        memory.remember(&bad).unwrap();
        assert_eq!(memory.recall(&good.digest).unwrap(), Some(good.clone()));
        assert_eq!(memory.recall(&bad.digest).unwrap(), Some(bad.clone()));
        fs::write(memory.folder.join("README"), "not ours").unwrap();
        assert_eq!(memory.records().unwrap().len(), 2);
        assert!(memory.forget(&bad.digest).unwrap() && !memory.forget(&bad.digest).unwrap());
        assert_eq!(memory.recall(&bad.digest).unwrap(), None);
    }

    #[test]
    fn a_broken_record_is_an_error_and_can_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path());
        let (one, other) = (record("one", None), record("other", None));
        memory.remember(&one).unwrap();
        let whole = fs::read(memory.path(&one.digest)).unwrap();
        for end in 0..whole.len() {
            fs::write(memory.path(&one.digest), &whole[..end]).unwrap();
            assert!(matches!(memory.recall(&one.digest), Err(ContactError::Broken { .. })), "cut at {end}");
        }
        fs::write(memory.path(&other.digest), &whole).unwrap();
        assert!(memory.recall(&other.digest).unwrap_err().to_string().contains("it is about"));
        assert!(memory.records().unwrap().iter().all(Result::is_err));
        assert!(memory.forget(&one.digest).unwrap());
        assert_eq!(memory.recall(&one.digest).unwrap(), None);
    }
}
