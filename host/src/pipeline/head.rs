//! A task of a model: fusion and head on the device, encoding and decoding beside them.

use super::features::Features;
use super::fold::{Folded, fold};
use super::fusion::{self, Affine, Fusion, FusionShape};
use super::plan::PlannedTask;
use crate::error::Error;
use crate::parameters::{self, Declared, ParametersError};
use crate::task::{self, Compat, HeadShape, Record, Task, TaskSpec};
use crate::tensor::HostEngine;
use crate::tokenizer::Tokenizer;
use kadapter_plugin_api::Activation;
use kadapter_registry::package::{self, TaskKind};

/// The option of a task package that says that CosmosQA's extra layers belong to it.
const EXTRA: &str = "extra_dense";

/// A task that is ready to run.
pub(super) struct LoadedTask<E: HostEngine> {
    pub(super) task: Box<dyn Task>,
    /// The same task refusing what this one cuts, where it cuts.
    uncut: Option<Box<dyn Task>>,
    pub(super) stack: Vec<usize>,
    fusion: Fusion<E::Param>,
    head: Option<Head<E::Param>>,
}

struct Head<P> {
    shape: HeadShape,
    dense: Option<Affine<P>>,
    out: Affine<P>,
}

/// The way from features to logits.
type Way<P> = (Fusion<P>, Head<P>);

/// What tasks are built with.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) hidden: usize,
    pub(super) max_tokens: usize,
    pub(super) compat: Compat,
    pub(super) truncate: bool,
}

impl<E: HostEngine> LoadedTask<E> {
    /// Builds the task's kind and streams the weights of its fusion and head.
    pub(super) fn load(engine: &E, around: Surroundings<'_>, planned: &PlannedTask) -> Result<Self, Error> {
        let Some(head) = &planned.head else {
            let task = TaskSpec::features(around.compat, around.truncate).build(around.tokenizer, around.max_tokens)?;
            let fusion = match planned.fusion {
                package::Fusion::Concat => Fusion::SideBySide,
                package::Fusion::Add => Fusion::Add { repeat_backbone: false },
            };
            return Ok(Self { task, uncut: None, stack: planned.stack.clone(), fusion, head: None });
        };
        let mut options = head.options.clone();
        let extra = matches!(options.remove(EXTRA), Some(toml::Value::Boolean(true)));
        let spec = TaskSpec {
            kind: kind_of(head.kind),
            labels: head.labels.clone(),
            max_length: Some(head.max_length),
            options,
            compat: around.compat,
            truncate: around.truncate,
        };
        let task = spec.build(around.tokenizer, around.max_tokens)?;
        let cuts = around.truncate || around.compat == Compat::Official;
        let strict = TaskSpec { compat: Compat::Masked, truncate: false, ..spec };
        let uncut = if cuts { Some(strict.build(around.tokenizer, around.max_tokens)?) } else { None };
        let shape = task
            .head()
            .ok_or_else(|| Error::compute(kadapter_plugin_api::Error::new("the task's kind has no head")))?;

        let hidden = around.hidden;
        let fusion_shape = FusionShape { kind: planned.fusion, hidden, names: &planned.stack_names, extra };
        let declared = declared(&fusion_shape, shape);

        let what = format!("task `{}`", planned.name);
        let missing = || ParametersError::Missing { what: what.clone(), declared: declared.len(), names: Vec::new() };
        let (fusion, head) = if is_worth_folding(&fusion_shape, shape, &declared) {
            let values = parameters::read(&what, &head.weights, &declared)?;
            let folded = fold(&fusion_shape, shape, values).ok_or_else(missing)?;
            folded_head(engine, shape, folded).map_err(Error::compute)?
        } else {
            let mut params = parameters::load(engine, &what, &head.weights, &declared)?.into_iter();
            layered_head(&fusion_shape, shape, &mut params).ok_or_else(missing)?
        };
        Ok(Self { task, uncut, stack: planned.stack.clone(), fusion, head: Some(head) })
    }

