//! Predictions of one label each against the gold labels.

use super::{Prf, ratio};

/// How often each label was predicted for each gold label. Labels are numbers from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confusion {
    labels: usize,
    /// `[gold, predicted]`, row-major.
    counts: Vec<u64>,
}

impl Confusion {
    /// Nothing counted, `labels` labels.
    pub fn new(labels: usize) -> Self {
        Self { labels, counts: vec![0; labels * labels] }
    }

    /// Counts a prediction; false, and nothing is counted, when a label is no number below `labels`.
    pub fn add(&mut self, gold: usize, predicted: usize) -> bool {
        let fits = gold < self.labels && predicted < self.labels;
        if fits {
            self.counts[gold * self.labels + predicted] += 1;
        }
        fits
    }

    /// How many labels there are.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// How often `predicted` was predicted where `gold` is right.
    pub fn count(&self, gold: usize, predicted: usize) -> u64 {
        if gold < self.labels && predicted < self.labels { self.counts[gold * self.labels + predicted] } else { 0 }
    }

    /// How often a label is right.
    pub fn gold(&self, label: usize) -> u64 {
        (0..self.labels).map(|predicted| self.count(label, predicted)).sum()
    }

    /// How often a label was predicted.
    pub fn predicted(&self, label: usize) -> u64 {
        (0..self.labels).map(|gold| self.count(gold, label)).sum()
    }

    /// How many predictions were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn correct(&self) -> u64 {
        (0..self.labels).map(|label| self.count(label, label)).sum()
    }

    /// The share of predictions that are right. It is also the micro F1 over all labels.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.total())
    }

    /// P, R and F1 of one label.
    pub fn of(&self, label: usize) -> Prf {
        Prf::of_counts(self.count(label, label), self.predicted(label), self.gold(label))
    }

    /// The mean F1 of the labels that occur, right or predicted (as scikit-learn's `f1_score(average="macro")`).
    pub fn macro_f1(&self) -> f64 {
        let occurring = (0..self.labels).filter(|&label| self.gold(label) + self.predicted(label) > 0);
        let scores: Vec<f64> = occurring.map(|label| self.of(label).f1).collect();
        if scores.is_empty() { 0.0 } else { scores.iter().sum::<f64>() / scores.len() as f64 }
    }

    /// TACRED's score: micro P, R and F1 in which neither predicting nor missing `no_relation` counts. Precision is 1 when
    /// nothing else is predicted, recall 0 when nothing else is right.
    pub fn tacred(&self, no_relation: usize) -> Prf {
        let others = || (0..self.labels).filter(|&label| label != no_relation);
        let correct = others().map(|label| self.count(label, label)).sum();
        let guessed: u64 = others().map(|label| self.predicted(label)).sum();
        let gold = others().map(|label| self.gold(label)).sum();
        let precision = if guessed == 0 { 1.0 } else { ratio(correct, guessed) };
        Prf::new(precision, ratio(correct, gold))
    }
}
