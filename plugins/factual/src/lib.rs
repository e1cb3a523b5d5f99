//! Factual knowledge: the K-Adapter network, trained to classify the relation between two entities of a sentence
//! (paper section 3.2, `fac-adapter.py`).
#![forbid(unsafe_code)]

mod entities;
mod labels;
mod objective;
#[cfg(test)]
mod tests;

use kadapter_k_adapter::KAdapter;
use kadapter_plugin_api::prelude::*;
use objective::RelationClassification;

struct Factual(KAdapter);

impl Adapter for Factual {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        KAdapter::build(config, backbone, params).map(Self)
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        self.0.forward(cx, taps)
    }
}

export_adapter!(Factual, objective: RelationClassification);
