//! Slopes of activations, dropout, and the backward passes of what looks at one row.

use crate::tensor::cpu::{
    CpuEngine, CpuTensor,
    engine::RowOp,
    kernel::{Isa, Rows, TileMut, Tiles, Vectorised},
    math,
};
use crate::tensor::tape::MaskSpec;
use kadapter_plugin_api::{Activation, Engine, Result};

impl CpuEngine {
    /// An activation's values and slopes.
    pub(super) fn activated_with_slopes(
        &self,
        x: &CpuTensor,
        activation: Activation,
    ) -> Result<(CpuTensor, CpuTensor)> {
        let [rows, columns] = x.shape();
        let slopes = self.each_row(rows, columns, 8, Slopes { x: x.view(), activation })?;
        Ok((self.activation(x, activation)?, slopes))
    }

    /// Dropout by a mask that is hashed on the way.
    pub(super) fn dropped(&self, x: &CpuTensor, mask: &MaskSpec) -> Result<CpuTensor> {
        let [rows, columns] = x.shape();
        self.each_row(rows, columns, 2, Dropped { x: x.view(), mask, scale: mask.scale() })
    }

    pub(super) fn softmax_gradient(&self, y: &CpuTensor, gradient: &CpuTensor) -> Result<CpuTensor> {
        let [rows, columns] = y.shape();
        self.each_row(rows, columns, 2, SoftmaxBack { y: y.view(), gradient: gradient.view() })
    }

    pub(super) fn log_softmax_gradient(&self, y: &CpuTensor, gradient: &CpuTensor) -> Result<CpuTensor> {
        let [rows, columns] = y.shape();
        self.each_row(rows, columns, 4, LogSoftmaxBack { y: y.view(), gradient: gradient.view() })
    }

    pub(super) fn element_quotient(&self, a: &CpuTensor, b: &CpuTensor) -> Result<CpuTensor> {
        let [rows, columns] = a.shape();
        self.each_row(rows, columns, 2, Quotient { a: a.view(), b: b.view() })
    }

    /// `sum += x`, in place if nobody else holds `sum`.
    pub(super) fn accumulated(&self, sum: &mut CpuTensor, x: &CpuTensor) -> Result<()> {
        let [rows, columns] = sum.shape();
        let x_rows = x.view();
        let Some((data, stride)) = sum.parts_mut() else {
            *sum = self.add(sum, x)?;
            return Ok(());
        };
        let bounds = self.even_blocks(rows, columns);
        let tiles = Tiles::new(data, stride, columns, &bounds, columns.max(1));
        self.run(tiles.row_blocks(), rows * columns, |_, block| {
            let first = tiles.rows(block).start;
            if columns > 0 {
                self.isa().vectorise(Added { tile: tiles.take(block, 0), first, x: x_rows });
            }
        });
        Ok(())
    }

    /// Rows cut into a few blocks for each thread; nothing in a result may depend on where.
    pub(super) fn even_blocks(&self, rows: usize, columns: usize) -> Vec<usize> {
        let blocks = (rows * columns / (1 << 14)).clamp(1, 4 * self.threads()).min(rows.max(1));
        (0..=blocks).map(|block| rows * block / blocks).collect()
    }
}

struct Added<'a> {
    tile: TileMut<'a>,
    first: usize,
    x: Rows<'a>,
}

impl Vectorised for Added<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        for row in 0..self.tile.rows() {
            for (sum, &x) in self.tile.row(row).iter_mut().zip(self.x.row(self.first + row)) {
                *sum += x;
            }
        }
    }
}

struct Slopes<'a> {
    x: Rows<'a>,
    activation: Activation,
}

impl RowOp for Slopes<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(self.x.row(row));
        slope::<FMA>(self.activation, out);
    }
}

/// Turns a tile into its activation's values, and writes the slopes to another.
pub(super) struct ActivateSloped<'a, 'b, 'c> {
    pub(super) activation: Activation,
    pub(super) tile: &'a mut TileMut<'b>,
    pub(super) slopes: &'a mut TileMut<'c>,
}

