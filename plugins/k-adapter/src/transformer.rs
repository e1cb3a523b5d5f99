//! One post-norm transformer layer (BERT's), as it stands inside an adapter layer.

use kadapter_plugin_api::{Activation, Context, LayerNorm, Linear, Params, Result, Tensor};

#[derive(Debug)]
pub(crate) struct TransformerLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    heads: usize,
    dropout: f32,
}

impl TransformerLayer {
    pub(crate) fn new(
        params: &Params,
        size: usize,
        heads: usize,
        ffn: usize,
        epsilon: f32,
        dropout: f32,
    ) -> Result<Self> {
        let attention = params.scope("attention");
        let linear = |name: &str| Linear::new(&attention.scope(name), size, size);
        Ok(Self {
            query: linear("self.query")?,
            key: linear("self.key")?,
            value: linear("self.value")?,
            attention_output: linear("output.dense")?,
            attention_norm: LayerNorm::new(&attention.scope("output.LayerNorm"), size, epsilon)?,
            intermediate: Linear::new(&params.scope("intermediate.dense"), size, ffn)?,
            output: Linear::new(&params.scope("output.dense"), ffn, size)?,
            output_norm: LayerNorm::new(&params.scope("output.LayerNorm"), size, epsilon)?,
            heads,
            dropout,
        })
    }

    pub(crate) fn forward(&self, cx: &Context<'_>, x: &Tensor) -> Result<Tensor> {
        let (query, key, value) = (self.query.forward(cx, x)?, self.key.forward(cx, x)?, self.value.forward(cx, x)?);
        let mixed = cx.attention(&query, &key, &value, self.heads)?;
        drop((query, key, value));
        let mixed = self.attention_output.forward(cx, &mixed)?;
        let attended = self.attention_norm.forward_residual(cx, &cx.dropout(&mixed, self.dropout)?, x)?;
        let wide = self.intermediate.forward_activated(cx, &attended, Activation::GeluErf)?;
        let narrow = self.output.forward(cx, &wide)?;
        drop(wide);
        self.output_norm.forward_residual(cx, &cx.dropout(&narrow, self.dropout)?, &attended)
    }
}
