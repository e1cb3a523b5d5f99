//! Versions: of releases (semver without build metadata) and of the plugin ABI (`major.minor`).

use std::fmt;
use std::str::FromStr;

use serde::Deserialize as _;

use crate::error::Error;
use crate::text::{serde_as_string, shorten};

/// The longest text of a version, in bytes.
const MAX_VERSION: usize = 64;

/// A release's version: semantic versioning 2.0 without build metadata, which has no order and so names no release.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

impl Version {
    /// Makes `major.minor.patch`.
    #[must_use]
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// The version as the `semver` crate's type, to match against a requirement.
    #[must_use]
    pub fn as_semver(&self) -> &semver::Version {
        &self.0
    }

    /// Tells whether two versions are of one line: one major, or below 1.0.0 one minor. Across lines nothing is promised, so
    /// releases of two lines may run side by side.
    #[must_use]
    pub fn same_line(&self, other: &Self) -> bool {
        self.line() == other.line()
    }

    /// The line, to sort by: what may differ within one is 0.
    pub(crate) fn line(&self) -> [u64; 3] {
        match (self.0.major, self.0.minor, self.0.patch) {
            (0, 0, patch) => [0, 0, patch],
            (0, minor, _) => [0, minor, 0],
            (major, ..) => [major, 0, 0],
        }
    }

    /// Tells whether this is a pre-release such as `1.0.0-rc.1`, which is only chosen when asked for.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Name { what: "version", value: shorten(text), problem };
        if text.len() > MAX_VERSION {
            return Err(refuse("it is longer than 64 characters"));
        }
        let version =
            semver::Version::parse(text).map_err(|_| refuse("it must be `major.minor.patch`, such as `1.0.0`"))?;
        if !version.build.is_empty() {
            return Err(refuse("build metadata (`+…`) is not allowed, it does not tell releases apart"));
        }
        if version.pre.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse("it has capital letters; versions are lower-case"));
        }
        Ok(Self(version))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

serde_as_string!(Version, "version `major.minor.patch`");

/// A version of the plugin ABI. Any plugin runs in any host of the same major version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AbiVersion {
    /// Plugins and hosts of different majors never work together.
    pub major: u32,
    /// Grows when something is added.
    pub minor: u32,
}

impl FromStr for AbiVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let canonical = plain && (part.len() == 1 || !part.starts_with('0'));
            canonical.then(|| part.parse().ok()).flatten()
        };
        text.split_once('.')
            .and_then(|(major, minor)| Some(Self { major: number(major)?, minor: number(minor)? }))
            .ok_or_else(|| Error::Name {
                what: "ABI version",
                value: shorten(text),
                problem: "it must be `major.minor`, such as `1.0`",
            })
    }
}

impl fmt::Display for AbiVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

serde_as_string!(AbiVersion, "ABI version `major.minor`");

/// The longest text of a requirement, in bytes.
const MAX_REQUIREMENT: usize = 200;

/// Reads a requirement such as `^1.2` from a string, with our words for what is wrong with it.
pub(crate) fn requirement<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<semver::VersionReq, D::Error> {
    Requirement::deserialize(deserializer).map(|requirement| requirement.0)
}

/// A requirement where serde needs a type: see [`requirement`].
pub(crate) struct Requirement(pub(crate) semver::VersionReq);

impl FromStr for Requirement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let problem = "it must look like `^1.2`, `~0.3`, `=1.0.0` or `>=1, <3`";
        let refuse = || Error::Name { what: "version requirement", value: shorten(text), problem };
        let short = Some(text).filter(|text| text.len() <= MAX_REQUIREMENT).ok_or_else(refuse)?;
        semver::VersionReq::parse(short).map(Self).map_err(|_| refuse())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

serde_as_string!(Requirement, "version requirement such as `^1.2`");
