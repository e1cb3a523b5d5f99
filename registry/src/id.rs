//! A release's identity for people: package and version.

use std::fmt;

use crate::name::PackageName;
use crate::version::Version;

/// One version of one package. What it really is, its release digest says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
}

impl PackageId {
    /// Puts the two together.
    #[must_use]
    pub fn new(name: &PackageName, version: &Version) -> Self {
        Self { name: name.clone(), version: version.clone() }
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.version)
    }
}
