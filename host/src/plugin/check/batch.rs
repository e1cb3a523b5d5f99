//! Inputs of the checks: segments and the taps over them.

use kadapter_plugin_api::random::Random;
use kadapter_plugin_api::{Result, Segments};
use std::ops::Range;

/// A ragged batch, as plain values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    /// Rows of each segment.
    pub(super) lengths: Vec<usize>,
    /// Columns of each tap.
    pub(super) columns: usize,
    /// Per tap, `[rows, columns]` row-major.
    pub(super) taps: Vec<Vec<f32>>,
}

impl Batch {
    /// Normal values, as hidden states are behind their layer norm.
    #[expect(clippy::cast_possible_truncation, reason = "values are f32")]
    pub(super) fn random(seed: u64, lengths: &[usize], columns: usize, taps: usize) -> Self {
        let count = lengths.iter().sum::<usize>() * columns;
        let tap = |tap: usize| {
            let mut random = Random::named(seed, &format!("tap {tap}"));
            (0..count).map(|_| random.normal() as f32).collect()
        };
        Self { lengths: lengths.to_vec(), columns, taps: (0..taps).map(tap).collect() }
    }

    /// Every value through a function.
    pub(super) fn map(mut self, function: impl Fn(f32) -> f32) -> Self {
        for value in self.taps.iter_mut().flatten() {
            *value = function(*value);
        }
        self
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Where the segments are.
    pub(super) fn segments(&self) -> Result<Segments> {
        Segments::new(self.lengths.iter().copied())
    }

    /// Where the values of one segment are, in taps and in features alike.
    pub(super) fn values_of(&self, segment: usize) -> Range<usize> {
        let start = self.lengths[..segment].iter().sum::<usize>() * self.columns;
        start..start + self.lengths[segment] * self.columns
    }

    /// Some of the segments, in another order.
    pub(super) fn select(&self, segments: &[usize]) -> Self {
        let pick = |tap: &Vec<f32>| segments.iter().flat_map(|&at| tap[self.values_of(at)].iter().copied()).collect();
        Self {
            lengths: segments.iter().map(|&segment| self.lengths[segment]).collect(),
            columns: self.columns,
            taps: self.taps.iter().map(pick).collect(),
        }
    }

    /// The same with other values in one segment.
    pub(super) fn with_other(&self, segment: usize) -> Self {
        let mut other = self.clone();
        let range = self.values_of(segment);
        for tap in &mut other.taps {
            tap[range.clone()].iter_mut().for_each(|value| *value = 3.0 - 2.0 * *value);
        }
        other
    }
}

/// The first place where two rows of numbers differ in a bit.
pub(super) fn first_difference(one: &[f32], other: &[f32]) -> Option<usize> {
    if one.len() != other.len() {
        return Some(one.len().min(other.len()));
    }
    one.iter().zip(other).position(|(one, other)| one.to_bits() != other.to_bits())
}
