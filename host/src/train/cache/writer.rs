//! The one process that adds to a cache, and the room that it may take.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::error::{CacheError, io};
use super::identity::CacheIdentity;
use super::index::{Appended, Index, Place};
use super::record::{ENTRY, Entry, Format, Key};
use super::shard::{Shard, entries_path, records_path, write_all_at};

/// The folder of this layout; another layout gets another.
pub(super) const VERSION: &str = "v1";
const LOCK: &str = "lock";
const IDENTITY: &str = "identity.toml";
/// Most bytes of a shard, unless the limit is so large that there would be more open files than [`MOST_SHARDS`].
const SHARD: u64 = 256 << 20;
/// About how many shards a full cache has at most,
const MOST_SHARDS: u64 = 256;
/// and at least: others' segments are dropped for the room of a whole shard.
const LEAST_SHARDS: u64 = 16;
/// A shard has room for entries of segments that have this many tokens on average; with shorter ones it ends sooner.
const SHORT: usize = 4;

/// A write failed before.
#[derive(Debug)]
pub(super) struct Stopped;

/// What a writer holds beside the index.
#[derive(Debug)]
pub(super) struct Writer {
    root: PathBuf,
    folder: PathBuf,
    format: Format,
    limit: u64,
    current: Option<Current>,
    /// A shard of an earlier process that is far from full.
    unfinished: Option<Appended>,
    next: u16,
    /// The smallest record for which there was no room.
    full: u64,
    record: Vec<u8>,
    problem: Option<String>,
    /// Locked as long as it is open.
    _lock: File,
}

/// The shard that is written.
#[derive(Debug)]
struct Current {
    shard: Arc<Shard>,
    records: File,
    entries: File,
    /// Bytes of records so far, and how many there may be.
    end: u64,
    records_room: u64,
    /// Entries so far, and how many there may be.
    count: u64,
    entries_room: u64,
    /// Whether it has less room than a shard should, because there is no more.
    last: bool,
}

impl Writer {
    /// Opens the folder of an identity: to write, where nobody else does and one may, and to read.
    pub(super) fn open(
        root: &Path,
        folder: &Path,
        identity: &CacheIdentity,
        format: Format,
        limit: u64,
    ) -> Result<(Option<Self>, Index), CacheError> {
        let mut index = Index::default();
        let root_lock = match lock_root(root) {
            Err(CacheError::Io { source, .. }) if is_refused(&source) => {
                if folder.exists() {
                    check_identity(folder, identity)?;
                }
                index.load(folder, format)?;
                return Ok((None, index));
            }
            lock => lock?,
        };
        let text = identity.text();
        if !folder.exists() {
            let needed = text.len() as u64;
            while used(root)? + needed > limit {
                if !drop_other(root, folder)? {
                    return Ok((None, index));
                }
            }
            fs::create_dir(folder).map_err(io("make", folder))?;
        }
        let path = folder.join(LOCK);
        let lock = match open_to_write(&path) {
            Err(CacheError::Io { source, .. }) if is_refused(&source) => None,
            file => Some(file?),
        };
        let lock = match lock.map(|file| (file.try_lock(), file)) {
            Some((Ok(()), file)) => Some(file),
            Some((Err(TryLockError::WouldBlock), _)) | None => None,
            Some((Err(TryLockError::Error(error)), _)) => return Err(io("lock", &path)(error)),
        };
        if lock.is_some() && is_torn(folder, &text)? {
            fs::write(folder.join(IDENTITY), &text).map_err(io("write", &folder.join(IDENTITY)))?;
        }
        check_identity(folder, identity)?;
        index.load(folder, format)?;
        let Some(lock) = lock else { return Ok((None, index)) };
        // When this identity was last used, for others that need room.
        lock.set_modified(SystemTime::now()).map_err(io("write", &path))?;
        cut(folder, &mut index)?;
        let next = index.shards().last().map_or(0, |known| known.shard.number().saturating_add(1));
        while used(root)? > limit {
            if !drop_other(root, folder)? {
                let Some(number) = index.shards().last().map(|known| known.shard.number()) else { break };
                index.drop_shard(number);
                remove_shard(folder, number)?;
            }
        }
        drop(root_lock);
        let unfinished = index.shards().last().filter(|known| known.end < shard_size(limit) / 2);
        let unfinished = unfinished.map(|known| Appended {
            shard: Arc::clone(&known.shard),
            entries: known.entries,
            end: known.end,
        });
        let writer = Self {
            root: root.to_owned(),
            folder: folder.to_owned(),
            format,
            limit,
            current: None,
            unfinished,
            next,
            full: u64::MAX,
            record: Vec::new(),
            problem: None,
            _lock: lock,
        };
        Ok((Some(writer), index))
    }

