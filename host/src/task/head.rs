//! The head's shape: how fused rows become logits.

use super::options::Options;
use super::{Error, Kind};

/// What stands between the fused rows and the logits: `out(activation(dense([row; row; …])))`.
///
/// With `hidden` columns per row, `dense` is `[reads_per_unit * hidden -> hidden]` and `out` is `[hidden -> outputs]`;
/// without `dense`, `out` is `[reads_per_unit * hidden -> outputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadShape {
    /// How many rows stand side by side in the head's input.
    pub reads_per_unit: usize,
    /// Whether there is a dense layer before the last.
    pub dense: bool,
    /// What is applied after the dense layer.
    pub activation: Activation,
    /// How many numbers a unit yields.
    pub outputs: usize,
}

/// A function between two layers of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing, as in every head of the paper's code.
    None,
    /// The hyperbolic tangent, as in RoBERTa's own classification head.
    Tanh,
}

impl HeadShape {
    /// The options that every kind with a head takes.
    pub(super) const OPTIONS: [&str; 2] = ["activation", "dense"];

    /// Reads `dense` (true or false, `dense` where absent) and `activation` (`none` or `tanh`, `none` where absent).
    pub(super) fn from_options(
        options: &Options<'_>,
        reads_per_unit: usize,
        dense: bool,
        outputs: usize,
    ) -> Result<Self, Error> {
        let dense = options.boolean("dense")?.unwrap_or(dense);
        let activations = [("none", Activation::None), ("tanh", Activation::Tanh)];
        let activation = options.one_of("activation", &activations)?.unwrap_or(Activation::None);
        if !dense && activation != Activation::None {
            let kind: Kind = options.kind();
            return Err(Error::ActivationWithoutDense { kind });
        }
        Ok(Self { reads_per_unit, dense, activation, outputs })
    }
}
