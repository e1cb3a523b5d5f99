//! Attention with dropout on its probabilities, and its backward pass.
//!
//! The forward pass is that of inference, operation by operation; it keeps each row's largest score and the share of its sum, from
//! which the backward pass computes the probabilities again: no more than a block's scores exist at a time. A unit of the backward
//! pass is one segment and one head, since keys and values get their gradients from all its rows.

use crate::tensor::cpu::{
    CpuEngine, CpuTensor,
    attention::{BLOCK, Exponentials, ScaleRows, visible_rows},
    kernel::{
        Isa, Rows, TileMut, Tiles, Vectorised, multiply, multiply_transposed, pack_columns, pack_rows, packed_length,
    },
    math,
    tensor::Fresh,
};
use crate::tensor::derivatives::AttendBackward;
use crate::tensor::tape::MaskSpec;
use kadapter_plugin_api::{Error, Result, Segments};
use std::sync::PoisonError;

/// What attention keeps for its backward pass.
pub struct Attended {
    /// Per row and head, the largest score.
    largest: CpuTensor,
    /// Per row and head, one over the sum of exponentials.
    shares: CpuTensor,
    mask: Option<MaskSpec>,
}

/// The column of a key's place in an attention mask, for one head.
#[inline(always)]
pub(in crate::tensor) fn mask_column(head: usize, place: usize) -> u32 {
    ((head as u32) << 20).wrapping_add(place as u32)
}

impl CpuEngine {
    pub(super) fn attention_with_statistics(
        &self,
        [q, k, v]: [&CpuTensor; 3],
        heads: usize,
        segments: &Segments,
        mask: Option<&MaskSpec>,
    ) -> Result<(CpuTensor, Attended)> {
        let [rows, columns] = q.shape();
        let width = columns / heads.max(1);
        let (mut out, mut largest, mut shares) =
            (self.fresh(rows, columns)?, self.fresh(rows, heads)?, self.fresh(rows, heads)?);
        if rows > 0 && width > 0 {
            let (q, k, v) = (q.view(), k.view(), v.view());
            let visible = visible_rows(segments);
            let most = visible.iter().map(Vec::len).max().unwrap_or(0);
            let lengths = self.lengths(width, most, 1)?;
            let scratch = self.scratch_per_thread(lengths.forward)?;
            let (bounds, segment_of) = self.units(segments, heads);
            let (data, stride) = out.parts();
            let tiles = Tiles::new(data, stride, columns, &bounds, width);
            let (data, stride) = largest.parts();
            let largest_tiles = Tiles::new(data, stride, heads, &bounds, 1);
            let (data, stride) = shares.parts();
            let share_tiles = Tiles::new(data, stride, heads, &bounds, 1);
            let cost =
                visible.iter().zip(segments.ranges()).map(|(keys, rows)| keys.len() * rows.len() * columns / 8).sum();
            let scale = 1.0 / (width as f32).sqrt();
            self.run(segment_of.len() * heads, cost, |thread, unit| {
                let (block, head) = (unit / heads, unit % heads);
                let segment = segment_of[block];
                let visible = &visible[segment];
                let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
                let (keys, rest) = scratch.split_at_mut(lengths.keys);
                let (values, scores) = rest.split_at_mut(lengths.values);
                let first = head * width;
                let keys = pack_rows(self.isa(), width, visible.len(), |key| row(k, visible[key], first, width), keys);
                let values =
                    pack_columns(self.isa(), visible.len(), width, |key| row(v, visible[key], first, width), values);
                let rows = tiles.rows(block);
                let mut tile = tiles.take(block, head);
                let (mut largest, mut shares) = (largest_tiles.take(block, head), share_tiles.take(block, head));
                for start in (0..rows.len()).step_by(BLOCK) {
                    let height = BLOCK.min(rows.len() - start);
                    let mut part = tile.part(start, height);
                    let queries = q.part(rows.start + start, height, first, width);
                    multiply(keys, queries, &mut TileMut::whole(scores, height, visible.len(), visible.len()));
                    let (mut peaks, mut factors) = ([0.0; BLOCK], [0.0; BLOCK]);
                    self.isa().vectorise(Exponentials {
                        scores,
                        columns: visible.len(),
                        scale,
                        largest: &mut peaks[..height],
                        shares: &mut factors[..height],
                    });
                    for row in 0..height {
                        largest.row(start + row)[0] = peaks[row];
                        shares.row(start + row)[0] = factors[row];
                    }
                    if let Some(mask) = mask {
                        let segment_start = segments.range(segment).start;
                        for row in 0..height {
                            let scores = &mut scores[row * visible.len()..][..visible.len()];
                            let work =
                                Masked { mask, row: rows.start + start + row, head, visible, segment_start, scores };
                            self.isa().vectorise(work);
                        }
                    }
                    multiply(values, Rows::new(scores, height, visible.len(), visible.len()), &mut part);
                    self.isa().vectorise(ScaleRows { tile: &mut part, factors: &factors });
                }
            });
        }
        let attended = Attended { largest: largest.done(), shares: shares.done(), mask: mask.cloned() };
        Ok((out.done(), attended))
    }

