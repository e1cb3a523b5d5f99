//! What trains an adapter: how records become examples, the loss, and how it is judged.

use crate::{Backbone, Batch, Config, Context, Encoded, Params, Record, Result, Tensor, Text};
use abi_stable::{StableAbi, std_types::RString};

/// The objective that infuses knowledge into an adapter (paper section 3.2, 3.3).
///
/// Its parameters (a classifier, a scorer) are trained with the adapter and dropped afterwards. An instance holds numbers and
/// [`crate::Param`]s, never values, and keeps no state between calls. The same instance serves many threads at once.
pub trait Objective: Sized + Send + Sync + 'static {
    /// Declares the extra parameters and checks the configuration (`[objective]` of a recipe).
    ///
    /// # Errors
    /// When the configuration does not fit; say what was expected and what was found.
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self>;

    /// Turns a record into an example, or says why it is left out.
    ///
    /// # Errors
    /// When the record is malformed: the host names file and line.
    fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded>;

    /// The loss of a batch. `last` is the backbone's last hidden state and `features` what the adapter yields, both
    /// `[rows, hidden size]`; [`Batch::rows`] names rows of them.
    ///
    /// # Errors
    /// Passes on what an op says (`?`), or the objective's own.
    fn loss(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Loss>;

    /// Numbers of a batch of development data that can be summed over batches: how many were right, how many there were.
    ///
    /// # Errors
    /// As [`Objective::loss`].
    fn tally(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Vec<f64>>;

    /// What summed tallies say. The first metric chooses the best checkpoint; in each, higher is better.
    ///
    /// # Errors
    /// When the tally is not one of [`Objective::tally`].
    fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>>;

    /// Whether it reads the backbone's last hidden state. Where it does not, `last` has no rows, and the host computes and keeps none of
    /// the layers behind the adapter's last tap.
    fn reads_last(&self) -> bool {
        true
    }
}

/// The loss of a batch.
#[derive(Clone, Debug)]
pub struct Loss {
    /// `[1, 1]`: the mean over what the batch is judged by.
    pub value: Tensor,
    /// Over how many it is the mean (examples, words): what the host weighs parts of a batch with, so that a batch in several parts,
    /// on several machines, has the loss of the whole.
    pub weight: f64,
}

/// A metric of development data.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, StableAbi)]
pub struct Metric {
    name: RString,
    value: f64,
}

impl Metric {
    /// A metric by its usual name (`accuracy`, `micro_f1`), as a fraction.
    pub fn new(name: &str, value: f64) -> Self {
        Self { name: name.into(), value }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value; higher is better.
    pub fn value(&self) -> f64 {
        self.value
    }
}
