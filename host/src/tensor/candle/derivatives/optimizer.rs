//! The optimiser's arithmetic.

use crate::tensor::candle::CandleTensor;
use crate::tensor::derivatives::AdamWUpdate;
use candle_core::{D, Result, Tensor};

/// The sum of all squares: per tensor on the device, rows first, then read once and added in f64.
pub(super) fn sum_of_squares(tensors: &[&CandleTensor]) -> Result<f64> {
    if tensors.is_empty() {
        return Ok(0.0);
    }
    let sums = tensors
        .iter()
        .map(|tensor| tensor.dense()?.sqr()?.sum(D::Minus1)?.sum_all()?.reshape(1))
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&sums, 0)?.to_vec1::<f32>()?.into_iter().map(f64::from).sum())
}

/// One update: `[value, m, v, gradient]` to the new `[value, m, v]`.
pub(super) fn adamw(tensors: [Result<Tensor>; 4], update: &AdamWUpdate) -> Result<[Tensor; 3]> {
    let [value, first, second, gradient] = tensors;
    let (value, first, second, gradient) = (value?, first?, second?, gradient?);
    let times = |x: &Tensor, factor: f32| x.affine(f64::from(factor), 0.0);
    let gradient = times(&gradient, update.gradient_scale)?;
    let first = (times(&first, update.beta1)? + times(&gradient, update.first_share)?)?;
    let second = (times(&second, update.beta2)? + times(&gradient, update.second_share)?.mul(&gradient)?)?;
    let divisor = second.sqrt()?.affine(1.0, f64::from(update.epsilon))?;
    let updated = (value - times(&first, update.step)?.div(&divisor)?)?;
    let value = if update.decay == 0.0 { updated } else { (&updated - times(&updated, update.decay)?)? };
    Ok([value, first, second])
}
