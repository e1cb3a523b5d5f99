//! The backward pass of scores between the rows of each segment.

use crate::tensor::cpu::{
    CpuEngine, CpuTensor,
    kernel::{Rows, Tiles, multiply, multiply_transposed, pack_columns, packed_length},
};
use kadapter_plugin_api::{Error, Result, Segments};
use std::sync::PoisonError;

impl CpuEngine {
    /// With the scores' gradient `g` of one segment: `g · b` for `a`, `gᵀ · a` for `b`.
    pub(super) fn segment_score_gradients(
        &self,
        gradient: Rows<'_>,
        a: Rows<'_>,
        b: Rows<'_>,
        segments: &Segments,
    ) -> Result<[CpuTensor; 2]> {
        let (rows, depth) = (segments.rows(), a.columns());
        let (mut of_a, mut of_b) = (self.fresh(rows, depth)?, self.fresh(rows, depth)?);
        let length = packed_length(self.isa(), segments.longest(), depth).ok_or_else(|| {
            Error::device(format!("Could not pack a segment of {} rows: out of memory", segments.longest()))
        })?;
        let scratch = self.scratch_per_thread(length)?;
        let bounds: Vec<usize> = std::iter::once(0).chain(segments.ranges().map(|rows| rows.end)).collect();
        let (data, stride) = of_a.parts();
        let a_tiles = Tiles::new(data, stride, depth, &bounds, depth.max(1));
        let (data, stride) = of_b.parts();
        let b_tiles = Tiles::new(data, stride, depth, &bounds, depth.max(1));
        let cost = segments.ranges().map(|rows| rows.len() * rows.len() * depth / 8).sum();
        self.run(segments.count() * a_tiles.column_blocks(), cost, |thread, segment| {
            let rows = segments.range(segment);
            let scores = gradient.part(rows.start, rows.len(), 0, rows.len());
            let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let packed = pack_columns(self.isa(), rows.len(), depth, |row| b.row(rows.start + row), &mut scratch);
            multiply(packed, scores, &mut a_tiles.take(segment, 0));
            multiply_transposed(
                self.isa(),
                scores,
                a.part(rows.start, rows.len(), 0, depth),
                &mut b_tiles.take(segment, 0),
                false,
            );
        });
        Ok([of_a.done(), of_b.done()])
    }
}
