//! Predictions of any number of labels each: OpenEntity and FIGER.

use super::{Prf, ratio};
use std::collections::BTreeSet;

/// Strict accuracy, loose micro and loose macro scores (Ling and Weld 2012).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sets {
    examples: u64,
    exact: u64,
    correct: u64,
    predicted: u64,
    gold: u64,
    /// Sums over examples of the shares that are right.
    precision: f64,
    recall: f64,
}

/// The labels of an example, as numbers or names.
type Labels<L> = BTreeSet<L>;

impl Sets {
    /// Counts an example.
    pub fn add<L: Ord>(&mut self, gold: &Labels<L>, predicted: &Labels<L>) {
        self.add_times(gold, predicted, 1);
    }

    fn add_times<L: Ord>(&mut self, gold: &Labels<L>, predicted: &Labels<L>, times: u64) {
        let correct = gold.intersection(predicted).count() as u64;
        let (golds, guesses) = (gold.len() as u64, predicted.len() as u64);
        self.examples += times;
        self.exact += times * u64::from(gold == predicted);
        self.correct += times * correct;
        self.predicted += times * guesses;
        self.gold += times * golds;
        self.precision += times as f64 * ratio(correct, guesses);
        self.recall += times as f64 * ratio(correct, golds);
    }

    /// How many examples were counted.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// The share of examples whose labels are exactly the predicted ones.
    pub fn strict_accuracy(&self) -> f64 {
        ratio(self.exact, self.examples)
    }

    /// Loose micro scores: over all labels of all examples. Precision is 0 when nothing is predicted.
    pub fn micro(&self) -> Prf {
        Prf::of_counts(self.correct, self.predicted, self.gold)
    }

    /// Loose macro scores: the mean over examples of the share of its predictions, and of its labels, that are right. An
    /// example without predictions, or without labels, gives 0 (as in the paper's code).
    pub fn macro_average(&self) -> Prf {
        let mean = |sum: f64| if self.examples == 0 { 0.0 } else { sum / self.examples as f64 };
        Prf::new(mean(self.precision), mean(self.recall))
    }
}

/// FIGER as the paper's code counts it: after each batch all examples until then are counted once more, so that the first batch
/// of `M` counts `M` times and the last once. Strict accuracy is counted once. The published macro and micro F1 carry this.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedFiger<L> {
    batch: usize,
    examples: Vec<(Labels<L>, Labels<L>)>,
}

impl<L: Ord> PublishedFiger<L> {
    /// With the batch size of the evaluation, at least 1: the result depends on it.
    pub fn new(batch: std::num::NonZeroUsize) -> Self {
        Self { batch: batch.get(), examples: Vec::new() }
    }

    /// Counts an example, in the order of the file: the result depends on it.
    pub fn add(&mut self, gold: Labels<L>, predicted: Labels<L>) {
        self.examples.push((gold, predicted));
    }

    /// How many examples were counted.
    pub fn examples(&self) -> u64 {
        self.examples.len() as u64
    }

    /// The scores: [`Sets::micro`] and [`Sets::macro_average`] as published, and the strict accuracy beside them.
    pub fn scores(&self) -> (f64, Sets) {
        let batches = self.examples.len().div_ceil(self.batch);
        let (mut recounted, mut plain) = (Sets::default(), Sets::default());
        for (index, (gold, predicted)) in self.examples.iter().enumerate() {
            recounted.add_times(gold, predicted, (batches - index / self.batch) as u64);
            plain.add(gold, predicted);
        }
        (plain.strict_accuracy(), recounted)
    }
}
