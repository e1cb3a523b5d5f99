//! The network of a task: fusion and head, from the rows that are read to logits. One definition for inference and training.

use super::fusion::{Fusion, FusionInputs, FusionShape};
use crate::parameters::Declared;
use crate::task::{self, HeadShape};
use kadapter_plugin_api::random::Random;
use kadapter_plugin_api::{Activation, Engine, Init, Result, Role};

/// A linear layer of a fusion or head, or a norm's gain and bias.
#[derive(Debug)]
pub(crate) struct Affine<P> {
    pub(crate) weight: P,
    pub(crate) bias: P,
}

/// A parameter of a network and how it starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) declared: Declared,
    pub(crate) init: Init,
}

/// Fusion and head over parameters of one engine.
#[derive(Debug)]
pub(crate) struct Network<P> {
    fusion: Fusion<P>,
    /// None where the fused rows are the answer.
    head: Option<Head<P>>,
}

#[derive(Debug)]
struct Head<P> {
    shape: HeadShape,
    dense: Option<Affine<P>>,
    out: Affine<P>,
}

/// What a network is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkShape<'a> {
    pub(crate) fusion: FusionShape<'a>,
    pub(crate) head: HeadShape,
}

/// Probabilities of dropout in training. Engines for inference drop nothing, whatever stands here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Dropouts {
    /// Of what goes into the fusion's layers.
    pub(crate) fusion: f32,
    /// Of what goes into the head's last layer; 0.1 in the paper's code (spec section 5).
    pub(crate) head: f32,
}

impl Parameter {
    pub(crate) fn new(name: String, shape: Vec<usize>, role: Role, init: Init) -> Self {
        Self { declared: Declared { name, shape, role }, init }
    }

    /// `name.weight [outputs, inputs]` and `name.bias [outputs]`, which start as PyTorch's do (spec section 2.1).
    pub(crate) fn linear(parameters: &mut Vec<Self>, name: &str, outputs: usize, inputs: usize) {
        let init = Init::torch_linear(inputs);
        parameters.push(Self::new(format!("{name}.weight"), vec![outputs, inputs], Role::LinearWeight, init));
        parameters.push(Self::new(format!("{name}.bias"), vec![outputs], Role::Vector, init));
    }

    /// `name.weight [length]`, which starts at `gain`, and `name.bias [length]`, which starts at 0.
    pub(crate) fn norm(parameters: &mut Vec<Self>, name: &str, length: usize, gain: f32) {
        let vector = |part: &str, init| Self::new(format!("{name}.{part}"), vec![length], Role::Vector, init);
        parameters.extend([vector("weight", Init::Constant(gain)), vector("bias", Init::Constant(0.0))]);
    }

    /// Its first values, row-major: they depend on the seed and its name alone.
    #[expect(clippy::cast_possible_truncation, reason = "parameters are f32")]
    pub(crate) fn initial(&self, seed: u64) -> Vec<f32> {
        let mut random = Random::named(seed, &self.declared.name);
        let mut draw = || match self.init {
            Init::Constant(value) => value,
            Init::Normal(deviation) => (random.normal() * f64::from(deviation)) as f32,
            Init::Uniform(bound) => ((2.0 * random.uniform() - 1.0) * f64::from(bound)) as f32,
        };
        (0..self.declared.shape.iter().product()).map(|_| draw()).collect()
    }
}

impl NetworkShape<'_> {
    /// The tensors of fusion and head, in the order that [`Network::build`] and folding take them.
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        let (mut parameters, hidden) = (self.fusion.parameters(), self.fusion.hidden);
        let inputs = self.head.reads_per_unit * self.fusion.width();
        if self.head.dense {
            Parameter::linear(&mut parameters, "head.dense", hidden, inputs);
        }
        let inputs = if self.head.dense { hidden } else { inputs };
        Parameter::linear(&mut parameters, "head.out", self.head.outputs, inputs);
        parameters
    }

    /// [`NetworkShape::parameters`] without their first values.
    pub(crate) fn declared(&self) -> Vec<Declared> {
        self.parameters().into_iter().map(|parameter| parameter.declared).collect()
    }
}

