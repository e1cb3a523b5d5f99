//! A plugin on the SDK of ABI 1.0.0: one transformer-like step per tap, so that it calls ops of every kind that adapters use.
//!
//! Configuration: `size` (default 8), `heads` (default 2), `fault` (`none`, `panic-forward`, `error-forward`).
#![forbid(unsafe_code)]

use kadapter_plugin_api::prelude::*;

struct Frozen {
    down: Linear,
    norm: LayerNorm,
    up: Linear,
    gate: Param,
    table: Param,
    heads: usize,
    fault: String,
}

impl Adapter for Frozen {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let (hidden, size) = (backbone.hidden_size(), config.size_or("size", 8)?);
        Ok(Self {
            down: Linear::new(&params.scope("down"), hidden, size)?,
            norm: LayerNorm::new(&params.scope("norm"), size, 1e-5)?,
            up: Linear::new(&params.scope("up"), size, hidden)?,
            gate: params.vector("gate", hidden, Init::Constant(0.5))?,
            table: params.table("table", 2, hidden, Init::Normal(0.1))?,
            heads: config.size_or("heads", 2)?,
            fault: config.text_or("fault", "none")?,
        })
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        match self.fault.as_str() {
            "panic-forward" => panic!("run to panic"),
            "error-forward" => return Err(Error::new("run to fail")),
            _ => {}
        }
        let mut sum = cx.zeros_like(&taps[0])?;
        for tap in taps {
            let narrow = self.down.forward_activated(cx, tap, Activation::GeluErf)?;
            let mixed = cx.attention(&narrow, &narrow, &narrow, self.heads)?;
            let state = self.norm.forward_residual(cx, &cx.dropout(&mixed, 0.1)?, &narrow)?;
            let changed = cx.mul(&self.up.forward(cx, &state)?, &cx.parameter(&self.gate)?)?;
            sum = cx.add(&sum, &cx.add(&cx.scale(tap, 0.5)?, &changed)?)?;
        }
        let parity: Vec<u32> = (0..sum.rows()).map(|_| 1).collect();
        cx.add(&sum, &cx.embedding(&self.table, &parity)?)
    }
}

export_adapter!(Frozen);
