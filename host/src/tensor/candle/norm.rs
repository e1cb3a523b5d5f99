//! Norms and softmax over the columns of a dense matrix, accumulated in f32 whatever the precision.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops;

/// Layer normalisation of `x [r, c]` with gain and bias `[c]`.
///
/// Candle's fused kernel takes the variance in one pass, as `mean(x²) - mean(x)²`. In f32 that loses what the mean's size costs (a
/// constant row can even become NaN), so the mean is taken off first and the kernel sees rows around zero. Half precision holds too
/// few digits for that loss to show, and there the kernel's f32 sums are used as they are.
pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f32) -> Result<Tensor> {
    match x.dtype() {
        DType::F32 => {
            let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
            ops::layer_norm(&centred, weight, bias, epsilon)
        }
        _ => ops::layer_norm(x, weight, bias, epsilon),
    }
}

/// Softmax over the last dimension, in f32.
pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    ops::softmax_last_dim(&x.to_dtype(DType::F32)?)
}

/// Logarithm of the softmax over the last dimension, in f32.
pub(super) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    ops::log_softmax(&x.to_dtype(DType::F32)?, D::Minus1)
}
