//! What a device must be able to compute so that networks can be trained on it: the backward half of the op table.
//!
//! The methods are coarse on purpose (a linear layer's whole backward pass is one), so that a device may fuse what it can. Gradients
//! have the shape of what they belong to. Nothing here reads a tensor back to the host but [`Derivatives::sum_of_squares`], which is
//! asked for once per step. Shapes are as [`kadapter_plugin_api::Engine`] states them, checked before.

use super::HostEngine;
use super::tape::MaskSpec;
use kadapter_plugin_api::{Activation, Result, Segments};

/// A device that networks can be trained on.
///
/// The same input must give the same bits on every call and with any number of threads: training can be resumed only then.
pub trait Derivatives: HostEngine {
    /// A dropout mask as this device keeps it from the forward to the backward pass.
    type Mask: Clone + Send + Sync + 'static;
    /// What attention keeps from the forward to the backward pass.
    type Attended: Send + Sync + 'static;

    /// Refuses when this engine cannot train, for example in half precision.
    ///
    /// # Errors
    /// What it lacks.
    fn check_training(&self) -> Result<()> {
        Ok(())
    }

    /// A weight `[outputs, inputs]` as [`Engine::linear`](kadapter_plugin_api::Engine::linear) reads it.
    fn weight(&self, value: &Self::Tensor) -> Result<Self::Param>;
    /// The same weight for the backward pass: `linear` with it gives `x · weight`, from `[r, outputs]` to `[r, inputs]`.
    fn weight_transposed(&self, value: &Self::Tensor) -> Result<Self::Param>;
    /// A vector `[1, n]` as a bias, or the weight of a norm.
    fn vector(&self, value: &Self::Tensor) -> Result<Self::Param>;

    /// The mask that `spec` describes for a tensor `[rows, columns]`.
    fn mask(&self, spec: &MaskSpec, rows: usize, columns: usize) -> Result<Self::Mask>;
    /// `x` with what the mask drops set to 0, and the rest divided by the probability of being kept.
    fn masked(&self, x: &Self::Tensor, mask: &Self::Mask) -> Result<Self::Tensor>;

