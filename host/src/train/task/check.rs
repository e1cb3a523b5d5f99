//! The loss and the gradients of given parameters: what other implementations are compared with.

use super::batch::Batch;
use super::objective::Gold;
use super::{Error, HeadSpec, View};
use crate::pipeline::network::Dropouts;
use crate::tensor::derivatives::Derivatives;
use crate::tensor::tape::{Tape, Trainable};
use kadapter_plugin_api::Engine;

/// The loss of some records and its gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// The mean loss.
    pub loss: f32,
    /// Per parameter, in the order of [`HeadSpec::declared`], the gradient; none where the loss does not depend on it.
    pub gradients: Vec<Option<Vec<f32>>>,
}

/// The loss of records under given parameters, in the order of [`HeadSpec::declared`], and its gradients. Nothing is dropped out.
///
/// # Errors
/// When parameters or features do not fit, or the device fails.
pub fn gradients<E: Derivatives>(
    engine: &E,
    spec: &HeadSpec,
    parameters: Vec<Vec<f32>>,
    view: &View<'_>,
) -> Result<Gradients, Error> {
    let trainable = Trainable::new(engine, spec.declared().into_iter().zip(parameters))?;
    let tape = Tape::new(engine, None);
    let batch = Batch::gather(&tape, spec, view.set, &view.records)?;
    let params = (0..trainable.len()).filter_map(|index| trainable.param(index).cloned());
    let network = spec.network(params).ok_or(Error::NoHead { kind: spec.kind })?;
    let logits = network.forward(&tape, spec, &batch, Dropouts::default())?;
    let loss = Gold::of(spec, view.set, &view.records)?.loss(&tape, &logits)?;
    let value = tape.read_f32(&loss)?.first().copied().unwrap_or(f32::NAN);
    let found = tape.backward(&loss, 1.0)?;
    let read = |index| found.get(&trainable, index).map(|gradient| engine.read_f32(gradient)).transpose();
    let gradients = (0..trainable.len()).map(read).collect::<kadapter_plugin_api::Result<_>>()?;
    Ok(Gradients { loss: value, gradients })
}
