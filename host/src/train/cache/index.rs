//! Where each segment lies, in memory: 16 bytes a segment.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;
use std::sync::Arc;

use super::error::CacheError;
use super::record::{ENTRY, Format};
use super::shard::Shard;
use super::{SharedShard, shard_numbers};

/// Bits of a [`Place`] that are an offset; the rest is the shard.
const OFFSET_BITS: u32 = 48;

/// A shard and an offset in it, in the order in which they are read best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    pub(super) fn new(shard: u16, offset: u64) -> Self {
        Self(u64::from(shard) << OFFSET_BITS | offset & ((1 << OFFSET_BITS) - 1))
    }

    pub(super) fn offset(self) -> u64 {
        self.0 & ((1 << OFFSET_BITS) - 1)
    }

    fn shard(self) -> u64 {
        self.0 >> OFFSET_BITS
    }
}

/// Keys are hashes already.
#[derive(Debug, Default)]
pub(super) struct Already(u64);

impl Hasher for Already {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A shard as far as its index was read.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) shard: SharedShard,
    /// Entries that were read.
    pub(super) entries: u64,
    /// Where the records of these entries end.
    pub(super) end: u64,
}

/// Segments and shards.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: HashMap<u64, Place, BuildHasherDefault<Already>>,
    shards: Vec<Known>,
}

impl Index {
    pub(super) fn segments(&self) -> u64 {
        self.places.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.shards.iter().map(|known| known.end + known.entries * ENTRY as u64).sum()
    }

    pub(super) fn shards(&self) -> &[Known] {
        &self.shards
    }

    pub(super) fn find(&self, key: u64) -> Option<(Place, SharedShard)> {
        let place = *self.places.get(&key)?;
        let known = self.shards.binary_search_by_key(&place.shard(), |known| u64::from(known.shard.number())).ok()?;
        Some((place, Arc::clone(&self.shards[known].shard)))
    }

    /// Adds what was just appended to a shard.
    pub(super) fn add(&mut self, key: u64, place: Place, appended: &Appended) {
        self.places.insert(key, place);
        match self.shards.last_mut() {
            Some(known) if known.shard.number() == appended.shard.number() => {
                known.entries = appended.entries;
                known.end = appended.end;
            }
            _ => self.shards.push(Known {
                shard: Arc::clone(&appended.shard),
                entries: appended.entries,
                end: appended.end,
            }),
        }
    }

    /// Forgets a segment, unless it was written anew meanwhile.
    pub(super) fn remove(&mut self, key: u64, place: Place) {
        if self.places.get(&key) == Some(&place) {
            self.places.remove(&key);
        }
    }

    /// Reads what was added to the shards of a folder since the last time.
    pub(super) fn load(&mut self, folder: &Path, format: Format) -> Result<(), CacheError> {
        for number in shard_numbers(folder)? {
            let place = match self.shards.binary_search_by_key(&number, |known| known.shard.number()) {
                Ok(place) => place,
                Err(place) => {
                    let Some(shard) = Shard::open(folder, number)? else { continue };
                    self.shards.insert(place, Known { shard: Arc::new(shard), entries: 0, end: 0 });
                    place
                }
            };
            let known = &mut self.shards[place];
            let (from, end) = (known.entries, known.end);
            let (entries, end) = known.shard.entries(folder, format, from, end)?;
            known.entries += entries.len() as u64;
            known.end = end;
            // A later entry is the better one: its segment was written anew because the earlier record was damaged.
            self.places.extend(entries.iter().map(|entry| (entry.key.short(), Place::new(number, entry.offset))));
        }
        Ok(())
    }

    /// Lets go of a shard and its segments.
    pub(super) fn drop_shard(&mut self, number: u16) {
        self.shards.retain(|known| known.shard.number() != number);
        self.places.retain(|_, place| place.shard() != u64::from(number));
    }
}

/// A shard after something was appended to it.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) shard: SharedShard,
    pub(super) entries: u64,
    pub(super) end: u64,
}
