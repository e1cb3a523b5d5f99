//! An adapter and its objective on a device.

use super::prepare::Architecture;
use crate::error::Error;
use crate::tensor::derivatives::Derivatives;
use crate::tensor::tape::{DropoutStream, Gradients, Tape, Trainable, Variable};
use crate::train::checkpoint::{NamedValues, NetworkState, Networks};
use crate::train::error::TrainError;
use crate::train::optimizer::{AdamW, AdamWConfig, clip_coefficient};
use kadapter_plugin_api::abi::{InstanceBox, TrainerBox};
use kadapter_plugin_api::session::{self, Judged};
use kadapter_plugin_api::{Batch, Engine, Example, Segments};
use std::sync::Arc;

/// The prefixes of the two networks' tensors in checkpoints.
pub const ADAPTER: &str = "adapter";
/// See [`ADAPTER`].
pub const OBJECTIVE: &str = "objective";

/// An adapter, the objective that trains it, and their optimisers.
pub struct Network<E: Derivatives> {
    instance: InstanceBox,
    objective: TrainerBox,
    adapter: Trainable<E>,
    extra: Trainable<E>,
    adapter_optimizer: AdamW<E>,
    extra_optimizer: AdamW<E>,
}

impl<E: Derivatives> std::fmt::Debug for Network<E> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Network").field("parameters", &self.adapter.values_len()).finish_non_exhaustive()
    }
}

/// Examples laid out for a device: what a network computes with.
#[derive(Debug)]
pub struct Inputs<T> {
    /// The examples.
    pub batch: Batch,
    /// Their segments.
    pub segments: Segments,
    /// A key per row, of example and token, whatever else is in the batch: what dropout masks come from.
    pub keys: Arc<[u64]>,
    /// The hidden states that the adapter reads, `[rows, hidden size]` each.
    pub taps: Vec<T>,
    /// The last hidden state, if the objective reads it.
    pub last: Option<T>,
}

/// What gradients are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientsOf {
    /// The mean loss: of a batch that is computed in one part.
    Mean,
    /// The mean loss times its weight: what parts of a batch are summed as.
    Sum,
}

/// What part of a batch gives: its gradients, its mean loss, and over how many that is.
#[derive(Debug)]
pub struct Part<E: Derivatives> {
    /// Gradients of what was asked for.
    pub gradients: Gradients<E>,
    /// What that was.
    pub gradients_of: GradientsOf,
    /// The mean loss.
    pub loss: f64,
    /// Over how many.
    pub weight: f64,
}

/// Row keys of examples: the number of each in the data set, and the row within it.
pub fn row_keys<'a>(examples: impl Iterator<Item = (u32, &'a Example)>) -> Arc<[u64]> {
    examples
        .flat_map(|(number, example)| (0..example.tokens() as u64).map(move |row| u64::from(number) << 24 | row))
        .collect()
}

impl<E: Derivatives> Network<E> {
    /// A network with its initial values, which `seed` and the parameters' names decide.
    ///
    /// # Errors
    /// When the plugin refuses, or the device has no room.
    pub fn new(engine: &E, architecture: &Architecture, optimizer: AdamWConfig, seed: u64) -> Result<Self, Error> {
        let (instance, specs) = architecture.adapter()?;
        let (objective, extra_specs) = architecture.objective()?;
        let adapter = Trainable::initial(engine, &specs, seed).map_err(Error::compute)?;
        let extra = Trainable::initial(engine, &extra_specs, seed).map_err(Error::compute)?;
        let (adapter_optimizer, extra_optimizer) = (AdamW::new(optimizer, &adapter), AdamW::new(optimizer, &extra));
        Ok(Self { instance, objective, adapter, extra, adapter_optimizer, extra_optimizer })
    }

    /// The objective, for encoding records and for metrics.
    pub fn objective(&self) -> &TrainerBox {
        &self.objective
    }

    /// How many values are trained: the adapter's, and the objective's.
    pub fn parameters(&self) -> (usize, usize) {
        (self.adapter.values_len(), self.extra.values_len())
    }

    /// No gradients: of a process that has no example in a batch.
    pub fn no_gradients(&self) -> Gradients<E> {
        Gradients::none([&self.adapter, &self.extra])
    }

    /// The loss and the gradients of some examples. The loss is read back before the backward pass.
    ///
    /// # Errors
    /// What adapter, objective or device say.
    pub fn part(
        &self,
        engine: &E,
        stream: DropoutStream,
        inputs: &Inputs<E::Tensor>,
        gradients_of: GradientsOf,
    ) -> Result<Part<E>, PartError> {
        let compute = || {
            let tape = Tape::new(engine, Some(stream));
            let (loss, weight) = self.forward(&tape, inputs, |judged, parameters| {
                session::loss(&self.objective, &tape, parameters, judged)
            })?;
            let value = f64::from(tape.read_f32(&loss)?.first().copied().unwrap_or(f32::NAN));
            if !value.is_finite() {
                return Ok(Err(PartError::NotFinite(value)));
            }
            #[expect(clippy::cast_possible_truncation, reason = "a weight is a count of examples or words")]
            let seed = if gradients_of == GradientsOf::Mean { 1.0 } else { weight as f32 };
            let gradients = tape.backward(&loss, seed)?;
            Ok(Ok(Part { gradients, gradients_of, loss: value, weight }))
        };
        compute().map_err(PartError::Failed)?
    }

    /// The tally of some dev examples, without dropout.
    ///
    /// # Errors
    /// What adapter, objective or device say.
    pub fn tally(&self, engine: &E, inputs: &Inputs<E::Tensor>) -> Result<Vec<f64>, kadapter_plugin_api::Error> {
        let tape = Tape::evaluation(engine);
        self.forward(&tape, inputs, |judged, parameters| session::tally(&self.objective, &tape, parameters, judged))
    }

