//! The releases that a project may choose from: locked ones, published ones, or both in an order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::sources::Sources;
use crate::error::Error;
use crate::id::PackageId;
use crate::lock::{Lock, Locked};
use crate::name::PackageName;
use crate::release::{MAX_RELEASE, Release, ReleaseRecord};
use crate::resolve::Catalog;
use crate::text::nearest;
use crate::version::Version;

/// Which versions come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preference {
    /// Only locked versions exist. Nothing is listed.
    LockedOnly,
    /// Locked versions, then all others, highest first.
    LockedFirst,
    /// All versions, highest first.
    Highest,
}

pub(super) struct ProjectCatalog<'a> {
    sources: &'a Sources,
    lock: &'a Lock,
    preference: Preference,
    versions: RefCell<BTreeMap<PackageName, Arc<[Version]>>>,
    releases: RefCell<BTreeMap<(PackageName, Version), Arc<ReleaseRecord>>>,
}

impl<'a> ProjectCatalog<'a> {
    pub(super) fn new(sources: &'a Sources, lock: &'a Lock, preference: Preference) -> Self {
        Self { sources, lock, preference, versions: RefCell::default(), releases: RefCell::default() }
    }

    fn list(&self, name: &PackageName) -> Result<Vec<Version>, Error> {
        let registry = self.sources.registry_of(name)?;
        let versions = registry.versions(name)?;
        if !versions.is_empty() {
            return Ok(versions);
        }
        let others = match registry.packages(name.namespace()) {
            // Where a registry cannot list what it has, there is just nothing to suggest.
            Err(Error::NotOffered { .. }) => Vec::new(),
            others => others?,
        };
        let similar = nearest(name.name(), others.iter().map(PackageName::name));
        let similar = similar.and_then(|similar| others.iter().find(|other| other.name() == similar)).cloned();
        Err(Error::NoPackage { name: name.clone(), location: registry.store().location(), similar })
    }

    fn read(&self, name: &PackageName, version: &Version) -> Result<ReleaseRecord, Error> {
        let locked = self.lock.get(name, version);
        if let Some(locked) = locked
            && let Some(bytes) = self.sources.cache().read(&locked.release, MAX_RELEASE)?
        {
            let file = self.sources.cache().path(&locked.release).display().to_string();
            let record = Release::decode(&file, bytes)?;
            return self.as_locked(locked, record);
        }
        let registry = self.sources.registry_of(name)?;
        let Some(record) = registry.release(name, version)? else {
            let location = registry.store().location();
            return Err(Error::NoRelease { id: Box::new(PackageId::new(name, version)), location });
        };
        match locked {
            Some(locked) => self.as_locked(locked, record),
            None => Ok(record),
        }
    }

    /// Checks that a record is the one that was locked: a release never changes.
    fn as_locked(&self, locked: &Locked, record: ReleaseRecord) -> Result<ReleaseRecord, Error> {
        if record.digest == locked.release && record.release.id() == locked.id() {
            return Ok(record);
        }
        Err(Error::LockedDiffers { id: Box::new(locked.id()), locked: locked.release, found: record.digest })
    }
}

impl Catalog for ProjectCatalog<'_> {
    fn versions(&self, name: &PackageName) -> Result<Arc<[Version]>, Error> {
        if let Some(versions) = self.versions.borrow().get(name) {
            return Ok(versions.clone());
        }
        let location = self.sources.location_of(name)?;
        let of_package = self.lock.of(name).filter(|locked| locked.registry == *location);
        let locked: Vec<Version> = of_package.map(|locked| locked.version.clone()).collect();
        let versions: Arc<[Version]> = match self.preference {
            Preference::LockedOnly if locked.is_empty() => return Err(Error::NotLocked { name: name.clone() }),
            Preference::LockedOnly => locked.into(),
            Preference::Highest => self.list(name)?.into(),
            Preference::LockedFirst => {
                let others = self.list(name)?.into_iter().filter(|version| !locked.contains(version));
                let others: Vec<Version> = others.collect();
                locked.iter().cloned().chain(others).collect()
            }
        };
        self.versions.borrow_mut().insert(name.clone(), versions.clone());
        Ok(versions)
    }

    fn release(&self, name: &PackageName, version: &Version) -> Result<Arc<ReleaseRecord>, Error> {
        let key = (name.clone(), version.clone());
        if let Some(record) = self.releases.borrow().get(&key) {
            return Ok(record.clone());
        }
        let record = Arc::new(self.read(name, version)?);
        self.releases.borrow_mut().insert(key, record.clone());
        Ok(record)
    }
}
