//! The backward half of the op table on the CPU, one line per op; the work is in the modules beside it.
//!
//! Sums over rows are cut into pieces whose size depends on the shape alone, so that threads change no bit.

mod attention;
mod elementwise;
mod linear;
mod losses;
mod norm;
mod optimizer;
mod rows;
mod segments;
mod sums;

use super::{CpuEngine, CpuParam, CpuTensor};
use crate::tensor::derivatives::{
    AdamWUpdate, AttendBackward, BceSide, Derivatives, LinearBackward, LinearGradients, NormGradients, NormWants,
    Normalised,
};
use crate::tensor::tape::MaskSpec;
use attention::Attended;
pub(in crate::tensor) use attention::mask_column;
pub(in crate::tensor) use elementwise::write_mask;
use kadapter_plugin_api::{Activation, Engine, Result, Segments};

impl Derivatives for CpuEngine {
    /// Hashed anew in the backward pass: cheaper than keeping it.
    type Mask = MaskSpec;
    type Attended = Attended;

    fn weight(&self, value: &CpuTensor) -> Result<CpuParam> {
        self.packed_weight(value.view())
    }

    fn weight_transposed(&self, value: &CpuTensor) -> Result<CpuParam> {
        self.packed_transposed(value.view())
    }

    fn vector(&self, value: &CpuTensor) -> Result<CpuParam> {
        Ok(CpuParam::vector(value.to_vec()))
    }

    fn mask(&self, spec: &MaskSpec, _rows: usize, _columns: usize) -> Result<MaskSpec> {
        Ok(spec.clone())
    }

    fn masked(&self, x: &CpuTensor, mask: &MaskSpec) -> Result<CpuTensor> {
        self.dropped(x, mask)
    }

    fn activation_sloped(&self, x: &CpuTensor, activation: Activation) -> Result<(CpuTensor, CpuTensor)> {
        self.activated_with_slopes(x, activation)
    }

    fn linear_sloped(
        &self,
        x: &CpuTensor,
        weight: &CpuParam,
        bias: Option<&CpuParam>,
        activation: Activation,
    ) -> Result<(CpuTensor, CpuTensor)> {
        self.linear_with_slopes(x, weight, bias, activation)
    }

    fn linear_backward(&self, task: LinearBackward<'_, Self>) -> Result<LinearGradients<CpuTensor>> {
        self.linear_gradients(task)
    }

    fn product_transposed(&self, a: &CpuTensor, b: &CpuTensor) -> Result<CpuTensor> {
        self.transposed_product(a.view(), b.view())
    }

    fn column_sums(&self, x: &CpuTensor) -> Result<CpuTensor> {
        self.summed_columns(x.view())
    }

    fn accumulate(&self, sum: &mut CpuTensor, x: &CpuTensor) -> Result<()> {
        self.accumulated(sum, x)
    }

    fn quotient(&self, a: &CpuTensor, b: &CpuTensor) -> Result<CpuTensor> {
        self.element_quotient(a, b)
    }

    fn normalise(
        &self,
        x: &CpuTensor,
        residual: Option<&CpuTensor>,
        weight: &CpuParam,
        bias: &CpuParam,
        epsilon: f32,
    ) -> Result<Normalised<CpuTensor>> {
        self.normalised_with_rest(x, residual, weight, bias, epsilon)
    }

    fn normalise_backward(
        &self,
        gradient: &CpuTensor,
        normal: &CpuTensor,
        scale: &CpuTensor,
        weight: &CpuParam,
        wants: NormWants,
    ) -> Result<NormGradients<CpuTensor>> {
        self.norm_gradients(gradient, normal, scale, weight, wants)
    }

    fn attend(
        &self,
        q: &CpuTensor,
        k: &CpuTensor,
        v: &CpuTensor,
        heads: usize,
        segments: &Segments,
        mask: Option<&MaskSpec>,
    ) -> Result<(CpuTensor, Attended)> {
        self.attention_with_statistics([q, k, v], heads, segments, mask)
    }

    fn attend_backward(&self, task: AttendBackward<'_, Self>) -> Result<[CpuTensor; 3]> {
        self.attention_gradients(&task)
    }

    fn softmax_backward(&self, y: &CpuTensor, gradient: &CpuTensor) -> Result<CpuTensor> {
        self.softmax_gradient(y, gradient)
    }

    fn log_softmax_backward(&self, y: &CpuTensor, gradient: &CpuTensor) -> Result<CpuTensor> {
        self.log_softmax_gradient(y, gradient)
    }

    fn scatter_rows(&self, x: &CpuTensor, rows: &[u32], count: usize) -> Result<CpuTensor> {
        self.scattered_rows(x.view(), rows, count)
    }

    fn spread_columns(&self, x: &CpuTensor, start: usize, columns: usize) -> Result<CpuTensor> {
        self.columns_in_zeros(x, start, columns)
    }

    fn segment_mean_backward(&self, gradient: &CpuTensor, segments: &Segments) -> Result<CpuTensor> {
        self.shared_among_segments(gradient, segments)
    }

    fn segment_matmul_backward(
        &self,
        gradient: &CpuTensor,
        a: &CpuTensor,
        b: &CpuTensor,
        segments: &Segments,
    ) -> Result<[CpuTensor; 2]> {
        self.segment_score_gradients(gradient.view(), a.view(), b.view(), segments)
    }

    fn cross_entropy_backward(&self, logits: &CpuTensor, targets: &[i64], gradient: &CpuTensor) -> Result<CpuTensor> {
        self.cross_entropy_gradient(logits, targets, gradient)
    }

    fn bce_with_logits_backward(
        &self,
        logits: &CpuTensor,
        targets: &CpuTensor,
        gradient: &CpuTensor,
        of: BceSide,
    ) -> Result<CpuTensor> {
        self.binary_cross_entropy_gradient(logits, targets, gradient, of)
    }

    fn mse_backward(&self, a: &CpuTensor, b: &CpuTensor, gradient: &CpuTensor) -> Result<CpuTensor> {
        self.squared_error_gradient(a, b, gradient)
    }

    fn sum_of_squares(&self, tensors: &[&CpuTensor]) -> Result<f64> {
        Ok(self.squares(tensors))
    }

    fn adamw(
        &self,
        value: &mut CpuTensor,
        first: &mut CpuTensor,
        second: &mut CpuTensor,
        gradient: &CpuTensor,
        update: &AdamWUpdate,
    ) -> Result<()> {
        self.adamw_update([value, first, second], gradient, update)
    }
}

/// The one value of a tensor `[1, 1]`.
fn single(tensor: &CpuTensor) -> f32 {
    tensor.view().row(0).first().copied().unwrap_or(0.0)
}

impl CpuEngine {
    /// A tensor that nobody else holds, with the same values: the tensor itself if it is that already.
    fn make_unique(&self, tensor: &mut CpuTensor) -> Result<()> {
        if tensor.parts_mut().is_none() {
            *tensor = self.scale(tensor, 1.0)?;
        }
        Ok(())
    }
}
