//! The lock, `kadapter.lock`: exactly which releases a project gets, on every platform.
//!
//! ```toml
//! schema = 1
//!
//! [[package]]
//! name = "kadapter/factual"
//! version = "1.0.0"
//! kind = "adapter"
//! registry = "registry/seed"
//! release = "sha256:…"          # digest of release.json, which names every file by digest
//! signer = "…"                  # key id of the signature that was accepted, if there was one
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Error;
use crate::files;
use crate::id::PackageId;
use crate::key::KeyId;
use crate::location::RegistryLocation;
use crate::name::PackageName;
use crate::package::Kind;
use crate::text;
use crate::version::Version;

/// The file that pins a project's releases, beside its manifest.
pub const LOCK_FILE: &str = "kadapter.lock";
/// The longest lock, in bytes.
const MAX_LOCK: u64 = 4 * 1024 * 1024;
/// The schema that this crate reads and writes.
const SCHEMA: u32 = 1;
/// What stands above the content.
const PREAMBLE: &str = "# Written by kadapter; change it with `kadapter lock` or `kadapter lock --update`.\n";

/// The releases of a project, sorted by name and version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    packages: Vec<Locked>,
}

/// One release of a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The kind.
    pub kind: Kind,
    /// The registry, as the manifest writes it.
    pub registry: RegistryLocation,
    /// The digest of the release record.
    pub release: Digest,
    /// The key whose signature was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<KeyId>,
}

impl Locked {
    /// The package and its version.
    #[must_use]
    pub fn id(&self) -> PackageId {
        PackageId::new(&self.name, &self.version)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema: u32,
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    packages: Vec<Locked>,
}

impl Lock {
    /// Makes a lock of these releases; the same one given twice counts once.
    #[must_use]
    pub fn new(packages: impl IntoIterator<Item = Locked>) -> Self {
        let mut packages: Vec<Locked> = packages.into_iter().collect();
        packages.sort();
        packages.dedup();
        Self { packages }
    }

    /// The releases, sorted by name and version.
    #[must_use]
    pub fn packages(&self) -> &[Locked] {
        &self.packages
    }

    /// The locked versions of one package, highest first.
    pub fn of<'a>(&'a self, name: &'a PackageName) -> impl Iterator<Item = &'a Locked> {
        self.packages.iter().rev().filter(move |locked| locked.name == *name)
    }

    /// The entry of one release.
    #[must_use]
    pub fn get(&self, name: &PackageName, version: &Version) -> Option<&Locked> {
        self.packages.iter().find(|locked| locked.name == *name && locked.version == *version)
    }

    /// Tells whether an entry stands in this lock, or stands there with a signer that it lacks.
    #[must_use]
    pub fn has(&self, entry: &Locked) -> bool {
        let unsigned = |locked: &Locked| Locked { signer: None, ..locked.clone() };
        let same = |locked: &Locked| if entry.signer.is_none() { unsigned(locked) == *entry } else { locked == entry };
        self.packages.iter().any(same)
    }

    /// Reads a lock's text. `file` names it in errors.
    ///
    /// # Errors
    /// One sentence with the line for what is not TOML or not in the schema; a release that stands in it twice.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Error> {
        text::check_schema(file, text, SCHEMA)?;
        let wire: Wire = text::from_toml(file, text)?;
        let mut seen = BTreeSet::new();
        for locked in &wire.packages {
            if !seen.insert((&locked.name, &locked.version)) {
                return Err(Error::LockedTwice { file: file.to_owned(), id: Box::new(locked.id()) });
            }
        }
        Ok(Self::new(wire.packages))
    }

    /// Writes the lock's text, always the same for the same releases.
    ///
    /// # Errors
    /// None in practice: every part of a lock can be written.
    pub fn to_toml(&self) -> Result<String, Error> {
        let wire = Wire { schema: SCHEMA, packages: self.packages.clone() };
        let body = toml::to_string(&wire).map_err(|source| Error::WriteToml { file: LOCK_FILE, source })?;
        Ok(format!("{PREAMBLE}{body}"))
    }

    /// Reads a lock; none when there is no such file.
    ///
    /// # Errors
    /// As [`Lock::from_toml`], and when the file cannot be read or is too long.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        if !path.try_exists().map_err(|source| Error::Io { action: "read", path: path.into(), source })? {
            return Ok(None);
        }
        let text = files::read_text(path, MAX_LOCK)?;
        Self::from_toml(&path.display().to_string(), &text).map(Some)
    }

    /// Writes the lock, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        files::write_atomic(path, self.to_toml()?.as_bytes())
    }
}