    /// Whether the task takes a part of a record only, because it is too long.
    pub(super) fn is_cut(&self, tokenizer: &Tokenizer, record: &Record) -> bool {
        use task::Error::{AnswerLost, MarkerLost, PartTooLong, TooLong};
        let strict = self.uncut.as_ref().map(|task| task.encode(tokenizer, record));
        matches!(strict, Some(Err(TooLong { .. } | PartTooLong { .. } | MarkerLost { .. } | AnswerLost { .. })))
    }

    /// The logits `[units, outputs]` of units of rows, row-major, and how many a unit has; without a head the fused rows.
    ///
    /// Each unit names the rows of the pass that it reads, all equally many, at least one.
    pub(super) fn logits(
        &self,
        engine: &E,
        features: &Features<E>,
        units: &[Vec<u32>],
    ) -> Result<(Vec<f32>, usize), Error> {
        let reads = units.first().map_or(1, Vec::len);
        let rows: Vec<u32> = (0..reads).flat_map(|read| units.iter().map(move |unit| unit[read])).collect();
        let (last, adapters) = features.gather(engine, &self.stack, &rows)?;
        let compute = || {
            let fused = self.fusion.forward(engine, &last, &adapters)?;
            let logits = match &self.head {
                None => fused,
                Some(head) => head.forward(engine, &fused, units.len(), reads)?,
            };
            let outputs = engine.shape(&logits)[1];
            Ok((engine.read_f32(&logits)?, outputs))
        };
        compute().map_err(Error::compute)
    }
}

/// The tensors of fusion and head, in the order that both ways of building take them.
fn declared(fusion: &FusionShape<'_>, head: HeadShape) -> Vec<Declared> {
    let mut declared = fusion.declared();
    let inputs = head.reads_per_unit * fusion.hidden;
    if head.dense {
        fusion::declare(&mut declared, "head.dense", fusion.hidden, inputs);
    }
    fusion::declare(&mut declared, "head.out", head.outputs, if head.dense { fusion.hidden } else { inputs });
    declared
}

/// Whether one affine map can stand for fusion and head, and is no larger.
fn is_worth_folding(fusion: &FusionShape<'_>, head: HeadShape, declared: &[Declared]) -> bool {
    let layered: usize = declared.iter().map(|declared| declared.shape.iter().product::<usize>()).sum();
    let folded = head.outputs * head.reads_per_unit * (1 + fusion.names.len()) * fusion.hidden;
    (!head.dense || head.activation == task::Activation::None) && folded <= layered
}

/// A head that reads the features side by side and is one layer.
fn folded_head<E: HostEngine>(
    engine: &E,
    shape: HeadShape,
    folded: Folded,
) -> kadapter_plugin_api::Result<Way<E::Param>> {
    let weight = engine.upload_linear(shape.outputs, folded.inputs, folded.weight)?;
    let out = Affine { weight, bias: engine.upload_vector(folded.bias)? };
    Ok((Fusion::SideBySide, Head { shape, dense: None, out }))
}

/// Fusion and head layer by layer, from parameters in the order of their declaration.
fn layered_head<P>(fusion: &FusionShape<'_>, shape: HeadShape, params: &mut impl Iterator<Item = P>) -> Option<Way<P>> {
    let fusion = Fusion::build(fusion, params)?;
    let dense = if shape.dense { Some(fusion::take(params)?) } else { None };
    Some((fusion, Head { shape, dense, out: fusion::take(params)? }))
}