    fn forward<'t, T>(
        &self,
        tape: &Tape<'t, E>,
        inputs: &Inputs<E::Tensor>,
        judge: impl FnOnce(
            Judged<'_, Variable<E>>,
            &session::Parameters<<Tape<'t, E> as Engine>::Param>,
        ) -> Result<T, kadapter_plugin_api::Error>,
    ) -> Result<T, kadapter_plugin_api::Error> {
        let keyed = |tensor: &E::Tensor| tape.constant_keyed(tensor.clone(), Arc::clone(&inputs.keys));
        let taps = inputs.taps.iter().map(keyed).collect::<Result<Vec<_>, _>>()?;
        let last = match &inputs.last {
            Some(last) => keyed(last)?,
            None => tape.zeros(0, taps.first().map_or(0, |tap| tape.shape(tap)[1]))?,
        };
        let features = session::run(&self.instance, tape, &self.adapter.parameters(), &inputs.segments, &taps)?;
        let judged = Judged { batch: &inputs.batch, segments: &inputs.segments, last: &last, features: &features };
        judge(judged, &self.extra.parameters())
    }

    /// One update with gradients that are already those of the mean loss; tells their norm before clipping.
    ///
    /// # Errors
    /// When the norm is not finite: nothing is changed then. When the device fails.
    pub fn update(&mut self, engine: &E, gradients: Gradients<E>, rate: f64, clip: f64) -> Result<f64, PartError> {
        let norm = gradients.norm(engine).map_err(PartError::Failed)?;
        if !norm.is_finite() {
            return Err(PartError::NotFinite(norm));
        }
        let scale = if clip > 0.0 { clip_coefficient(norm, clip) } else { 1.0 };
        let mut step = || {
            self.adapter_optimizer.update(engine, &self.adapter, &gradients, rate, scale)?;
            self.extra_optimizer.update(engine, &self.extra, &gradients, rate, scale)
        };
        step().map_err(PartError::Failed)?;
        Ok(norm)
    }

    /// Everything that a checkpoint keeps.
    ///
    /// # Errors
    /// When the device fails.
    pub fn state(&self, engine: &E) -> Result<Networks, Error> {
        let of = |set: &Trainable<E>, optimizer: &AdamW<E>| -> Result<NetworkState, kadapter_plugin_api::Error> {
            Ok(NetworkState {
                optimizer: optimizer.state(engine)?,
                values: read(engine, set)?,
                declared: declared(set),
            })
        };
        let adapter = of(&self.adapter, &self.adapter_optimizer).map_err(Error::compute)?;
        let extra = of(&self.extra, &self.extra_optimizer).map_err(Error::compute)?;
        Ok(Networks::from([(ADAPTER, adapter), (OBJECTIVE, extra)]))
    }

    /// Names and shapes, to read a checkpoint into.
    pub fn layout(&self) -> Networks {
        let of = |set| NetworkState { declared: declared(set), ..NetworkState::default() };
        Networks::from([(ADAPTER, of(&self.adapter)), (OBJECTIVE, of(&self.extra))])
    }

    /// Takes a checkpoint's values and states.
    ///
    /// # Errors
    /// When the device fails.
    pub fn restore(&mut self, engine: &E, networks: Networks) -> Result<(), Error> {
        for (name, network) in networks {
            let (set, optimizer) = match name {
                ADAPTER => (&self.adapter, &mut self.adapter_optimizer),
                _ => (&self.extra, &mut self.extra_optimizer),
            };
            for (index, values) in network.values.into_iter().enumerate() {
                set.replace(engine, index, values).map_err(Error::compute)?;
            }
            optimizer.restore(engine, set, network.optimizer).map_err(Error::compute)?;
        }
        Ok(())
    }

    /// The adapter's parameters alone: names, shapes, row-major values.
    ///
    /// # Errors
    /// When the device fails.
    pub fn adapter_values(&self, engine: &E) -> Result<Vec<NamedValues>, Error> {
        let values = read(engine, &self.adapter).map_err(Error::compute)?;
        Ok(declared(&self.adapter)
            .into_iter()
            .zip(values)
            .map(|((name, shape), values)| (name, shape, values))
            .collect())
    }

    /// Replaces the adapter's values, of the same names and shapes, by others.
    ///
    /// # Errors
    /// When the device fails.
    pub fn start_from(&mut self, engine: &E, values: Vec<Vec<f32>>) -> Result<(), Error> {
        for (index, values) in values.into_iter().enumerate() {
            self.adapter.replace(engine, index, values).map_err(Error::compute)?;
        }
        Ok(())
    }
}

/// Why an update was not made.
#[derive(Debug)]
pub enum PartError {
    /// Loss or norm are not finite.
    NotFinite(f64),
    /// Adapter, objective or device failed.
    Failed(kadapter_plugin_api::Error),
}

impl PartError {
    /// As an error of training.
    pub fn at(self, what: &'static str, epoch: usize, step: u64, records: impl FnOnce() -> String) -> TrainError {
        match self {
            Self::NotFinite(found) => TrainError::NotFinite { what, found, epoch, step, records: records() },
            Self::Failed(source) => TrainError::Loss { epoch, step, source },
        }
    }
}

fn declared<E: Derivatives>(set: &Trainable<E>) -> Vec<(String, Vec<usize>)> {
    set.declared().iter().map(|declared| (declared.name.clone(), declared.shape.clone())).collect()
}

fn read<E: Derivatives>(engine: &E, set: &Trainable<E>) -> Result<Vec<Vec<f32>>, kadapter_plugin_api::Error> {
    (0..set.len()).map(|index| set.read(engine, index)).collect()
}
