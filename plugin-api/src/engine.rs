//! What a device must be able to compute: the op table's arithmetic, with shapes already checked.
//!
//! [`Engine`] is implemented by hosts (one implementation per device, another for training) and by [`crate::reference`]. Authors of
//! plugins never see it: they call [`crate::Context`], which reaches an engine through the ABI and through [`crate::session`], where
//! every shape is checked once for all engines. An engine may therefore rely on the shapes stated here.
//!
//! All tensors are `[rows, columns]`. Rows are the tokens of a batch's segments unless an op says otherwise.

use crate::{Result, Segments};

/// An activation function, applied element by element.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The value itself.
    Identity = 0,
    /// The exact Gaussian error linear unit, `x/2 · (1 + erf(x/√2))`: what RoBERTa and K-Adapter use.
    GeluErf = 1,
    /// The tanh approximation of the Gaussian error linear unit.
    GeluTanh = 2,
    /// `max(x, 0)`.
    Relu = 3,
    /// `x · sigmoid(x)`.
    Silu = 4,
    /// The hyperbolic tangent.
    Tanh = 5,
    /// `1 / (1 + e^-x)`.
    Sigmoid = 6,
}

impl Activation {
    /// The activation with this number, if this version of the ABI knows it.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Identity, Self::GeluErf, Self::GeluTanh, Self::Relu, Self::Silu, Self::Tanh, Self::Sigmoid]
            .into_iter()
            .find(|activation| *activation as u8 == code)
    }

    /// The activation with this name in configuration files: `gelu`, `gelu_tanh`, `relu`, `silu`, `tanh`, `sigmoid`, `none`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "none" | "identity" => Self::Identity,
            "gelu" | "gelu_erf" => Self::GeluErf,
            "gelu_tanh" | "gelu_new" => Self::GeluTanh,
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            _ => return None,
        })
    }
}

/// The value that `segment_matmul` writes where a row of a shorter segment has no partner.
///
/// Finite, so that softmax gives exactly 0 there and gradients stay finite.
pub const NO_PARTNER: f32 = -1e9;

/// The arithmetic of one device.
///
/// Every method may fail with a device error (memory, driver); none may panic on the shapes it documents.
#[expect(clippy::wrong_self_convention, reason = "`from_f32` is named for what it takes; the receiver is the device")]
pub trait Engine {
    /// A matrix `[rows, columns]` on the device. Cloning shares it.
    type Tensor: Clone;
    /// A parameter on the device, laid out for how it is used (a linear weight may be packed).
    type Param;

    /// `[rows, columns]` of a tensor.
    fn shape(&self, tensor: &Self::Tensor) -> [usize; 2];
    /// A tensor from row-major values; `values.len() == rows · columns`.
    fn from_f32(&self, rows: usize, columns: usize, values: Vec<f32>) -> Result<Self::Tensor>;
    /// The row-major values of a tensor.
    fn read_f32(&self, tensor: &Self::Tensor) -> Result<Vec<f32>>;
    /// All zeros.
    fn zeros(&self, rows: usize, columns: usize) -> Result<Self::Tensor>;
    /// A parameter as a tensor: `[rows, columns]`, a vector as `[1, length]`.
    fn parameter(&self, param: &Self::Param) -> Result<Self::Tensor>;

