//! Encoded examples on disk: a data set of any size takes a few bytes of memory per example.
//!
//! ```text
//! file      example after example, little-endian: u32 counts of segments, places, targets and numbers, u32 file, u64 line,
//!           then per segment its u32 length and u32 token ids; places as pairs of u32; targets i64; numbers f32
//! memory    where each begins and how many tokens it has
//! ```
//! The file is made anew for each run and has no name, so that nothing is left behind.

use super::error::TrainError;
use super::recipe::Permute;
use super::sampler::shuffle;
use kadapter_plugin_api::random::Random;
use kadapter_plugin_api::{Example, Place};
use kadapter_registry::Digest;
use kadapter_registry::digest::Hasher;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Encoded examples, read by number.
#[derive(Debug)]
pub struct Examples {
    file: Mutex<File>,
    path: PathBuf,
    /// Where each example begins, and where the last ends.
    starts: Vec<u64>,
    tokens: Vec<u32>,
    sources: Vec<PathBuf>,
    permutation: Option<Permutation>,
    digest: Digest,
}

#[derive(Debug)]
enum Permutation {
    /// For each example the one whose targets it gets.
    Examples(Vec<u32>),
    /// The places of an example change the targets that they have; from this seed.
    Places(u64),
}

/// Where a record came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// Its line, or its number where records have no lines.
    pub line: u64,
}

/// Takes examples one after another.
#[derive(Debug)]
pub struct Builder {
    file: BufWriter<File>,
    path: PathBuf,
    hasher: Hasher,
    starts: Vec<u64>,
    tokens: Vec<u32>,
    targets: Vec<u32>,
    sources: Vec<PathBuf>,
    bytes: Vec<u8>,
}

