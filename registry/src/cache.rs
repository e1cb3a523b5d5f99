//! The cache: verified content by digest, shared by all projects of a user.
//!
//! ```text
//! $KADAPTER_HOME/cache/v1/sha256/<2 hex>/<64 hex>        or $XDG_CACHE_HOME/kadapter/v1/…, ~/.cache/kadapter/v1/…
//! ```
//!
//! A file gets its name only after its size and digest were checked, so a crash leaves nothing under a wrong name.

mod collect;

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::copy::copy;
use crate::digest::{Digest, Verifying};
use crate::error::Error;
use crate::files;
use crate::layout::content_path;

/// The version of the cache's layout; another layout gets another folder.
const LAYOUT: &str = "v1";
/// How often use is marked: once a day is enough to know what nobody uses.
const MARK: Duration = Duration::from_secs(24 * 60 * 60);

pub use collect::UNUSED;

/// Content by digest in a directory.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Uses the cache below `root`, which need not exist.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into().join(LAYOUT) }
    }

    /// Uses the user's cache.
    ///
    /// # Errors
    /// The environment names no home directory.
    pub fn of_user() -> Result<Self, Error> {
        user_root(|name| env::var_os(name).map(PathBuf::from)).map(Self::new).ok_or(Error::NoHome)
    }

    /// Where the content with this digest is or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(content_path(digest).split('/'));
        path
    }

    /// The file with this content, if it is there and as long as it should be. That it is used is marked in its time of
    /// modification, where the cache can be written.
    #[must_use]
    pub fn find(&self, digest: &Digest, size: u64) -> Option<PathBuf> {
        let path = self.path(digest);
        let metadata = fs::metadata(&path).ok()?;
        if !metadata.is_file() || metadata.len() != size {
            return None;
        }
        mark_used(&path, &metadata);
        Some(path)
    }

    /// Reads small content of at most `limit` bytes and checks its digest; none when it is not there.
    ///
    /// # Errors
    /// The file cannot be read, is longer, or has another content.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(digest);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = files::read_bytes(&path, limit)?;
        if let Ok(metadata) = fs::metadata(&path) {
            mark_used(&path, &metadata);
        }
        let found = Digest::of(&bytes);
        if found == *digest {
            return Ok(Some(bytes));
        }
        let difference = crate::digest::Difference::Digest { expected: *digest, found };
        Err(Error::Altered { file: path.display().to_string(), difference })
    }

    /// Tells whether the content is there and whole, by reading it.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn is_whole(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let Some(path) = self.find(digest, size) else { return Ok(false) };
        let found = File::open(&path).and_then(Digest::of_reader);
        let (found, _) = found.map_err(|source| Error::Io { action: "read", path, source })?;
        Ok(found == *digest)
    }

    /// Copies a stream into the cache, checking size and digest; what was there under the name is replaced.
    ///
    /// # Errors
    /// The stream is not the content, or the cache cannot be written. Nothing is left under the name then.
    pub fn insert<R: Read>(&self, content: &mut Verifying<R>, digest: &Digest) -> Result<PathBuf, Error> {
        let path = self.path(digest);
        let failed = |source| Error::Io { action: "write", path: path.clone(), source };
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(failed)?;
        let file = files::temporary(folder).map_err(failed)?;
        copy(content, file.as_file()).and_then(|_| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(path)
    }
}

/// Marks a file as used now, unless that was done not long ago. A cache that cannot be written is used all the same.
fn mark_used(path: &Path, metadata: &fs::Metadata) {
    let now = SystemTime::now();
    let lately = metadata.modified().is_ok_and(|marked| now.duration_since(marked).is_ok_and(|age| age < MARK));
    if !lately && let Ok(file) = File::open(path) {
        let _ = file.set_modified(now);
    }
}

/// Finds the folder for caches from the environment.
fn user_root(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // The XDG specification tells to ignore relative paths. Our own variable starts at the current folder instead.
    let own = variable("KADAPTER_HOME").filter(|path| !path.as_os_str().is_empty());
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let below = |base: PathBuf, parts: &str| base.join(Path::new(parts));
    own.and_then(|path| std::path::absolute(path).ok())
        .map(|home| below(home, "cache"))
        .or_else(|| absolute("XDG_CACHE_HOME").map(|base| below(base, "kadapter")))
        .or_else(|| absolute("LOCALAPPDATA").filter(|_| cfg!(windows)).map(|base| below(base, "kadapter")))
        .or_else(|| absolute("HOME").map(|home| home.join(".cache").join("kadapter")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_in_order_and_relative_paths_do_not_count() {
        let root = |pairs: &[(&str, &str)]| {
            user_root(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        assert_eq!(root(&[("KADAPTER_HOME", "/k"), ("HOME", "/h")]), Some("/k/cache".into()));
        assert_eq!(root(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), Some("/x/kadapter".into()));
        assert_eq!(root(&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")]), Some("/h/.cache/kadapter".into()));
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn only_whole_content_gets_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let digest = Digest::of(b"content");
        assert!(cache.insert(&mut Verifying::new(&b"contenT"[..], digest, 7), &digest).is_err());
        assert_eq!(cache.read(&digest, 7).unwrap(), None);
        assert_eq!(fs::read_dir(cache.path(&digest).parent().unwrap()).unwrap().count(), 0);
        cache.insert(&mut Verifying::new(&b"content"[..], digest, 7), &digest).unwrap();
        assert_eq!(cache.read(&digest, 7).unwrap().unwrap(), b"content");
        assert!(cache.is_whole(&digest, 7).unwrap());
        fs::write(cache.path(&digest), "contenT").unwrap();
        assert!(!cache.is_whole(&digest, 7).unwrap());
        assert!(cache.read(&digest, 7).is_err());
    }
}