impl<P> Head<P> {
    /// `fused` holds every unit's first read, then every unit's second, and so on.
    fn forward<E: HostEngine<Param = P>>(
        &self,
        engine: &E,
        fused: &E::Tensor,
        units: usize,
        reads: usize,
    ) -> kadapter_plugin_api::Result<E::Tensor> {
        let mut input = fused.clone();
        if reads > 1 {
            let parts = (0..reads)
                .map(|read| {
                    #[expect(clippy::cast_possible_truncation, reason = "rows of a pass are counted in u32 everywhere")]
                    let rows: Vec<_> = (read * units..(read + 1) * units).map(|row| row as u32).collect();
                    engine.gather(fused, &rows)
                })
                .collect::<kadapter_plugin_api::Result<Vec<_>>>()?;
            input = engine.concat(&parts.iter().collect::<Vec<_>>())?;
        }
        if let Some(dense) = &self.dense {
            let activation = match self.shape.activation {
                task::Activation::None => Activation::Identity,
                task::Activation::Tanh => Activation::Tanh,
            };
            input = fusion::affine(engine, &input, dense, activation)?;
        }
        fusion::affine(engine, &input, &self.out, Activation::Identity)
    }
}

/// The kind of a task package.
pub(super) fn kind_of(kind: TaskKind) -> task::Kind {
    match kind {
        TaskKind::RelationClassification => task::Kind::RelationClassification,
        TaskKind::EntityTyping => task::Kind::EntityTyping,
        TaskKind::MultipleChoice => task::Kind::MultipleChoice,
        TaskKind::Span => task::Kind::Span,
        TaskKind::SequenceClassification => task::Kind::SequenceClassification,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Values;
    use crate::tensor::cpu::{CpuConfig, CpuEngine};
    use kadapter_plugin_api::{Engine, random::Random};

    const HIDDEN: usize = 24;

    /// Folded and layered heads give the same logits, for every fusion, stack, number of reads, and with CosmosQA's extra layers.
    #[test]
    fn folding_changes_no_answer() {
        let engine = CpuEngine::new(CpuConfig::default());
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        for kind in [package::Fusion::Concat, package::Fusion::Add] {
            for (stack, extra, dense, reads) in
                [(0, false, true, 1), (1, false, true, 2), (2, false, true, 2), (2, true, false, 1), (3, true, true, 2)]
            {
                let fusion = FusionShape { kind, hidden: HIDDEN, names: &names[..stack], extra };
                let activation = task::Activation::None;
                let shape = HeadShape { reads_per_unit: reads, dense, activation, outputs: 5 };
                let declared = declared(&fusion, shape);
                let mut random = Random::new(stack as u64);
                let mut draw = |count: usize| (0..count).map(|_| random.normal() as f32 / 4.0).collect::<Vec<_>>();
                let values: Vec<_> = declared.iter().map(|declared| draw(declared.shape.iter().product())).collect();
                let units = 3;
                let rows: Vec<_> = (0..=stack)
                    .map(|_| engine.from_f32(units * reads, HIDDEN, draw(units * reads * HIDDEN)).unwrap())
                    .collect();

                let params: Vec<_> = declared
                    .iter()
                    .zip(&values)
                    .map(|(declared, values)| {
                        engine.upload(declared.role, &declared.shape, Values::F32(values.clone())).unwrap()
                    })
                    .collect();
                let layered = layered_head(&fusion, shape, &mut params.into_iter()).unwrap();
                let folded = folded_head(&engine, shape, fold(&fusion, shape, values).unwrap()).unwrap();
                let [layered, folded] = [layered, folded].map(|(fusion, head)| {
                    let fused = fusion.forward(&engine, &rows[0], &rows[1..]).unwrap();
                    engine.read_f32(&head.forward(&engine, &fused, units, reads).unwrap()).unwrap()
                });
                assert_eq!(layered.len(), units * 5);
                let scale = layered.iter().fold(1.0_f32, |scale, value| scale.max(value.abs()));
                for (layered, folded) in layered.iter().zip(&folded) {
                    assert!(
                        (layered - folded).abs() <= 1e-5 * scale,
                        "{kind} {stack} {extra} {dense}: {layered} {folded}"
                    );
                }
            }
        }
    }
}
