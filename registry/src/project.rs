//! A project: a manifest, its lock, its registries and the cache, and what they come to together.

mod catalog;
mod changes;
mod locate;
mod resolved;
mod signed;
mod sources;
mod update;
mod yanked;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::error::Error;
use crate::lock::{Lock, Locked};
use crate::manifest::{MANIFEST_FILE, Manifest};
use crate::name::{Namespace, PackageName};
use crate::resolve::{Platform, Selection, resolve};
use crate::trust::Trust;

use catalog::{Preference, ProjectCatalog};
use changes::refuse_downgrade;
use sources::Sources;

pub use changes::Change;
pub use resolved::{FileRef, Resolved, ResolvedAdapter, ResolvedBackbone, ResolvedHead, ResolvedPlugin, ResolvedTask};
pub use update::{Outdated, OutdatedReport, Update, Updated, Writing};

/// How the lock is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Choose the highest versions that fit, and write the lock.
    Update,
    /// Keep what is locked and choose only what is not, or no longer fits; write the lock if it changes.
    KeepLocked,
    /// The lock must be there and fit; nothing is chosen or written.
    Frozen,
}

/// What a project is opened with; the default is what a user's command needs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What plugins must fit; this host when absent.
    pub platform: Option<Platform>,
    /// Where content is kept; the user's cache when absent.
    pub cache: Option<Cache>,
    /// Whether a locked package may move to a lower version.
    pub allow_downgrade: bool,
    /// What may be let in; the user's `trust.toml` when absent.
    pub trust: Option<Trust>,
    /// Packages whose signer may be another than the lock's.
    pub accept_signers: BTreeSet<PackageName>,
}

/// A project on disk.
#[derive(Debug)]
pub struct Project {
    path: PathBuf,
    manifest: Manifest,
    platform: Platform,
    sources: Sources,
    allow_downgrade: bool,
    trust: Trust,
    accept_signers: BTreeSet<PackageName>,
}

