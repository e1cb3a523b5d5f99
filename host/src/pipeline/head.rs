//! A task of a model: fusion and head on the device, encoding and decoding beside them.

use super::features::Features;
use super::fusion::{self, Affine, Fusion, FusionShape};
use super::plan::PlannedTask;
use crate::error::Error;
use crate::parameters::{self, ParametersError};
use crate::task::{self, Compat, HeadShape, Task, TaskSpec};
use crate::tensor::HostEngine;
use crate::tokenizer::Tokenizer;
use kadapter_plugin_api::Activation;
use kadapter_registry::package::{self, TaskKind};

/// The option of a task package that says that CosmosQA's extra layers belong to it.
const EXTRA: &str = "extra_dense";

/// A task that is ready to run.
pub(super) struct LoadedTask<E: HostEngine> {
    pub(super) task: Box<dyn Task>,
    pub(super) stack: Vec<usize>,
    fusion: Fusion<E::Param>,
    head: Option<Head<E::Param>>,
}

struct Head<P> {
    shape: HeadShape,
    dense: Option<Affine<P>>,
    out: Affine<P>,
}

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
            return Ok(Self { task, stack: planned.stack.clone(), fusion, head: None });
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
        let shape = task
            .head()
            .ok_or_else(|| Error::compute(kadapter_plugin_api::Error::new("the task's kind has no head")))?;

        let hidden = around.hidden;
        let fusion_shape = FusionShape { kind: planned.fusion, hidden, names: &planned.stack_names, extra };
        let mut declared = fusion_shape.declared();
        let inputs = shape.reads_per_unit * hidden;
        if shape.dense {
            fusion::declare(&mut declared, "head.dense", hidden, inputs);
        }
        fusion::declare(&mut declared, "head.out", shape.outputs, if shape.dense { hidden } else { inputs });

        let what = format!("task `{}`", planned.name);
        let mut params = parameters::load(engine, &what, &head.weights, &declared)?.into_iter();
        let missing = || ParametersError::Missing { what, declared: declared.len(), names: Vec::new() };
        let mut build = || {
            let fusion = Fusion::build(&fusion_shape, &mut params)?;
            let dense = if shape.dense { Some(fusion::take(&mut params)?) } else { None };
            Some((fusion, Head { shape, dense, out: fusion::take(&mut params)? }))
        };
        let (fusion, head) = build().ok_or_else(missing)?;
        Ok(Self { task, stack: planned.stack.clone(), fusion, head: Some(head) })
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

fn kind_of(kind: TaskKind) -> task::Kind {
    match kind {
        TaskKind::RelationClassification => task::Kind::RelationClassification,
        TaskKind::EntityTyping => task::Kind::EntityTyping,
        TaskKind::MultipleChoice => task::Kind::MultipleChoice,
        TaskKind::Span => task::Kind::Span,
        TaskKind::SequenceClassification => task::Kind::SequenceClassification,
    }
}