impl Builder {
    /// Writes into a nameless file in `directory`.
    ///
    /// # Errors
    /// When there is no room.
    pub fn new(directory: &Path) -> Result<Self, TrainError> {
        let refuse = |source| TrainError::Io { action: "write", path: directory.to_owned(), source };
        let file = tempfile::tempfile_in(directory).map_err(refuse)?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, file),
            path: directory.to_owned(),
            hasher: Hasher::new(),
            starts: vec![0],
            tokens: Vec::new(),
            targets: Vec::new(),
            sources: Vec::new(),
            bytes: Vec::new(),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Adds an example.
    ///
    /// # Errors
    /// When there is no room.
    pub fn push(&mut self, example: &Example, path: &Path, line: u64) -> Result<(), TrainError> {
        if self.sources.last().is_none_or(|last| last != path) {
            self.sources.push(path.to_owned());
        }
        let bytes = &mut self.bytes;
        bytes.clear();
        let mut put = |number: usize| bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        put(example.segments().len());
        put(example.places().len());
        put(example.targets().len());
        put(example.numbers().len());
        let content = bytes.len();
        bytes.extend_from_slice(&u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&line.to_le_bytes());
        let after = bytes.len();
        for segment in example.segments() {
            bytes.extend_from_slice(&u32::try_from(segment.len()).unwrap_or(u32::MAX).to_le_bytes());
            segment.iter().for_each(|id| bytes.extend_from_slice(&id.to_le_bytes()));
        }
        for place in example.places() {
            bytes.extend_from_slice(&place.segment.to_le_bytes());
            bytes.extend_from_slice(&place.row.to_le_bytes());
        }
        example.targets().iter().for_each(|target| bytes.extend_from_slice(&target.to_le_bytes()));
        example.numbers().iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        // What is trained on counts, where it lay does not.
        self.hasher.update(&bytes[..content]);
        self.hasher.update(&bytes[after..]);
        let refuse = |source| TrainError::Io { action: "write", path: self.path.clone(), source };
        self.file.write_all(bytes).map_err(refuse)?;
        self.starts.push(self.starts[self.starts.len() - 1] + bytes.len() as u64);
        self.tokens.push(u32::try_from(example.tokens()).unwrap_or(u32::MAX));
        self.targets.push(u32::try_from(example.targets().len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// The finished set; `permute` tears targets from examples, by this seed.
    ///
    /// # Errors
    /// When there is no room.
    pub fn finish(self, permute: Option<Permute>, seed: u64) -> Result<Examples, TrainError> {
        let refuse = |source| TrainError::Io { action: "write", path: self.path.clone(), source };
        let file = self.file.into_inner().map_err(|error| refuse(error.into_error()))?;
        let permutation = permute.map(|permute| match permute {
            Permute::Places => Permutation::Places(seed),
            Permute::Examples => Permutation::Examples(exchange(&self.targets, seed)),
        });
        let mut hasher = self.hasher;
        if let Some(permute) = permute {
            hasher.update(format!("{permute:?} {seed}").as_bytes());
        }
        Ok(Examples {
            file: Mutex::new(file),
            path: self.path,
            starts: self.starts,
            tokens: self.tokens,
            sources: self.sources,
            permutation,
            digest: hasher.finish().0,
        })
    }
}

/// The targets of an example with its places in another order. Several targets of a place, one list after another, stay together;
/// targets that do not go with places are put in any order.
fn exchanged_places(example: &Example, random: &mut Random) -> Vec<i64> {
    let (targets, places) = (example.targets(), example.places().len());
    let listed = if places > 0 && targets.len().is_multiple_of(places) { places } else { targets.len() };
    let mut order: Vec<usize> = (0..listed).collect();
    shuffle(&mut order, random);
    targets.chunks(listed.max(1)).flat_map(|list| order.iter().map(|&place| list[place])).collect()
}

/// A random partner with equally many targets for each example.
fn exchange(targets: &[u32], seed: u64) -> Vec<u32> {
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (example, &count) in (0_u32..).zip(targets) {
        groups.entry(count).or_default().push(example);
    }
    let mut random = Random::named(seed, "exchanged targets");
    let mut partners = vec![0; targets.len()];
    for group in groups.into_values() {
        let mut shuffled = group.clone();
        shuffle(&mut shuffled, &mut random);
        for (&example, partner) in group.iter().zip(shuffled) {
            partners[example as usize] = partner;
        }
    }
    partners
}

impl Examples {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Tokens of each example.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// What is trained on, as a digest: the same examples in the same order have the same.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// One example.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, example: u32) -> Result<Example, TrainError> {
        let mut found = self.read(example)?.0;
        match &self.permutation {
            None => {}
            Some(Permutation::Examples(partners)) => {
                let partner = partners.get(example as usize).copied().unwrap_or(example);
                let targets = self.read(partner)?.0.targets().to_vec();
                found = with_targets(&found, targets);
            }
            Some(Permutation::Places(seed)) => {
                let mut random = Random::named(*seed, &format!("targets of {example}"));
                let targets = exchanged_places(&found, &mut random);
                found = with_targets(&found, targets);
            }
        }
        Ok(found)
    }

    /// Where an example's record came from.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn origin(&self, example: u32) -> Result<Origin, TrainError> {
        Ok(self.read(example)?.1)
    }

    fn read(&self, example: u32) -> Result<(Example, Origin), TrainError> {
        let refuse = |source| TrainError::Io { action: "read", path: self.path.clone(), source };
        let missing = || refuse(std::io::ErrorKind::UnexpectedEof.into());
        let at = example as usize;
        let (Some(&start), Some(&end)) = (self.starts.get(at), self.starts.get(at + 1)) else {
            return Err(missing());
        };
        let mut bytes = vec![0; usize::try_from(end - start).map_err(|_| missing())?];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes)).map_err(refuse)?;
        }
        decode(&bytes, &self.sources).ok_or_else(missing)
    }
}

fn with_targets(example: &Example, targets: Vec<i64>) -> Example {
    let mut segments = example.segments().map(<[u32]>::to_vec);
    let mut changed = Example::new(segments.next().unwrap_or_default());
    for segment in segments {
        changed = changed.with_segment(segment);
    }
    for &place in example.places() {
        changed = changed.with_place(place);
    }
    changed.with_targets(targets).with_numbers(example.numbers().iter().copied())
}