impl Project {
    /// Opens the project of a manifest, or of the folder that has one.
    ///
    /// # Errors
    /// The manifest or the user's `trust.toml` cannot be read or is wrong. Registries and lock are not looked at yet.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, Options::default())
    }

    /// Opens a project for another platform, with another cache or another trust.
    ///
    /// # Errors
    /// As [`Project::open`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let given = path.as_ref();
        let path =
            std::path::absolute(given).map_err(|source| Error::Io { action: "find", path: given.into(), source })?;
        let path = if path.is_dir() { path.join(MANIFEST_FILE) } else { path };
        let manifest = Manifest::read(&path)?;
        Self::with_manifest(path, manifest, options)
    }

    /// Opens the project that a recipe is made with ([`Manifest::read_part`]). Its lock lies beside the recipe, under the recipe's
    /// name.
    ///
    /// # Errors
    /// As [`Project::open`].
    pub fn open_recipe(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let given = path.as_ref();
        let path =
            std::path::absolute(given).map_err(|source| Error::Io { action: "find", path: given.into(), source })?;
        let manifest = Manifest::read_part(&path)?;
        Self::with_manifest(path, manifest, options)
    }

    /// A project whose manifest stands in another file, or nowhere: `path` says what its paths are relative to and what its lock is
    /// called (`recipe.lock` for `recipe.toml`). It is absolute.
    ///
    /// # Errors
    /// The user's `trust.toml` cannot be read or is wrong.
    pub fn with_manifest(path: PathBuf, manifest: Manifest, options: Options) -> Result<Self, Error> {
        let root = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        let cache = options.cache.map_or_else(Cache::of_user, Ok)?;
        let sources = Sources::new(root, manifest.registries.clone(), cache);
        let platform = options.platform.unwrap_or_else(Platform::host);
        let trust = options.trust.map_or_else(Trust::of_user, Ok)?;
        let Options { allow_downgrade, accept_signers, .. } = options;
        Ok(Self { path, manifest, platform, sources, allow_downgrade, trust, accept_signers })
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest's absolute path.
    #[must_use]
    pub fn manifest_path(&self) -> &Path {
        &self.path
    }

    /// The lock's absolute path: beside the manifest, `kadapter.lock` for `kadapter.toml`.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        self.sources.cache()
    }

    /// The registry of a package's namespace, opened once.
    ///
    /// # Errors
    /// `[registries]` does not name the namespace, or its registry cannot be opened.
    pub fn registry_of(&self, package: &PackageName) -> Result<std::sync::Arc<crate::index::Registry>, Error> {
        self.sources.registry_of(package)
    }

    /// Uses an opened registry for a namespace, instead of opening the one that its location names.
    pub fn use_registry(&self, namespace: &Namespace, registry: std::sync::Arc<crate::index::Registry>) {
        self.sources.use_registry(namespace, registry);
    }

    /// Finds everything that the project runs, checks the lock and writes it where the mode says so.
    ///
    /// With a lock that fits, nothing is listed: only the records and package files of locked releases are read, from
    /// the cache or the registry, each checked against its digest. Larger files are located and measured, not read;
    /// whoever loads them checks their digests.
    ///
    /// # Errors
    /// The lock does not fit ([`LockMode::Frozen`]), nothing fits, a version would move down, content is missing or
    /// is not what its digest promises.
    pub fn resolve(&self, mode: LockMode) -> Result<Resolved, Error> {
        let (selection, lock) = self.select(mode)?;
        let resolved = self.locate(&selection, lock)?;
        Ok(resolved)
    }

    /// Chooses releases and brings the lock up to date, without asking whether their files are at hand. Every release is
    /// judged by the operator's trust here, before anything of it is opened.
    ///
    /// # Errors
    /// As [`Project::resolve`], less what concerns files; a release that is not let in.
    pub fn select(&self, mode: LockMode) -> Result<(Selection, Lock), Error> {
        let path = self.lock_path();
        let old = Lock::read(&path)?;
        let (selection, lock) = match (mode, &old) {
            (LockMode::Frozen, None) => return Err(Error::NoLock { path }),
            (LockMode::Frozen, Some(old)) => {
                let selection = match self.solve(old, Preference::LockedOnly) {
                    Err(error) if error.is_about_choice() => {
                        return Err(Error::StaleLock { path, source: Box::new(error) });
                    }
                    answer => answer?,
                };
                let lock = self.lock_of(&selection, Some(old))?;
                return match old.packages().iter().find(|entry| !lock.has(entry)) {
                    None => Ok((selection, lock)),
                    Some(entry) => Err(Error::StaleEntry { path, id: Box::new(entry.id()) }),
                };
            }
            (LockMode::Update, _) | (LockMode::KeepLocked, None) => {
                let preference = Preference::Highest { yanked_last: self.allow_downgrade };
                let selection = self.solve(old.as_ref().unwrap_or(&Lock::default()), preference)?;
                let lock = self.lock_of(&selection, old.as_ref())?;
                (selection, lock)
            }
            (LockMode::KeepLocked, Some(old)) => {
                let selection = match self.solve(old, Preference::LockedOnly) {
                    Err(error) if error.is_about_choice() => self.solve(old, Preference::LockedFirst)?,
                    answer => answer?,
                };
                let lock = self.lock_of(&selection, Some(old))?;
                (selection, lock)
            }
        };
        if let Some(old) = &old {
            self.refuse_downgrade(old, &lock, &selection)?;
        }
        if old.as_ref() != Some(&lock) {
            lock.write(&path)?;
        }
        Ok((selection, lock))
    }

    fn solve(&self, lock: &Lock, preference: Preference<'_>) -> Result<Selection, Error> {
        let catalog = ProjectCatalog::new(&self.sources, lock, preference, self.yanks_count());
        let mut selection = resolve(&self.manifest, &self.platform, &catalog)?;
        selection.warnings.extend(catalog.into_warnings());
        Ok(selection)
    }

    /// Refuses a lock in which something would be lower than before, unless that is allowed.
    fn refuse_downgrade(&self, old: &Lock, new: &Lock, selection: &Selection) -> Result<(), Error> {
        if self.allow_downgrade || old == new {
            return Ok(());
        }
        // Where the old lock does not fit the manifest any more, the locks alone are compared.
        let before = self.solve(old, Preference::LockedOnly).ok();
        refuse_downgrade(old, new, before.as_ref(), selection)
    }

    fn lock_of(&self, selection: &Selection, old: Option<&Lock>) -> Result<Lock, Error> {
        let mut packages = Vec::new();
        for record in selection.records() {
            packages.push(self.entry(record, self.signer_of(record, old)?)?);
        }
        Ok(Lock::new(packages))
    }

    /// The entry of a release in a lock.
    fn entry(
        &self,
        record: &crate::release::ReleaseRecord,
        signer: Option<crate::key::KeyId>,
    ) -> Result<Locked, Error> {
        let release = &record.release;
        Ok(Locked {
            name: release.name.clone(),
            version: release.version.clone(),
            kind: release.kind(),
            registry: self.sources.location_of(&release.name)?.clone(),
            release: record.digest,
            signer,
        })
    }
}
