//! Losses. Each is one number over all rows, summed in float64 on one thread: they run once per batch, on few columns.

use super::{CpuEngine, CpuTensor};
use kadapter_plugin_api::Result;

impl CpuEngine {
    pub(super) fn mean_cross_entropy(&self, logits: &CpuTensor, targets: &[i64]) -> Result<CpuTensor> {
        let logits = logits.view();
        let (mut total, mut count) = (0.0_f64, 0_u32);
        for (row, &target) in targets.iter().enumerate() {
            let Ok(target) = usize::try_from(target) else { continue };
            let row = logits.row(row);
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&x| f64::from(x - largest).exp()).sum();
            total += sum.ln() - f64::from(row[target] - largest);
            count += 1;
        }
        self.single(total / f64::from(count))
    }

    pub(super) fn mean_binary_cross_entropy(&self, logits: &CpuTensor, targets: &CpuTensor) -> Result<CpuTensor> {
        self.mean_of_pairs(logits, targets, |x, target| {
            // The same as -t·ln σ(x) - (1-t)·ln(1-σ(x)), without a logarithm of 0.
            let positive = if x < 0.0 { 0.0 } else { x };
            positive - x * target + (-x.abs()).exp().ln_1p()
        })
    }

    pub(super) fn mean_squared_error(&self, a: &CpuTensor, b: &CpuTensor) -> Result<CpuTensor> {
        self.mean_of_pairs(a, b, |a, b| (a - b) * (a - b))
    }

    fn mean_of_pairs(&self, a: &CpuTensor, b: &CpuTensor, of: impl Fn(f64, f64) -> f64) -> Result<CpuTensor> {
        let [rows, columns] = a.shape();
        let (a, b) = (a.view(), b.view());
        let total: f64 = (0..rows)
            .flat_map(|row| a.row(row).iter().zip(b.row(row)))
            .map(|(&a, &b)| of(f64::from(a), f64::from(b)))
            .sum();
        self.single(total / (rows * columns) as f64)
    }

    fn single(&self, value: f64) -> Result<CpuTensor> {
        self.constant(1, 1, value as f32)
    }
}
