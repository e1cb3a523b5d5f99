//! The door for checking: token ids in, hidden states, adapter features and logits out.

use super::Stats;
use super::features::{AdapterRows, Features};
use super::model::Model;
use crate::backbone::{Batch, Positions};
use crate::error::Error;
use crate::task::Compat;
use crate::tensor::HostEngine;
use std::sync::Arc;

/// Token ids of a batch, as other implementations take them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawInput {
    /// Rows of the batch.
    pub batch: usize,
    /// Slots per row.
    pub length: usize,
    /// `[batch, length]`, row-major.
    pub ids: Vec<u32>,
    /// `[batch, length]`: `true` for tokens, `false` for padding.
    pub mask: Vec<bool>,
    /// How positions are counted over padding, where the official code is reproduced: [`Positions::EverySlot`] is its own rule.
    pub positions_rule: Positions,
    /// Per row the slots that the task's head reads, where the task needs them.
    pub positions: Option<Vec<Vec<usize>>>,
}

/// What a pass gave, each `[batch, length, hidden]` row-major. Slots that were not computed (padding, unless the official code is
/// reproduced) are zero.
#[derive(Clone, Debug, Default)]
pub struct RawOutput {
    /// Every hidden state, from the embedding output to the last layer's.
    pub hidden: Vec<Vec<f32>>,
    /// Every adapter by each of its names in the manifest.
    pub adapters: Vec<(String, Vec<f32>)>,
    /// The task's logits and their shape: `[batch, outputs]`, or `[batch, length, outputs]` for tasks that read every token.
    pub logits: Option<(Vec<usize>, Vec<f32>)>,
}

pub(super) fn forward<E: HostEngine>(
    model: &Model<E>,
    input: &RawInput,
    task: Option<&str>,
) -> Result<RawOutput, Error> {
    let config = model.backbone.config();
    let official = model.settings.compat == Compat::Official;
    let rows = || input.ids.chunks_exact(input.length).zip(input.mask.chunks_exact(input.length));
    // The slots of the batch that become rows of the pass, in order.
    let slots: Vec<usize> = (0..input.ids.len()).filter(|&slot| official || input.mask[slot]).collect();
    let hidden: Vec<bool> = input.mask.iter().map(|&is_token| !is_token).collect();
    let batch = if official {
        Batch::padded(
            config,
            input.positions_rule,
            input.ids.chunks_exact(input.length).zip(hidden.chunks_exact(input.length)),
        )?
    } else {
        let tokens: Vec<Vec<u32>> = rows()
            .map(|(ids, mask)| ids.iter().zip(mask).filter(|(_, mask)| **mask).map(|(id, _)| *id).collect())
            .collect();
        Batch::ragged(config, tokens.iter().map(Vec::as_slice))?
    };

    let mut stats = Stats::default();
    let every: std::collections::BTreeSet<usize> = (0..=config.layers).collect();
    let states = model.backbone.forward(&model.engine, &batch, &every).map_err(Error::compute)?;
    let scatter = |tensor: &E::Tensor| -> Result<Vec<f32>, Error> {
        let columns = config.hidden_size;
        let values = model.engine.read_f32(tensor).map_err(Error::compute)?;
        let mut out = vec![0.0; input.ids.len() * columns];
        for (row, &slot) in values.chunks_exact(columns).zip(&slots) {
            out[slot * columns..(slot + 1) * columns].copy_from_slice(row);
        }
        Ok(out)
    };
    let mut output = RawOutput::default();
    for state in (0..=config.layers).filter_map(|tap| states.tap(tap)) {
        output.hidden.push(scatter(state)?);
    }
    let needed = vec![true; batch.rows().count()];
    let mut features = Features::<E> { states: states.clone(), adapters: Vec::new() };
    for (index, planned) in model.plan.adapters.iter().enumerate() {
        let adapter = model.adapter_pass(index, &states, batch.rows(), &needed, &mut stats)?;
        let values = scatter(&adapter.tensor)?;
        for name in &planned.names {
            output.adapters.push((name.clone(), values.clone()));
        }
        features.adapters.push(Some(Ok(AdapterRows { tensor: adapter.tensor, places: None })));
    }
    if let Some(name) = task {
        output.logits = Some(logits(model, input, name, &features, &slots)?);
    }
    Ok(output)
}

fn logits<E: HostEngine>(
    model: &Model<E>,
    input: &RawInput,
    name: &str,
    features: &Features<E>,
    slots: &[usize],
) -> Result<(Vec<usize>, Vec<f32>), Error> {
    let unknown = || Error::UnknownTask {
        found: name.to_owned(),
        known: model.plan.tasks.iter().map(|task| task.name.clone()).collect(),
    };
    let index = model.plan.tasks.iter().position(|task| task.name == name).ok_or_else(unknown)?;
    let task = model.tasks[index].as_ref().map_err(|error| Error::Shared(Arc::clone(error)))?;
    let mut rows = vec![None; input.ids.len()];
    for (row, &slot) in (0_u32..).zip(slots) {
        rows[slot] = Some(row);
    }
    let at = |row: usize, slot: usize| {
        let place = (slot < input.length).then(|| rows[row * input.length + slot]).flatten();
        place.ok_or_else(|| Error::Input {
            what: "positions",
            found: format!("slot {slot} in row {row}"),
            expected: "a slot that the attention mask shows as a token".into(),
            hint: "pass `positions` as I64 [batch, reads], counted from 0 with `<s>`".into(),
        })
    };
    let per_token = task.task.kind().reads_every_token();
    if per_token {
        let units: Vec<_> = slots.iter().filter_map(|&slot| rows[slot].map(|row| vec![row])).collect();
        let (values, outputs) = task.logits(&model.engine, features, &units)?;
        let mut all = vec![0.0; input.ids.len() * outputs];
        for (own, &slot) in values.chunks_exact(outputs).zip(slots) {
            all[slot * outputs..(slot + 1) * outputs].copy_from_slice(own);
        }
        return Ok((vec![input.batch, input.length, outputs], all));
    }
    let reads = task.task.head().map_or(1, |head| head.reads_per_unit);
    let first_slot = vec![vec![0]; input.batch];
    let positions = match &input.positions {
        Some(positions) => positions,
        None if reads == 1 && task.task.kind().reads_first_token() => &first_slot,
        None => {
            return Err(Error::Input {
                what: "the input of `forward`",
                found: "no tensor `positions`".into(),
                expected: format!("I64 [{}, {reads}]: the slots that task `{name}` reads", input.batch),
                hint: "add it to the file given with `--ids`".into(),
            });
        }
    };
    let mut units = Vec::with_capacity(input.batch);
    for (row, own) in positions.iter().enumerate() {
        if own.len() != reads {
            return Err(Error::Input {
                what: "`positions`",
                found: format!("{} slots per row", own.len()),
                expected: format!("{reads}, as task `{name}` reads"),
                hint: "pass `positions` as I64 [batch, reads]".into(),
            });
        }
        units.push(own.iter().map(|&slot| at(row, slot)).collect::<Result<Vec<_>, _>>()?);
    }
    let (values, outputs) = task.logits(&model.engine, features, &units)?;
    Ok((vec![input.batch, outputs], values))
}
