//! Splits and subsets that are the same on every machine, and for every order of the records.
//!
//! Each record has a key (a document, a subject, its sentence), and the key's hash with a seed decides. Records of one key stay
//! together.

use super::{Error, Labelled};
use std::collections::HashMap;

/// How large parts are, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

impl Share {
    /// A share.
    ///
    /// # Errors
    ///
    /// When it is not from 0 to 1.
    pub fn new(share: f64) -> Result<Self, Error> {
        match (0.0..=1.0).contains(&share) {
            true => Ok(Self(share)),
            false => Err(Error::Share { found: share }),
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Two parts of a stream: keys that are held out, and the rest.
#[derive(Debug, Clone, Copy)]
pub struct Split {
    seed: u64,
    held_out: Share,
}

impl Split {
    /// A split that holds out about this share of the keys.
    pub fn new(seed: u64, held_out: Share) -> Self {
        Self { seed, held_out }
    }

    /// Whether the records of a key are held out.
    pub fn holds_out(self, key: &str) -> bool {
        unit(hash(self.seed, key)) < self.held_out.get()
    }
}

/// A stretch of a stream's keys, from one share of them to another: slices that do not overlap have no key in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    from: f64,
    to: f64,
    by: Vec<String>,
}

/// The seed of all slices: they are parts of one order of keys.
const SLICE_SEED: u64 = 0;

impl Slice {
    /// The keys from a share of them (included) to another (excluded). `by` names the fields whose values are the key, the sentence
    /// where it is empty.
    ///
    /// # Errors
    ///
    /// When the ends are not in order within 0 and 1.
    pub fn new([from, to]: [f64; 2], by: Vec<String>) -> Result<Self, Error> {
        match 0.0 <= from && from < to && to <= 1.0 {
            true => Ok(Self { from, to, by }),
            false => Err(Error::Slice { from, to }),
        }
    }

    /// Whether a record is in it.
    pub fn has(&self, record: &Labelled) -> bool {
        (self.from..self.to).contains(&unit(hash(SLICE_SEED, &record.key_by(&self.by))))
    }
}

/// A part of a stream whose size is exact: of all records, or of those of each label.
///
/// It is made of all keys, so the stream is read twice: once for the keys, 24 bytes each, and once for the records.
#[derive(Debug, Clone)]
pub struct Subset {
    chosen: Vec<bool>,
}

impl Subset {
    /// Chooses a share of the records, rounded, of each label at least one where the share is not 0. `keys` are keys and
    /// labels, in the order of the stream; with one label for all, the subset is not stratified. Here a key is a record's own:
    /// equal keys are told apart by their order.
    pub fn new<'k>(seed: u64, share: Share, keys: impl IntoIterator<Item = (&'k str, &'k str)>) -> Self {
        let mut strata: HashMap<String, Vec<(u64, usize)>> = HashMap::new();
        let mut count = 0;
        for (key, label) in keys {
            let entry = (hash(seed, key), count);
            count += 1;
            match strata.get_mut(label) {
                Some(stratum) => stratum.push(entry),
                None => drop(strata.insert(label.to_owned(), vec![entry])),
            }
        }
        let mut chosen = vec![false; count];
        for mut stratum in strata.into_values() {
            stratum.sort_unstable();
            let wanted = (share.get() * stratum.len() as f64).round() as usize;
            let least = usize::from(share.get() > 0.0);
            for (_, index) in stratum.iter().take(wanted.max(least)) {
                chosen[*index] = true;
            }
        }
        Self { chosen }
    }

    /// Whether the record at a place of the stream, from 0, is in the subset.
    pub fn has(&self, index: usize) -> bool {
        self.chosen.get(index).copied().unwrap_or(false)
    }

    /// How many records are in it.
    pub fn len(&self) -> usize {
        self.chosen.iter().filter(|&&chosen| chosen).count()
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The fold, from 0, of a key in a cross-validation of `folds` folds.
///
/// # Errors
///
/// When there are fewer than 2 folds.
pub fn fold(seed: u64, key: &str, folds: usize) -> Result<usize, Error> {
    match folds {
        0 | 1 => Err(Error::Folds { found: folds }),
        _ => Ok((unit(hash(seed, key)) * folds as f64) as usize),
    }
}

/// FNV-1a over seed and key, its bits mixed as in SplitMix64: written down here, so that a split never changes.
pub(super) fn hash(seed: u64, key: &str) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(key.bytes());
    let mut hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A hash as a number from 0 to 1, 1 excluded.
fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}
