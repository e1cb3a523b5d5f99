//! Collecting what nobody has used for long from the cache. Everything there can be fetched again, so nothing is lost but
//! time; a project that is used keeps what it runs, since use is marked ([`super::Cache::find`]).

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Cache;
use crate::error::Error;
use crate::files::UNFINISHED;
use crate::gc::{Collected, GRACE, Options, Piece, is_old};

/// For how long nobody must have used content unless one says otherwise.
pub const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Cache {
    /// Removes content that nobody has used for as long as the options say, and files that were begun and not finished more
    /// than [`GRACE`] ago.
    ///
    /// # Errors
    /// The cache cannot be read or written.
    pub fn collect(&self, options: &Options) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        for folder in entries(&self.root.join("sha256"))? {
            if !folder.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            for entry in entries(&folder.path())? {
                sweep(&entry, options, &mut collected)?;
            }
        }
        Ok(collected)
    }
}

fn sweep(entry: &DirEntry, options: &Options, collected: &mut Collected) -> Result<(), Error> {
    let path = &entry.path();
    let failed = |action| move |source| Error::Io { action, path: path.clone(), source };
    let metadata = match entry.metadata() {
        // Another process may tidy up or finish its file meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(failed("read"))?,
    };
    if !metadata.is_file() {
        return Ok(());
    }
    let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
    let older_than = if unfinished { GRACE } else { options.older_than };
    let piece = Piece { location: path.display().to_string(), size: metadata.len() };
    if !is_old(last_used(&metadata).map_err(failed("read"))?, SystemTime::now(), older_than) {
        collected.young.push(piece);
        return Ok(());
    }
    if !options.dry_run {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(failed("remove"))?,
        }
    }
    collected.removed.push(piece);
    Ok(())
}

/// When content was used last: the cache marks it as modified then.
fn last_used(metadata: &Metadata) -> io::Result<SystemTime> {
    metadata.modified()
}

/// The entries of a folder, sorted; none when there is no such folder.
fn entries(folder: &Path) -> Result<Vec<DirEntry>, Error> {
    let failed = |source| Error::Io { action: "list", path: folder.to_path_buf(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut entries = entries.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}
