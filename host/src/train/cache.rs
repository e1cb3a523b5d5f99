//! The tap cache: hidden states of the frozen backbone, kept on disk, so that later epochs skip the backbone.
//!
//! A frozen network gives the same states for the same tokens for ever. So the key is the content (a hash of the token ids), and
//! what the states depend on beside it, the [`CacheIdentity`], chooses the folder:
//!
//! ```text
//! DIRECTORY/v1/lock                         held for moments: while a cache is opened, and while room is taken
//! DIRECTORY/v1/1f0c33f00ba4-5be0c8a1d2f3/   one identity
//!     identity.toml                         what it is, for a person and against a mix-up
//!     lock                                  held by the one process that writes; others read
//!     0000.taps  0000.index                 a shard: records, and where each lies
//! ```
//!
//! * **Never wrong**: a record carries its key and a CRC-32C, both checked at every read. What fails is forgotten and computed anew.
//! * **Never over the limit**: a writer reserves a shard's room under the directory's lock before it writes (as a file that is long but
//!   empty), so the files of all identities and processes together stay below it. When there is no room, other identities that
//!   nobody writes are dropped, longest unused first; then new segments are not kept. Epochs go through the data in circles, where
//!   dropping the oldest segment for the newest would never give a hit.
//! * **Safe to kill**: a record is written before its entry, entries only ever follow each other, and what is torn at the end of a shard is cut
//!   off when the next writer opens it.
//! * **Same bits, warm or cold**: with `f16` the trainer rounds fresh states by [`CacheDtype::round`], which is what the cache gives back.
//!
//! In memory a segment costs 16 bytes in a hash table, 26 with the table's spare room on average.

mod error;
mod identity;
mod index;
mod record;
mod shard;
mod writer;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use error::CacheError;
pub use identity::{CacheDtype, CacheIdentity};

use error::io;
use index::{Index, Place};
use record::{Format, Key};
use shard::Shard;
use writer::Writer;

thread_local! {
    /// A record as it lies on disk, in each thread that reads.
    static RECORD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Hidden states on disk, by the token ids of a segment. Shared by threads as it is.
#[derive(Debug)]
pub struct TapCache {
    folder: PathBuf,
    format: Format,
    limit: u64,
    index: RwLock<Index>,
    /// `None` in a process that only reads.
    writer: Option<Mutex<Writer>>,
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
}

/// What became of a segment that was given to [`TapCache::put`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is on disk.
    Kept,
    /// It was there already.
    Known,
    /// There is no room below the limit.
    Full,
    /// Another process writes this cache.
    ReadOnly,
    /// A write failed before (see [`CacheUsage::problem`]), so that this process writes no more.
    Stopped,
}

/// What a cache holds and did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CacheUsage {
    /// Segments that this process knows.
    pub segments: u64,
    /// Bytes of their records and entries.
    pub bytes: u64,
    /// Most bytes that the whole directory may have.
    pub limit: u64,
    /// Segments that were asked for and found.
    pub hits: u64,
    /// Segments that were asked for and not found.
    pub misses: u64,
    /// Records that were found damaged, and forgotten.
    pub damaged: u64,
    /// Why nothing more is written, after a failed write.
    pub problem: Option<String>,
}

impl TapCache {
    /// Opens the cache of one identity below `directory`, which is made if need be, and cuts off what a killed process left torn.
    ///
    /// `limit_bytes` bounds everything below `directory`, of all identities. If there is more already, other identities are dropped,
    /// longest unused first, then shards of this one.
    ///
    /// Where another process writes the same identity, or the directory may not be written, this cache reads only.
    ///
    /// # Errors
    /// [`CacheError`] when the directory or its files cannot be made or read, or belong to something else.
    pub fn open(directory: &Path, identity: &CacheIdentity, limit_bytes: u64) -> Result<Self, CacheError> {
        identity.check()?;
        let root = directory.join(writer::VERSION);
        let folder = root.join(identity.folder_name());
        let format = Format::new(identity);
        let (writer, index) = Writer::open(&root, &folder, identity, format, limit_bytes)?;
        Ok(Self {
            folder,
            format,
            limit: limit_bytes,
            index: RwLock::new(index),
            writer: writer.map(Mutex::new),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        })
    }

    /// Whether this process may add segments.
    pub fn is_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// Whether a segment is known; its record may still turn out damaged.
    pub fn contains(&self, ids: &[u32]) -> bool {
        self.read_index().find(Key::of(ids).short()).is_some()
    }

    /// Appends the hidden states of a segment to `states`, one `[tokens, hidden]` matrix, row-major, per tap of the identity in its
    /// order. Where the segment is not kept, `states` stays as it is and the answer is `false`.
    ///
    /// # Panics
    /// If `states` has another number of taps than the identity.
    pub fn get(&self, ids: &[u32], states: &mut [Vec<f32>]) -> bool {
        assert_eq!(states.len(), self.format.taps, "one vector per tap");
        let key = Key::of(ids);
        let place = self.read_index().find(key.short());
        let size = ids.len() * self.format.hidden;
        let found = place.is_some_and(|(place, shard)| {
            self.read(key, ids.len(), place, &shard, |tap, decode| {
                let before = states[tap].len();
                states[tap].resize(before + size, 0.0);
                decode(&mut states[tap][before..]);
            })
        });
        self.count(u64::from(found), u64::from(!found));
        found
    }

