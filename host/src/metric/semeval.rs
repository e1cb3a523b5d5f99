//! The official score of SemEval-2010 task 8: (9+1)-way classification, directions taken into account, macro-averaged.
//!
//! `Cause-Effect(e1,e2)` and `Cause-Effect(e2,e1)` are one relation; a prediction of the right relation in the wrong direction
//! is wrong, and counts among the predictions of that relation. `Other` is a class and not averaged over. The mean is over the
//! relations that occur among the gold labels, as in the official scorer (version 1.2): over nine with the whole test set.

use super::{Confusion, Prf};
use std::collections::BTreeMap;

/// The class that is not averaged over.
pub const OTHER: &str = "Other";

/// One relation, both directions together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relation<'l> {
    /// Its name without a direction.
    pub name: &'l str,
    /// Its scores.
    pub score: Prf,
    /// How many gold labels are of it.
    pub gold: u64,
}

/// The official score and that of each relation.
#[derive(Debug, Clone, PartialEq)]
pub struct Official<'l> {
    /// The means of precision, recall and F1; the last is the official score.
    pub macro_average: Prf,
    /// Each relation that occurs among the gold labels, `Other` too, by name.
    pub relations: Vec<Relation<'l>>,
}

/// Whether labels are those of the task: directed relations and `Other`.
pub fn are_labels(labels: &[String]) -> bool {
    let directed = |label: &&String| split(label).1;
    labels.iter().any(|label| label == OTHER)
        && labels.iter().filter(|label| *label != OTHER).all(|label| directed(&label))
}

/// A label's relation, and whether it has a direction.
fn split(label: &str) -> (&str, bool) {
    match label.strip_suffix("(e1,e2)").or_else(|| label.strip_suffix("(e2,e1)")) {
        Some(relation) => (relation, true),
        None => (label, false),
    }
}

/// Scores predictions; `labels` names the numbers of `confusion`.
pub fn official<'l>(confusion: &Confusion, labels: &'l [String]) -> Official<'l> {
    let mut relations: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, label) in labels.iter().enumerate() {
        relations.entry(split(label).0).or_default().push(index);
    }
    let mut scored = Vec::new();
    for (name, members) in relations {
        let gold: u64 = members.iter().map(|&label| confusion.gold(label)).sum();
        if gold == 0 {
            continue;
        }
        let correct: u64 = members.iter().map(|&label| confusion.count(label, label)).sum();
        let predicted: u64 = members.iter().map(|&label| confusion.predicted(label)).sum();
        scored.push(Relation { name, score: Prf::of_counts(correct, predicted, gold), gold });
    }
    let averaged: Vec<Prf> =
        scored.iter().filter(|relation| relation.name != OTHER).map(|relation| relation.score).collect();
    let mean = |part: fn(&Prf) -> f64| {
        if averaged.is_empty() { 0.0 } else { averaged.iter().map(part).sum::<f64>() / averaged.len() as f64 }
    };
    // The official F1 is the mean of the F1s, not the F1 of the means.
    let macro_average = Prf {
        precision: mean(|score| score.precision),
        recall: mean(|score| score.recall),
        f1: mean(|score| score.f1),
    };
    Official { macro_average, relations: scored }
}
