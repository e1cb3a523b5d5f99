//! Collecting garbage in a directory. Publishers and collectors keep apart by a lock on `registry.json`, which every registry
//! has and which a process gives up however it ends.

use std::fs::{self, File, Metadata};
use std::io;

use super::{Directory, MAX_DEPTH, TEMPORARY, io_error, walk};
use crate::error::Error;
use crate::layout::{Key, Prefix};
use crate::store::Objects;
use crate::store::sweep::{Found, Hold, Sweep};

impl Directory {
    /// Describes a regular file; none when it is none or not there.
    fn describe(&self, key: Key) -> Result<Option<Found>, Error> {
        let path = key.below(&self.root);
        let described = fs::symlink_metadata(&path).and_then(|metadata| found(key, &metadata));
        match described {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            described => described.map_err(io_error("read", &path)),
        }
    }
}

fn found(key: Key, metadata: &Metadata) -> io::Result<Option<Found>> {
    let found = Found { key, size: metadata.len(), modified: metadata.modified()? };
    Ok(metadata.is_file().then_some(found))
}

impl Sweep for Directory {
    fn hold_to_publish(&self) -> Result<Hold, Error> {
        let path = Key::registry().below(&self.root);
        let file = match File::open(&path) {
            // Where there is no registry, nothing is collected.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Hold::nothing()),
            file => file.map_err(io_error("read", &path))?,
        };
        match file.lock_shared() {
            Ok(()) => Ok(Hold::file(file)),
            // Where nobody can lock, no collector can either, and so none runs.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(Hold::nothing()),
            Err(error) => Err(io_error("lock", &path)(error)),
        }
    }

    fn hold_to_collect(&self) -> Result<Hold, Error> {
        let path = Key::registry().below(&self.root);
        let file = File::open(&path).map_err(io_error("read", &path))?;
        file.lock().map_err(io_error("lock", &path))?;
        Ok(Hold::file(file))
    }

    fn blobs(&self) -> Result<Vec<Found>, Error> {
        let keys = self.list(&Prefix::blobs())?.into_iter().filter(|key| key.as_blob().is_some());
        keys.filter_map(|key| self.describe(key).transpose()).collect()
    }

    fn unlisted(&self, prefix: &Prefix) -> Result<Option<Key>, Error> {
        let relative = prefix.as_str().trim_end_matches('/');
        let root = Key::listed(relative.to_owned());
        let folder = root.below(&self.root);
        match fs::symlink_metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &folder)(error)),
            // A link to nowhere lists as nothing: what it led to may be on a disk that is not there just now.
            Ok(_) if !folder.is_dir() => return Ok(Some(root)),
            Ok(_) => {}
        }
        let mut unlisted = Vec::new();
        walk(&folder, relative, MAX_DEPTH, &mut |key, is_file| {
            if !is_file {
                unlisted.push(key);
            }
        })?;
        Ok(unlisted.into_iter().min())
    }

    fn unfinished(&self) -> Result<Vec<Found>, Error> {
        let folder = self.root.join(TEMPORARY);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("list", &folder)(error)),
        };
        let mut unfinished = Vec::new();
        for entry in entries {
            let name = entry.map_err(io_error("list", &folder))?.file_name();
            // Only what this program has begun.
            let Some(name) = name.to_str().filter(|name| name.starts_with(crate::files::UNFINISHED)) else { continue };
            unfinished.extend(self.describe(Key::listed(format!("{TEMPORARY}/{name}")))?);
        }
        unfinished.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(unfinished)
    }

    fn has(&self, key: &Key) -> Result<bool, Error> {
        Ok(self.local_path(key).is_some())
    }

    fn freshen(&self, key: &Key) -> Result<bool, Error> {
        // The hold keeps collectors out; that the blob is there was seen under it.
        self.has(key)
    }

    fn remove(&self, found: &Found) -> Result<bool, Error> {
        if self.describe(found.key.clone())?.as_ref() != Some(found) {
            return Ok(false);
        }
        let path = found.key.below(&self.root);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true).map_err(io_error("remove", &path)),
        }
    }
}
