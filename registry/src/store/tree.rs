//! A registry laid out as a tree of create-only objects (see [`crate::layout`]).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::sweep::Hold;
use super::{Objects, Put, Scope, Source, Stage, Store, Stored, Stream, Sweep};
use crate::copy::drain;
use crate::digest::{Difference, Verifying};
use crate::doctor::Finding;
use crate::error::Error;
use crate::gc::{self, Collected};
use crate::id::PackageId;
use crate::layout::{Key, Prefix};
use crate::name::PackageName;
use crate::note::{MAX_NOTE, Note};
use crate::release::{MAX_RELEASE, ReleaseFile, ReleaseRecord};
use crate::version::Version;

/// The schema of the tree that this crate reads and writes.
const SCHEMA: u32 = 1;
/// The longest `registry.json`, in bytes.
const MAX_REGISTRY_FILE: u64 = 64 * 1024;

/// How often content is written anew that a collector removed while it was looked at.
const ATTEMPTS: usize = 3;

/// `registry.json`, the record that makes a tree a registry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryRecord {
    schema: u32,
}

/// A store over objects.
#[derive(Debug, Clone)]
pub struct Tree<O> {
    objects: O,
}

impl<O: Objects> Tree<O> {
    /// Uses the objects as a registry, or as the place for one.
    pub const fn over(objects: O) -> Self {
        Self { objects }
    }

    /// The objects.
    pub const fn objects(&self) -> &O {
        &self.objects
    }

    /// Writes one file as a blob, or checks the blob that is there. Returns the bytes that were uploaded.
    fn put_blob(&self, file: &ReleaseFile, source: &dyn Source) -> Result<u64, Error> {
        let key = Key::blob(&file.sha256);
        if let (Some(stage), Some(staged)) = (self.objects.stage(), source.staged(file))
            && stage.name(staged, &key)? == Some(Put::Created)
        {
            return Ok(file.size);
        }
        for _ in 0..ATTEMPTS {
            let mut content = source.open(file)?;
            let put = self.objects.put_new(&key, &mut content).map_err(|error| match Difference::in_error(&error) {
                Some(difference) => source.altered(file, difference),
                None => error,
            })?;
            if put == Put::Created {
                return Ok(file.size);
            }
            if self.keep_blob(&key, file)? {
                return Ok(0);
            }
        }
        Err(Error::Vanished { file: format!("{}/{key}", self.location()) })
    }

    /// Writes anew what a collector has removed that was at work when content was found there. Returns the bytes that were
    /// uploaded.
    fn bring_back(&self, sweep: &dyn Sweep, found: &[&ReleaseFile], source: &dyn Source) -> Result<u64, Error> {
        let mut uploaded = 0;
        for file in found {
            if !sweep.has(&Key::blob(&file.sha256))? {
                uploaded += self.put_blob(file, source)?;
            }
        }
        Ok(uploaded)
    }

    /// Checks the blob that is there and sees to it that no collector takes it for garbage; false when it is gone.
    fn keep_blob(&self, key: &Key, file: &ReleaseFile) -> Result<bool, Error> {
        let Some(mut present) = self.objects.open(key)? else { return Ok(false) };
        let location = format!("{}/{key}", self.location());
        let mut present = Verifying::new(&mut present, file.sha256, file.size);
        match drain(&mut present) {
            Ok(()) => self.objects.sweep().map_or(Ok(true), |sweep| sweep.freshen(key)),
            Err(source) => Err(match present.difference() {
                Some(difference) => Error::Altered { file: location, difference },
                None => Error::Io { action: "read", path: location.into(), source },
            }),
        }
    }
}

impl<O: Objects> Store for Tree<O> {
    fn location(&self) -> String {
        self.objects.location()
    }

