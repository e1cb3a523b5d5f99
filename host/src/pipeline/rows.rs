//! The door for training: encoded records in, the rows that a head would read out, through the same passes as answers.

use super::batch::{Pass, pack};
use super::features::Features;
use super::model::Model;
use super::stats::Stats;
use crate::error::Error;
use crate::task::{Encoding, Task};
use crate::tensor::HostEngine;

/// Whose feature rows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowSource {
    /// The backbone's last hidden state.
    Last,
    /// The hidden state at this tap, one that the plan keeps.
    Tap(usize),
    /// The adapter with this place in the plan.
    Adapter(usize),
}

/// Per source its rows, row-major, `hidden` numbers each: the records in order, each one's units, each unit's reads.
pub(super) fn rows<E: HostEngine>(
    model: &Model<E>,
    task: &dyn Task,
    encodings: &[Encoding],
    sources: &[RowSource],
) -> Result<Vec<Vec<f32>>, Error> {
    let mut stats = Stats::default();
    let mut values = vec![Vec::new(); sources.len()];
    let jobs = encodings.iter().enumerate().map(|(job, encoding)| (job, 0, encoding, task));
    for pass in pack(jobs, model.settings.compat, model.settings.max_batch_tokens) {
        let wants = |adapter| sources.contains(&RowSource::Adapter(adapter));
        let needed = (0..model.adapters.len()).map(|adapter| vec![wants(adapter); pass.segments.len()]).collect();
        let features = model.pass_features(&pass, needed, &mut stats)?;
        let rows = rows_of(&pass, encodings);
        for (values, &source) in values.iter_mut().zip(sources) {
            let tensor = gather(model, &features, source, &rows)?;
            values.append(&mut model.engine.read_f32(&tensor).map_err(Error::compute)?);
        }
    }
    model.count(&stats);
    Ok(values)
}

/// The rows of a pass that its jobs read, in order.
fn rows_of(pass: &Pass, encodings: &[Encoding]) -> Vec<u32> {
    pass.jobs.iter().flat_map(|job| pass.units(job, &encodings[job.job])).flatten().collect()
}

fn gather<E: HostEngine>(
    model: &Model<E>,
    features: &Features<E>,
    source: RowSource,
    rows: &[u32],
) -> Result<E::Tensor, Error> {
    let one = |mut tensors: Vec<E::Tensor>| {
        let missing = || Error::compute(kadapter_plugin_api::Error::new("a source of rows gave none"));
        tensors.pop().ok_or_else(missing)
    };
    match source {
        RowSource::Last => model.engine.gather(features.states.last(), rows).map_err(Error::compute),
        RowSource::Tap(tap) => one(features.gather_taps(&model.engine, &[tap], rows)?),
        RowSource::Adapter(adapter) => one(features.gather(&model.engine, &[adapter], rows)?.1),
    }
}
