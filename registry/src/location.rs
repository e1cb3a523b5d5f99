//! Where a registry is: a directory or an address in one of the remote stores.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;
use crate::text::{serde_as_string, shorten};

/// The longest location, in bytes.
const MAX_LOCATION: usize = 4096;

/// A registry's place as a manifest writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegistryLocation {
    /// A directory; a relative one starts at the manifest's folder.
    Directory(String),
    /// An address in a remote store.
    Remote {
        /// The kind of store.
        scheme: Scheme,
        /// What follows `://`.
        address: String,
    },
}

/// The kinds of remote store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// An S3-compatible object store.
    S3,
    /// An OCI registry.
    Oci,
    /// The Hugging Face Hub.
    HuggingFace,
}

impl Scheme {
    /// What stands before `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Oci => "oci",
            Self::HuggingFace => "hf",
        }
    }
}

impl RegistryLocation {
    /// The directory, for a manifest that stands in `base`; none for a remote store.
    #[must_use]
    pub fn directory(&self, base: &Path) -> Option<PathBuf> {
        match self {
            Self::Directory(path) => Some(base.join(path.strip_prefix("file://").unwrap_or(path))),
            Self::Remote { .. } => None,
        }
    }
}

impl FromStr for RegistryLocation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Name { what: "registry location", value: shorten(text), problem };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.len() > MAX_LOCATION || text.chars().any(char::is_control) {
            return Err(refuse("it is longer than 4096 characters or has control characters"));
        }
        let Some((scheme, address)) = text.split_once("://") else { return Ok(Self::Directory(text.to_owned())) };
        let scheme = match scheme {
            "file" if address.starts_with('/') => return Ok(Self::Directory(text.to_owned())),
            "file" => return Err(refuse("`file://` must be followed by an absolute path")),
            "s3" => Scheme::S3,
            "oci" => Scheme::Oci,
            "hf" => Scheme::HuggingFace,
            _ => return Err(refuse("it must be a directory or start with `s3://`, `oci://` or `hf://`")),
        };
        if address.is_empty() {
            return Err(refuse("nothing follows `://`"));
        }
        Ok(Self::Remote { scheme, address: address.to_owned() })
    }
}

impl fmt::Display for RegistryLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => formatter.pad(path),
            Self::Remote { scheme, address } => write!(formatter, "{}://{address}", scheme.as_str()),
        }
    }
}

serde_as_string!(RegistryLocation, "directory or address of a registry");