    fn is_registry(&self) -> Result<bool, Error> {
        let key = Key::registry();
        let Some(bytes) = self.objects.get(&key, MAX_REGISTRY_FILE)? else { return Ok(false) };
        let file = format!("{}/{key}", self.location());
        let found = match serde_json::from_slice(&bytes) {
            Ok(RegistryRecord { schema }) => schema,
            Err(error) => return Err(Error::Json { file, problem: crate::text::shorten(&error.to_string()) }),
        };
        if found == SCHEMA { Ok(true) } else { Err(Error::Schema { file, found, known: SCHEMA }) }
    }

    fn create_registry(&self) -> Result<(), Error> {
        let exists = self.is_registry()?;
        self.objects.require_conditions()?;
        if exists {
            return Ok(());
        }
        let content = format!("{{\"schema\":{SCHEMA}}}\n");
        match self.objects.put_new(&Key::registry(), &mut content.as_bytes())? {
            Put::Created => Ok(()),
            // Another process made it meanwhile: what it made is checked.
            Put::Exists => self.is_registry().map(|_| ()),
        }
    }

    fn releases(&self, scope: Scope<'_>) -> Result<Vec<(PackageName, Version)>, Error> {
        let prefix = match scope {
            Scope::All => Prefix::index(),
            Scope::Namespace(namespace) => Prefix::namespace(namespace),
            Scope::Package(name) => Prefix::package(name),
        };
        Ok(self.objects.list(&prefix)?.iter().filter_map(Key::as_release).collect())
    }

    fn record(&self, id: &PackageId) -> Result<Option<Vec<u8>>, Error> {
        self.objects.get(&Key::release(&id.name, &id.version), MAX_RELEASE)
    }

    fn content(&self, _id: &PackageId, file: &ReleaseFile) -> Result<Option<Stream>, Error> {
        self.objects.open(&Key::blob(&file.sha256))
    }

    fn publish(&self, record: &ReleaseRecord, source: &dyn Source) -> Result<Stored, Error> {
        let hold = self.objects.sweep().map(Sweep::hold_to_publish).transpose()?;
        let (mut uploaded, mut found) = (0, Vec::new());
        for file in &record.release.files {
            match self.put_blob(file, source)? {
                0 => found.push(file),
                bytes => uploaded += bytes,
            }
        }
        let key = Key::release(&record.release.name, &record.release.version);
        let put = self.objects.put_new(&key, &mut record.bytes.as_slice())?;
        if let Some(sweep) = self.objects.sweep().filter(|_| !hold.as_ref().is_some_and(Hold::is_held)) {
            uploaded += self.bring_back(sweep, &found, source)?;
        }
        Ok(Stored { put, uploaded })
    }

    fn notes(&self, id: &PackageId) -> Result<Vec<Note>, Error> {
        let mut notes = Vec::new();
        for prefix in Prefix::notes(id) {
            notes.extend(self.objects.list(&prefix)?.iter().filter_map(|key| key.as_note(id)));
        }
        notes.sort();
        Ok(notes)
    }

    fn note(&self, id: &PackageId, note: &Note) -> Result<Option<Vec<u8>>, Error> {
        self.objects.get(&Key::note(id, note), MAX_NOTE)
    }

    fn put_note(&self, id: &PackageId, note: &Note, mut bytes: &[u8]) -> Result<Put, Error> {
        self.objects.put_new(&Key::note(id, note), &mut bytes)
    }

    fn collect(&self, options: &gc::Options) -> Result<Collected, Error> {
        gc::collect(self, options)
    }

    fn probe(&self) -> Vec<Finding> {
        self.objects.probe()
    }

    fn stage(&self) -> Option<&dyn Stage> {
        self.objects.stage()
    }

    fn record_location(&self, id: &PackageId) -> String {
        format!("{}/{}", self.location(), Key::release(&id.name, &id.version))
    }

    fn content_location(&self, _id: &PackageId, file: &ReleaseFile) -> String {
        format!("{}/{}", self.location(), Key::blob(&file.sha256))
    }

    fn local_path(&self, file: &ReleaseFile) -> Option<PathBuf> {
        self.objects.local_path(&Key::blob(&file.sha256))
    }
}
