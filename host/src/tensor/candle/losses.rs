//! Losses as `[1, 1]` in f32, whatever the precision of what they compare.

use super::norm::log_softmax;
use candle_core::{DType, Result, Tensor};

/// Mean cross-entropy of `logits [r, c]` against one class per row; rows with a negative target are ignored.
pub(super) fn cross_entropy(logits: &Tensor, targets: &[i64]) -> Result<Tensor> {
    let counted: Vec<(u32, u32)> =
        (0_u32..).zip(targets).filter_map(|(row, &target)| Some((row, u32::try_from(target).ok()?))).collect();
    let (rows, classes): (Vec<u32>, Vec<u32>) = counted.into_iter().unzip();
    let count = classes.len();
    let rows = Tensor::from_vec(rows, count, logits.device())?;
    let classes = Tensor::from_vec(classes, (count, 1), logits.device())?;
    log_softmax(&logits.index_select(&rows, 0)?)?.gather(&classes, 1)?.mean_all()?.neg()?.reshape((1, 1))
}

/// Mean binary cross-entropy with logits: `max(x, 0) - x t + ln(1 + e^-|x|)`.
pub(super) fn bce_with_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (logits, targets) = (logits.to_dtype(DType::F32)?, targets.to_dtype(DType::F32)?);
    let smooth = ln_1p(&logits.abs()?.neg()?.exp()?)?;
    let loss = ((logits.relu()? - (logits * targets)?)? + smooth)?;
    loss.mean_all()?.reshape((1, 1))
}

/// Mean squared error.
pub(super) fn mse(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let difference = (a.to_dtype(DType::F32)? - b.to_dtype(DType::F32)?)?;
    difference.sqr()?.mean_all()?.reshape((1, 1))
}

/// `ln(1 + x)` for `x` in `[0, 1]` to f32's last digits, small `x` included: `x · ln(u) / (u - 1)` with `u = 1 + x` rounded
/// (Goldberg, "What every computer scientist should know about floating-point arithmetic", theorem 4).
fn ln_1p(x: &Tensor) -> Result<Tensor> {
    let sum = (x + 1.0)?;
    let excess = (&sum - 1.0)?;
    let tiny = excess.eq(&excess.zeros_like()?)?;
    let ratio = (sum.log()? / tiny.where_cond(&excess.ones_like()?, &excess)?)?;
    tiny.where_cond(x, &(x * ratio)?)
}
