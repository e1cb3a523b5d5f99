//! The backward passes of the losses. `gradient` is the loss's own, `[1, 1]`.

use super::single;
use crate::tensor::cpu::{CpuEngine, CpuTensor, engine::RowOp, kernel::Rows, math};
use crate::tensor::derivatives::BceSide;
use kadapter_plugin_api::Result;

impl CpuEngine {
    pub(super) fn cross_entropy_gradient(
        &self,
        logits: &CpuTensor,
        targets: &[i64],
        gradient: &CpuTensor,
    ) -> Result<CpuTensor> {
        let [rows, columns] = logits.shape();
        let counted = targets.iter().filter(|&&target| target >= 0).count();
        let factor = (f64::from(single(gradient)) / counted as f64) as f32;
        self.each_row(rows, columns, 8, CrossEntropyBack { logits: logits.view(), targets, factor })
    }

    pub(super) fn binary_cross_entropy_gradient(
        &self,
        logits: &CpuTensor,
        targets: &CpuTensor,
        gradient: &CpuTensor,
        of: BceSide,
    ) -> Result<CpuTensor> {
        let [rows, columns] = logits.shape();
        let factor = (f64::from(single(gradient)) / (rows * columns) as f64) as f32;
        let (logits, targets) = (logits.view(), targets.view());
        match of {
            BceSide::Logits => self.each_row(rows, columns, 8, BinaryBack { logits, targets, factor }),
            BceSide::Targets => self.each_row(rows, columns, 1, Times { x: logits, factor: -factor }),
        }
    }

    pub(super) fn squared_error_gradient(
        &self,
        a: &CpuTensor,
        b: &CpuTensor,
        gradient: &CpuTensor,
    ) -> Result<CpuTensor> {
        let [rows, columns] = a.shape();
        let factor = (2.0 * f64::from(single(gradient)) / (rows * columns) as f64) as f32;
        self.each_row(rows, columns, 1, SquaredBack { a: a.view(), b: b.view(), factor })
    }
}

/// `(softmax - one hot) · factor`; rows without a target get nothing.
struct CrossEntropyBack<'a> {
    logits: Rows<'a>,
    targets: &'a [i64],
    factor: f32,
}

impl RowOp for CrossEntropyBack<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        let Ok(target) = usize::try_from(self.targets[row]) else {
            out.fill(0.0);
            return;
        };
        let logits = self.logits.row(row);
        let largest = math::maximum(logits);
        for (out, &logit) in out.iter_mut().zip(logits) {
            *out = math::exp_nonpositive::<FMA>(logit - largest);
        }
        let scale = 1.0 / math::sum(out, |sum, x| sum + x);
        // The target's own, `p - 1`, is minus the sum of the others': no digit is lost when p is close to 1.
        out[target] = 0.0;
        let others = math::sum(out, |sum, x| sum + x);
        out.iter_mut().for_each(|x| *x *= scale * self.factor);
        out[target] = -others * scale * self.factor;
    }
}

/// `(sigmoid(logit) - target) · factor`.
struct BinaryBack<'a> {
    logits: Rows<'a>,
    targets: Rows<'a>,
    factor: f32,
}

impl RowOp for BinaryBack<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        for ((out, &logit), &target) in out.iter_mut().zip(self.logits.row(row)).zip(self.targets.row(row)) {
            *out = (math::sigmoid::<FMA>(logit) - target) * self.factor;
        }
    }
}

struct Times<'a> {
    x: Rows<'a>,
    factor: f32,
}

impl RowOp for Times<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(self.x.row(row)) {
            *out = x * self.factor;
        }
    }
}

struct SquaredBack<'a> {
    a: Rows<'a>,
    b: Rows<'a>,
    factor: f32,
}

impl RowOp for SquaredBack<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        for ((out, &a), &b) in out.iter_mut().zip(self.a.row(row)).zip(self.b.row(row)) {
            *out = (a - b) * self.factor;
        }
    }
}
