//! A gated bottleneck per tap, over a learned mix of the taps.
//!
//! A tap is a hidden state of the frozen backbone, `[rows, hidden]` with one row per token. An
//! adapter makes features of the taps, again `[rows, hidden]`, and never writes back:
//!
//! ```text
//! narrowᵢ  = gelu(downᵢ(tapᵢ))                     to `size` columns
//! changeᵢ  = sigmoid(gateᵢ(narrowᵢ)) ∘ upᵢ(narrowᵢ)  back to `hidden`, let through per token and column
//! features = norm(Σ mixᵢ ∘ tapᵢ + changeᵢ)
//! ```
//!
//! Configuration, `[adapter.config]` of an adapter's package: `size`, columns of a bottleneck
//! (default 64). What trains it is in `objective.rs`.

use kadapter_plugin_api::prelude::*;
use objective::TextLabels;

mod objective;
#[cfg(test)]
mod tests;

/// The adapter: names of parameters and numbers, never values. The host owns every tensor, so it
/// can place, pack and train them without this code knowing, and one instance serves many threads.
struct GatedBottleneck {
    parts: Vec<Part>,
    norm: LayerNorm,
}

/// What belongs to one tap.
struct Part {
    mix: Param,
    down: Linear,
    gate: Linear,
    up: Linear,
}

impl Adapter for GatedBottleneck {
    /// Declares the parameters, once for each adapter that is opened or trained.
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let (hidden, taps) = (backbone.hidden_size(), backbone.taps().len());
        // `size_or` refuses what is no positive integer, in words. A key of the configuration that
        // `build` never asks for is an error as well, so a misspelt one is not ignored.
        let size = config.size_or("size", 64)?;

        let part = |index: usize| -> Result<Part> {
            // Scopes make the names, here `bottleneck.0.down.weight`: the names of the tensors in
            // an adapter's weights file. Renaming one makes older weights unusable.
            let params = params.scope("bottleneck").scope(index);
            // It starts close to the plain mean of the taps: small weights upwards, no bias.
            let (small, zero) = (Init::Normal(0.02), Init::Constant(0.0));
            Ok(Part {
                mix: params.vector("mix", hidden, Init::Constant(1.0 / taps as f32))?,
                down: Linear::new(&params.scope("down"), hidden, size)?,
                gate: Linear::new(&params.scope("gate"), size, hidden)?,
                up: Linear::with_init(&params.scope("up"), size, hidden, small, zero)?,
            })
        };
        Ok(Self {
            parts: (0..taps).map(part).collect::<Result<_>>()?,
            norm: LayerNorm::new(&params.scope("norm"), hidden, 1e-5)?,
        })
    }

    /// Computes the features of a batch: all its texts stand in one tensor, without padding.
    ///
    /// Every op runs on the host's device and is recorded where the host trains. Ops that look
    /// across rows (`attention`, `segment_mean`, …) stay within a text, so that a text's features
    /// never depend on what else is in the batch.
    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        let mut sum = cx.zeros_like(&taps[0])?;
        for (tap, part) in taps.iter().zip(&self.parts) {
            // `forward_activated` is a linear layer and its activation in one op.
            let narrow = part.down.forward_activated(cx, tap, Activation::GeluErf)?;
            let gate = part
                .gate
                .forward_activated(cx, &narrow, Activation::Sigmoid)?;
            let change = cx.mul(&part.up.forward(cx, &narrow)?, &gate)?;
            // A vector as a tensor is one row; `mul` and `add` take it for each row.
            let kept = cx.mul(tap, &cx.parameter(&part.mix)?)?;
            sum = cx.add(&sum, &cx.add(&kept, &change)?)?;
        }
        self.norm.forward(cx, &sum)
    }
}

// The entry symbol and the note that hosts read before they open the file. A panic in the code
// above is caught there and becomes the answer to the request that met it.
export_adapter!(GatedBottleneck, objective: TextLabels);
