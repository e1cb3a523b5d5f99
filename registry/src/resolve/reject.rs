//! Why a candidate was passed over, and what is said when none is left.

use std::fmt;

use semver::VersionReq;

use crate::digest::Digest;
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
    #[error(
        "was trained with another release of `{alias}`, `{}`, than {chosen}",
        .needed.short()
    )]
    Adapter { alias: Alias, needed: Digest, chosen: Chosen },
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
        // Neighbours with one reason share a line, so that a hundred old versions are not a hundred lines.
        let mut groups: Vec<(String, Vec<&Version>)> = Vec::new();
        for rejection in &self.rejections {
            let reason = rejection.reason.to_string();
            match groups.last_mut() {
                Some((last, versions)) if *last == reason => versions.push(&rejection.version),
                _ => groups.push((reason, vec![&rejection.version])),
            }
        }
        let separator = if groups.len() == 1 { " " } else { "\n  " };
        for (reason, versions) in &groups {
            let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
            let each = if versions.len() == 1 { "" } else { ": each" };
            write!(formatter, "{separator}{}{each} {reason}", versions.join(", "))?;
        }
        Ok(())
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