    pub(super) fn attention_gradients(&self, task: &AttendBackward<'_, Self>) -> Result<[CpuTensor; 3]> {
        let AttendBackward { heads, segments, attended, .. } = *task;
        let [rows, columns] = task.q.shape();
        let width = columns / heads.max(1);
        let mut outs = [self.fresh(rows, columns)?, self.fresh(rows, columns)?, self.fresh(rows, columns)?];
        if rows > 0 && width > 0 {
            let visible = visible_rows(segments);
            let most = visible.iter().map(Vec::len).max().unwrap_or(0);
            let lengths = self.lengths(width, most, 2)?;
            let scratch = self.scratch_per_thread(lengths.backward)?;
            let bounds: Vec<usize> = std::iter::once(0).chain(segments.ranges().map(|rows| rows.end)).collect();
            let [of_q, of_k, of_v] = &mut outs;
            let tiles = [of_q, of_k, of_v].map(|out| {
                let (data, stride) = out.parts();
                Tiles::new(data, stride, columns, &bounds, width)
            });
            let views = [task.q, task.k, task.v, task.gradient].map(CpuTensor::view);
            let cost =
                visible.iter().zip(segments.ranges()).map(|(keys, rows)| keys.len() * rows.len() * columns / 3).sum();
            self.run(segments.count() * heads, cost, |thread, unit| {
                let (segment, head) = (unit / heads, unit % heads);
                let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
                Unit {
                    isa: self.isa(),
                    head,
                    width,
                    rows: segments.range(segment),
                    visible: &visible[segment],
                    views,
                    attended,
                }
                .run(&lengths, &mut scratch, tiles.each_ref().map(|tiles| tiles.take(segment, head)));
            });
        }
        Ok(outs.map(Fresh::done))
    }

    /// Room for packed keys, values and blocks of scores; `transposes` is how often keys are packed.
    fn lengths(&self, width: usize, most: usize, transposes: usize) -> Result<Lengths> {
        let lengths = || {
            let keys = packed_length(self.isa(), width, most)?;
            let values = packed_length(self.isa(), most, width)?;
            let scores = most.checked_mul(BLOCK)?;
            let gathered = most.checked_mul(width)?;
            let forward = keys.checked_add(values)?.checked_add(scores)?;
            let backward = keys
                .checked_mul(transposes)?
                .checked_add(values)?
                .checked_add(scores.checked_mul(3)?)?
                .checked_add(gathered.checked_mul(2)?)?;
            Some(Lengths { keys, values, scores, gathered, forward, backward })
        };
        lengths().ok_or_else(|| {
            Error::device(format!("Could not allocate scores for a segment of {most} rows: out of memory"))
        })
    }
}

/// Floats that parts of the scratch memory take.
struct Lengths {
    keys: usize,
    values: usize,
    scores: usize,
    gathered: usize,
    forward: usize,
    backward: usize,
}

#[inline(always)]
fn row<'a>(x: Rows<'a>, row: usize, first: usize, width: usize) -> &'a [f32] {
    &x.row(row)[first..first + width]
}

/// One segment and one head of the backward pass.
struct Unit<'a> {
    isa: Isa,
    head: usize,
    width: usize,
    rows: std::ops::Range<usize>,
    visible: &'a [usize],
    /// q, k, v and the result's gradient.
    views: [Rows<'a>; 4],
    attended: &'a Attended,
}

