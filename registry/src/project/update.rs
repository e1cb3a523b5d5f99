//! Moving a project to newer releases: all of it or some packages, and what could be moved.

use std::collections::BTreeSet;

use super::Project;
use super::catalog::Preference;
use super::changes::{Change, changes};
use crate::error::Error;
use crate::lock::Lock;
use crate::manifest::Wanted;
use crate::name::PackageName;
use crate::resolve::{Reason, Rejection, Selection};
use crate::text::nearest;
use crate::version::Version;
use crate::warning::Warning;
use crate::yank;

/// What is to be updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Everything.
    All,
    /// These packages. The others keep their locked releases unless what these come to needs others.
    Packages(BTreeSet<PackageName>),
    /// One package to this very version.
    Exactly {
        /// The package.
        package: PackageName,
        /// The version.
        version: Version,
    },
}

/// Whether what was found out is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// The lock is written if it changes.
    Lock,
    /// Nothing is written.
    Nothing,
}

/// What an update comes to.
#[derive(Debug, Clone)]
pub struct Updated {
    /// What moves, sorted by package.
    pub changes: Vec<Change>,
    /// What was chosen, with every rejected candidate.
    pub selection: Selection,
    /// The new lock.
    pub lock: Lock,
}

/// One locked release and the versions that could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outdated {
    /// The package.
    pub name: PackageName,
    /// What the lock has.
    pub locked: Version,
    /// What `update` would choose.
    pub fitting: Version,
    /// The highest version that is neither a pre-release nor yanked, whether it fits or not.
    pub highest: Version,
    /// Why the locked release is yanked; none when it is not.
    pub yanked: Option<String>,
    /// Why the highest version is not chosen, where it was a candidate.
    pub reason: Option<Reason>,
}

/// What [`Project::outdated`] has found.
#[derive(Debug, Clone)]
pub struct OutdatedReport {
    /// Releases that are not the highest there are, or are yanked, sorted by package.
    pub packages: Vec<Outdated>,
    /// What whoever asked should be told though nothing failed.
    pub warnings: Vec<Warning>,
}

impl Project {
    /// Moves the project, or some packages of it, to the highest releases that fit.
    ///
    /// Updating twice is updating once. A package that is not named moves only when the named ones cannot be what they come
    /// to otherwise.
    ///
    /// # Errors
    /// Nothing fits, a version would move down, a package is none of the project's, or a registry cannot be read. The lock
    /// is as it was then.
    pub fn update(&self, update: &Update, writing: Writing) -> Result<Updated, Error> {
        let path = self.lock_path();
        let old = Lock::read(&path)?;
        let yanked_last = self.allow_downgrade;
        let lock = match (&old, update) {
            (None, Update::All) => &Lock::default(),
            (None, _) => return Err(Error::NoLock { path }),
            (Some(lock), _) => lock,
        };
        let mut selection = match update {
            Update::All => self.solve(lock, Preference::Highest { yanked_last })?,
            Update::Packages(packages) => {
                packages.iter().try_for_each(|name| self.check_used(lock, name))?;
                self.solve(lock, Preference::Named { packages, yanked_last })?
            }
            Update::Exactly { package, version } => {
                self.check_used(lock, package)?;
                self.solve_exactly(lock, package, version)?
            }
        };
        let new = self.lock_of(&selection, Some(lock))?;
        if let Some(old) = &old {
            self.refuse_downgrade(old, &new, &selection)?;
        }
        if writing == Writing::Lock && old.as_ref() != Some(&new) {
            new.write(&path)?;
        }
        selection.warnings.extend(self.yank_warnings(&selection));
        Ok(Updated { changes: changes(lock, &new), selection, lock: new })
    }

