//! The way back through the losses; `gradient` is the loss's own, `[1, 1]`, and stays on the device.

use crate::tensor::candle::norm::softmax;
use crate::tensor::derivatives::BceSide;
use candle_core::{Result, Tensor};
use candle_nn::ops::sigmoid;

/// `(softmax - one hot) · gradient / counted rows`; rows with a negative target get nothing.
pub(super) fn cross_entropy(logits: &Tensor, targets: &[i64], gradient: &Tensor) -> Result<Tensor> {
    let rows = targets.len();
    let counted = targets.iter().filter(|&&target| target >= 0).count();
    let share = 1.0 / counted as f32;
    let shares: Vec<f32> = targets.iter().map(|&target| if target < 0 { 0.0 } else { share }).collect();
    let classes: Vec<u32> = targets.iter().map(|&target| u32::try_from(target).unwrap_or(0)).collect();
    let device = logits.device();
    let shares = Tensor::from_vec(shares, (rows, 1), device)?;
    let classes = Tensor::from_vec(classes, (rows, 1), device)?;
    let minus_one = Tensor::full(-1.0_f32, (rows, 1), device)?;
    softmax(logits)?.scatter_add(&classes, &minus_one, 1)?.broadcast_mul(&shares.broadcast_mul(gradient)?)
}

/// `(sigmoid(logit) - target) · gradient / elements`, or the targets' `-logit · gradient / elements`.
pub(super) fn bce_with_logits(logits: &Tensor, targets: &Tensor, gradient: &Tensor, of: BceSide) -> Result<Tensor> {
    let share = 1.0 / logits.elem_count() as f64;
    match of {
        BceSide::Logits => (sigmoid(logits)? - targets)?.affine(share, 0.0)?.broadcast_mul(gradient),
        BceSide::Targets => logits.affine(-share, 0.0)?.broadcast_mul(gradient),
    }
}

/// `2 (a - b) · gradient / elements`.
pub(super) fn mse(a: &Tensor, b: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    (a - b)?.affine(2.0 / a.elem_count() as f64, 0.0)?.broadcast_mul(gradient)
}