impl Unit<'_> {
    fn run(&self, lengths: &Lengths, scratch: &mut [f32], [mut of_q, mut of_k, mut of_v]: [TileMut<'_>; 3]) {
        let Self { isa, head, width, visible, .. } = *self;
        let [q, k, v, gradient] = self.views;
        let (first, count) = (head * width, visible.len());
        let (keys, rest) = scratch.split_at_mut(lengths.keys);
        let (value_rows, rest) = rest.split_at_mut(lengths.keys);
        let (key_columns, rest) = rest.split_at_mut(lengths.values);
        let (scores, rest) = rest.split_at_mut(lengths.scores);
        let (slopes, rest) = rest.split_at_mut(lengths.scores);
        let (dropped, rest) = rest.split_at_mut(lengths.scores);
        let (gathered_keys, rest) = rest.split_at_mut(lengths.gathered);
        let gathered_values = &mut rest[..lengths.gathered];

        let keys = pack_rows(isa, width, count, |key| row(k, visible[key], first, width), keys);
        let value_rows = pack_rows(isa, width, count, |key| row(v, visible[key], first, width), value_rows);
        let key_columns = pack_columns(isa, count, width, |key| row(k, visible[key], first, width), key_columns);
        let mut gathered_keys = TileMut::whole(gathered_keys, count, width, width);
        let mut gathered_values = TileMut::whole(gathered_values, count, width, width);

        let scale = 1.0 / (width as f32).sqrt();
        for start in (0..self.rows.len()).step_by(BLOCK) {
            let height = BLOCK.min(self.rows.len() - start);
            let at = self.rows.start + start;
            let queries = q.part(at, height, first, width);
            let above = gradient.part(at, height, first, width);
            multiply(keys, queries, &mut TileMut::whole(scores, height, count, count));
            multiply(value_rows, above, &mut TileMut::whole(slopes, height, count, count));
            for offset in 0..height {
                let line = offset * count..(offset + 1) * count;
                isa.vectorise(RowSlopes {
                    scale,
                    largest: self.attended.largest.view().row(at + offset)[head],
                    share: self.attended.shares.view().row(at + offset)[head],
                    mask: self.attended.mask.as_ref(),
                    row: at + offset,
                    head,
                    visible,
                    segment_start: self.rows.start,
                    scores: &scores[line.clone()],
                    slopes: &mut slopes[line.clone()],
                    dropped: &mut dropped[line],
                });
            }
            let slopes = Rows::new(slopes, height, count, count);
            multiply(key_columns, slopes, &mut of_q.part(start, height));
            multiply_transposed(isa, slopes, queries, &mut gathered_keys, start > 0);
            multiply_transposed(isa, Rows::new(dropped, height, count, count), above, &mut gathered_values, start > 0);
        }
        // Hidden rows were no keys: nothing comes back to them.
        let hidden = count < self.rows.len();
        for (gathered, of) in [(gathered_keys, &mut of_k), (gathered_values, &mut of_v)] {
            let mut gathered = gathered;
            if hidden {
                (0..self.rows.len()).for_each(|row| of.row(row).fill(0.0));
            }
            for (key, &row) in visible.iter().enumerate() {
                of.row(row - self.rows.start).copy_from_slice(gathered.row(key));
            }
        }
    }
}

/// Applies a mask to one row of exponentials.
struct Masked<'a> {
    mask: &'a MaskSpec,
    row: usize,
    head: usize,
    visible: &'a [usize],
    segment_start: usize,
    scores: &'a mut [f32],
}

impl Vectorised for Masked<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (state, scale) = (self.mask.row(self.row), self.mask.scale());
        for (score, &key) in self.scores.iter_mut().zip(self.visible) {
            let kept = state.keeps(mask_column(self.head, key - self.segment_start));
            *score = if kept { *score * scale } else { 0.0 };
        }
    }
}

/// From one row of scores, and of what the values give for the result's gradient, to the scores' gradient (`slopes`) and the
/// probabilities after dropout (`dropped`).
struct RowSlopes<'a> {
    scale: f32,
    largest: f32,
    share: f32,
    mask: Option<&'a MaskSpec>,
    row: usize,
    head: usize,
    visible: &'a [usize],
    segment_start: usize,
    scores: &'a [f32],
    slopes: &'a mut [f32],
    dropped: &'a mut [f32],
}

impl Vectorised for RowSlopes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { scale, largest, share, scores, slopes, dropped, .. } = self;
        // With p the probabilities and m the mask's factors: dropped = p · m, and the gradient of p is slopes · m.
        match self.mask {
            None => {
                for (dropped, &score) in dropped.iter_mut().zip(scores) {
                    *dropped = math::exp_nonpositive::<FMA>((score - largest) * scale) * share;
                }
                let mean = math::dot::<FMA>(dropped, slopes);
                for (slope, &probability) in slopes.iter_mut().zip(&*dropped) {
                    *slope = probability * (*slope - mean) * scale;
                }
            }
            Some(mask) => {
                let (state, kept_scale) = (mask.row(self.row), mask.scale());
                for ((dropped, &score), &key) in dropped.iter_mut().zip(scores).zip(self.visible) {
                    let kept = state.keeps(mask_column(self.head, key - self.segment_start));
                    let probability = math::exp_nonpositive::<FMA>((score - largest) * scale) * share;
                    *dropped = if kept { probability * kept_scale } else { 0.0 };
                }
                let mean = math::dot::<FMA>(dropped, slopes);
                for ((slope, &dropped), &score) in slopes.iter_mut().zip(&*dropped).zip(scores) {
                    let probability = math::exp_nonpositive::<FMA>((score - largest) * scale) * share;
                    *slope = math::fma::<FMA>(dropped, *slope, -probability * mean) * scale;
                }
            }
        }
    }
}
