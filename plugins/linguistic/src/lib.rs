//! Linguistic knowledge: the K-Adapter network, trained to find the head of every word in the dependency tree
//! (paper section 3.3, `lin-adapter.py`).
#![forbid(unsafe_code)]

mod biaffine;
mod markers;
mod objective;
mod official;
mod sentence;
#[cfg(test)]
mod tests;

use kadapter_k_adapter::KAdapter;
use kadapter_plugin_api::prelude::*;
use objective::DependencyHeads;

struct Linguistic(KAdapter);

impl Adapter for Linguistic {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        KAdapter::build(config, backbone, params).map(Self)
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        self.0.forward(cx, taps)
    }
}

export_adapter!(Linguistic, objective: DependencyHeads);