    /// Chooses this version wherever the package is used; where several releases of it stand side by side, the others may
    /// stay if the version cannot be all of them.
    fn solve_exactly(&self, lock: &Lock, package: &PackageName, version: &Version) -> Result<Selection, Error> {
        let solve = |or_locked| self.solve(lock, Preference::Exactly { package, version, or_locked });
        let refusal = match solve(false) {
            Err(error) if error.is_about_choice() && lock.of(package).count() > 1 => error,
            answer => return answer,
        };
        let selection = match solve(true) {
            Err(error) if error.is_about_choice() => return Err(refusal),
            answer => answer?,
        };
        let is_it = |record: &crate::release::ReleaseRecord| {
            (&record.release.name, &record.release.version) == (package, version)
        };
        if selection.records().any(|record| is_it(record)) { Ok(selection) } else { Err(refusal) }
    }

    /// Checks that a package is locked or that the manifest wants it.
    fn check_used(&self, lock: &Lock, name: &PackageName) -> Result<(), Error> {
        let wanted = self.manifest.wanted().map(|Wanted { package, .. }| package);
        let known: BTreeSet<&PackageName> = lock.packages().iter().map(|locked| &locked.name).chain(wanted).collect();
        if known.contains(name) {
            return Ok(());
        }
        let known: Vec<PackageName> = known.into_iter().cloned().collect();
        let texts: Vec<String> = known.iter().map(PackageName::to_string).collect();
        let text = name.to_string();
        let similar = nearest(&text, texts.iter().map(String::as_str));
        let nearest = similar.and_then(|similar| known.iter().find(|name| name.to_string() == similar)).cloned();
        Err(Error::NotUsed { name: name.clone(), known, nearest })
    }

    /// Compares the lock with what [`Project::update`] would choose and with the highest versions there are; nothing is
    /// written.
    ///
    /// # Errors
    /// There is no lock, it is wrong, nothing fits, or a registry cannot be read.
    pub fn outdated(&self) -> Result<OutdatedReport, Error> {
        let path = self.lock_path();
        let lock = Lock::read(&path)?.ok_or(Error::NoLock { path })?;
        let selection = self.solve(&lock, Preference::Highest { yanked_last: false })?;
        // Nothing is let in here, so nobody's signature is asked for: whoever updates is told of those.
        let entries: Result<Vec<_>, Error> = selection.records().map(|record| self.entry(record, None)).collect();
        let changes = changes(&lock, &Lock::new(entries?));
        let mut warnings = selection.warnings.clone();
        let mut packages = Vec::new();
        for locked in lock.packages() {
            let change = changes
                .iter()
                .find(|change| change.name == locked.name && change.from.as_ref() == Some(&locked.version));
            let fitting = match change {
                Some(Change { to: Some(to), .. }) => to.clone(),
                // It is not used any more.
                Some(Change { to: None, .. }) => continue,
                None => locked.version.clone(),
            };
            let highest = self.highest(&locked.name)?.unwrap_or_else(|| fitting.clone());
            let highest = highest.max(fitting.clone()).max(locked.version.clone());
            let registry = self.registry_of(&locked.name)?;
            let standing = yank::standing(registry.store(), &locked.id(), || Ok(locked.release), self.yanks_count())?;
            let yanked = standing.yanked().map(str::to_owned);
            warnings.extend(Warning::of_notes(&locked.id(), standing));
            if highest == locked.version && fitting == locked.version && yanked.is_none() {
                continue;
            }
            let is_highest = |rejection: &&Rejection| (&rejection.name, &rejection.version) == (&locked.name, &highest);
            let reason = selection.rejected.iter().find(is_highest).map(|rejection| rejection.reason.clone());
            let (name, locked) = (locked.name.clone(), locked.version.clone());
            packages.push(Outdated { name, locked, fitting, highest, yanked, reason });
        }
        Ok(OutdatedReport { packages, warnings })
    }

    /// The highest version of a package that is neither a pre-release nor yanked.
    fn highest(&self, name: &PackageName) -> Result<Option<Version>, Error> {
        let registry = self.registry_of(name)?;
        for version in registry.versions(name)?.into_iter().filter(|version| !version.is_prerelease()) {
            if registry.standing(name, &version, self.yanks_count())?.yanked().is_none() {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }
}
