//! One post-norm transformer layer (BERT's), as it stands inside an adapter layer.

use kadapter_plugin_api::{Activation, Context, Init, LayerNorm, Linear, Params, Result, Tensor};

/// Sizes and numbers of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) size: usize,
    pub(crate) heads: usize,
    pub(crate) ffn: usize,
    pub(crate) epsilon: f32,
    pub(crate) dropout: f32,
    pub(crate) start: Start,
}

/// How the layer's projections start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As PyTorch's `nn.Linear` does by default: what the official code leaves it at.
    Torch,
    /// As BERT does: weights normal with deviation 0.02, biases zero.
    Bert,
}

/// BERT's `initializer_range`, which the official code declares for its adapters and does not use.
const BERT_DEVIATION: f32 = 0.02;

impl Start {
    fn linear(self, params: &Params, inputs: usize, outputs: usize) -> Result<Linear> {
        match self {
            Self::Torch => Linear::new(params, inputs, outputs),
            Self::Bert => Linear::with_init(params, inputs, outputs, Init::Normal(BERT_DEVIATION), Init::Constant(0.0)),
        }
    }
}

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
    pub(crate) fn new(params: &Params, shape: Shape) -> Result<Self> {
        let Shape { size, heads, ffn, epsilon, dropout, start } = shape;
        let attention = params.scope("attention");
        let linear = |name: &str| start.linear(&attention.scope(name), size, size);
        Ok(Self {
            query: linear("self.query")?,
            key: linear("self.key")?,
            value: linear("self.value")?,
            attention_output: linear("output.dense")?,
            attention_norm: LayerNorm::new(&attention.scope("output.LayerNorm"), size, epsilon)?,
            intermediate: start.linear(&params.scope("intermediate.dense"), size, ffn)?,
            output: start.linear(&params.scope("output.dense"), ffn, size)?,
            output_norm: LayerNorm::new(&params.scope("output.LayerNorm"), size, epsilon)?,
            heads,
            dropout,
        })
    }

    pub(crate) fn forward(&self, cx: &Context<'_>, x: &Tensor) -> Result<Tensor> {
        let (query, key, value) = (self.query.forward(cx, x)?, self.key.forward(cx, x)?, self.value.forward(cx, x)?);
        let mixed = cx.attention_dropout(&query, &key, &value, self.heads, self.dropout)?;
        drop((query, key, value));
        let mixed = self.attention_output.forward(cx, &mixed)?;
        let attended = self.attention_norm.forward_residual(cx, &cx.dropout(&mixed, self.dropout)?, x)?;
        let wide = self.intermediate.forward_activated(cx, &attended, Activation::GeluErf)?;
        let narrow = self.output.forward(cx, &wide)?;
        drop(wide);
        self.output_norm.forward_residual(cx, &cx.dropout(&narrow, self.dropout)?, &attended)
    }
}
