//! Why a candidate was passed over, and what is said when none is left.

use std::fmt;

use semver::VersionReq;

use super::explain::lines;
use crate::digest::Digest;
use crate::id::PackageId;
use crate::name::{Alias, PackageName};
use crate::package::{Kind, stack_text};
use crate::target::Target;
use crate::text::list;
use crate::version::{AbiVersion, Version};

/// A candidate that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// Why.
    pub reason: Reason,
}

/// Why a candidate was passed over. `Display` completes "the version …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is its sentence")]
pub enum Reason {
    #[error("is outside {}", list(.wanted))]
    Requirement { wanted: Vec<VersionReq> },
    #[error("is of schema {found}, this kadapter knows schema {known}")]
    Schema { found: u32, known: u32 },
    #[error("is a {found}, not a {wanted}")]
    Kind { found: Kind, wanted: Kind },
    #[error(
        "belongs to another backbone, `{}` with the weights `{}` instead of `{}`",
        .package, .found.short(), .chosen.short()
    )]
    Backbone { package: PackageName, found: Digest, chosen: Digest },
    #[error("is built for ABI {found}, this host speaks {host}")]
    Abi { found: AbiVersion, host: AbiVersion },
    #[error("has no library for `{host}`, only for {}", list(.found))]
    Target { found: Vec<Target>, host: Target },
    #[error("needs `{plugin}` {wanted}, of which no release fits this host")]
    Plugin { plugin: PackageName, wanted: VersionReq },
    #[error("has no variant for the stack {}, only for {}", stack_text(.wanted), stacks_text(.found))]
    Variant { wanted: Vec<Alias>, found: Vec<Vec<String>> },
    #[error("was trained with another release of `{alias}`, {needed}, than {chosen}")]
    Adapter { alias: Alias, needed: Trained, chosen: Chosen },
    #[error("was trained with {version} of `{alias}`, which is yanked: {reason}")]
    AdapterYanked { alias: Alias, version: Version, reason: String },
    #[error("would break [tasks.{task}], which was trained on {on}")]
    Trained { task: Alias, on: Version },
    #[error("is yanked: {reason}")]
    Yanked { reason: String },
    #[error("leaves no version of `{name}` for {}", .wanted_by.join(" and "))]
    Stuck { name: PackageName, wanted_by: Vec<String> },
}

/// The release of an adapter that a task was trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trained {
    /// The version, where it could be found out.
    pub version: Option<Version>,
    /// The release digest.
    pub release: Digest,
}

impl fmt::Display for Trained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(formatter, "{version} (`{}`)", self.release.short()),
            None => write!(formatter, "`{}`", self.release.short()),
        }
    }
}

/// The release behind an adapter's name, when a task needs another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// Another task or the manifest has decided.
    Decided {
        /// The version.
        version: Version,
        /// The release digest.
        release: Digest,
    },
    /// The needed release is none of those that fit the manifest's requirement and the backbone.
    NotAmongFitting {
        /// The versions that fit.
        versions: Vec<Version>,
    },
}

impl fmt::Display for Chosen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decided { version, release } => write!(formatter, "{version} (`{}`)", release.short()),
            Self::NotAmongFitting { versions } => {
                let versions: Vec<String> = versions.iter().map(Version::to_string).collect();
                write!(formatter, "those that fit here: {}", versions.join(", "))
            }
        }
    }
}

/// Writes stacks for a message.
fn stacks_text(stacks: &[Vec<String>]) -> String {
    let texts: Vec<String> = stacks.iter().map(|stack| stack_text(stack)).collect();
    texts.join(", ")
}

/// No candidate of a package is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoFit {
    /// The package.
    pub name: PackageName,
    /// The task that wants it, where it is one.
    pub task: Option<Alias>,
    /// Who wants it: sections of the manifest, or adapters.
    pub wanted_by: Vec<String>,
    /// Every candidate with its reason, in the order in which they were tried.
    pub rejections: Vec<Rejection>,
}

impl fmt::Display for NoFit {
    /// One line; when the candidates have different reasons, one line more for each.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Could not find a version of `{}` for {}:", self.name, self.wanted_by.join(" and "))?;
        if self.rejections.is_empty() {
            return formatter.write_str(" there is none");
        }
        let lines = lines(self.rejections.iter());
        let separator = if lines.len() == 1 { " " } else { "\n  " };
        lines.iter().try_for_each(|line| write!(formatter, "{separator}{line}"))
    }
}

impl NoFit {
    /// The first reason that is more than a requirement: what most likely has to change.
    #[must_use]
    pub fn main_reason(&self) -> Option<&Reason> {
        let reasons = || self.rejections.iter().map(|rejection| &rejection.reason);
        reasons().find(|reason| !matches!(reason, Reason::Requirement { .. })).or_else(|| reasons().next())
    }
}

/// An adapter would be another release than the one that a task was trained on, and no release of the task fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrained {
    /// The task.
    pub task: Alias,
    /// The release of it that would be chosen.
    pub release: PackageId,
    /// The adapter.
    pub adapter: Alias,
    /// The release of it that would be used.
    pub wanted: PackageId,
    /// The release of it that the task was trained on.
    pub trained: Trained,
    /// Every candidate of the task with its reason, in the order in which they were tried.
    pub rejections: Vec<Rejection>,
}

impl fmt::Display for Untrained {
    /// One line; when the task has several releases with different reasons, one line more for each.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, release, adapter, wanted, trained, .. } = self;
        write!(formatter, "Could not use `{wanted}` as [adapters.{adapter}]: [tasks.{task}] stacks it, and ")?;
        match &trained.version {
            Some(version) => write!(formatter, "`{release}` was trained on `{} {version}`", wanted.name)?,
            None => write!(formatter, "`{release}` was trained on another release, `{}`", trained.release.short())?,
        }
        let lines = lines(self.rejections.iter());
        if lines.len() > 1 {
            lines.iter().try_for_each(|line| write!(formatter, "\n  {line}"))?;
        }
        Ok(())
    }
}
