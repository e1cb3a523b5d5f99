//! A registry over a store: its index of releases and its blobs, both checked as they are read.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Verifying};
use crate::error::Error;
use crate::id::PackageId;
use crate::layout::{Key, Prefix};
use crate::location::RegistryLocation;
use crate::name::{Namespace, PackageName};
use crate::release::{MAX_RELEASE, Release, ReleaseFile, ReleaseRecord};
use crate::store::{LocalStore, Put, Store};
use crate::version::Version;

/// The schema of the tree that this crate reads and writes.
const SCHEMA: u32 = 1;
/// The longest `registry.json`, in bytes.
const MAX_REGISTRY_FILE: u64 = 64 * 1024;

/// `registry.json`, the record that makes a tree a registry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryRecord {
    schema: u32,
}

/// A registry: releases by name and version, content by digest.
#[derive(Debug)]
pub struct Registry {
    store: Box<dyn Store>,
}

impl Registry {
    /// Opens the registry at a location; a relative directory starts at `base`.
    ///
    /// # Errors
    /// There is none, it has another schema, or its kind of store is not in this build.
    pub fn open(location: &RegistryLocation, base: &Path) -> Result<Self, Error> {
        Self::with_store(store_at(location, base)?)
    }

    /// Opens the registry in a store.
    ///
    /// # Errors
    /// There is none in it, or it has another schema.
    pub fn with_store(store: Box<dyn Store>) -> Result<Self, Error> {
        if check_registry_record(&*store)? {
            Ok(Self { store })
        } else {
            Err(Error::NoRegistry { location: store.location() })
        }
    }

    /// Opens the registry in a store and makes one when there is none.
    ///
    /// # Errors
    /// The store cannot be written, or the registry has another schema.
    pub fn create(store: Box<dyn Store>) -> Result<Self, Error> {
        ensure_registry_record(&*store)?;
        Ok(Self { store })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The versions of a package, highest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn versions(&self, name: &PackageName) -> Result<Vec<Version>, Error> {
        let keys = self.store.list(&Prefix::package(name))?;
        let of_package = |key: &Key| key.as_release().filter(|(found, _)| found == name);
        let mut versions: Vec<Version> = keys.iter().filter_map(of_package).map(|(_, version)| version).collect();
        versions.sort_by(|a, b| b.cmp(a));
        Ok(versions)
    }

    /// All releases, sorted by name and then version, lowest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn releases(&self) -> Result<Vec<(PackageName, Version)>, Error> {
        let mut releases: Vec<_> = self.store.list(&Prefix::index())?.iter().filter_map(Key::as_release).collect();
        releases.sort();
        Ok(releases)
    }

    /// The packages of a namespace, sorted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn packages(&self, namespace: &Namespace) -> Result<Vec<PackageName>, Error> {
        let keys = self.store.list(&Prefix::namespace(namespace))?;
        let mut names: Vec<_> = keys.iter().filter_map(Key::as_release).map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The record of one release; none when there is none.
    ///
    /// # Errors
    /// The store cannot be read, or what it has is not the record of this release.
    pub fn release(&self, name: &PackageName, version: &Version) -> Result<Option<ReleaseRecord>, Error> {
        let key = Key::release(name, version);
        let Some(bytes) = self.store.get(&key, MAX_RELEASE)? else { return Ok(None) };
        let record = Release::decode(&format!("{}/{key}", self.store.location()), bytes)?;
        let found = &record.release;
        if (&found.name, &found.version) == (name, version) {
            Ok(Some(record))
        } else {
            Err(Error::OtherRelease { wanted: Box::new(PackageId::new(name, version)), found: Box::new(found.id()) })
        }
    }

    /// Reads a small file of a release and checks it.
    ///
    /// # Errors
    /// The store cannot be read, has no such blob, or has another content under its digest; or the file is longer than
    /// `limit` bytes.
    pub fn read(&self, file: &ReleaseFile, limit: u64) -> Result<Vec<u8>, Error> {
        if file.size > limit {
            return Err(Error::TooLong { file: file.path.to_string(), limit });
        }
        let mut reader = self.open_blob(file)?;
        let mut bytes = Vec::new();
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => {
                let location = self.blob_location(&file.sha256);
                Err(match reader.difference() {
                    Some(difference) => Error::Altered { file: location, difference },
                    None => Error::Io { action: "read", path: location.into(), source },
                })
            }
        }
    }

    /// Opens a file of a release as a stream that fails at its end when it is not what the record says.
    ///
    /// # Errors
    /// The store cannot be read or has no such blob.
    pub fn open_blob(&self, file: &ReleaseFile) -> Result<Verifying<Box<dyn Read + Send>>, Error> {
        let reader = self.store.open(&Key::blob(&file.sha256))?.ok_or_else(|| self.missing(file))?;
        Ok(Verifying::new(reader, file.sha256, file.size))
    }

    fn missing(&self, file: &ReleaseFile) -> Error {
        Error::MissingBlob { location: self.store.location(), path: file.path.clone(), digest: file.sha256 }
    }

    /// Where a blob is or would be, for messages.
    pub(crate) fn blob_location(&self, digest: &Digest) -> String {
        format!("{}/{}", self.store.location(), Key::blob(digest))
    }
}

/// The store behind a location.
///
/// # Errors
/// The kind of store is not in this build.
pub fn store_at(location: &RegistryLocation, base: &Path) -> Result<Box<dyn Store>, Error> {
    match location.directory(base) {
        Some(directory) => Ok(Box::new(LocalStore::new(&directory)?)),
        None => Err(Error::StoreNotBuilt { location: location.clone() }),
    }
}

/// Checks `registry.json`; false when there is none.
fn check_registry_record(store: &dyn Store) -> Result<bool, Error> {
    let key = Key::registry();
    let Some(bytes) = store.get(&key, MAX_REGISTRY_FILE)? else { return Ok(false) };
    let file = format!("{}/{key}", store.location());
    let found = match serde_json::from_slice(&bytes) {
        Ok(RegistryRecord { schema }) => schema,
        Err(error) => return Err(Error::Json { file, problem: crate::text::shorten(&error.to_string()) }),
    };
    if found == SCHEMA { Ok(true) } else { Err(Error::Schema { file, found, known: SCHEMA }) }
}

/// Writes `registry.json` where there is none, and checks whatever is there then.
pub(crate) fn ensure_registry_record(store: &dyn Store) -> Result<(), Error> {
    if check_registry_record(store)? {
        return Ok(());
    }
    let content = format!("{{\"schema\":{SCHEMA}}}\n");
    match store.put_new(&Key::registry(), &mut content.as_bytes())? {
        Put::Created => Ok(()),
        Put::Exists => check_registry_record(store).map(|_| ()),
    }
}
