//! Where things are in a registry: the same tree in a directory and in an object store.
//!
//! ```text
//! registry.json                                     schema of the tree
//! blobs/sha256/<2 hex>/<64 hex>                     every file of every release, by content
//! index/<namespace>/<name>/<version>.json           the release record, written last: the commit point
//! sigs/<namespace>/<name>/<version>/<key id>.minisig
//! yanks/<namespace>/<name>/<version>/<milliseconds>-<key id or `unsigned`>.json
//! probe/<anything>                                  what a store was tried with, and could not be removed
//! ```
//!
//! Every key is written once and never changed or removed while something refers to it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::id::PackageId;
use crate::name::{Namespace, PackageName};
use crate::note::Note;
use crate::version::Version;

/// Where signatures are.
const SIGNATURES: &str = "sigs";
/// Where yanks are.
const YANKS: &str = "yanks";

/// One object of a registry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The record that makes a tree a registry.
    #[must_use]
    pub fn registry() -> Self {
        Self("registry.json".to_owned())
    }

    /// The content with this digest.
    #[must_use]
    pub fn blob(digest: &Digest) -> Self {
        Self(format!("blobs/{}", content_path(digest)))
    }

    /// The record of one release.
    #[must_use]
    pub fn release(name: &PackageName, version: &Version) -> Self {
        Self(format!("index/{name}/{version}.json"))
    }

    /// A note on a release.
    #[must_use]
    pub fn note(id: &PackageId, note: &Note) -> Self {
        let folder = match note {
            Note::Signature(_) => SIGNATURES,
            Note::Yank { .. } => YANKS,
        };
        Self(format!("{folder}/{}/{}/{note}", id.name, id.version))
    }

    /// An object that says nothing and may be removed by anyone: what `doctor` and the first publisher try a place with.
    #[must_use]
    pub fn probe(name: &str) -> Self {
        Self(format!("probe/{name}"))
    }

    /// Tells whether this is content by digest.
    #[must_use]
    pub fn is_blob(&self) -> bool {
        self.0.starts_with("blobs/")
    }

    /// The key as text, with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as a file below `root`.
    #[must_use]
    pub fn below(&self, root: &Path) -> PathBuf {
        let mut path = root.to_path_buf();
        path.extend(self.0.split('/'));
        path
    }

    /// Wraps what a store has listed. Only what this module can also make is worth reading back.
    #[must_use]
    pub fn listed(text: String) -> Self {
        Self(text)
    }

    /// The package and version behind a key of the index; none for anything else.
    #[must_use]
    pub fn as_release(&self) -> Option<(PackageName, Version)> {
        let (package, file) = self.0.strip_prefix("index/")?.rsplit_once('/')?;
        let (name, version) = (package.parse().ok()?, file.strip_suffix(".json")?.parse().ok()?);
        // Another spelling of the same release is not the release.
        (Self::release(&name, &version) == *self).then_some((name, version))
    }
}

impl Key {
    /// The note behind a key that belongs to this release; none for anything else.
    #[must_use]
    pub fn as_note(&self, id: &PackageId) -> Option<Note> {
        let note = Note::from_file_name(self.0.rsplit_once('/')?.1)?;
        (Self::note(id, &note) == *self).then_some(note)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// Keys that begin alike; always ends at a `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// All release records.
    #[must_use]
    pub fn index() -> Self {
        Self("index/".to_owned())
    }

    /// The release records of one namespace.
    #[must_use]
    pub fn namespace(namespace: &Namespace) -> Self {
        Self(format!("index/{namespace}/"))
    }

    /// The release records of one package.
    #[must_use]
    pub fn package(name: &PackageName) -> Self {
        Self(format!("index/{name}/"))
    }

    /// The notes on one release: signatures and yanks.
    #[must_use]
    pub fn notes(id: &PackageId) -> [Self; 2] {
        [SIGNATURES, YANKS].map(|folder| Self(format!("{folder}/{}/{}/", id.name, id.version)))
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `sha256/<2 hex>/<64 hex>`, the address of content in registries and in the cache.
pub(crate) fn content_path(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("sha256/{}/{hex}", &hex[..2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_keys_are_read_back_and_nothing_else_is() {
        let (name, version) = ("kadapter/factual".parse().unwrap(), "1.0.0-rc.1".parse().unwrap());
        let key = Key::release(&name, &version);
        assert_eq!(key.as_str(), "index/kadapter/factual/1.0.0-rc.1.json");
        assert_eq!(key.as_release(), Some((name, version)));
        for other in ["index/a/b/1.0.json", "index/a/1.0.0.json", "index/A/b/1.0.0.json", "index/a/b/1.0.0", "x"] {
            assert_eq!(Key::listed(other.to_owned()).as_release(), None, "{other}");
        }
    }
}
