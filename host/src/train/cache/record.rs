//! A segment's hidden states as bytes, and the entry that says where they lie.
//!
//! ```text
//! record  0  key       16  first half of the SHA-256 of the token ids, each little-endian in 4 bytes
//!        16  tokens     4
//!        20  checksum   4  CRC-32C of all other bytes of the record
//!        24  values        tap by tap [tokens, hidden], row-major, f32 or f16, little-endian
//!
//! entry   0  key       16
//!        16  offset     8  of the record in its shard
//!        24  tokens     4
//!        28  checksum   4  CRC-32C of the 28 bytes before
//! ```

use half::f16;
use half::slice::HalfFloatSliceExt;
use kadapter_registry::Digest;

use super::identity::{BLOCK, CacheDtype, CacheIdentity, to_halves};

/// Bytes of a record before its values.
const HEADER: usize = 24;
/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;

/// The content of a segment, as a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// The key of a segment's token ids.
    pub(super) fn of(ids: &[u32]) -> Self {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let digest = Digest::of(&bytes);
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_bytes()[..16]);
        Self(key)
    }

    /// What the index goes by. Two segments that share it are told apart by their records, and only one of them is kept.
    pub(super) fn short(self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|place| self.0[place]))
    }
}

/// An entry of a shard's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) offset: u64,
    pub(super) tokens: u32,
}

impl Entry {
    pub(super) fn encode(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..16].copy_from_slice(&self.key.0);
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.tokens.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The entry, if it was written whole. Bytes that were never written are not one.
    pub(super) fn decode(bytes: &[u8; ENTRY]) -> Option<Self> {
        let part = |from: usize| u32::from_le_bytes(std::array::from_fn(|place| bytes[from + place]));
        if part(28) != crc32c::crc32c(&bytes[..28]) {
            return None;
        }
        let key = Key(std::array::from_fn(|place| bytes[place]));
        Some(Self { key, offset: u64::from(part(16)) | u64::from(part(20)) << 32, tokens: part(24) })
    }
}

/// The measures of a cache's records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) taps: usize,
    pub(super) hidden: usize,
    dtype: CacheDtype,
}

impl Format {
    pub(super) fn new(identity: &CacheIdentity) -> Self {
        Self { taps: identity.taps.len(), hidden: identity.hidden, dtype: identity.dtype }
    }

    /// Bytes of one tap of a segment.
    fn tap_bytes(self, tokens: usize) -> usize {
        tokens * self.hidden * self.dtype.bytes()
    }

    /// Bytes of the record of a segment.
    pub(super) fn record_bytes(self, tokens: usize) -> usize {
        HEADER + self.taps * self.tap_bytes(tokens)
    }

    /// Makes `record` the record of a segment.
    pub(super) fn encode(self, key: Key, tokens: u32, states: &[&[f32]], record: &mut Vec<u8>) {
        record.clear();
        record.extend_from_slice(&key.0);
        record.extend_from_slice(&tokens.to_le_bytes());
        record.extend_from_slice(&[0; 4]);
        for values in states {
            match self.dtype {
                CacheDtype::F32 => record.extend(values.iter().flat_map(|value| value.to_le_bytes())),
                CacheDtype::F16 => {
                    let mut halves = [f16::ZERO; BLOCK];
                    for block in values.chunks(BLOCK) {
                        let halves = &mut halves[..block.len()];
                        to_halves(block, halves);
                        record.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
                    }
                }
            }
        }
        let checksum = checksum(record);
        record[20..HEADER].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Whether these bytes are the whole record of that segment.
    pub(super) fn is_sound(self, record: &[u8], key: Key, tokens: usize) -> bool {
        record.len() == self.record_bytes(tokens)
            && record[..16] == key.0
            && record[16..20] == u32::try_from(tokens).unwrap_or(0).to_le_bytes()
            && record[20..HEADER] == checksum(record).to_le_bytes()
    }

    /// The values of one tap of a sound record.
    pub(super) fn decode(self, record: &[u8], tokens: usize, tap: usize, values: &mut [f32]) {
        let size = self.tap_bytes(tokens);
        let bytes = &record[HEADER + tap * size..][..size];
        match self.dtype {
            CacheDtype::F32 => {
                for (value, &bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_le_bytes(bytes);
                }
            }
            CacheDtype::F16 => {
                let mut halves = [f16::ZERO; BLOCK];
                for (values, bytes) in values.chunks_mut(BLOCK).zip(bytes.chunks(BLOCK * 2)) {
                    let halves = &mut halves[..values.len()];
                    for (half, &bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
                        *half = f16::from_le_bytes(bytes);
                    }
                    halves.convert_to_f32_slice(values);
                }
            }
        }
    }
}

/// The checksum of a record, which stands in it.
fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..20]), &record[HEADER..])
}
