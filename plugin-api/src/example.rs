//! Examples: what an objective makes of a record, and a batch of them as the loss sees it.

use crate::{Error, Result, Segments};
use abi_stable::{
    StableAbi,
    std_types::{ROption, RString, RVec},
};

/// A token of an example: its segment and its row in that segment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, StableAbi)]
pub struct Place {
    /// Index into the example's segments.
    pub segment: u32,
    /// Index into that segment's tokens.
    pub row: u32,
}

/// One training example: token segments, the places that the loss reads, and what it is to find there.
///
/// What targets and numbers mean is the objective's own business: a class per example, a class per place, a score.
#[repr(C)]
#[derive(Clone, Debug, Default, PartialEq, StableAbi)]
pub struct Example {
    segments: RVec<RVec<u32>>,
    places: RVec<Place>,
    targets: RVec<i64>,
    numbers: RVec<f32>,
}

impl Example {
    /// An example of one segment: token ids, special tokens included, no padding.
    pub fn new(segment: Vec<u32>) -> Self {
        Self { segments: vec![RVec::from(segment)].into(), ..Self::default() }
    }

    /// Adds another segment, which attention does not cross into.
    #[must_use]
    pub fn with_segment(mut self, segment: Vec<u32>) -> Self {
        self.segments.push(segment.into());
        self
    }

    /// Adds rows of the first segment that the loss reads (markers, first sub-words), in this order.
    #[must_use]
    pub fn with_rows(mut self, rows: impl IntoIterator<Item = usize>) -> Self {
        let row = |row: usize| Place { segment: 0, row: u32::try_from(row).unwrap_or(u32::MAX) };
        self.places.extend(rows.into_iter().map(row));
        self
    }

    /// Adds a place that the loss reads, in any segment.
    #[must_use]
    pub fn with_place(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// Adds targets.
    #[must_use]
    pub fn with_targets(mut self, targets: impl IntoIterator<Item = i64>) -> Self {
        self.targets.extend(targets);
        self
    }

    /// Adds numbers: scores, weights, soft targets.
    #[must_use]
    pub fn with_numbers(mut self, numbers: impl IntoIterator<Item = f32>) -> Self {
        self.numbers.extend(numbers);
        self
    }

    /// The segments' token ids.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.segments.iter().map(RVec::as_slice)
    }

    /// The places that the loss reads.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The targets.
    pub fn targets(&self) -> &[i64] {
        &self.targets
    }

    /// The numbers.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// Tokens of all segments.
    pub fn tokens(&self) -> usize {
        self.segments.iter().map(RVec::len).sum()
    }

    /// Checks that there are tokens and that every place names one, in an example that a plugin made.
    ///
    /// # Errors
    /// Names the first segment that is empty, or the first place that is outside.
    pub fn check(&self) -> Result<()> {
        if self.segments.is_empty() || self.segments.iter().any(RVec::is_empty) {
            return Err(Error::shape(
                "the example has no segment or an empty one, expected at least one token in each",
            ));
        }
        for place in &self.places {
            let tokens = self.segments.get(place.segment as usize).map_or(0, RVec::len);
            if place.row as usize >= tokens {
                return Err(Error::shape(format!(
                    "the example reads row {} of segment {}, which has {tokens} tokens",
                    place.row, place.segment
                )));
            }
        }
        Ok(())
    }
}

/// What an objective makes of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoded {
    /// An example to train on.
    Example(Example),
    /// An example that lost a part of its record, for this reason, which must say something: trained on, and counted like what is left
    /// out (`the end of the text is past the longest segment`).
    Cut(Example, String),
    /// The record is left out, for this reason: a few words that stay the same for every such record, since hosts count by them
    /// (`the object's marker is past the longest segment`).
    LeftOut(String),
}

/// [`Encoded`] as it crosses the boundary.
#[repr(C)]
#[derive(Clone, Debug, StableAbi)]
pub struct EncodedData {
    pub(crate) example: ROption<Example>,
    pub(crate) reason: RString,
}

impl From<Encoded> for EncodedData {
    fn from(encoded: Encoded) -> Self {
        match encoded {
            Encoded::Example(example) => Self { example: ROption::RSome(example), reason: RString::new() },
            Encoded::Cut(example, reason) => Self { example: ROption::RSome(example), reason: reason.into() },
            Encoded::LeftOut(reason) => Self { example: ROption::RNone, reason: reason.into() },
        }
    }
}

