//! Products with weights, and products of two tensors.

use super::{
    CpuEngine, CpuParam, CpuTensor, Isa,
    elementwise::ActivateTile,
    kernel::{PackedRef, Rows, TileMut, Tiles, multiply, multiply_group, pack_columns, pack_rows, packed_length},
    pool::Pooled,
};
use kadapter_plugin_api::{Activation, Error, NO_PARTNER, Result, Segments};
use std::sync::Mutex;

/// The most rows of a unit of work: with a depth block of 256, 192 KiB of the left-hand side, which stay in a second-level cache
/// beside the weights that stream past.
const MOST_ROWS: usize = 192;

/// The fewest rows that a unit is cut down to so that every thread has one.
const FEWEST_ROWS: usize = 24;

/// Row blocks are multiples of this, and so of every tile's height.
const HEIGHT: usize = 12;

/// Units that each thread should have at least, so that none waits long for the last.
const UNITS_PER_THREAD: usize = 4;

impl CpuEngine {
    /// `activation(x · weightᵀ + bias)`.
    pub(super) fn linear_product(
        &self,
        x: &CpuTensor,
        weight: &CpuParam,
        bias: Option<&CpuParam>,
        activation: Activation,
    ) -> Result<CpuTensor> {
        let [columns, _] = weight.shape();
        let bias = bias.map(|bias| bias.vector_values(columns)).transpose()?;
        let x = x.view();
        self.with_packed(weight, |packed| self.product(x, packed, bias.as_deref(), activation))
    }

    /// Calls `work` with a weight `[columns, depth]` as products need it: as it is if it is packed, packed for the while if not.
    pub(super) fn with_packed<T>(&self, weight: &CpuParam, work: impl FnOnce(PackedRef<'_>) -> Result<T>) -> Result<T> {
        if let Some(packed) = weight.packed() {
            return work(packed.as_ref());
        }
        let [columns, depth] = weight.shape();
        let unpacked;
        let weight = match weight.rows() {
            Some(rows) => rows,
            None => {
                unpacked = self.whole_parameter(weight)?;
                unpacked.view()
            }
        };
        let mut room = self.packing_room(self.isa(), depth, columns)?;
        work(pack_rows(self.isa(), depth, columns, |column| weight.row(column), &mut room))
    }

    /// `a · b` or `a · bᵀ`.
    pub(super) fn matrix_product(&self, a: &CpuTensor, b: &CpuTensor, transposed: bool) -> Result<CpuTensor> {
        let (a, b) = (a.view(), b.view());
        let (depth, columns) = if transposed { (a.columns(), b.rows()) } else { (a.columns(), b.columns()) };
        let mut room = self.packing_room(self.isa(), depth, columns)?;
        let packed = if transposed {
            pack_rows(self.isa(), depth, columns, |column| b.row(column), &mut room)
        } else {
            pack_columns(self.isa(), depth, columns, |row| b.row(row), &mut room)
        };
        self.product(a, packed, None, Activation::Identity)
    }

    fn product(
        &self,
        x: Rows<'_>,
        weights: PackedRef<'_>,
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Result<CpuTensor> {
        let mut out = self.fresh(x.rows(), weights.columns())?;
        let bounds = self.row_blocks(x.rows(), weights.groups());
        let (data, stride) = out.parts();
        let tiles = Tiles::new(data, stride, weights.columns(), &bounds, PackedRef::GROUP);
        self.product_tiles(x, weights, bias, &tiles, |_, _, tile| {
            if activation != Activation::Identity {
                self.isa().vectorise(ActivateTile { activation, tile });
            }
        });
        Ok(out.done())
    }

    /// Writes `x · weights + bias` into tiles, one group of columns and one row block at a time, and calls `finish` with the numbers
    /// of row block and group for each tile while it is in the cache.
    pub(super) fn product_tiles(
        &self,
        x: Rows<'_>,
        weights: PackedRef<'_>,
        bias: Option<&[f32]>,
        tiles: &Tiles<'_>,
        finish: impl Fn(usize, usize, &mut TileMut<'_>) + Sync,
    ) {
        let cost = x.rows().saturating_mul(x.columns()).saturating_mul(weights.columns()) / 16;
        // Row blocks of one group follow one another, so that its weights are read from memory once.
        let blocks = tiles.row_blocks();
        self.run(blocks * tiles.column_blocks(), cost, |_, unit| {
            let (group, block) = (unit / blocks, unit % blocks);
            let rows = tiles.rows(block);
            let mut tile = tiles.take(block, group);
            multiply_group(weights, group, x.part(rows.start, rows.len(), 0, x.columns()), bias, &mut tile);
            finish(block, group, &mut tile);
        });
    }

    /// Where to cut rows, so that a block fits the cache and every thread finds work. Nothing in the result depends on it.
    pub(super) fn row_blocks(&self, rows: usize, groups: usize) -> Vec<usize> {
        let for_cache = rows.div_ceil(MOST_ROWS);
        let for_threads = (UNITS_PER_THREAD * self.threads()).div_ceil(groups.max(1)).min(rows / FEWEST_ROWS);
        let blocks = for_cache.max(if self.threads() > 1 { for_threads } else { 1 }).max(1);
        let height = rows.div_ceil(blocks).next_multiple_of(HEIGHT);
        (0..rows).step_by(height.max(1)).chain([rows]).collect()
    }

    pub(super) fn packing_room(&self, isa: Isa, depth: usize, columns: usize) -> Result<Pooled> {
        let length = packed_length(isa, depth, columns)
            .ok_or_else(|| Error::device(format!("Could not pack a matrix of {depth} x {columns}: out of memory")))?;
        self.scratch(length)
    }

    /// Room for each thread: `length` floats. Only one thread ever asks for the same one.
    pub(super) fn scratch_per_thread(&self, length: usize) -> Result<Vec<Mutex<Pooled>>> {
        (0..self.threads()).map(|_| self.scratch(length).map(Mutex::new)).collect()
    }

    /// Scores between the rows of each segment.
    pub(super) fn segment_scores(&self, a: &CpuTensor, b: &CpuTensor, segments: &Segments) -> Result<CpuTensor> {
        let (a, b) = (a.view(), b.view());
        let (depth, longest) = (a.columns(), segments.longest());
        let mut out = self.fresh(segments.rows(), longest)?;
        let mut packed = Vec::with_capacity(segments.count());
        for rows in segments.ranges() {
            packed.push(Mutex::new(self.packing_room(self.isa(), depth, rows.len())?));
        }
        let bounds: Vec<usize> = std::iter::once(0).chain(segments.ranges().map(|rows| rows.end)).collect();
        let (data, stride) = out.parts();
        let tiles = Tiles::new(data, stride, longest, &bounds, longest.max(1));
        let cost = segments.ranges().map(|rows| rows.len() * rows.len() * depth / 16).sum();
        self.run(segments.count(), cost, |_, segment| {
            let rows = segments.range(segment);
            let mut room = packed[segment].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let partners = pack_rows(self.isa(), depth, rows.len(), |row| b.row(rows.start + row), &mut room);
            let mut tile = tiles.take(segment, 0);
            multiply(partners, a.part(rows.start, rows.len(), 0, depth), &mut tile.columns_part(0, rows.len()));
            for row in 0..rows.len() {
                tile.row(row)[rows.len()..].fill(NO_PARTNER);
            }
        });
        Ok(out.done())
    }
}
