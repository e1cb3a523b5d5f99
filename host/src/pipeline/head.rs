//! A task of a model: fusion and head on the device, encoding and decoding beside them.

use super::features::Features;
use super::fold::{Folded, fold};
use super::fusion::{Fusion, FusionInputs, FusionShape};
use super::network::{Affine, Dropouts, Network, NetworkShape};
use super::plan::PlannedTask;
use crate::error::Error;
use crate::parameters::{self, Declared, ParametersError};
use crate::task::{self, Compat, HeadShape, Record, Task, TaskSpec};
use crate::tensor::HostEngine;
use crate::tokenizer::Tokenizer;
use kadapter_registry::package::{self, TaskKind};

/// The option of a task package that says that CosmosQA's extra layers belong to it.
pub(crate) const EXTRA: &str = "extra_dense";

/// A task that is ready to run.
pub(super) struct LoadedTask<E: HostEngine> {
    pub(super) task: Box<dyn Task>,
    /// The same task refusing what this one cuts, where it cuts.
    uncut: Option<Box<dyn Task>>,
    pub(super) stack: Vec<usize>,
    /// Hidden states that the fusion reads beside the last.
    taps: Vec<usize>,
    network: Network<E::Param>,
}

/// What tasks are built with.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) max_tokens: usize,
    pub(super) compat: Compat,
    pub(super) truncate: bool,
}

impl<E: HostEngine> LoadedTask<E> {
    /// Builds the task's kind and streams the weights of its fusion and head.
    pub(super) fn load(engine: &E, around: Surroundings<'_>, planned: &PlannedTask) -> Result<Self, Error> {
        let what = format!("task `{}`", planned.name);
        let Some(head) = &planned.head else {
            let task = TaskSpec::features(around.compat, around.truncate).build(around.tokenizer, around.max_tokens)?;
            let fusion = match planned.fusion {
                package::Fusion::Concat => Fusion::SideBySide,
                package::Fusion::Add => Fusion::Add { repeat_backbone: false },
                // Manifests cannot say so.
                package::Fusion::Gated | package::Fusion::Blocks => {
                    return Err(ParametersError::Missing { what, declared: 0, names: Vec::new() }.into());
                }
            };
            let network = Network::headless(fusion);
            return Ok(Self { task, uncut: None, stack: planned.stack.clone(), taps: Vec::new(), network });
        };
        if let Some(&tap) = head.taps.iter().find(|&&tap| tap > around.layers) {
            return Err(Error::TaskTap { task: planned.name.clone(), tap, layers: around.layers });
        }
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
        let uncut = spec.uncut().map(|strict| strict.build(around.tokenizer, around.max_tokens)).transpose()?;
        let head_shape = task
            .head()
            .ok_or_else(|| Error::compute(kadapter_plugin_api::Error::new("the task's kind has no head")))?;

        let fusion = FusionShape {
            kind: planned.fusion,
            hidden: around.hidden,
            names: &planned.stack_names,
            taps: &head.taps,
            extra,
        };
        let shape = NetworkShape { fusion, head: head_shape };
        let declared = shape.declared();

        let missing = || ParametersError::Missing { what: what.clone(), declared: declared.len(), names: Vec::new() };
        let network = if is_worth_folding(&shape, &declared) {
            let values = parameters::read(&what, &head.weights, &declared)?;
            let folded = fold(&shape.fusion, shape.head, values).ok_or_else(missing)?;
            folded_network(engine, shape.head, folded).map_err(Error::compute)?
        } else {
            let mut params = parameters::load(engine, &what, &head.weights, &declared)?.into_iter();
            Network::build(&shape, &mut params).ok_or_else(missing)?
        };
        Ok(Self { task, uncut, stack: planned.stack.clone(), taps: head.taps.clone(), network })
    }

    /// Whether the task takes a part of a record only, because it is too long.
    pub(super) fn is_cut(&self, tokenizer: &Tokenizer, record: &Record) -> bool {
        self.uncut.as_ref().is_some_and(|uncut| uncut.is_too_long(tokenizer, record))
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
        let taps = features.gather_taps(engine, &self.taps, &rows)?;
        let inputs = FusionInputs { last: &last, taps: &taps, features: &adapters };
        let compute = || {
            let logits = self.network.forward(engine, inputs, units.len(), Dropouts::default())?;
            let outputs = engine.shape(&logits)[1];
            Ok((engine.read_f32(&logits)?, outputs))
        };
        compute().map_err(Error::compute)
    }
}

/// Whether one affine map can stand for fusion and head, and is no larger.
fn is_worth_folding(shape: &NetworkShape<'_>, declared: &[Declared]) -> bool {
    let (fusion, head) = (&shape.fusion, shape.head);
    let layered: usize = declared.iter().map(|declared| declared.shape.iter().product::<usize>()).sum();
    let sources = 1 + fusion.taps.len() + fusion.names.len();
    let folded = head.outputs * head.reads_per_unit * sources * fusion.hidden;
    let bends = !fusion.is_affine() || head.dense && head.activation != task::Activation::None;
    !bends && folded <= layered
}

/// A head that reads the features side by side and is one layer.
fn folded_network<E: HostEngine>(
    engine: &E,
    shape: HeadShape,
    folded: Folded,
) -> kadapter_plugin_api::Result<Network<E::Param>> {
    let weight = engine.upload_linear(shape.outputs, folded.inputs, folded.weight)?;
    Ok(Network::folded(shape, Affine { weight, bias: engine.upload_vector(folded.bias)? }))
}

/// The kind of task that a package names.
pub(crate) fn kind_of(kind: TaskKind) -> task::Kind {
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
        for kind in [package::Fusion::Concat, package::Fusion::Add, package::Fusion::Blocks] {
            let taps: &[usize] = if kind.mixes_taps() { &[0, 2] } else { &[] };
            for (stack, extra, dense, reads) in
                [(0, false, true, 1), (1, false, true, 2), (2, false, true, 2), (2, true, false, 1), (3, true, true, 2)]
            {
                let fusion = FusionShape { kind, hidden: HIDDEN, names: &names[..stack], taps, extra };
                let activation = task::Activation::None;
                let head = HeadShape { reads_per_unit: reads, dense, activation, outputs: 5 };
                let shape = NetworkShape { fusion, head };
                let declared = shape.declared();
                let mut random = Random::new(stack as u64);
                let mut draw = |count: usize| (0..count).map(|_| random.normal() as f32 / 4.0).collect::<Vec<_>>();
                let values: Vec<_> = declared.iter().map(|declared| draw(declared.shape.iter().product())).collect();
                let units = 3;
                let rows: Vec<_> = (0..=stack + taps.len())
                    .map(|_| engine.from_f32(units * reads, HIDDEN, draw(units * reads * HIDDEN)).unwrap())
                    .collect();

                let params: Vec<_> = declared
                    .iter()
                    .zip(&values)
                    .map(|(declared, values)| {
                        engine.upload(declared.role, &declared.shape, Values::F32(values.clone())).unwrap()
                    })
                    .collect();
                let layered = Network::build(&shape, &mut params.into_iter()).unwrap();
                let folded = folded_network(&engine, head, fold(&fusion, head, values).unwrap()).unwrap();
                let inputs =
                    FusionInputs { last: &rows[0], taps: &rows[1..=taps.len()], features: &rows[1 + taps.len()..] };
                let [layered, folded] = [layered, folded].map(|network| {
                    let logits = network.forward(&engine, inputs, units, Dropouts::default()).unwrap();
                    engine.read_f32(&logits).unwrap()
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
