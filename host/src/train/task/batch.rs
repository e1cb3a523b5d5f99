//! The rows of a batch on an engine.

use super::{Error, Feature, FeatureSet, HeadSpec};
use kadapter_plugin_api::{Engine, Result};

/// The rows that a head reads of some records, by whose features they are: every unit's first read, then every unit's second.
pub(super) struct Batch<T> {
    /// Units of all records.
    pub(super) units: usize,
    rows: Vec<(Feature, T)>,
}

impl<T: Clone> Batch<T> {
    /// Gathers what a head reads of records.
    pub(super) fn gather<E: Engine<Tensor = T>>(
        engine: &E,
        spec: &HeadSpec,
        set: &FeatureSet,
        records: &[usize],
    ) -> std::result::Result<Self, Error> {
        let places = set.rows(records);
        let mut rows = Vec::new();
        for feature in spec.features() {
            let mut values = Vec::new();
            set.column(&feature)?.gather(&places, &mut values)?;
            rows.push((feature, engine.from_f32(places.len(), spec.hidden, values)?));
        }
        Ok(Self { units: places.len() / set.reads.max(1), rows })
    }

    /// The rows of one source.
    pub(super) fn rows(&self, feature: &Feature) -> Result<T> {
        let found = self.rows.iter().find(|(own, _)| own == feature).map(|(_, rows)| rows.clone());
        found.ok_or_else(|| kadapter_plugin_api::Error::new(format!("{feature} is not in the batch")))
    }
}
