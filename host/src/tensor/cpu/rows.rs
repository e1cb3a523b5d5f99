//! Ops that move rows: gather, embedding, concat, means of segments, parameters as tensors.

use super::{CpuEngine, CpuParam, CpuTensor, engine::RowOp, kernel::Rows};
use kadapter_plugin_api::{Result, Segments};

impl CpuEngine {
    /// A tensor of these values, row-major.
    pub(in crate::tensor) fn copied(&self, rows: usize, columns: usize, values: &[f32]) -> Result<CpuTensor> {
        self.each_row(rows, columns, 1, Copied { columns, values })
    }

    pub(super) fn constant(&self, rows: usize, columns: usize, value: f32) -> Result<CpuTensor> {
        self.each_row(rows, columns, 1, Constant { value })
    }

    pub(super) fn whole_parameter(&self, param: &CpuParam) -> Result<CpuTensor> {
        let [rows, columns] = param.shape();
        self.each_row(rows, columns, 1, Parameter { param, rows: None })
    }

    pub(super) fn looked_up(&self, table: &CpuParam, rows: &[u32]) -> Result<CpuTensor> {
        let [_, columns] = table.shape();
        self.each_row(rows.len(), columns, 1, Parameter { param: table, rows: Some(rows) })
    }

    pub(super) fn gathered(&self, x: &CpuTensor, rows: &[u32]) -> Result<CpuTensor> {
        let [_, columns] = x.shape();
        self.each_row(rows.len(), columns, 1, Gathered { x: x.view(), rows })
    }

    pub(super) fn side_by_side(&self, tensors: &[&CpuTensor]) -> Result<CpuTensor> {
        let rows = tensors.first().map_or(0, |tensor| tensor.shape()[0]);
        let columns = tensors.iter().map(|tensor| tensor.shape()[1]).sum();
        let views: Vec<Rows<'_>> = tensors.iter().map(|tensor| tensor.view()).collect();
        self.each_row(rows, columns, 1, SideBySide { views: &views })
    }

    pub(super) fn mean_of_segments(&self, x: &CpuTensor, segments: &Segments) -> Result<CpuTensor> {
        let [_, columns] = x.shape();
        let length = segments.rows().div_ceil(segments.count().max(1));
        self.each_row(segments.count(), columns, length, Mean { x: x.view(), segments })
    }
}

struct Constant {
    value: f32,
}

impl RowOp for Constant {
    #[inline(always)]
    fn row<const FMA: bool>(&self, _row: usize, out: &mut [f32]) {
        out.fill(self.value);
    }
}

/// Rows of a plain row-major slice.
struct Copied<'a> {
    columns: usize,
    values: &'a [f32],
}

impl RowOp for Copied<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.values[row * self.columns..][..self.columns]);
    }
}

/// Rows of a parameter: all in order, or the named ones.
struct Parameter<'a> {
    param: &'a CpuParam,
    rows: Option<&'a [u32]>,
}

impl RowOp for Parameter<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        self.param.copy_row(self.rows.map_or(row, |rows| rows[row] as usize), out);
    }
}

struct Gathered<'a> {
    x: Rows<'a>,
    rows: &'a [u32],
}

impl RowOp for Gathered<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(self.x.row(self.rows[row] as usize));
    }
}

struct SideBySide<'a> {
    views: &'a [Rows<'a>],
}

impl RowOp for SideBySide<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, row: usize, mut out: &mut [f32]) {
        for view in self.views {
            let (left, right) = out.split_at_mut(view.columns());
            left.copy_from_slice(view.row(row));
            out = right;
        }
    }
}

struct Mean<'a> {
    x: Rows<'a>,
    segments: &'a Segments,
}

impl RowOp for Mean<'_> {
    #[inline(always)]
    fn row<const FMA: bool>(&self, segment: usize, out: &mut [f32]) {
        let rows = self.segments.range(segment);
        let share = 1.0 / rows.len() as f32;
        out.fill(0.0);
        for row in rows {
            for (out, &x) in out.iter_mut().zip(self.x.row(row)) {
                *out += x;
            }
        }
        out.iter_mut().for_each(|x| *x *= share);
    }
}
