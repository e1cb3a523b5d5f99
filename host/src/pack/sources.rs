//! Files of the crate: bounded reading, and whether a source is newer than what was built from it.

use super::{Error, Library, Warning};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The most files that are looked at for the newest source; beyond, nothing is said.
const MAX_SOURCES: usize = 10_000;

/// Reads a file of at most `limit` bytes.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let refuse = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(refuse)?;
    if bytes.len() as u64 > limit { Err(Error::TooLong { path: path.to_owned(), limit }) } else { Ok(bytes) }
}

/// Warns where a source was changed after the library was built. What cannot be looked at is not warned of.
pub(super) fn stale(directory: &Path, library: &Library) -> Option<Warning> {
    let built = fs::metadata(&library.source).and_then(|metadata| metadata.modified()).ok()?;
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    let mut left = vec![directory.join("build.rs"), directory.join("src")];
    for _ in 0..MAX_SOURCES {
        let Some(path) = left.pop() else { break };
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).ok()?.filter_map(Result::ok).map(|entry| entry.path()));
        } else if let Ok(modified) = metadata.modified()
            && newest.as_ref().is_none_or(|(newest, _)| *newest < modified)
        {
            newest = Some((modified, path));
        }
    }
    let (modified, source) = newest?;
    (modified > built).then(|| Warning::Stale { library: library.source.clone(), source })
}
