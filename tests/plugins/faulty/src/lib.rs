//! A plugin that does wrong whatever its configuration asks for; the tests see that nobody else notices.
//!
//! `fault` is one of `none`, `panic-build`, `error-build`, `panic-forward`, `error-forward`, `panic-drop`, `wrong-shape`,
//! `not-finite` and `wrong-op`. Without a fault it yields its first tap scaled by the parameter `gain`.
#![forbid(unsafe_code)]

use kadapter_plugin_api::prelude::*;

struct Faulty {
    fault: String,
    gain: Param,
}

impl Adapter for Faulty {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let fault = config.text_or("fault", "none")?;
        match fault.as_str() {
            "panic-build" => panic!("built to panic"),
            "error-build" => Err(Error::config("`fault` is error-build, expected none")),
            _ => Ok(Self { gain: params.vector("gain", backbone.hidden_size(), Init::Constant(1.0))?, fault }),
        }
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        match self.fault.as_str() {
            "panic-forward" => panic!("run to panic"),
            "error-forward" => Err(Error::new("run to fail")),
            "wrong-shape" => cx.narrow(&taps[0], 0, 1),
            "wrong-op" => cx.matmul(&taps[0], &taps[0]),
            "not-finite" => cx.log(&cx.scale(&taps[0], 0.0)?),
            _ => cx.mul(&taps[0], &cx.parameter(&self.gain)?),
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert_ne!(self.fault, "panic-drop", "dropped to panic");
    }
}

export_adapter!(Faulty);
