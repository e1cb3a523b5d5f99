//! Attention of each segment with itself, head by head.
//!
//! A unit of work is some rows of one segment and one head. It packs that head's visible keys and values, then goes through its
//! rows in blocks: scores, softmax, product with the values, straight into the result. No more than a block's scores exist at a
//! time. Hidden rows are left out when keys are packed, so a result has the bits that it would have without them.

use super::{
    CpuEngine, CpuTensor,
    kernel::{Rows, TileMut, Tiles, Vectorised, multiply, pack_columns, pack_rows, packed_length},
    math,
};
use kadapter_plugin_api::{Error, Result, Segments};
use std::sync::PoisonError;

/// Rows whose scores are computed together: a multiple of every tile's height.
pub(super) const BLOCK: usize = 48;

impl CpuEngine {
    /// `softmax(q kᵀ / √(c/heads)) v` for each segment and head.
    pub(super) fn segment_attention(
        &self,
        q: &CpuTensor,
        k: &CpuTensor,
        v: &CpuTensor,
        heads: usize,
        segments: &Segments,
    ) -> Result<CpuTensor> {
        let [rows, columns] = q.shape();
        let width = columns / heads.max(1);
        let mut out = self.fresh(rows, columns)?;
        if rows == 0 || width == 0 {
            return Ok(out.done());
        }
        let (q, k, v) = (q.view(), k.view(), v.view());
        let visible = visible_rows(segments);
        let most = visible.iter().map(Vec::len).max().unwrap_or(0);

        let lengths = (|| {
            let keys = packed_length(self.isa(), width, most)?;
            let values = packed_length(self.isa(), most, width)?;
            let scores = most.checked_mul(BLOCK)?;
            Some((keys, values, keys.checked_add(values)?.checked_add(scores)?))
        })();
        let Some((keys_length, values_length, total)) = lengths else {
            return Err(Error::device(format!(
                "Could not allocate scores for a segment of {most} rows: out of memory"
            )));
        };
        let scratch = self.scratch_per_thread(total)?;

        let (bounds, segment_of) = self.units(segments, heads);
        let (data, stride) = out.parts();
        let tiles = Tiles::new(data, stride, columns, &bounds, width);
        let cost =
            visible.iter().zip(segments.ranges()).map(|(keys, rows)| keys.len() * rows.len() * columns / 8).sum();
        self.run(segment_of.len() * heads, cost, |thread, unit| {
            let (block, head) = (unit / heads, unit % heads);
            let visible = &visible[segment_of[block]];
            let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let (keys, rest) = scratch.split_at_mut(keys_length);
            let (values, scores) = rest.split_at_mut(values_length);

            let first = head * width;
            let keys =
                pack_rows(self.isa(), width, visible.len(), |key| &k.row(visible[key])[first..first + width], keys);
            let values = pack_columns(
                self.isa(),
                visible.len(),
                width,
                |key| &v.row(visible[key])[first..first + width],
                values,
            );

            let rows = tiles.rows(block);
            let mut tile = tiles.take(block, head);
            for start in (0..rows.len()).step_by(BLOCK) {
                let height = BLOCK.min(rows.len() - start);
                let mut part = tile.part(start, height);
                let queries = q.part(rows.start + start, height, first, width);
                let (mut largest, mut shares) = ([0.0; BLOCK], [0.0; BLOCK]);
                multiply(keys, queries, &mut TileMut::whole(scores, height, visible.len(), visible.len()));
                let scale = 1.0 / (width as f32).sqrt();
                self.isa().vectorise(Exponentials {
                    scores,
                    columns: visible.len(),
                    scale,
                    largest: &mut largest[..height],
                    shares: &mut shares[..height],
                });
                multiply(values, Rows::new(scores, height, visible.len(), visible.len()), &mut part);
                self.isa().vectorise(ScaleRows { tile: &mut part, factors: &shares });
            }
        });
        Ok(out.done())
    }

    /// Row blocks, none across two segments, and the segment of each. Long segments are cut when there are fewer segments and
    /// heads than threads need: every further block packs its keys again, which costs little.
    pub(super) fn units(&self, segments: &Segments, heads: usize) -> (Vec<usize>, Vec<usize>) {
        let wanted = if self.threads() > 1 { 2 * self.threads() } else { 1 };
        let cuts = wanted.div_ceil((segments.count() * heads).max(1));
        let (mut bounds, mut segment_of) = (vec![0], Vec::new());
        for (segment, rows) in segments.ranges().enumerate() {
            let height = rows.len().div_ceil(cuts).next_multiple_of(BLOCK);
            for start in rows.clone().step_by(height) {
                bounds.push((start + height).min(rows.end));
                segment_of.push(segment);
            }
        }
        (bounds, segment_of)
    }
}

/// The rows of each segment that attention may look at.
pub(super) fn visible_rows(segments: &Segments) -> Vec<Vec<usize>> {
    let hidden = segments.hidden();
    segments.ranges().map(|rows| rows.filter(|&row| hidden.is_none_or(|hidden| !hidden[row])).collect()).collect()
}

/// Turns rows of scores into `e^(scale · (score - largest))`, and gives each row's largest score and 1 over its sum.
pub(super) struct Exponentials<'a> {
    pub(super) scores: &'a mut [f32],
    pub(super) columns: usize,
    pub(super) scale: f32,
    pub(super) largest: &'a mut [f32],
    pub(super) shares: &'a mut [f32],
}

impl Vectorised for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let results = self.largest.iter_mut().zip(self.shares);
        for (row, (peak, share)) in self.scores.chunks_exact_mut(self.columns).zip(results) {
            let largest = math::maximum(row);
            *peak = largest;
            for x in row.iter_mut() {
                *x = math::exp_nonpositive::<FMA>((*x - largest) * self.scale);
            }
            *share = 1.0 / math::sum(row, |sum, x| sum + x);
        }
    }
}

/// Multiplies each row of a tile by its factor.
pub(super) struct ScaleRows<'a, 'b> {
    pub(super) tile: &'a mut TileMut<'b>,
    pub(super) factors: &'a [f32],
}

impl Vectorised for ScaleRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (row, &factor) in self.factors[..self.tile.rows()].iter().enumerate() {
            self.tile.row(row).iter_mut().for_each(|x| *x *= factor);
        }
    }
}
