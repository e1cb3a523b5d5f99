//! The backward passes of what moves rows and columns.

use crate::tensor::cpu::{
    CpuEngine, CpuTensor,
    engine::RowOp,
    kernel::{Rows, Tiles},
};
use kadapter_plugin_api::{Result, Segments};

/// Columns that one thread scatters at a time.
const STRIP: usize = 256;

impl CpuEngine {
    /// Row `i` of `x` added to row `rows[i]` of zeros; in order, whatever the number of threads.
    pub(super) fn scattered_rows(&self, x: Rows<'_>, rows: &[u32], count: usize) -> Result<CpuTensor> {
        let columns = x.columns();
        let mut out = self.fresh(count, columns)?;
        let bounds = [0, count];
        let (data, stride) = out.parts();
        let tiles = Tiles::new(data, stride, columns, &bounds, STRIP);
        self.run(tiles.column_blocks(), (count + rows.len()) * columns, |_, strip| {
            let mut tile = tiles.take(0, strip);
            let x = x.part(0, x.rows(), strip * STRIP, tile.columns());
            (0..count).for_each(|row| tile.row(row).fill(0.0));
            for (from, &to) in rows.iter().enumerate() {
                for (sum, &x) in tile.row(to as usize).iter_mut().zip(x.row(from)) {
                    *sum += x;
                }
            }
        });
        Ok(out.done())
    }

    /// `x` as columns `start ..` of zeros.
    pub(super) fn columns_in_zeros(&self, x: &CpuTensor, start: usize, columns: usize) -> Result<CpuTensor> {
        self.each_row(x.shape()[0], columns, 1, ColumnsInZeros { x: x.view(), start })
    }

    /// Each segment's row over the segment's length, for each of its rows.
    pub(super) fn shared_among_segments(&self, gradient: &CpuTensor, segments: &Segments) -> Result<CpuTensor> {
        let owners: Vec<(usize, f32)> = segments
            .ranges()
            .enumerate()
            .flat_map(|(segment, range)| std::iter::repeat_n((segment, 1.0 / range.len() as f32), range.len()))
            .collect();
        let [_, columns] = gradient.shape();
        self.each_row(segments.rows(), columns, 1, Shared { gradient: gradient.view(), owners: &owners })
    }
}

struct ColumnsInZeros<'a> {
    x: Rows<'a>,
    start: usize,
}

impl RowOp for ColumnsInZeros<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        let x = self.x.row(row);
        out[..self.start].fill(0.0);
        out[self.start..self.start + x.len()].copy_from_slice(x);
        out[self.start + x.len()..].fill(0.0);
    }
}

struct Shared<'a> {
    gradient: Rows<'a>,
    /// Per row, its segment and one over the segment's length.
    owners: &'a [(usize, f32)],
}

impl RowOp for Shared<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        let (segment, share) = self.owners[row];
        for (out, &gradient) in out.iter_mut().zip(self.gradient.row(segment)) {
            *out = gradient * share;
        }
    }
}