    /// Why nothing more is written.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Appends a segment, if there is room.
    pub(super) fn append(
        &mut self,
        key: Key,
        tokens: usize,
        states: &[&[f32]],
    ) -> Result<Option<(Place, Appended)>, Stopped> {
        if self.problem.is_some() {
            return Err(Stopped);
        }
        self.try_append(key, tokens, states).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            let problem = format!("{error}{cause}");
            tracing::warn!("{problem}; no more segments are kept");
            self.problem = Some(problem);
            self.current = None;
            Stopped
        })
    }

    fn try_append(
        &mut self,
        key: Key,
        tokens: usize,
        states: &[&[f32]],
    ) -> Result<Option<(Place, Appended)>, CacheError> {
        let size = self.format.record_bytes(tokens) as u64;
        let Ok(tokens) = u32::try_from(tokens) else { return Ok(None) };
        if size >= self.full {
            return Ok(None);
        }
        if !self.current.as_ref().is_some_and(|current| current.has_room(size)) && !self.start_shard(size)? {
            self.full = size;
            return Ok(None);
        }
        let Some(current) = &mut self.current else { return Ok(None) };
        self.format.encode(key, tokens, states, &mut self.record);
        let offset = current.end;
        let number = current.shard.number();
        write_all_at(&current.records, &self.record, offset)
            .map_err(io("write", &records_path(&self.folder, number)))?;
        let entry = Entry { key, offset, tokens }.encode();
        write_all_at(&current.entries, &entry, current.count * ENTRY as u64)
            .map_err(io("write", &entries_path(&self.folder, number)))?;
        current.end += size;
        current.count += 1;
        let appended = Appended { shard: Arc::clone(&current.shard), entries: current.count, end: current.end };
        Ok(Some((Place::new(number, offset), appended)))
    }

    /// Takes room for a shard that holds at least one record of `size`; tells whether there was any.
    fn start_shard(&mut self, size: u64) -> Result<bool, CacheError> {
        if self.current.as_ref().is_some_and(|current| current.last) {
            return Ok(false);
        }
        self.current = None;
        let _root_lock = lock_root(&self.root)?;
        let unfinished = self.unfinished.take();
        let (end, count) = unfinished.as_ref().map_or((0, 0), |shard| (shard.end, shard.entries));
        let has = end + count * ENTRY as u64;
        let least = has + size + ENTRY as u64;
        let wanted = shard_size(self.limit).max(least);
        let mut room;
        loop {
            room = self.limit.saturating_sub(used(&self.root)?) + has;
            if room >= wanted || !drop_other(&self.root, &self.folder)? {
                break;
            }
        }
        let number = match &unfinished {
            Some(shard) => shard.shard.number(),
            None if self.next == u16::MAX => return Ok(false),
            None => self.next,
        };
        if room < least {
            return Ok(false);
        }
        let room_all = room.min(wanted);
        let (records_room, entries_room) = divide(self.format, room_all, end + size, count + 1);
        let records_path = records_path(&self.folder, number);
        let records = open_to_write(&records_path)?;
        records.set_len(records_room).map_err(io("reserve room in", &records_path))?;
        let path = entries_path(&self.folder, number);
        let entries = open_to_write(&path)?;
        entries.set_len(entries_room * ENTRY as u64).map_err(io("reserve room in", &path))?;
        let shard = match unfinished {
            Some(unfinished) => unfinished.shard,
            None => {
                self.next += 1;
                let Some(shard) = Shard::open(&self.folder, number)? else {
                    return Err(io("open", &records_path)(ErrorKind::NotFound.into()));
                };
                Arc::new(shard)
            }
        };
        let last = room < wanted;
        self.current = Some(Current { shard, records, entries, end, records_room, count, entries_room, last });
        Ok(true)
    }
}

impl Current {
    fn has_room(&self, size: u64) -> bool {
        self.end + size <= self.records_room && self.count < self.entries_room
    }
}

impl Drop for Current {
    /// Gives back the room that was not used. What is not cut here, the next writer cuts.
    fn drop(&mut self) {
        let _ = self.records.set_len(self.end);
        let _ = self.entries.set_len(self.count * ENTRY as u64);
    }
}

