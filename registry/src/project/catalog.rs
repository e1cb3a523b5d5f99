//! The releases that a project may choose from: locked ones, published ones, or both in an order.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::sources::Sources;
use crate::digest::Digest;
use crate::error::Error;
use crate::id::PackageId;
use crate::lock::{Lock, Locked};
use crate::name::PackageName;
use crate::release::{MAX_RELEASE, Release, ReleaseRecord};
use crate::resolve::Catalog;
use crate::text::nearest;
use crate::version::Version;
use crate::warning::Warning;
use crate::yank::{self, Counts};

/// Which versions come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preference<'a> {
    /// Only locked versions exist. Nothing is listed, and nobody is asked for yanks.
    LockedOnly,
    /// Locked versions, then all others, highest first.
    LockedFirst,
    /// All versions, highest first.
    Highest {
        /// Whether a locked version that is yanked comes last, even behind lower ones.
        yanked_last: bool,
    },
    /// These as if all were to be updated, of the others the locked versions first.
    Named {
        /// The packages.
        packages: &'a BTreeSet<PackageName>,
        /// As in [`Preference::Highest`].
        yanked_last: bool,
    },
    /// Of one package this version, then those in the lock if that is wanted; of the others the locked versions first.
    Exactly {
        /// The package.
        package: &'a PackageName,
        /// The version.
        version: &'a Version,
        /// Whether locked versions of it may be chosen, too.
        or_locked: bool,
    },
}

/// How the versions of one package are put in order.
enum Order<'a> {
    LockedOnly,
    LockedFirst,
    Highest { yanked_last: bool },
    Exactly { version: &'a Version, or_locked: bool },
}

impl<'a> Preference<'a> {
    fn of(self, name: &PackageName) -> Order<'a> {
        match self {
            Self::LockedOnly => Order::LockedOnly,
            Self::Highest { yanked_last } => Order::Highest { yanked_last },
            Self::Named { packages, yanked_last } if packages.contains(name) => Order::Highest { yanked_last },
            Self::Exactly { package, version, or_locked } if package == name => Order::Exactly { version, or_locked },
            Self::LockedFirst | Self::Named { .. } | Self::Exactly { .. } => Order::LockedFirst,
        }
    }
}

pub(super) struct ProjectCatalog<'a> {
    sources: &'a Sources,
    lock: &'a Lock,
    preference: Preference<'a>,
    counts: Counts<'a>,
    versions: RefCell<BTreeMap<PackageName, Arc<[Version]>>>,
    releases: RefCell<BTreeMap<(PackageName, Version), Arc<ReleaseRecord>>>,
    yanks: RefCell<BTreeMap<PackageId, Option<String>>>,
    warnings: RefCell<Vec<Warning>>,
}

impl<'a> ProjectCatalog<'a> {
    pub(super) fn new(sources: &'a Sources, lock: &'a Lock, preference: Preference<'a>, counts: Counts<'a>) -> Self {
        Self {
            sources,
            lock,
            preference,
            counts,
            versions: RefCell::default(),
            releases: RefCell::default(),
            yanks: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// What was met on the way that stops nothing.
    pub(super) fn into_warnings(self) -> Vec<Warning> {
        self.warnings.into_inner()
    }

    /// The locked versions of a package, highest first, as far as they are from where the manifest says.
    fn locked(&self, name: &PackageName) -> Result<Vec<Version>, Error> {
        let location = self.sources.location_of(name)?;
        let of_package = self.lock.of(name).filter(|locked| locked.registry == *location);
        Ok(of_package.map(|locked| locked.version.clone()).collect())
    }

    /// Asks the registry, once, why a release is yanked.
    fn ask(&self, record: &ReleaseRecord) -> Result<Option<String>, Error> {
        let id = record.release.id();
        if let Some(yanked) = self.yanks.borrow().get(&id) {
            return Ok(yanked.clone());
        }
        let registry = self.sources.registry_of(&id.name)?;
        let standing = yank::standing_of(registry.store(), record, self.counts)?;
        let yanked = standing.yanked().map(str::to_owned);
        self.warnings.borrow_mut().extend(Warning::of_notes(&id, standing));
        self.yanks.borrow_mut().insert(id, yanked.clone());
        Ok(yanked)
    }

    /// Puts locked versions that are yanked behind all others.
    fn yanked_last(&self, name: &PackageName, versions: Vec<Version>) -> Result<Vec<Version>, Error> {
        let locked = self.locked(name)?;
        let mut last = Vec::new();
        for version in locked.into_iter().filter(|version| versions.contains(version)) {
            if self.ask(&*self.release(name, &version)?)?.is_some() {
                last.push(version);
            }
        }
        let others = versions.into_iter().filter(|version| !last.contains(version)).collect::<Vec<_>>();
        Ok(others.into_iter().chain(last.iter().cloned()).collect())
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
        let locked = self.locked(name)?;
        let versions: Arc<[Version]> = match self.preference.of(name) {
            Order::LockedOnly if locked.is_empty() => return Err(Error::NotLocked { name: name.clone() }),
            Order::LockedOnly => locked.into(),
            Order::Highest { yanked_last: false } => self.list(name)?.into(),
            Order::Highest { yanked_last: true } => self.yanked_last(name, self.list(name)?)?.into(),
            Order::LockedFirst => {
                let others = self.list(name)?.into_iter().filter(|version| !locked.contains(version));
                let others: Vec<Version> = others.collect();
                locked.iter().cloned().chain(others).collect()
            }
            Order::Exactly { version, or_locked } => {
                let others = locked.into_iter().filter(|locked| or_locked && locked != version);
                std::iter::once(version.clone()).chain(others).collect()
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

    fn yanked(&self, record: &ReleaseRecord) -> Result<Option<String>, Error> {
        let PackageId { name, version } = record.release.id();
        // What is locked keeps working; whoever locks or updates is told, see `Project::yank_warnings`.
        if self.preference == Preference::LockedOnly || self.locked(&name)?.contains(&version) {
            return Ok(None);
        }
        self.ask(record)
    }

    fn known_version(&self, name: &PackageName, release: &Digest) -> Option<Version> {
        if let Some(locked) = self.lock.of(name).find(|locked| locked.release == *release) {
            return Some(locked.version.clone());
        }
        let read = self.releases.borrow();
        let mut records = read.values().filter(|record| record.release.name == *name);
        records.find(|record| record.digest == *release).map(|record| record.release.version.clone())
    }
}
