//! Slopes of activations, and the way back through softmax.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::sigmoid;
use kadapter_plugin_api::Activation;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, PI};

/// The slope of an activation at each element.
pub(super) fn slope(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Identity => x.ones_like(),
        Activation::GeluErf => {
            let below = x.affine(FRAC_1_SQRT_2, 0.0)?.erf()?.affine(0.5, 0.5)?;
            let density = x.sqr()?.affine(-0.5, 0.0)?.exp()?.affine(1.0 / (2.0 * PI).sqrt(), 0.0)?;
            below + (x * density)?
        }
        Activation::GeluTanh => {
            // x · s(z) with z = 2 √(2/π) (x + 0.044715 x³): slope s + x · s (1 - s) · z'.
            let factor = 2.0 * FRAC_2_PI.sqrt();
            let square = x.sqr()?;
            let share = sigmoid(&(x * square.affine(factor * 0.044_715, factor)?)?)?;
            let inner = square.affine(factor * 3.0 * 0.044_715, factor)?;
            &share + (((x * &share)? * share.affine(-1.0, 1.0)?)? * inner)?
        }
        Activation::Relu => x.gt(&x.zeros_like()?)?.to_dtype(x.dtype()),
        Activation::Silu => {
            let share = sigmoid(x)?;
            &share * ((x * share.affine(-1.0, 1.0)?)? + 1.0)?
        }
        Activation::Tanh => x.tanh()?.sqr()?.affine(-1.0, 1.0),
        Activation::Sigmoid => {
            let share = sigmoid(x)?;
            &share * share.affine(-1.0, 1.0)?
        }
    }
}

/// From the gradient of `y = softmax(x)` over the last dimension to that of `x`.
pub(super) fn softmax_backward(y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let mean = (y * gradient)?.sum_keepdim(D::Minus1)?;
    y * gradient.broadcast_sub(&mean)?
}
