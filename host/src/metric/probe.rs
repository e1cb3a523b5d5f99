//! Probes of factual knowledge: is the first word that is filled in the right one?

use super::ratio;
use std::collections::BTreeMap;

/// Precision at one, for each relation and averaged over them (Petroni et al. 2019).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// Examples and hits of each relation.
    relations: BTreeMap<String, (u64, u64)>,
}

impl Probe {
    /// Counts an example.
    pub fn add(&mut self, relation: &str, hit: bool) {
        let counts = match self.relations.get_mut(relation) {
            Some(counts) => counts,
            None => self.relations.entry(relation.to_owned()).or_default(),
        };
        counts.0 += 1;
        counts.1 += u64::from(hit);
    }

    /// How many examples were counted.
    pub fn examples(&self) -> u64 {
        self.relations.values().map(|(examples, _)| examples).sum()
    }

    /// Each relation with its examples and its precision.
    pub fn relations(&self) -> impl Iterator<Item = (&str, u64, f64)> {
        self.relations.iter().map(|(name, &(examples, hits))| (name.as_str(), examples, ratio(hits, examples)))
    }

    /// The mean precision of the relations: the published score.
    pub fn macro_average(&self) -> f64 {
        match self.relations.len() {
            0 => 0.0,
            count => self.relations().map(|(_, _, precision)| precision).sum::<f64>() / count as f64,
        }
    }

    /// The precision over all examples.
    pub fn micro_average(&self) -> f64 {
        ratio(self.relations.values().map(|(_, hits)| hits).sum(), self.examples())
    }
}