impl Vectorised for ActivateSloped<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for row in 0..self.tile.rows() {
            let (values, slopes) = (self.tile.row(row), self.slopes.row(row));
            match self.activation {
                // The one that networks are made of, in one pass.
                Activation::GeluErf => {
                    for (value, slope) in values.iter_mut().zip(slopes) {
                        (*value, *slope) = math::gelu_erf_sloped::<FMA>(*value);
                    }
                }
                activation => {
                    slopes.copy_from_slice(values);
                    slope::<FMA>(activation, slopes);
                    crate::tensor::cpu::elementwise::activate::<FMA>(activation, values);
                }
            }
        }
    }
}

/// Replaces every element by the activation's slope there.
#[inline(always)]
fn slope<const FMA: bool>(activation: Activation, row: &mut [f32]) {
    match activation {
        Activation::Identity => row.fill(1.0),
        Activation::GeluErf => row.iter_mut().for_each(|x| *x = math::gelu_erf_sloped::<FMA>(*x).1),
        Activation::GeluTanh => row.iter_mut().for_each(|x| *x = math::gelu_tanh_slope::<FMA>(*x)),
        // NaN stays NaN, as the value does.
        Activation::Relu => row.iter_mut().for_each(|x| *x = if *x > 0.0 { 1.0 } else { *x * 0.0 }),
        Activation::Silu => row.iter_mut().for_each(|x| {
            let share = math::sigmoid::<FMA>(*x);
            *x = share * (1.0 + *x * (1.0 - share));
        }),
        Activation::Tanh => row.iter_mut().for_each(|x| {
            let value = math::tanh::<FMA>(*x);
            *x = 1.0 - value * value;
        }),
        Activation::Sigmoid => row.iter_mut().for_each(|x| {
            let value = math::sigmoid::<FMA>(*x);
            *x = value * (1.0 - value);
        }),
    }
}

struct Dropped<'a> {
    x: Rows<'a>,
    mask: &'a MaskSpec,
    scale: f32,
}

impl RowOp for Dropped<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        let state = self.mask.row(row);
        for ((column, out), &x) in out.iter_mut().enumerate().zip(self.x.row(row)) {
            *out = if state.keeps(column as u32) { x * self.scale } else { 0.0 };
        }
    }
}

/// Writes 1 where a mask keeps an element and 0 where it drops it, for columns `first ..` of one row: for devices that get their
/// masks uploaded.
pub(in crate::tensor) fn write_mask(mask: &MaskSpec, row: usize, first: u32, kept: &mut [u8]) {
    Isa::detect().vectorise(WriteMask { mask, row, first, kept });
}

struct WriteMask<'a> {
    mask: &'a MaskSpec,
    row: usize,
    first: u32,
    kept: &'a mut [u8],
}

impl Vectorised for WriteMask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let state = self.mask.row(self.row);
        for (column, kept) in self.kept.iter_mut().enumerate() {
            *kept = u8::from(state.keeps(self.first.wrapping_add(column as u32)));
        }
    }
}

struct SoftmaxBack<'a> {
    y: Rows<'a>,
    gradient: Rows<'a>,
}

impl RowOp for SoftmaxBack<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        let (y, gradient) = (self.y.row(row), self.gradient.row(row));
        for ((out, &y), &gradient) in out.iter_mut().zip(y).zip(gradient) {
            *out = y * gradient;
        }
        let mean = math::sum(out, |sum, x| sum + x);
        for ((out, &y), &gradient) in out.iter_mut().zip(y).zip(gradient) {
            *out = y * (gradient - mean);
        }
    }
}

struct LogSoftmaxBack<'a> {
    y: Rows<'a>,
    gradient: Rows<'a>,
}

impl RowOp for LogSoftmaxBack<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        let gradient = self.gradient.row(row);
        let total = math::sum(gradient, |sum, x| sum + x);
        for ((out, &y), &gradient) in out.iter_mut().zip(self.y.row(row)).zip(gradient) {
            *out = gradient - math::exp_nonpositive::<FMA>(y) * total;
        }
    }
}

struct Quotient<'a> {
    a: Rows<'a>,
    b: Rows<'a>,
}

impl RowOp for Quotient<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        for ((out, &a), &b) in out.iter_mut().zip(self.a.row(row)).zip(self.b.row(row)) {
            *out = a / b;
        }
    }
}