impl<P> Network<P> {
    /// Puts parameters, in the order of [`NetworkShape::parameters`], in their places; `None` when there are too few.
    pub(crate) fn build(shape: &NetworkShape<'_>, params: &mut impl Iterator<Item = P>) -> Option<Self> {
        let fusion = Fusion::build(&shape.fusion, params)?;
        let dense = if shape.head.dense { Some(take(params)?) } else { None };
        Some(Self { fusion, head: Some(Head { shape: shape.head, dense, out: take(params)? }) })
    }

    /// A fusion whose rows are the answer.
    pub(super) fn headless(fusion: Fusion<P>) -> Self {
        Self { fusion, head: None }
    }

    /// A head of one layer over the features side by side.
    pub(super) fn folded(shape: HeadShape, out: Affine<P>) -> Self {
        Self { fusion: Fusion::SideBySide, head: Some(Head { shape, dense: None, out }) }
    }

    /// Logits `[units, outputs]`, or fused rows where there is no head. The inputs hold every unit's first read, then every unit's
    /// second, and so on.
    pub(crate) fn forward<E: Engine<Param = P>>(
        &self,
        engine: &E,
        inputs: FusionInputs<'_, E::Tensor>,
        units: usize,
        dropouts: Dropouts,
    ) -> Result<E::Tensor> {
        let fused = self.fusion.forward(engine, inputs, dropouts.fusion)?;
        match &self.head {
            None => Ok(fused),
            Some(head) => head.forward(engine, &fused, units, dropouts.head),
        }
    }

    /// What the head's first layer reads, `[units, reads · width]`.
    pub(crate) fn head_input<E: Engine<Param = P>>(
        &self,
        engine: &E,
        inputs: FusionInputs<'_, E::Tensor>,
        units: usize,
    ) -> Result<E::Tensor> {
        let fused = self.fusion.forward(engine, inputs, 0.0)?;
        let reads = self.head.as_ref().map_or(1, |head| head.shape.reads_per_unit);
        side_by_side(engine, fused, units, reads)
    }
}

impl<P> Head<P> {
    fn forward<E: Engine<Param = P>>(
        &self,
        engine: &E,
        fused: &E::Tensor,
        units: usize,
        dropout: f32,
    ) -> Result<E::Tensor> {
        let mut input = side_by_side(engine, fused.clone(), units, self.shape.reads_per_unit)?;
        if let Some(dense) = &self.dense {
            let activation = match self.shape.activation {
                task::Activation::None => Activation::Identity,
                task::Activation::Tanh => Activation::Tanh,
            };
            input = affine(engine, &input, dense, activation)?;
        }
        affine(engine, &drop_out(engine, input, dropout)?, &self.out, Activation::Identity)
    }
}

/// Every unit's reads side by side, from every unit's first read, then every unit's second, and so on.
fn side_by_side<E: Engine>(engine: &E, fused: E::Tensor, units: usize, reads: usize) -> Result<E::Tensor> {
    if reads <= 1 {
        return Ok(fused);
    }
    let parts = (0..reads)
        .map(|read| {
            #[expect(clippy::cast_possible_truncation, reason = "rows of a pass are counted in u32 everywhere")]
            let rows: Vec<_> = (read * units..(read + 1) * units).map(|row| row as u32).collect();
            engine.gather(&fused, &rows)
        })
        .collect::<Result<Vec<_>>>()?;
    engine.concat(&parts.iter().collect::<Vec<_>>())
}

/// Takes the next two parameters as a layer.
pub(super) fn take<P>(params: &mut impl Iterator<Item = P>) -> Option<Affine<P>> {
    Some(Affine { weight: params.next()?, bias: params.next()? })
}

/// `activation(x · weightᵀ + bias)`.
pub(super) fn affine<E: Engine>(
    engine: &E,
    x: &E::Tensor,
    layer: &Affine<E::Param>,
    activation: Activation,
) -> Result<E::Tensor> {
    engine.linear(x, &layer.weight, Some(&layer.bias), activation)
}

/// Dropout, where it does something.
pub(super) fn drop_out<E: Engine>(engine: &E, x: E::Tensor, probability: f32) -> Result<E::Tensor> {
    if probability > 0.0 { engine.dropout(&x, probability) } else { Ok(x) }
}
