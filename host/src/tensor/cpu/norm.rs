//! Layer normalisation, with the residual sum that stands before it in every transformer layer.

use super::{CpuEngine, CpuParam, CpuTensor, engine::RowOp, kernel::Rows, math};
use kadapter_plugin_api::Result;

impl CpuEngine {
    /// Layer normalisation of `x`, or of `x + residual`.
    pub(super) fn normalised(
        &self,
        x: &CpuTensor,
        residual: Option<&CpuTensor>,
        weight: &CpuParam,
        bias: &CpuParam,
        epsilon: f32,
    ) -> Result<CpuTensor> {
        let [rows, columns] = x.shape();
        let (weight, bias) = (weight.vector_values(columns)?, bias.vector_values(columns)?);
        let residual = residual.map(CpuTensor::view);
        self.each_row(rows, columns, 4, Norm { x: x.view(), residual, weight: &weight, bias: &bias, epsilon })
    }
}

struct Norm<'a> {
    x: Rows<'a>,
    residual: Option<Rows<'a>>,
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
}

impl RowOp for Norm<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        match self.residual {
            None => out.copy_from_slice(self.x.row(row)),
            Some(residual) => {
                for ((out, &x), &residual) in out.iter_mut().zip(self.x.row(row)).zip(residual.row(row)) {
                    *out = x + residual;
                }
            }
        }
        let share = 1.0 / out.len() as f32;
        let mean = math::sum(out, |sum, x| sum + x) * share;
        // Two passes: the squares of differences do not cancel.
        let variance = math::sum(out, |sum, x| math::fma::<FMA>(x - mean, x - mean, sum)) * share;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        for ((out, &weight), &bias) in out.iter_mut().zip(self.weight).zip(self.bias) {
            *out = math::fma::<FMA>((*out - mean) * scale, weight, bias);
        }
    }
}