    /// `activation(x · weightᵀ + bias)`: `x [r, i]`, `weight [o, i]`, `bias [o]`, gives `[r, o]`.
    fn linear(
        &self,
        x: &Self::Tensor,
        weight: &Self::Param,
        bias: Option<&Self::Param>,
        activation: Activation,
    ) -> Result<Self::Tensor>;
    /// `a · b`, or `a · bᵀ` when `transposed`: `a [r, i]`, `b [i, o]` or `[o, i]`, gives `[r, o]`.
    fn matmul(&self, a: &Self::Tensor, b: &Self::Tensor, transposed: bool) -> Result<Self::Tensor>;
    /// Element-wise sum; `b` has `a`'s shape or is one row `[1, c]` added to each.
    fn add(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// Element-wise product; `b` has `a`'s shape or is one row `[1, c]` that scales each.
    fn mul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// Every element times `factor`.
    fn scale(&self, x: &Self::Tensor, factor: f32) -> Result<Self::Tensor>;
    /// An activation, element by element.
    fn activation(&self, x: &Self::Tensor, activation: Activation) -> Result<Self::Tensor>;
    /// The natural logarithm, element by element.
    fn log(&self, x: &Self::Tensor) -> Result<Self::Tensor>;

    /// Layer normalisation over columns, biased variance: `(x - mean) / √(variance + epsilon) · weight + bias`.
    fn layer_norm(
        &self,
        x: &Self::Tensor,
        weight: &Self::Param,
        bias: &Self::Param,
        epsilon: f32,
    ) -> Result<Self::Tensor>;
    /// [`Engine::layer_norm`] of `x + residual`; both `[r, c]`.
    fn add_layer_norm(
        &self,
        x: &Self::Tensor,
        residual: &Self::Tensor,
        weight: &Self::Param,
        bias: &Self::Param,
        epsilon: f32,
    ) -> Result<Self::Tensor>;
    /// Scaled dot-product attention of each segment with itself, per head of `columns / heads`:
    /// `softmax(q kᵀ / √(c/heads)) v`. `q`, `k`, `v` are `[segments.rows(), c]`, `heads` divides `c`. Hidden rows are no keys.
    fn attention(
        &self,
        q: &Self::Tensor,
        k: &Self::Tensor,
        v: &Self::Tensor,
        heads: usize,
        segments: &Segments,
    ) -> Result<Self::Tensor>;
    /// [`Engine::attention`] with dropout of this probability on the attention probabilities in training; without it in inference.
    fn attention_dropout(
        &self,
        q: &Self::Tensor,
        k: &Self::Tensor,
        v: &Self::Tensor,
        heads: usize,
        _probability: f32,
        segments: &Segments,
    ) -> Result<Self::Tensor> {
        self.attention(q, k, v, heads, segments)
    }

    /// Columns of all tensors side by side; all have the same number of rows, at least one is given.
    fn concat(&self, tensors: &[&Self::Tensor]) -> Result<Self::Tensor>;
    /// Columns `start .. start + length`.
    fn narrow(&self, x: &Self::Tensor, start: usize, length: usize) -> Result<Self::Tensor>;
    /// The named rows, in the named order; every index is in range, at least one is given.
    fn gather(&self, x: &Self::Tensor, rows: &[u32]) -> Result<Self::Tensor>;
    /// The mean of each segment's rows: `[segments.count(), c]`.
    fn segment_mean(&self, x: &Self::Tensor, segments: &Segments) -> Result<Self::Tensor>;
    /// Scores between the rows of one segment: row `r` of segment `s` gets `a[r] · b[j]` for every row `j` of `s`, then
    /// [`NO_PARTNER`] up to the longest segment: `[segments.rows(), segments.longest()]`.
    fn segment_matmul(&self, a: &Self::Tensor, b: &Self::Tensor, segments: &Segments) -> Result<Self::Tensor>;
    /// Softmax over columns.
    fn softmax(&self, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// Logarithm of the softmax over columns.
    fn log_softmax(&self, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// Dropout with this probability in training; the tensor itself in inference.
    fn dropout(&self, x: &Self::Tensor, probability: f32) -> Result<Self::Tensor>;
    /// Rows of a table parameter `[n, c]`; every index is in range, at least one is given.
    fn embedding(&self, table: &Self::Param, rows: &[u32]) -> Result<Self::Tensor>;

    /// Mean cross-entropy `[1, 1]` of logits `[r, c]` against one class per row; rows whose target is negative are ignored,
    /// at least one is not.
    fn cross_entropy(&self, logits: &Self::Tensor, targets: &[i64]) -> Result<Self::Tensor>;
    /// Mean binary cross-entropy with logits `[1, 1]`; both `[r, c]`.
    fn bce_with_logits(&self, logits: &Self::Tensor, targets: &Self::Tensor) -> Result<Self::Tensor>;
    /// Mean squared error `[1, 1]`; both `[r, c]`.
    fn mse(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
}
