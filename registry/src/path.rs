//! Paths of files inside a package.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;
use crate::name::is_reserved;
use crate::text::{serde_as_string, shorten};

/// The longest path inside a package, in bytes.
const MAX_PATH: usize = 200;
/// The deepest nesting inside a package.
const MAX_DEPTH: usize = 8;

/// A plain relative path inside a package, with `/` between its parts.
///
/// Each part is made of ASCII letters, digits, `-`, `_`, `.` and `+`, starts with no dot and is no device of Windows,
/// so that it names a file below the package's directory on every system.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackagePath(Box<str>);

impl PackagePath {
    /// The path as text, with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below `directory`.
    #[must_use]
    pub fn below(&self, directory: &Path) -> PathBuf {
        let mut path = directory.to_path_buf();
        path.extend(self.0.split('/'));
        path
    }

    /// The same for paths that some file systems take for one file.
    pub(crate) fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for PackagePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Name { what: "path in a package", value: shorten(text), problem };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.len() > MAX_PATH || text.split('/').count() > MAX_DEPTH {
            return Err(refuse("it is longer than 200 characters or deeper than 8 folders"));
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." {
                return Err(refuse("it must be relative and plain, without `..`, `.` or `//`"));
            }
            if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+')) {
                return Err(refuse("only letters, digits, `-`, `_`, `.`, `+` and `/` may stand in it"));
            }
            if part.starts_with('.') || part.ends_with('.') {
                return Err(refuse("no part of it may start or end with a dot"));
            }
            if is_reserved(part) {
                return Err(refuse("Windows reserves a part of it for a device"));
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PackagePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for PackagePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

serde_as_string!(PackagePath, "path in a package");
