//! Resolution: from what a manifest wants to one release of everything that can really work together.
//!
//! The backbone comes first, since adapters and tasks name it by digest; then the tasks, since each names its adapters
//! by release digest; then the adapters that no task pins; last the plugins, where all requirements on one package
//! meet in as few releases as possible. Of each package the candidates come in the order that the [`Catalog`] prefers, and the first that fits wins.
//! Every candidate that is passed over is kept with the reason.

mod explain;
mod plugins;
mod reject;
mod solve;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::Error;
use crate::id::PackageId;
use crate::manifest::Manifest;
use crate::name::{Alias, PackageName};
use crate::release::ReleaseRecord;
use crate::target::Target;
use crate::version::{AbiVersion, Version};
use crate::warning::Warning;

pub use explain::{Explained, explain};
pub use reject::{Chosen, NoFit, Reason, Rejection, Trained, Untrained};

/// The releases to choose from.
pub trait Catalog {
    /// The versions of a package, the preferred one first.
    ///
    /// # Errors
    /// The package does not exist, or its registry cannot be read.
    fn versions(&self, name: &PackageName) -> Result<Arc<[Version]>, Error>;

    /// The record of one of those versions.
    ///
    /// # Errors
    /// It cannot be read or is not what it should be.
    fn release(&self, name: &PackageName, version: &Version) -> Result<Arc<ReleaseRecord>, Error>;

    /// Why a release must not be chosen though it is there; none when it may. Asked only of what would be chosen otherwise.
    ///
    /// # Errors
    /// That cannot be found out.
    fn yanked(&self, record: &ReleaseRecord) -> Result<Option<String>, Error> {
        let _ = record;
        Ok(None)
    }

    /// The version with this release digest, where that is known without reading anything.
    fn known_version(&self, name: &PackageName, release: &Digest) -> Option<Version> {
        let _ = (name, release);
        None
    }
}

/// What plugins must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The system that libraries must be for.
    pub target: Target,
    /// The ABI that the host speaks; a plugin fits when its major version is the same.
    pub abi: AbiVersion,
}

impl Platform {
    /// This system, and the first version of the ABI.
    #[must_use]
    pub fn host() -> Self {
        Self { target: Target::host(), abi: AbiVersion { major: 1, minor: 0 } }
    }
}

/// One release of everything.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The backbone.
    pub backbone: Arc<ReleaseRecord>,
    /// The plugins that the adapters need: of each package one release, or several of different majors.
    pub plugins: BTreeMap<PackageId, Arc<ReleaseRecord>>,
    /// The plugin of each adapter, a key of [`Selection::plugins`], by the manifest's names.
    pub plugin_of: BTreeMap<Alias, PackageId>,
    /// The adapters, by the manifest's names.
    pub adapters: BTreeMap<Alias, Arc<ReleaseRecord>>,
    /// The tasks that are packages, by the manifest's names.
    pub tasks: BTreeMap<Alias, SelectedTask>,
    /// Candidates that were preferred and did not fit.
    pub rejected: Vec<Rejection>,
    /// What whoever asked should be told though nothing failed.
    pub warnings: Vec<Warning>,
}

/// A task's release and the variant that its stack selects.
#[derive(Debug, Clone)]
pub struct SelectedTask {
    /// The release.
    pub record: Arc<ReleaseRecord>,
    /// The variant's stack, in the names of the task package: position for position the manifest's stack.
    pub names: Vec<Alias>,
}

impl Selection {
    /// Every release once, in no particular order.
    pub fn records(&self) -> impl Iterator<Item = &Arc<ReleaseRecord>> {
        let tasks = self.tasks.values().map(|task| &task.record);
        std::iter::once(&self.backbone).chain(self.plugins.values()).chain(self.adapters.values()).chain(tasks)
    }
}

/// Chooses one release of everything that a manifest wants.
///
/// # Errors
/// [`Error::NoFit`] with every candidate and its reason when nothing fits, and whatever the catalog meets.
pub fn resolve(manifest: &Manifest, platform: &Platform, catalog: &dyn Catalog) -> Result<Selection, Error> {
    solve::Solver::new(manifest, platform, catalog).solve()
}
