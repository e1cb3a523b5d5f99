//! A registry over a store: its index of releases and its blobs, both checked as they are read.

use std::io::Read;
use std::path::Path;

use crate::digest::Verifying;
use crate::error::Error;
use crate::id::PackageId;
use crate::location::{RegistryLocation, Scheme};
use crate::name::{Namespace, PackageName};
use crate::progress::{Activity, Metered, Observer};
use crate::release::{MAX_RELEASE, Release, ReleaseFile, ReleaseRecord};
use crate::store::{self, LocalStore, Scope, Store, Stream};
use crate::version::Version;
use crate::yank::{self, Counts, Standing};

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
        if store.is_registry()? { Ok(Self { store }) } else { Err(Error::NoRegistry { location: store.location() }) }
    }

    /// Opens the registry in a store and makes one when there is none.
    ///
    /// # Errors
    /// The store cannot be written, or the registry has another schema.
    pub fn create(store: Box<dyn Store>) -> Result<Self, Error> {
        store.create_registry()?;
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
        let releases = self.store.releases(Scope::Package(name))?.into_iter();
        let mut versions: Vec<Version> =
            releases.filter(|(found, _)| found == name).map(|(_, version)| version).collect();
        versions.sort_by(|a, b| b.cmp(a));
        versions.dedup();
        Ok(versions)
    }

    /// All releases, sorted by name and then version, lowest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn releases(&self) -> Result<Vec<(PackageName, Version)>, Error> {
        let mut releases = self.store.releases(Scope::All)?;
        releases.sort();
        releases.dedup();
        Ok(releases)
    }

    /// The packages of a namespace, sorted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn packages(&self, namespace: &Namespace) -> Result<Vec<PackageName>, Error> {
        let releases = self.store.releases(Scope::Namespace(namespace))?.into_iter();
        let mut names: Vec<_> = releases.map(|(name, _)| name).filter(|name| name.namespace() == namespace).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The record of one release; none when there is none.
    ///
    /// # Errors
    /// The store cannot be read, or what it has is not the record of this release.
    pub fn release(&self, name: &PackageName, version: &Version) -> Result<Option<ReleaseRecord>, Error> {
        let id = PackageId::new(name, version);
        let Some(bytes) = self.store.record(&id)? else { return Ok(None) };
        let file = self.store.record_location(&id);
        // Stores promise this bound; nobody is trusted with it.
        if bytes.len() as u64 > MAX_RELEASE {
            return Err(Error::TooLong { file, limit: MAX_RELEASE });
        }
        let record = Release::decode(&file, bytes)?;
        let found = &record.release;
        if (&found.name, &found.version) == (name, version) {
            Ok(Some(record))
        } else {
            Err(Error::OtherRelease { wanted: Box::new(id), found: Box::new(found.id()) })
        }
    }

    /// Where a release stands; its record is read only when something was said about it.
    ///
    /// # Errors
    /// The store cannot be read, has no such release, or has too many notes on it.
    pub fn standing(&self, name: &PackageName, version: &Version, counts: Counts<'_>) -> Result<Standing, Error> {
        let id = PackageId::new(name, version);
        let digest = || match self.release(name, version)? {
            Some(record) => Ok(record.digest),
            None => Err(Error::NoRelease { id: Box::new(id.clone()), location: self.store.location() }),
        };
        yank::standing(self.store(), &id, digest, counts)
    }

    /// Reads a small file of a release and checks it.
    ///
    /// # Errors
    /// The store cannot be read, has no such blob, or has another content under its digest; or the file is longer than
    /// `limit` bytes.
    pub fn read(&self, id: &PackageId, file: &ReleaseFile, limit: u64) -> Result<Vec<u8>, Error> {
        if file.size > limit {
            return Err(Error::TooLong { file: file.path.to_string(), limit });
        }
        let mut reader = self.open_content(id, file)?;
        let mut bytes = Vec::new();
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => {
                let location = self.store.content_location(id, file);
                Err(match reader.difference() {
                    Some(difference) => Error::Altered { file: location, difference },
                    None => Error::Io { action: "read", path: location.into(), source },
                })
            }
        }
    }

    /// [`Registry::open_content`], whose bytes are counted as they are read.
    pub(crate) fn open_observed(
        &self,
        id: &PackageId,
        file: &ReleaseFile,
        observer: &Observer,
        activity: Activity,
    ) -> Result<Verifying<Metered<Stream>>, Error> {
        let reader = Metered::new(self.content(id, file)?, observer, activity, &file.path, file.size);
        Ok(Verifying::new(reader, file.sha256, file.size))
    }

    /// Opens a file of a release as a stream that fails at its end when it is not what the record says.
    ///
    /// # Errors
    /// The store cannot be read or has no such blob.
    pub fn open_content(&self, id: &PackageId, file: &ReleaseFile) -> Result<Verifying<Stream>, Error> {
        Ok(Verifying::new(self.content(id, file)?, file.sha256, file.size))
    }

    fn content(&self, id: &PackageId, file: &ReleaseFile) -> Result<Stream, Error> {
        self.store.content(id, file)?.ok_or_else(|| Error::MissingBlob {
            location: self.store.location(),
            path: file.path.clone(),
            digest: file.sha256,
        })
    }
}

/// The store behind a location.
///
/// # Errors
/// The kind of store is not in this build.
pub fn store_at(location: &RegistryLocation, base: &Path) -> Result<Box<dyn Store>, Error> {
    match location {
        RegistryLocation::Directory(_) => Ok(Box::new(LocalStore::new(&location.directory(base).unwrap_or_default())?)),
        RegistryLocation::Remote { scheme: Scheme::S3, .. } => store::s3::open(location),
        RegistryLocation::Remote { scheme: Scheme::Oci, .. } => store::oci::open(location),
        RegistryLocation::Remote { scheme: Scheme::HuggingFace, .. } => store::hub::open(location),
    }
}
