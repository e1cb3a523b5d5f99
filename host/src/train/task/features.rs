//! The rows that heads read of a set of records, by whose features they are.

use super::{Column, EncodeReport, Encoded, Error, Target};
use crate::task::Kind;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Whose features.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// The backbone's last hidden state.
    Last,
    /// The hidden state at this tap.
    Tap(usize),
    /// The adapter of this name.
    Adapter(String),
}

impl fmt::Display for Feature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => formatter.write_str("the last hidden state"),
            Self::Tap(tap) => write!(formatter, "hidden state {tap}"),
            Self::Adapter(name) => write!(formatter, "adapter {name}"),
        }
    }
}

/// Records as a head sees them: rows, and what to find in them. Cloning shares the rows.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    /// The kind of task that encoded the records.
    pub kind: Kind,
    /// Numbers in a row.
    pub hidden: usize,
    /// Rows that a unit reads, side by side.
    pub reads: usize,
    /// Numbers of the rows: unit `u` reads rows `u · reads ..`, in every column.
    pub columns: BTreeMap<Feature, Arc<Column>>,
    /// The first unit of each record, and behind the last record the number of units.
    pub starts: Arc<[usize]>,
    /// Per record what is to be found.
    pub targets: Arc<[Target]>,
    /// Per record the key by which it is chosen.
    pub keys: Arc<[Arc<str>]>,
    /// Per record what it has in common with those that it is not independent of.
    pub clusters: Arc<[Arc<str>]>,
    /// What became of the records.
    pub report: EncodeReport,
}

/// Some records of a set, in an order.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The set.
    pub set: &'a FeatureSet,
    /// The records, by their places in it.
    pub records: Vec<usize>,
}

impl FeatureSet {
    /// Records without any feature: enough for whoever asks what is right.
    #[must_use]
    pub fn without_columns(kind: Kind, reads: usize, encoded: Encoded) -> Self {
        let mut starts = vec![0];
        for encoding in &encoded.encodings {
            starts.push(starts.last().copied().unwrap_or(0) + encoding.reads.len());
        }
        Self {
            kind,
            hidden: 0,
            reads,
            columns: BTreeMap::new(),
            starts: starts.into(),
            targets: encoded.targets.into(),
            keys: encoded.keys.into(),
            clusters: encoded.clusters.into(),
            report: encoded.report,
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// All records.
    #[must_use]
    pub fn all(&self) -> View<'_> {
        self.only((0..self.len()).collect())
    }

    /// Some records.
    #[must_use]
    pub fn only(&self, records: Vec<usize>) -> View<'_> {
        View { set: self, records }
    }

    /// The rows of a source.
    ///
    /// # Errors
    /// When they were not extracted.
    pub fn column(&self, feature: &Feature) -> Result<&Column, Error> {
        let missing = || Error::NoFeatures { feature: feature.to_string() };
        self.columns.get(feature).map(|column| &**column).ok_or_else(missing)
    }

    /// The units of a record.
    #[must_use]
    pub fn units(&self, record: usize) -> std::ops::Range<usize> {
        self.starts[record]..self.starts[record + 1]
    }

    /// The rows of records in the order in which heads take them: every unit's first read, then every unit's second, and so on.
    #[must_use]
    pub fn rows(&self, records: &[usize]) -> Vec<usize> {
        let units = || records.iter().flat_map(|&record| self.units(record));
        (0..self.reads).flat_map(|read| units().map(move |unit| unit * self.reads + read)).collect()
    }
}

impl View<'_> {
    /// Leaves out records of a class but the first `sample - 1`: the official `negative_sample`, which counts down before it looks
    /// (spec section 5.3).
    #[must_use]
    pub fn negative_sample(mut self, class: u32, sample: usize) -> Self {
        let mut left = sample.saturating_sub(1);
        self.records.retain(|&record| {
            if self.set.targets[record] != Target::Class(class) {
                return true;
            }
            let keep = left > 0;
            left = left.saturating_sub(1);
            keep
        });
        self
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}