/// How a shard's room is divided: bytes of records, at least `least_bytes`, and a number of entries, at least `least_entries`.
fn divide(format: Format, room: u64, least_bytes: u64, least_entries: u64) -> (u64, u64) {
    let entry = ENTRY as u64;
    let typical = format.record_bytes(SHORT) as u64 + entry;
    let most = room.saturating_sub(least_bytes) / entry;
    let entries = (room / typical).clamp(least_entries, most.max(least_entries));
    (room - entries * entry, entries)
}

/// Bytes that a shard should have.
fn shard_size(limit: u64) -> u64 {
    (limit / LEAST_SHARDS).min(SHARD).max(limit / MOST_SHARDS)
}

/// Cuts every shard of an index to what is whole in it, and removes those in which nothing is.
fn cut(folder: &Path, index: &mut Index) -> Result<(), CacheError> {
    let mut empty = Vec::new();
    for known in index.shards() {
        let number = known.shard.number();
        if known.entries == 0 {
            empty.push(number);
            continue;
        }
        for (path, length) in
            [(records_path(folder, number), known.end), (entries_path(folder, number), known.entries * ENTRY as u64)]
        {
            let file = open_to_write(&path)?;
            if file.metadata().map_err(io("look at", &path))?.len() != length {
                file.set_len(length).map_err(io("cut", &path))?;
            }
        }
    }
    for number in empty {
        index.drop_shard(number);
        remove_shard(folder, number)?;
    }
    Ok(())
}

/// Removes a shard, its records last: they say that it is there.
fn remove_shard(folder: &Path, number: u16) -> Result<(), CacheError> {
    for path in [entries_path(folder, number), records_path(folder, number)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io("remove", &path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of all files of all identities, with the room that writers have reserved.
fn used(root: &Path) -> Result<u64, CacheError> {
    let mut bytes = 0;
    for folder in folders(root)? {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(io("list", &folder))?,
        };
        for entry in entries {
            let entry = entry.map_err(io("list", &folder))?;
            match entry.metadata() {
                Ok(data) => bytes += data.len(),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io("look at", &entry.path())(error)),
            }
        }
    }
    Ok(bytes)
}

/// Removes the identity that was not used for the longest time, of those that nobody writes, other than `own`. Tells whether there
/// was one. The caller holds the root's lock, so none of them is being opened.
fn drop_other(root: &Path, own: &Path) -> Result<bool, CacheError> {
    let mut candidates = Vec::new();
    for folder in folders(root)? {
        if folder == own {
            continue;
        }
        let Ok(lock) = open_to_write(&folder.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            let used = lock.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            candidates.push((used, folder, lock));
        }
    }
    let Some((_, folder, _lock)) =
        candidates.into_iter().min_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)))
    else {
        return Ok(false);
    };
    tracing::info!("the tap cache drops `{}` to have room", folder.display());
    fs::remove_dir_all(&folder).map_err(io("remove", &folder))?;
    Ok(true)
}

/// The folders of identities.
fn folders(root: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(root).map_err(io("list", root))? {
        let entry = entry.map_err(io("list", root))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// Makes the root and waits for its lock.
fn lock_root(root: &Path) -> Result<File, CacheError> {
    fs::create_dir_all(root).map_err(io("make", root))?;
    let path = root.join(LOCK);
    let file = open_to_write(&path)?;
    file.lock().map_err(io("lock", &path))?;
    Ok(file)
}

/// Opens a file to be written, as it is; makes it, if it is not there.
fn open_to_write(path: &Path) -> Result<File, CacheError> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io("open", path))
}

/// Whether writing is not allowed here, where reading may be.
fn is_refused(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// Whether the identity was never written, or not to its end.
fn is_torn(folder: &Path, text: &str) -> Result<bool, CacheError> {
    let path = folder.join(IDENTITY);
    match fs::read_to_string(&path) {
        Ok(found) => Ok(found.len() < text.len() && text.starts_with(&found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io("read", &path)(error)),
    }
}

/// Refuses a folder that says that it holds something else.
fn check_identity(folder: &Path, identity: &CacheIdentity) -> Result<(), CacheError> {
    let path = folder.join(IDENTITY);
    let found = fs::read_to_string(&path).map_err(io("read", &path))?;
    let expected = identity.text();
    if found == expected {
        return Ok(());
    }
    let one_line = |text: &str| {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).take(8).collect();
        format!("`{}`", lines.join(", "))
    };
    Err(CacheError::Identity { path, found: one_line(&found), expected: one_line(&expected) })
}
