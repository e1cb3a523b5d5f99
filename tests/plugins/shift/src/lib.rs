//! The next major of the faulty plugin, as tests publish it: its first tap plus the parameter `gain`, where the first major scales.
#![forbid(unsafe_code)]

use kadapter_plugin_api::prelude::*;

struct Shift {
    gain: Param,
}

impl Adapter for Shift {
    fn build(_config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        Ok(Self { gain: params.vector("gain", backbone.hidden_size(), Init::Constant(1.0))? })
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        cx.add(&taps[0], &cx.parameter(&self.gain)?)
    }
}

export_adapter!(Shift);