fn decode(bytes: &[u8], sources: &[PathBuf]) -> Option<(Example, Origin)> {
    let mut rest = bytes;
    let mut take = |count: usize| -> Option<&[u8]> {
        let (taken, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(taken)
    };
    let number = |bytes: &[u8]| -> Option<u32> { Some(u32::from_le_bytes(bytes.try_into().ok()?)) };
    let mut count = || take(4).and_then(number);
    let [segments, places, targets, numbers, source] = [count()?, count()?, count()?, count()?, count()?];
    let line = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let mut example: Option<Example> = None;
    for _ in 0..segments {
        let length = take(4).and_then(number)? as usize;
        let ids = take(length.checked_mul(4)?)?.chunks_exact(4).filter_map(number).collect();
        example = Some(match example {
            None => Example::new(ids),
            Some(example) => example.with_segment(ids),
        });
    }
    let mut example = example?;
    for _ in 0..places {
        let (segment, row) = (take(4).and_then(number)?, take(4).and_then(number)?);
        example = example.with_place(Place { segment, row });
    }
    let wide = take(targets as usize * 8)?.chunks_exact(8);
    example = example.with_targets(wide.filter_map(|bytes| Some(i64::from_le_bytes(bytes.try_into().ok()?))));
    let narrow = take(numbers as usize * 4)?.chunks_exact(4);
    example = example.with_numbers(narrow.filter_map(|bytes| Some(f32::from_le_bytes(bytes.try_into().ok()?))));
    Some((example, Origin { path: sources.get(source as usize)?.clone(), line }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(permute: Option<Permute>) -> (Examples, Vec<Example>) {
        let directory = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(directory.path()).unwrap();
        let examples: Vec<_> = (0..40_u32)
            .map(|index| {
                let example = Example::new((0..=index % 7).collect()).with_rows([0, (index % 7) as usize]);
                let example = if index % 5 == 0 { example.with_segment(vec![index]) } else { example };
                example.with_targets([i64::from(index), -1]).with_numbers([index as f32 / 2.0])
            })
            .collect();
        for (line, example) in (1..).zip(&examples) {
            builder.push(example, Path::new(if line < 20 { "a" } else { "b" }), line).unwrap();
        }
        (builder.finish(permute, 3).unwrap(), examples)
    }

    #[test]
    fn what_was_put_in_comes_out_in_any_order() {
        let (set, examples) = set(None);
        for index in [39, 0, 17, 20, 19] {
            assert_eq!(set.get(index).unwrap(), examples[index as usize]);
        }
        assert_eq!(set.origin(30).unwrap(), Origin { path: "b".into(), line: 31 });
        assert!(set.get(40).is_err());
    }

    #[test]
    fn permuted_targets_are_the_same_targets_elsewhere() {
        for permute in [Permute::Examples, Permute::Places] {
            let (set, examples) = set(Some(permute));
            let targets = |example: &Example| example.targets().to_vec();
            let found: Vec<_> = (0..40).map(|index| targets(&set.get(index).unwrap())).collect();
            let before: Vec<_> = examples.iter().map(targets).collect();
            assert_ne!(found, before);
            let flat = |lists: &[Vec<i64>]| {
                let mut flat: Vec<_> = lists.iter().flatten().copied().collect();
                flat.sort_unstable();
                flat
            };
            assert_eq!(flat(&found), flat(&before));
            assert_eq!(set.get(3).unwrap().segments().next(), examples[3].segments().next());
        }
        assert_ne!(set(None).0.digest(), set(Some(Permute::Places)).0.digest());
    }

    #[test]
    fn targets_of_a_place_stay_together() {
        let pairs = Example::new((0..9).collect()).with_rows(0..8).with_targets((0..8).chain(100..108));
        let found = exchanged_places(&pairs, &mut Random::named(1, "pairs"));
        assert_ne!(found, pairs.targets());
        assert!(found[..8].iter().zip(&found[8..]).all(|(head, label)| head + 100 == *label), "{found:?}");
        let whole = Example::new((0..9).collect()).with_rows([0, 1]).with_targets([5, 6, 7]);
        let mut found = exchanged_places(&whole, &mut Random::named(1, "whole"));
        found.sort_unstable();
        assert_eq!(found, [5, 6, 7]);
    }
}
