//! An adapter of another architecture than K-Adapter's, as a third party would write it: one bottleneck per tap (Houlsby et al.
//! 2019, here beside the backbone instead of inside it), each behind a learned gate, over a normalised mix of the taps.
//!
//! Configuration: `size` (width of the bottleneck, default 64), `activation` (default `gelu`). It brings its own objective, `objective.rs`.
#![forbid(unsafe_code)]

mod objective;
#[cfg(test)]
mod tests;

use kadapter_plugin_api::prelude::*;
use objective::ShuffledWords;

struct Bottleneck {
    taps: Vec<TapBottleneck>,
    norm: LayerNorm,
    activation: Activation,
}

struct TapBottleneck {
    down: Linear,
    up: Linear,
    gate: Param,
}

impl Adapter for Bottleneck {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let (hidden, size) = (backbone.hidden_size(), config.size_or("size", 64)?);
        let name = config.text_or("activation", "gelu")?;
        let activation = Activation::from_name(&name).ok_or_else(|| {
            Error::config(format!("`activation` is `{name}`, expected gelu, gelu_tanh, relu, silu, tanh or sigmoid"))
        })?;
        let tap = |index: usize| -> Result<TapBottleneck> {
            let params = params.scope("bottleneck").scope(index);
            Ok(TapBottleneck {
                down: Linear::new(&params.scope("down"), hidden, size)?,
                up: Linear::with_init(&params.scope("up"), size, hidden, Init::Normal(0.001), Init::Constant(0.0))?,
                gate: params.vector("gate", hidden, Init::Constant(1.0))?,
            })
        };
        Ok(Self {
            taps: (0..backbone.taps().len()).map(tap).collect::<Result<_>>()?,
            norm: LayerNorm::new(&params.scope("norm"), hidden, 1e-5)?,
            activation,
        })
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        let mut sum = cx.zeros_like(&taps[0])?;
        for (tap, bottleneck) in taps.iter().zip(&self.taps) {
            let narrow = bottleneck.down.forward_activated(cx, tap, self.activation)?;
            let changed = cx.add(tap, &bottleneck.up.forward(cx, &narrow)?)?;
            sum = cx.add(&sum, &cx.mul(&changed, &cx.parameter(&bottleneck.gate)?)?)?;
        }
        self.norm.forward(cx, &sum)
    }
}

export_adapter!(Bottleneck, objective: ShuffledWords);
