//! Scores as data: what `--json` prints and what a table shows.

use super::Prf;
use serde::Serialize;

/// The scores of a metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The metric's name.
    pub metric: &'static str,
    /// How many answers were scored.
    pub examples: u64,
    /// The scores, the one that is published first.
    pub scores: Vec<Score>,
    /// Scores of each label or relation that occurs, where the metric has them.
    pub rows: Vec<Row>,
}

/// A score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Its name.
    pub name: &'static str,
    /// From 0 to 1.
    pub value: f64,
}

/// The scores of a label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The label or relation.
    pub label: String,
    /// How often it is right.
    pub gold: u64,
    /// Its scores; precision alone has a meaning for probes.
    #[serde(flatten)]
    pub score: Prf,
}

impl Score {
    /// A score with its name.
    pub(super) fn new(name: &'static str, value: f64) -> Self {
        Self { name, value }
    }

    /// F1, precision and recall by their names.
    pub(super) fn triple([f1, precision, recall]: [&'static str; 3], score: Prf) -> [Self; 3] {
        [Self::new(f1, score.f1), Self::new(precision, score.precision), Self::new(recall, score.recall)]
    }
}

impl Report {
    /// The published score.
    pub fn main(&self) -> Option<&Score> {
        self.scores.first()
    }
}
