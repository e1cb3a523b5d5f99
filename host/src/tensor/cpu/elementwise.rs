//! Ops that look at one element, or at one row's largest and sum: sums, products, activations, softmax.

use super::{
    CpuEngine, CpuTensor,
    engine::RowOp,
    kernel::{Rows, TileMut, Vectorised},
    math,
};
use kadapter_plugin_api::{Activation, Result};

impl CpuEngine {
    /// `a + b`; one row of `b` is added to every row.
    pub(super) fn sum(&self, a: &CpuTensor, b: &CpuTensor) -> Result<CpuTensor> {
        let [rows, columns] = a.shape();
        self.each_row(rows, columns, 1, Pairwise { a: a.view(), b: b.view(), of: |a, b| a + b })
    }

    /// `a · b`, element by element; one row of `b` scales every row.
    pub(super) fn element_product(&self, a: &CpuTensor, b: &CpuTensor) -> Result<CpuTensor> {
        let [rows, columns] = a.shape();
        self.each_row(rows, columns, 1, Pairwise { a: a.view(), b: b.view(), of: |a, b| a * b })
    }

    pub(super) fn scaled(&self, x: &CpuTensor, factor: f32) -> Result<CpuTensor> {
        let [rows, columns] = x.shape();
        self.each_row(rows, columns, 1, Each { x: x.view(), of: move |x| x * factor })
    }

    pub(super) fn logarithm(&self, x: &CpuTensor) -> Result<CpuTensor> {
        let [rows, columns] = x.shape();
        self.each_row(rows, columns, 8, Each { x: x.view(), of: f32::ln })
    }

    pub(super) fn activated(&self, x: &CpuTensor, activation: Activation) -> Result<CpuTensor> {
        let [rows, columns] = x.shape();
        self.each_row(rows, columns, 4, Activated { x: x.view(), activation })
    }

    pub(super) fn row_softmax(&self, x: &CpuTensor) -> Result<CpuTensor> {
        let [rows, columns] = x.shape();
        self.each_row(rows, columns, 4, Softmax { x: x.view() })
    }

    pub(super) fn row_log_softmax(&self, x: &CpuTensor) -> Result<CpuTensor> {
        let [rows, columns] = x.shape();
        self.each_row(rows, columns, 4, LogSoftmax { x: x.view() })
    }
}

/// A function of two elements; one row of `b` goes with every row of `a`.
struct Pairwise<'a, F> {
    a: Rows<'a>,
    b: Rows<'a>,
    of: F,
}

impl<F: Fn(f32, f32) -> f32 + Sync> RowOp for Pairwise<'_, F> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        let b = self.b.row(if self.b.rows() == 1 { 0 } else { row });
        for ((out, &a), &b) in out.iter_mut().zip(self.a.row(row)).zip(b) {
            *out = (self.of)(a, b);
        }
    }
}

/// A function of one element.
struct Each<'a, F> {
    x: Rows<'a>,
    of: F,
}

impl<F: Fn(f32) -> f32 + Sync> RowOp for Each<'_, F> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(self.x.row(row)) {
            *out = (self.of)(x);
        }
    }
}

struct Activated<'a> {
    x: Rows<'a>,
    activation: Activation,
}

impl RowOp for Activated<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(self.x.row(row));
        activate::<FMA>(self.activation, out);
    }
}

/// An activation on every element of a tile: what ends a linear layer, while the tile is in the cache.
pub(super) struct ActivateTile<'a, 'b> {
    pub(super) activation: Activation,
    pub(super) tile: &'a mut TileMut<'b>,
}

impl Vectorised for ActivateTile<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for row in 0..self.tile.rows() {
            activate::<FMA>(self.activation, self.tile.row(row));
        }
    }
}

/// Replaces every element by the activation's value.
#[inline(always)]
pub(super) fn activate<const FMA: bool>(activation: Activation, row: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::GeluErf => row.iter_mut().for_each(|x| *x = math::gelu_erf::<FMA>(*x)),
        Activation::GeluTanh => row.iter_mut().for_each(|x| *x = math::gelu_tanh::<FMA>(*x)),
        // NaN is not less than 0, so it stays.
        Activation::Relu => row.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
        Activation::Silu => row.iter_mut().for_each(|x| *x *= math::sigmoid::<FMA>(*x)),
        Activation::Tanh => row.iter_mut().for_each(|x| *x = math::tanh::<FMA>(*x)),
        Activation::Sigmoid => row.iter_mut().for_each(|x| *x = math::sigmoid::<FMA>(*x)),
    }
}

struct Softmax<'a> {
    x: Rows<'a>,
}

impl RowOp for Softmax<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        let x = self.x.row(row);
        let largest = math::maximum(x);
        for (out, &x) in out.iter_mut().zip(x) {
            *out = math::exp_nonpositive::<FMA>(x - largest);
        }
        let scale = 1.0 / math::sum(out, |sum, x| sum + x);
        out.iter_mut().for_each(|x| *x *= scale);
    }
}

struct LogSoftmax<'a> {
    x: Rows<'a>,
}

impl RowOp for LogSoftmax<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        let x = self.x.row(row);
        let largest = math::maximum(x);
        for (out, &x) in out.iter_mut().zip(x) {
            *out = math::exp_nonpositive::<FMA>(x - largest);
        }
        let logarithm = math::sum(out, |sum, x| sum + x).ln();
        for (out, &x) in out.iter_mut().zip(x) {
            *out = (x - largest) - logarithm;
        }
    }
}
