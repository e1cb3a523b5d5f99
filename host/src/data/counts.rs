//! What became of the records of a file.

use std::collections::BTreeMap;
use std::fmt;

/// Why a format leaves a record out though nothing is wrong with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The subject does not stand in the sentence.
    SubjectNotFound,
    /// Head or tail do not stand in the gloss.
    HeadNotFound,
    /// See [`Reason::HeadNotFound`].
    TailNotFound,
    /// A LAMA sentence with more than one `[MASK]`, or none.
    NotOneMask,
    /// A CosmosQA or SQuAD record whose gold answer is kept secret.
    NoGold,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SubjectNotFound => "the subject does not stand in the sentence",
            Self::HeadNotFound => "the head does not stand in the gloss",
            Self::TailNotFound => "the tail does not stand in the gloss",
            Self::NotOneMask => "not exactly one `[MASK]` stands in the sentence",
            Self::NoGold => "no gold answer is given",
        })
    }
}

/// How many records were read, left out and bad.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were given out.
    pub read: u64,
    /// Records that are not in the slice that was asked for.
    pub elsewhere: u64,
    /// Records that the format left out, and why.
    pub left_out: BTreeMap<Reason, u64>,
    /// Records that could not be read and were passed over with [`Options::skip_bad`](super::Options::skip_bad).
    pub bad: u64,
    /// What was wrong with the first of them, with its place.
    pub first_bad: Option<String>,
}

impl Counts {
    /// How many records the format left out.
    pub fn total_left_out(&self) -> u64 {
        self.left_out.values().sum()
    }

    /// Adds those of another file.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.elsewhere += other.elsewhere;
        self.bad += other.bad;
        for (reason, count) in &other.left_out {
            *self.left_out.entry(*reason).or_default() += count;
        }
        if self.first_bad.is_none() {
            self.first_bad.clone_from(&other.first_bad);
        }
    }
}
