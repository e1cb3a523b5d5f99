//! The folder in which feature columns are kept, bounded: those that were not used for longest go first. What a run that was killed left
//! unfinished goes after a day.

use super::column::SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The most bytes that kept columns take.
pub const KEPT_BYTES: u64 = 20 << 30;

/// A file that nobody has written to for so long is not in the making any more.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes columns until `needed` more bytes fit under `limit`. Columns that others have open stay readable to them. Whether they fit:
/// not where they alone are more than the limit, and then nothing is removed.
pub(super) fn make_room(folder: &Path, needed: u64, limit: u64) -> bool {
    if needed > limit {
        return false;
    }
    let mut kept = kept(folder);
    kept.sort();
    let mut used: u64 = kept.iter().map(|column| column.bytes).sum();
    for column in kept {
        if used + needed <= limit {
            break;
        }
        match fs::remove_file(&column.path) {
            Ok(()) => {
                tracing::debug!(path = %column.path.display(), "removed kept features that were not used for longest");
            }
            // Another process was faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %column.path.display(), %error, "kept features cannot be removed");
                continue;
            }
        }
        used -= column.bytes;
    }
    used + needed <= limit
}

/// A file, ordered by when it was used last.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    used: SystemTime,
    path: PathBuf,
    bytes: u64,
}

fn kept(folder: &Path) -> Vec<Kept> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let column = |entry: fs::DirEntry| {
        let path = entry.path();
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let unfinished = entry.file_name().to_string_lossy().starts_with(".tmp");
        if unfinished && used.elapsed().is_ok_and(|age| age > ABANDONED) {
            let _ = fs::remove_file(&path);
            return None;
        }
        let ours = path.extension().is_some_and(|extension| extension == SUFFIX);
        ours.then_some(Kept { used, bytes: metadata.len(), path })
    };
    entries.flatten().filter_map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::Duration;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, age: u64| {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(&path).unwrap().set_modified(used).unwrap();
        };
        for (name, age) in [("a.rows", 30), ("b.rows", 10), ("c.rows", 20), ("not-ours", 90), (".tmpOld", 90_000)] {
            put(name, age);
        }
        let names = || {
            let mut names: Vec<_> = fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert!(!make_room(folder.path(), 301, 300), "nothing is removed for what does not fit");
        assert!(make_room(folder.path(), 0, 300));
        assert_eq!(names(), ["a.rows", "b.rows", "c.rows", "not-ours"]);
        assert!(make_room(folder.path(), 150, 300));
        assert_eq!(names(), ["b.rows", "not-ours"]);
        assert!(make_room(folder.path(), 300, 300));
        assert_eq!(names(), ["not-ours"]);
        assert!(make_room(&folder.path().join("missing"), 1, 1));
    }
}