    /// An activation's values and its slopes at `x`.
    fn activation_sloped(&self, x: &Self::Tensor, activation: Activation) -> Result<(Self::Tensor, Self::Tensor)>;
    /// `activation(x · weightᵀ + bias)`, and the activation's slopes there.
    fn linear_sloped(
        &self,
        x: &Self::Tensor,
        weight: &Self::Param,
        bias: Option<&Self::Param>,
        activation: Activation,
    ) -> Result<(Self::Tensor, Self::Tensor)>;
    /// The backward pass of a linear layer.
    fn linear_backward(&self, task: LinearBackward<'_, Self>) -> Result<LinearGradients<Self::Tensor>>;
    /// `aᵀ · b`: `a [r, m]`, `b [r, n]`, gives `[m, n]`.
    fn product_transposed(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;

    /// The sum of each column, `[1, c]`.
    fn column_sums(&self, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// Adds `x` to `sum`, in place where nobody else holds `sum`.
    fn accumulate(&self, sum: &mut Self::Tensor, x: &Self::Tensor) -> Result<()>;
    /// `a / b`, element by element.
    fn quotient(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;

    /// Layer normalisation of `x`, or of `x + residual`, with what its backward pass needs.
    fn normalise(
        &self,
        x: &Self::Tensor,
        residual: Option<&Self::Tensor>,
        weight: &Self::Param,
        bias: &Self::Param,
        epsilon: f32,
    ) -> Result<Normalised<Self::Tensor>>;
    /// The backward pass of [`Derivatives::normalise`].
    fn normalise_backward(
        &self,
        gradient: &Self::Tensor,
        normal: &Self::Tensor,
        scale: &Self::Tensor,
        weight: &Self::Param,
        wants: NormWants,
    ) -> Result<NormGradients<Self::Tensor>>;

    /// [`Engine::attention`](kadapter_plugin_api::Engine::attention) with a mask on the probabilities, and what its backward pass
    /// needs. The mask's row is the query's; its column is `head << 20 | place of the key in its segment`.
    fn attend(
        &self,
        q: &Self::Tensor,
        k: &Self::Tensor,
        v: &Self::Tensor,
        heads: usize,
        segments: &Segments,
        mask: Option<&MaskSpec>,
    ) -> Result<(Self::Tensor, Self::Attended)>;
    /// The backward pass of [`Derivatives::attend`]: gradients of `q`, `k` and `v`.
    fn attend_backward(&self, task: AttendBackward<'_, Self>) -> Result<[Self::Tensor; 3]>;

    /// From the gradient of `y = softmax(x)` to that of `x`.
    fn softmax_backward(&self, y: &Self::Tensor, gradient: &Self::Tensor) -> Result<Self::Tensor>;
    /// From the gradient of `y = log_softmax(x)` to that of `x`.
    fn log_softmax_backward(&self, y: &Self::Tensor, gradient: &Self::Tensor) -> Result<Self::Tensor>;
    /// Row `i` of `x` added to row `rows[i]` of zeros `[count, c]`.
    fn scatter_rows(&self, x: &Self::Tensor, rows: &[u32], count: usize) -> Result<Self::Tensor>;
    /// `x` as columns `start ..` of zeros `[r, columns]`.
    fn spread_columns(&self, x: &Self::Tensor, start: usize, columns: usize) -> Result<Self::Tensor>;
    /// Each segment's row divided by the segment's length, for every row of the segment.
    fn segment_mean_backward(&self, gradient: &Self::Tensor, segments: &Segments) -> Result<Self::Tensor>;
    /// Gradients of `a` and `b` of [`Engine::segment_matmul`](kadapter_plugin_api::Engine::segment_matmul); columns without a partner
    /// are not read.
    fn segment_matmul_backward(
        &self,
        gradient: &Self::Tensor,
        a: &Self::Tensor,
        b: &Self::Tensor,
        segments: &Segments,
    ) -> Result<[Self::Tensor; 2]>;

    /// The gradient of the logits; `gradient` is `[1, 1]`.
    fn cross_entropy_backward(
        &self,
        logits: &Self::Tensor,
        targets: &[i64],
        gradient: &Self::Tensor,
    ) -> Result<Self::Tensor>;
    /// The gradient of the logits, or of the targets; `gradient` is `[1, 1]`.
    fn bce_with_logits_backward(
        &self,
        logits: &Self::Tensor,
        targets: &Self::Tensor,
        gradient: &Self::Tensor,
        of: BceSide,
    ) -> Result<Self::Tensor>;
    /// The gradient of `a` (`b`'s is its negative); `gradient` is `[1, 1]`.
    fn mse_backward(&self, a: &Self::Tensor, b: &Self::Tensor, gradient: &Self::Tensor) -> Result<Self::Tensor>;

    /// The sum of the squares of all elements of all tensors, read back once.
    fn sum_of_squares(&self, tensors: &[&Self::Tensor]) -> Result<f64>;
    /// One AdamW update of one parameter, in place where nobody else holds the tensors.
    fn adamw(
        &self,
        value: &mut Self::Tensor,
        first: &mut Self::Tensor,
        second: &mut Self::Tensor,
        gradient: &Self::Tensor,
        update: &AdamWUpdate,
    ) -> Result<()>;
}

/// What the backward pass of `activation(x · weightᵀ + bias)` starts from.
pub struct LinearBackward<'a, E: Derivatives + ?Sized> {
    /// The gradient of the result `[r, outputs]`.
    pub gradient: E::Tensor,
    /// The activation's slopes; `None` for the identity.
    pub slope: Option<&'a E::Tensor>,
    /// The input `[r, inputs]`, if the weight's gradient is wanted.
    pub x: Option<&'a E::Tensor>,
    /// Whether the bias's gradient is wanted.
    pub bias: bool,
    /// The weight from [`Derivatives::weight_transposed`], if the input's gradient is wanted.
    pub weight: Option<&'a E::Param>,
}

/// What the backward pass of a linear layer gives: what was asked for.
#[derive(Debug)]
pub struct LinearGradients<T> {
    /// `[r, inputs]`.
    pub x: Option<T>,
    /// `[outputs, inputs]`.
    pub weight: Option<T>,
    /// `[1, outputs]`.
    pub bias: Option<T>,
}

/// A layer normalisation with what its backward pass needs.
#[derive(Debug)]
pub struct Normalised<T> {
    /// The result `[r, c]`.
    pub out: T,
    /// The rows before weight and bias: mean 0, variance 1.
    pub normal: T,
    /// One over each row's deviation, `[r, 1]`.
    pub scale: T,
}

/// Which gradients of a layer normalisation are wanted.
#[derive(Clone, Copy, Debug)]
pub struct NormWants {
    /// The input's.
    pub x: bool,
    /// The weight's and the bias's.
    pub parameters: bool,
}

/// What the backward pass of a layer normalisation gives: what was asked for.
#[derive(Debug)]
pub struct NormGradients<T> {
    /// `[r, c]`: of the input, and of the residual alike.
    pub x: Option<T>,
    /// Weight and bias, each `[1, c]`.
    pub parameters: Option<[T; 2]>,
}

/// What the backward pass of attention starts from.
pub struct AttendBackward<'a, E: Derivatives + ?Sized> {
    /// The gradient of the result.
    pub gradient: &'a E::Tensor,
    /// Queries.
    pub q: &'a E::Tensor,
    /// Keys.
    pub k: &'a E::Tensor,
    /// Values.
    pub v: &'a E::Tensor,
    /// The result.
    pub out: &'a E::Tensor,
    /// Heads.
    pub heads: usize,
    /// The batch.
    pub segments: &'a Segments,
    /// What the forward pass kept.
    pub attended: &'a E::Attended,
}

/// Whose gradient of a binary cross-entropy is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BceSide {
    /// The logits'.
    Logits,
    /// The targets'.
    Targets,
}

/// The numbers of one AdamW update (official `pytorch_transformers` AdamW):
///
/// ```text
/// m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  p ← p - step · m / (√v + ε);  p ← p - decay · p
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWUpdate {
    /// What the gradient is multiplied by first: the clipping coefficient.
    pub gradient_scale: f32,
    /// β₁.
    pub beta1: f32,
    /// β₂.
    pub beta2: f32,
    /// 1 - β₁.
    pub first_share: f32,
    /// 1 - β₂.
    pub second_share: f32,
    /// ε, added to the uncorrected root.
    pub epsilon: f32,
    /// The learning rate with the bias corrections, `lr · √(1 - β₂ᵗ) / (1 - β₁ᵗ)`.
    pub step: f32,
    /// The learning rate times the weight decay; 0 for parameters that do not decay.
    pub decay: f32,
}