impl From<EncodedData> for Encoded {
    fn from(data: EncodedData) -> Self {
        match data.example {
            ROption::RSome(example) if data.reason.is_empty() => Self::Example(example),
            ROption::RSome(example) => Self::Cut(example, data.reason.into_string()),
            ROption::RNone => Self::LeftOut(data.reason.into_string()),
        }
    }
}

/// A batch of examples: their segments one after another, rows numbered over the whole batch.
#[repr(C)]
#[derive(Clone, Debug, Default, StableAbi)]
pub struct Batch {
    rows: RVec<u32>,
    targets: RVec<i64>,
    numbers: RVec<f32>,
    ends: RVec<Ends>,
}

/// Where an example's parts end in the batch's lists; each begins where the example before ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, StableAbi)]
struct Ends {
    segments: u64,
    rows: u64,
    targets: u64,
    numbers: u64,
}

/// One example of a batch.
#[derive(Clone, Debug)]
pub struct BatchExample<'a> {
    /// Its segments, as numbers of segments of the batch.
    pub segments: std::ops::Range<usize>,
    /// The rows of the batch at the example's places.
    pub rows: &'a [u32],
    /// Its targets.
    pub targets: &'a [i64],
    /// Its numbers.
    pub numbers: &'a [f32],
}

impl Batch {
    /// Lays examples out as a batch, in their order; gives the batch and its segments.
    ///
    /// # Errors
    /// When an example is not sound ([`Example::check`]), or there is none.
    pub fn collect<'a>(examples: impl IntoIterator<Item = &'a Example>) -> Result<(Self, Segments)> {
        let (mut batch, mut lengths, mut rows) = (Self::default(), Vec::new(), 0_usize);
        for example in examples {
            example.check()?;
            let first: Vec<usize> = example
                .segments()
                .map(|segment| {
                    lengths.push(segment.len());
                    rows += segment.len();
                    rows - segment.len()
                })
                .collect();
            let row = |place: &Place| first[place.segment as usize] + place.row as usize;
            batch.rows.extend(example.places.iter().map(|place| u32::try_from(row(place)).unwrap_or(u32::MAX)));
            batch.targets.extend(example.targets.iter().copied());
            batch.numbers.extend(example.numbers.iter().copied());
            batch.ends.push(Ends {
                segments: lengths.len() as u64,
                rows: batch.rows.len() as u64,
                targets: batch.targets.len() as u64,
                numbers: batch.numbers.len() as u64,
            });
        }
        Ok((batch, Segments::new(lengths)?))
    }

    /// [`Batch::collect`] with every segment padded to `length` rows of the token `pad`, as the official code does it: the pads are rows
    /// of their segment that attention does not look at ([`Segments::hidden`]). Places and targets stay as they are.
    ///
    /// # Errors
    /// As [`Batch::collect`], and when a segment is longer than `length`.
    pub fn collect_padded<'a>(
        examples: impl IntoIterator<Item = &'a Example>,
        length: usize,
        pad: u32,
    ) -> Result<(Self, Segments, Vec<u32>)> {
        let (mut padded, mut tokens, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
        for example in examples {
            let mut example = example.clone();
            for segment in example.segments.iter_mut() {
                if segment.len() > length {
                    return Err(Error::shape(format!(
                        "a segment has {} tokens, expected at most the {length} that segments are padded to",
                        segment.len()
                    )));
                }
                hidden.extend((0..length).map(|row| row >= segment.len()));
                segment.resize(length, pad);
                tokens.extend_from_slice(segment);
            }
            padded.push(example);
        }
        let (batch, segments) = Self::collect(&padded)?;
        Ok((batch, segments.with_hidden(hidden)?, tokens))
    }

    /// How many examples it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The rows at every example's places, one example after another.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Every example's targets, one example after another.
    pub fn targets(&self) -> &[i64] {
        &self.targets
    }

    /// Every example's numbers, one example after another.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// The examples, in order.
    pub fn examples(&self) -> impl Iterator<Item = BatchExample<'_>> {
        let mut start = Ends::default();
        self.ends.iter().map(move |end| {
            let range = |from: u64, to: u64| {
                let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
                at(from)..at(to)
            };
            let example = BatchExample {
                segments: range(start.segments, end.segments),
                rows: self.rows.get(range(start.rows, end.rows)).unwrap_or_default(),
                targets: self.targets.get(range(start.targets, end.targets)).unwrap_or_default(),
                numbers: self.numbers.get(range(start.numbers, end.numbers)).unwrap_or_default(),
            };
            start = *end;
            example
        })
    }
}