    /// Gives the hidden states of a ragged batch: each of `states` becomes `[Σ tokens, hidden]`, in the order of `segments`. The answer tells
    /// which segments were found; the rows of the others are zeros, to be filled by the backbone.
    ///
    /// Records are read in the order in which they lie on disk.
    ///
    /// # Panics
    /// If `states` has another number of taps than the identity.
    pub fn get_batch(&self, segments: &[&[u32]], states: &mut [Vec<f32>]) -> Vec<bool> {
        assert_eq!(states.len(), self.format.taps, "one vector per tap");
        let (hidden, mut rows) = (self.format.hidden, 0);
        let mut wanted = Vec::with_capacity(segments.len());
        {
            let index = self.read_index();
            for (number, ids) in segments.iter().enumerate() {
                let key = Key::of(ids);
                wanted.push((index.find(key.short()), key, number, rows * hidden..(rows + ids.len()) * hidden));
                rows += ids.len();
            }
        }
        for values in &mut *states {
            values.resize(rows * hidden, 0.0);
        }
        wanted.sort_unstable_by_key(|(place, _, number, _)| (place.as_ref().map(|(place, _)| *place), *number));
        let mut found = vec![false; segments.len()];
        for (place, key, number, range) in wanted {
            let hit = place.is_some_and(|(place, shard)| {
                self.read(key, segments[number].len(), place, &shard, |tap, decode| {
                    decode(&mut states[tap][range.clone()]);
                })
            });
            if !hit {
                // A vector that is used again still has the rows of another batch.
                states.iter_mut().for_each(|values| values[range.clone()].fill(0.0));
            }
            found[number] = hit;
        }
        let hits = found.iter().filter(|found| **found).count() as u64;
        self.count(hits, found.len() as u64 - hits);
        found
    }

    /// Keeps the hidden states of a segment: one `[tokens, hidden]` matrix, row-major, per tap of the identity, already rounded by
    /// [`CacheDtype::round`]. Never fails the run: what cannot be kept is computed again.
    ///
    /// # Panics
    /// If the number of matrices or their sizes do not fit the identity and `ids`.
    pub fn put(&self, ids: &[u32], states: &[&[f32]]) -> Stored {
        assert_eq!(states.len(), self.format.taps, "one matrix per tap");
        let size = ids.len() * self.format.hidden;
        assert!(states.iter().all(|values| values.len() == size), "every matrix is [tokens, hidden]");
        let Some(writer) = &self.writer else { return Stored::ReadOnly };
        let key = Key::of(ids);
        if self.read_index().find(key.short()).is_some() {
            return Stored::Known;
        }
        let mut writer = lock(writer);
        // Another thread may have been first.
        if self.read_index().find(key.short()).is_some() {
            return Stored::Known;
        }
        match writer.append(key, ids.len(), states) {
            Ok(Some((place, shard))) => {
                self.index.write().unwrap_or_else(PoisonError::into_inner).add(key.short(), place, &shard);
                Stored::Kept
            }
            Ok(None) => Stored::Full,
            Err(writer::Stopped) => Stored::Stopped,
        }
    }

    /// Learns of segments that the writing process has added since; in that process itself there is nothing to learn.
    ///
    /// # Errors
    /// [`CacheError`] when the files cannot be read.
    pub fn refresh(&self) -> Result<(), CacheError> {
        if self.writer.is_some() {
            return Ok(());
        }
        self.index.write().unwrap_or_else(PoisonError::into_inner).load(&self.folder, self.format)
    }

    /// What the cache holds and did so far.
    pub fn usage(&self) -> CacheUsage {
        let (segments, bytes) = {
            let index = self.read_index();
            (index.segments(), index.bytes())
        };
        CacheUsage {
            segments,
            bytes,
            limit: self.limit,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            problem: self.writer.as_ref().and_then(|writer| lock(writer).problem().map(str::to_owned)),
        }
    }

    /// Reads one record and, if it is sound, lets `fill` say for each tap where its values go.
    fn read(
        &self,
        key: Key,
        tokens: usize,
        place: Place,
        shard: &Shard,
        mut fill: impl FnMut(usize, &mut dyn FnMut(&mut [f32])),
    ) -> bool {
        RECORD.with_borrow_mut(|record| {
            record.resize(self.format.record_bytes(tokens), 0);
            let sound = shard.read(place.offset(), record).is_ok() && self.format.is_sound(record, key, tokens);
            if sound {
                for tap in 0..self.format.taps {
                    fill(tap, &mut |values| self.format.decode(record, tokens, tap, values));
                }
            } else {
                self.forget(key, place);
            }
            sound
        })
    }

    /// Forgets a damaged record, so that it is written anew.
    fn forget(&self, key: Key, place: Place) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(key.short(), place);
        if self.damaged.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("a record in `{}` is damaged: it is computed anew", self.folder.display());
        }
    }

    fn count(&self, hits: u64, misses: u64) {
        self.hits.fetch_add(hits, Ordering::Relaxed);
        self.misses.fetch_add(misses, Ordering::Relaxed);
    }

    fn read_index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state behind a mutex is whole after every step, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of the shards in a folder, in order; none where there is no folder.
fn shard_numbers(folder: &Path) -> Result<Vec<u16>, CacheError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io("list", folder))?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(io("list", folder))?.file_name();
        numbers.extend(name.to_str().and_then(shard::number_of));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens a file to be read, if it is there.
fn open_existing(path: &Path) -> Result<Option<File>, CacheError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("open", path)(error)),
    }
}

/// A shard that several readers hold.
type SharedShard = Arc<Shard>;
