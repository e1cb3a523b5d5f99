//! Layers that most adapters are made of.

use crate::{Activation, Context, Init, Param, Params, Result, Tensor};

/// A linear layer with bias, `x · weightᵀ + bias`; parameters `weight [outputs, inputs]` and `bias [outputs]`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Param,
    bias: Param,
}

impl Linear {
    /// Declares the layer under `params`, initialised as PyTorch's `nn.Linear` is.
    ///
    /// # Errors
    /// When a size is zero or the names are taken.
    pub fn new(params: &Params, inputs: usize, outputs: usize) -> Result<Self> {
        let init = Init::torch_linear(inputs);
        Self::with_init(params, inputs, outputs, init, init)
    }

    /// Declares the layer with other initialisers.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn with_init(params: &Params, inputs: usize, outputs: usize, weight: Init, bias: Init) -> Result<Self> {
        Ok(Self {
            weight: params.linear_weight("weight", outputs, inputs, weight)?,
            bias: params.vector("bias", outputs, bias)?,
        })
    }

    /// `[r, inputs]` to `[r, outputs]`.
    ///
    /// # Errors
    /// When the input has other columns.
    pub fn forward(&self, cx: &Context<'_>, x: &Tensor) -> Result<Tensor> {
        self.forward_activated(cx, x, Activation::Identity)
    }

    /// [`Linear::forward`] followed by an activation, which the host fuses.
    ///
    /// # Errors
    /// When the input has other columns.
    pub fn forward_activated(&self, cx: &Context<'_>, x: &Tensor, activation: Activation) -> Result<Tensor> {
        cx.linear(x, &self.weight, Some(&self.bias), activation)
    }
}

/// Layer normalisation with gain and bias; parameters `weight [size]` (ones) and `bias [size]` (zeros).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Param,
    bias: Param,
    epsilon: f32,
}

impl LayerNorm {
    /// Declares the layer under `params`.
    ///
    /// # Errors
    /// When the size is zero or the names are taken.
    pub fn new(params: &Params, size: usize, epsilon: f32) -> Result<Self> {
        Ok(Self {
            weight: params.vector("weight", size, Init::Constant(1.0))?,
            bias: params.vector("bias", size, Init::Constant(0.0))?,
            epsilon,
        })
    }

    /// Normalises each row.
    ///
    /// # Errors
    /// When the input has other columns.
    pub fn forward(&self, cx: &Context<'_>, x: &Tensor) -> Result<Tensor> {
        cx.layer_norm(x, &self.weight, &self.bias, self.epsilon)
    }

    /// Normalises each row of `x + residual`, in one go.
    ///
    /// # Errors
    /// When the inputs have other columns.
    pub fn forward_residual(&self, cx: &Context<'_>, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        cx.add_layer_norm(x, residual, &self.weight, &self.bias, self.epsilon)
    }
}
