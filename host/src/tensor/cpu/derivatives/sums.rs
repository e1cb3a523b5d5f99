//! Sums of columns: what biases and broadcast operands get.
//!
//! Rows are read whole and in order, as they lie in memory, a chunk of them per unit of work; the chunks' sums are added in order.

use crate::tensor::cpu::{
    CpuEngine, CpuTensor,
    kernel::{Rows, TileMut, Tiles, Vectorised},
};
use kadapter_plugin_api::{Error, Result};

/// Rows whose sums are made together, whatever the number of threads.
pub(super) const CHUNK: usize = 32;

impl CpuEngine {
    /// The sum of each column.
    pub(super) fn summed_columns(&self, x: Rows<'_>) -> Result<CpuTensor> {
        let columns = x.columns();
        let bounds: Vec<usize> = (0..=x.rows().div_ceil(CHUNK)).collect();
        let mut shares = self.fresh(bounds.len() - 1, columns)?;
        let (data, stride) = shares.parts();
        let tiles = Tiles::new(data, stride, columns, &bounds, columns.max(1));
        self.run(tiles.row_blocks() * tiles.column_blocks(), x.rows() * columns / 2, |_, chunk| {
            let first = chunk * CHUNK;
            let x = x.part(first, CHUNK.min(x.rows() - first), 0, columns);
            self.isa().vectorise(ColumnSums { x, first: 0, step: 1, sums: tiles.take(chunk, 0).row(0) });
        });
        self.sum_of_shares(shares.done().view(), 0, 1)
    }

    /// Multiplies `x` by `factors`, element by element, and sums its columns: in one go.
    pub(super) fn scaled_and_summed(&self, x: &mut CpuTensor, factors: &CpuTensor) -> Result<CpuTensor> {
        self.make_unique(x)?;
        let [rows, columns] = x.shape();
        let factors = factors.view();
        let chunks = rows.div_ceil(CHUNK);
        let mut shares = self.fresh(chunks, columns)?;
        let share_bounds: Vec<usize> = (0..=chunks).collect();
        let (data, stride) = shares.parts();
        let share_tiles = Tiles::new(data, stride, columns, &share_bounds, columns.max(1));
        let Some((data, stride)) = x.parts_mut() else {
            return Err(Error::device("a gradient is held by somebody else"));
        };
        let bounds: Vec<usize> = (0..chunks).map(|chunk| chunk * CHUNK).chain([rows]).collect();
        let tiles = Tiles::new(data, stride, columns, &bounds, columns.max(1));
        self.run(chunks * tiles.column_blocks(), rows * columns, |_, chunk| {
            let rows = tiles.rows(chunk);
            self.isa().vectorise(ScaledColumnSums {
                x: tiles.take(chunk, 0),
                factors: factors.part(rows.start, rows.len(), 0, columns),
                sums: share_tiles.take(chunk, 0).row(0),
            });
        });
        self.sum_of_shares(shares.done().view(), 0, 1)
    }

    /// The sum of rows `first`, `first + step` and so on.
    pub(super) fn sum_of_shares(&self, shares: Rows<'_>, first: usize, step: usize) -> Result<CpuTensor> {
        let columns = shares.columns();
        let mut out = self.fresh(1, columns)?;
        self.isa().vectorise(ColumnSums { x: shares, first, step, sums: &mut out.parts().0[..columns] });
        Ok(out.done())
    }
}

struct ScaledColumnSums<'a> {
    x: TileMut<'a>,
    factors: Rows<'a>,
    sums: &'a mut [f32],
}

impl Vectorised for ScaledColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        self.sums.fill(0.0);
        for row in 0..self.x.rows() {
            for ((x, &factor), sum) in self.x.row(row).iter_mut().zip(self.factors.row(row)).zip(&mut *self.sums) {
                *x *= factor;
                *sum += *x;
            }
        }
    }
}

/// Sums rows `first`, `first + step` and so on.
struct ColumnSums<'a> {
    x: Rows<'a>,
    first: usize,
    step: usize,
    sums: &'a mut [f32],
}

impl Vectorised for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.sums.fill(0.0);
        for row in (self.first..self.x.rows()).step_by(self.step) {
            for (sum, &x) in self.sums.iter_mut().zip(self.x.row(row)) {
                *sum += x;
            }
        }
    }
}
