//! Scores of answers, each computed as the benchmark that it belongs to computes it.
//!
//! | metric | what |
//! | --- | --- |
//! | [`Confusion`] | one label each: accuracy, micro and macro F1 |
//! | [`Confusion::tacred`] | TACRED: micro P, R and F1 without `no_relation` |
//! | [`semeval`] | SemEval-2010 task 8: macro F1 over nine relations, directions taken into account |
//! | [`Sets`] | any number of labels: strict accuracy, loose micro and macro |
//! | [`PublishedFiger`] | FIGER as the paper's code counts it |
//! | [`Spans`] | exact match and F1 of answers to questions (SQuAD) |
//! | [`Attachment`] | unlabelled and labelled attachment of dependency trees |
//! | [`Probe`] | precision at one, averaged over relations (LAMA) |
//!
//! [`Scorer`] chooses among them by name and takes answers as tasks give them.

mod attachment;
mod confusion;
mod probe;
mod report;
mod scorer;
pub mod semeval;
mod sets;
mod span;
#[cfg(test)]
mod tests;

pub use attachment::Attachment;
pub use confusion::Confusion;
pub use probe::Probe;
pub use report::{Report, Row, Score};
pub use scorer::{Error, Metric, Scorer, check_gold};
pub use sets::{PublishedFiger, Sets};
pub use span::{Spans, exact_match, f1 as span_f1, normalise as normalise_answer};

use serde::Serialize;

/// Precision, recall and their harmonic mean, from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Prf {
    /// The share of what was predicted that is right.
    pub precision: f64,
    /// The share of what is right that was predicted.
    pub recall: f64,
    /// `2 · precision · recall / (precision + recall)`, 0 where both are 0.
    pub f1: f64,
}

impl Prf {
    /// With its F1.
    pub fn new(precision: f64, recall: f64) -> Self {
        let sum = precision + recall;
        Self { precision, recall, f1: if sum == 0.0 { 0.0 } else { 2.0 * precision * recall / sum } }
    }

    /// Of counts; what is divided by 0 is 0.
    pub fn of_counts(correct: u64, predicted: u64, gold: u64) -> Self {
        Self::new(ratio(correct, predicted), ratio(correct, gold))
    }
}

/// A share, 0 of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
