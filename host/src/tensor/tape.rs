//! The op table for training: records every op over a device, and plays the record backwards for gradients.
//!
//! One tape serves one step on one micro-batch: make it, run networks on it (a plugin through [`kadapter_plugin_api::session::run`],
//! heads directly), call [`Tape::backward`] on the loss, drop it. The arithmetic is the device's ([`Derivatives`]); the tape only
//! knows which op follows which. Nothing is recorded for what no trainable parameter reaches, so taps of the frozen backbone cost
//! neither memory nor time in the backward pass.
//!
//! ```text
//! Trainable ── TrainParam ──┐
//! taps ── Tape::constant ───┼── ops of Engine ── loss ── Tape::backward ── Gradients ── AdamW ── Trainable
//! ```
//!
//! **Dropout** does not draw from a sequence: an element's fate is a hash of the stream's seed, the number of the dropout call on this
//! tape, the row's key and the column ([`MaskSpec`]). So a row's mask depends neither on its batch, nor on the number of threads, nor
//! on how a batch is split between processes, and a run can be resumed with the same bits.

mod backward;
mod engine;
mod gradients;
mod mask;
#[cfg(test)]
mod tests;
mod trainable;
mod variable;

pub use gradients::Gradients;
pub use mask::{DropoutStream, MaskSpec};
pub use trainable::{TrainParam, Trainable};
pub use variable::Variable;

use super::derivatives::Derivatives;
use backward::{Node, Playback};
use kadapter_plugin_api::{Error, Result};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

/// An engine that records what it computes, over the device `E`. For one thread.
pub struct Tape<'e, E: Derivatives> {
    engine: &'e E,
    dropout: Option<DropoutStream>,
    /// Dropout calls so far.
    calls: Cell<u64>,
    record: RefCell<Record<E>>,
}

/// What a tape has written down.
enum Record<E: Derivatives> {
    /// Nothing, on purpose.
    Off,
    /// An entry for each result that a gradient may reach, in the order in which they were computed.
    On(Vec<Node<E>>),
    /// It was played back.
    Spent,
}

impl<'e, E: Derivatives> Tape<'e, E> {
    /// A tape that records on this device. With a stream, dropout is on; without one it is off, as in evaluation.
    pub fn new(engine: &'e E, dropout: Option<DropoutStream>) -> Self {
        Self { engine, dropout, calls: Cell::new(0), record: RefCell::new(Record::On(Vec::new())) }
    }

    /// A tape that records nothing and drops nothing: the forward pass of the trained networks, for evaluation while they are
    /// being trained.
    pub fn evaluation(engine: &'e E) -> Self {
        Self { engine, dropout: None, calls: Cell::new(0), record: RefCell::new(Record::Off) }
    }

    /// The device.
    pub fn device(&self) -> &'e E {
        self.engine
    }

    /// Brings a tensor in that gets no gradient: a tap of the frozen backbone. Its rows' keys are their numbers.
    pub fn constant(&self, tensor: E::Tensor) -> Variable<E> {
        Variable::constant(tensor, None)
    }

    /// [`Tape::constant`] with a key for each row, which dropout masks follow.
    ///
    /// # Errors
    /// When there are not as many keys as rows.
    pub fn constant_keyed(&self, tensor: E::Tensor, row_keys: Arc<[u64]>) -> Result<Variable<E>> {
        let [rows, _] = self.engine.shape(&tensor);
        if rows == row_keys.len() {
            Ok(Variable::constant(tensor, Some(row_keys)))
        } else {
            Err(Error::shape(format!("{} row keys, expected one for each of {rows} rows", row_keys.len())))
        }
    }

    /// Gradients of `scale` times the loss `[1, 1]`, for every trainable parameter that the loss depends on. What the tape holds is
    /// freed as it is used; afterwards nothing can be computed on this tape.
    ///
    /// # Errors
    /// When the loss is not `[1, 1]`, when no trainable parameter took part, when the tape was played back before, or when the
    /// device fails.
    pub fn backward(&self, loss: &Variable<E>, scale: f32) -> Result<Gradients<E>> {
        let shape = self.engine.shape(&loss.value);
        if shape != [1, 1] {
            return Err(Error::shape(format!("the loss is {shape:?}, expected [1, 1]")));
        }
        let Some(node) = loss.node else {
            return Err(Error::new(
                "the loss depends on no trainable parameter, expected at least one that is not frozen",
            ));
        };
        let record = std::mem::replace(&mut *self.record.borrow_mut(), Record::Spent);
        let Record::On(nodes) = record else {
            return Err(spent());
        };
        let mut playback = Playback::new(self.engine, nodes.len());
        playback.give(Some(node), self.engine.from_f32(1, 1, vec![scale])?)?;
        playback.run(nodes)
    }

    /// Keeps a result and the way back from it: `backward` gets the result's gradient. Without `wanted`, or on a tape that does not
    /// record, the result is a constant.
    fn keep(
        &self,
        value: E::Tensor,
        keys: Option<Arc<[u64]>>,
        wanted: bool,
        backward: impl FnOnce(&mut Playback<'_, E>, E::Tensor) -> Result<()> + 'static,
    ) -> Result<Variable<E>> {
        match &mut *self.record.borrow_mut() {
            Record::On(nodes) if wanted => {
                nodes.push(Box::new(backward));
                Ok(Variable { value, node: Some(nodes.len() - 1), keys })
            }
            Record::Spent if wanted => Err(spent()),
            _ => Ok(Variable::constant(value, keys)),
        }
    }

    /// Whether gradients of this parameter are asked for.
    fn trains(&self, param: &TrainParam<E>) -> bool {
        !param.is_frozen() && !matches!(*self.record.borrow(), Record::Off)
    }

    /// The mask of the next dropout call; `None` when dropout is off.
    fn next_mask(&self, probability: f32, keys: Option<Arc<[u64]>>) -> Option<MaskSpec> {
        let stream = self.dropout?;
        let call = self.calls.get();
        self.calls.set(call + 1);
        (probability > 0.0).then(|| MaskSpec::new(stream, call, keys, probability))
    }
}

fn spent() -> Error {
    Error::new("the tape was played back before, expected a new tape for every step")
}

impl<E: Derivatives> fmt::Debug for Tape<'_, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = match &*self.record.borrow() {
            Record::Off => None,
            Record::On(nodes) => Some(nodes.len()),
            Record::Spent => Some(0),
        };
        formatter.debug_struct("Tape").field("dropout", &self.dropout).field("nodes", &nodes).finish_non_exhaustive()
    }
}
