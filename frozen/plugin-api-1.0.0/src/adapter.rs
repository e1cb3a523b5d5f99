//! What an author implements.

use crate::{Config, Context, Params, Result, Tensor};
use abi_stable::{StableAbi, std_types::RVec};

/// What an adapter may know of the backbone it is attached to.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, Eq, StableAbi)]
pub struct Backbone {
    hidden_size: u64,
    layers: u64,
    taps: RVec<u64>,
}

impl Backbone {
    /// A backbone of `layers` layers whose hidden states have `hidden_size` columns, read at `taps`: indices into its hidden
    /// states, 0 the embedding output, `i` the output of layer `i`.
    pub fn new(hidden_size: usize, layers: usize, taps: &[usize]) -> Self {
        Self {
            hidden_size: hidden_size as u64,
            layers: layers as u64,
            taps: taps.iter().map(|&tap| tap as u64).collect(),
        }
    }

    /// Columns of every hidden state and of the feature rows that an adapter yields.
    pub fn hidden_size(&self) -> usize {
        usize::try_from(self.hidden_size).unwrap_or(usize::MAX)
    }

    /// Transformer layers; hidden states are numbered 0 to `layers`.
    pub fn layers(&self) -> usize {
        usize::try_from(self.layers).unwrap_or(usize::MAX)
    }

    /// The taps that `forward` gets, in this order.
    pub fn taps(&self) -> Vec<usize> {
        self.taps.iter().map(|&tap| usize::try_from(tap).unwrap_or(usize::MAX)).collect()
    }
}

/// A side network: reads taps of the frozen backbone, yields one feature row per token, never writes back.
///
/// Implementations hold [`Param`](crate::Param)s and numbers, never values: the host owns all tensors. The same instance serves many
/// threads at once.
pub trait Adapter: Sized + Send + Sync + 'static {
    /// Declares the parameters and checks the configuration.
    ///
    /// # Errors
    /// When the configuration does not fit; say what was expected and what was found.
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self>;

    /// Computes the feature rows `[rows, hidden size]` of a batch from its taps, each `[rows, hidden size]`, in the order of
    /// [`Backbone::taps`].
    ///
    /// A row must depend on rows of its own segment only; every op of [`Context`] keeps to that.
    ///
    /// # Errors
    /// Passes on what an op says (`?`), or the adapter's own.
    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor>;
}
