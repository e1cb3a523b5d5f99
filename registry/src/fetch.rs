//! Fetching: whatever a project runs is copied into the cache, so that it then runs without its registries.

use std::path::PathBuf;

use crate::digest::Verifying;
use crate::error::Error;
use crate::id::PackageId;
use crate::lock::Lock;
use crate::name::PackageName;
use crate::path::PackagePath;
use crate::progress::{Activity, Observer, nobody};
use crate::project::{LockMode, Project};
use crate::release::{ReleaseFile, Role};
use crate::version::Version;

/// One file that a project needs in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The file in the package; none for the release record itself.
    pub path: Option<PackagePath>,
    /// Where it is now.
    pub cached: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was copied; false when the cache had it, whole.
    pub copied: bool,
}

/// What fetching did.
#[derive(Debug, Clone)]
pub struct FetchReport {
    /// Every file that the project needs.
    pub files: Vec<Fetched>,
    /// The lock.
    pub lock: Lock,
}

impl FetchReport {
    /// The bytes that were copied.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        self.files.iter().filter(|file| file.copied).map(|file| file.size).sum()
    }
}

impl Project {
    /// Copies everything that the project runs on this platform into the cache, verifying as it goes. What the cache
    /// has is read and checked; a damaged file is replaced.
    ///
    /// # Errors
    /// As [`Project::select`]; content that is missing or not what its digest promises; a cache that cannot be written.
    pub fn fetch(&self, mode: LockMode) -> Result<FetchReport, Error> {
        self.fetch_observed(mode, &nobody())
    }

    /// [`Project::fetch`], telling an observer how far it is.
    ///
    /// # Errors
    /// As [`Project::fetch`].
    pub fn fetch_observed(&self, mode: LockMode, observer: &Observer) -> Result<FetchReport, Error> {
        self.drop_damaged_records()?;
        let (selection, lock) = self.select(mode)?;
        let mut files = Vec::new();
        let mut manifests = Vec::new();
        // Package files first: they are read, from the cache too, to know what else is used.
        for record in selection.records() {
            let release = &record.release;
            if manifests.contains(&record.digest) {
                continue;
            }
            manifests.push(record.digest);
            let size = record.bytes.len() as u64;
            let stream = &mut Verifying::new(record.bytes.as_slice(), record.digest, size);
            let copied = !self.cache().is_whole(&record.digest, size)?;
            if copied {
                self.cache().insert(stream, &record.digest)?;
            }
            let (name, version, cached) =
                (release.name.clone(), release.version.clone(), self.cache().path(&record.digest));
            files.push(Fetched { name, version, path: None, cached, size, copied });
            for file in release.files_of(Role::Manifest) {
                files.push(self.fetch_file(&release.name, &release.version, file, observer)?);
            }
        }
        for used in self.used(&selection)? {
            let release = &used.record.release;
            for file in &used.files {
                files.push(self.fetch_file(&release.name, &release.version, file, observer)?);
            }
        }
        self.keep_signatures(&selection, &lock)?;
        Ok(FetchReport { files, lock })
    }

    /// Removes locked release records and their signatures from the cache that are not whole, so that they are read from
    /// the registry again.
    fn drop_damaged_records(&self) -> Result<(), Error> {
        let Some(lock) = Lock::read(&self.lock_path())? else { return Ok(()) };
        for locked in lock.packages() {
            let path = self.cache().path(&locked.release);
            let Ok(metadata) = path.metadata() else { continue };
            if !self.cache().is_whole(&locked.release, metadata.len())? {
                std::fs::remove_file(&path).map_err(|source| Error::Io { action: "remove", path, source })?;
            }
        }
        self.drop_damaged_signatures(&lock)
    }

    fn fetch_file(
        &self,
        name: &PackageName,
        version: &Version,
        file: &ReleaseFile,
        observer: &Observer,
    ) -> Result<Fetched, Error> {
        let copied = !self.cache().is_whole(&file.sha256, file.size)?;
        if copied {
            let (registry, id) = (self.registry_of(name)?, PackageId::new(name, version));
            let mut stream = registry.open_observed(&id, file, observer, Activity::Fetching)?;
            let inserted = self.cache().insert(&mut stream, &file.sha256);
            let location = || registry.store().content_location(&id, file);
            inserted.map_err(|error| match stream.difference() {
                Some(difference) => Error::Altered { file: location(), difference },
                None => error,
            })?;
        }
        Ok(Fetched {
            name: name.clone(),
            version: version.clone(),
            path: Some(file.path.clone()),
            cached: self.cache().path(&file.sha256),
            size: file.size,
            copied,
        })
    }
}
