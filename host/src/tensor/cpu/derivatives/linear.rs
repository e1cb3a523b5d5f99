//! Linear layers: packing what changes with every update, slopes beside values, and the three products of the way back.

use super::elementwise::ActivateSloped;
use crate::tensor::cpu::{
    CpuEngine, CpuParam, CpuTensor,
    kernel::{Packed, PackedRef, Rows, Tiles, multiply_transposed, pack_columns_group, pack_rows_group},
};
use crate::tensor::derivatives::{LinearBackward, LinearGradients};
use kadapter_plugin_api::{Activation, Engine, Error, Result};

impl CpuEngine {
    /// A weight `[outputs, inputs]`, packed for `x · weightᵀ`.
    pub(super) fn packed_weight(&self, weight: Rows<'_>) -> Result<CpuParam> {
        let (columns, depth) = (weight.rows(), weight.columns());
        self.packed_groups(columns, depth, |group, target| {
            pack_rows_group(self.isa(), depth, columns, group, |column| weight.row(column), target);
        })
    }

    /// A weight `[outputs, inputs]`, packed for `x · weight`.
    pub(super) fn packed_transposed(&self, weight: Rows<'_>) -> Result<CpuParam> {
        let (columns, depth) = (weight.columns(), weight.rows());
        self.packed_groups(columns, depth, |group, target| {
            pack_columns_group(self.isa(), depth, columns, group, |row| weight.row(row), target);
        })
    }

    /// Packs groups on all threads, into memory of the pool.
    fn packed_groups(&self, columns: usize, depth: usize, pack: impl Fn(usize, &mut [f32]) + Sync) -> Result<CpuParam> {
        let no_memory = || Error::device(format!("Could not pack a weight of {columns} x {depth}: out of memory"));
        let groups = columns.div_ceil(PackedRef::GROUP);
        let group_length = PackedRef::GROUP.checked_mul(depth).ok_or_else(no_memory)?;
        let mut room = self.scratch(groups.checked_mul(group_length).ok_or_else(no_memory)?)?;
        if group_length > 0 {
            let bounds: Vec<usize> = (0..=groups).collect();
            let tiles = Tiles::new(&mut room, group_length, group_length, &bounds, group_length);
            self.run(groups, 2 * columns * depth, |_, group| pack(group, tiles.take(group, 0).row(0)));
        }
        Ok(CpuParam::from_packed(Packed::from_groups(self.isa(), columns, depth, room)))
    }

    /// `activation(x · weightᵀ + bias)` and the activation's slopes.
    pub(super) fn linear_with_slopes(
        &self,
        x: &CpuTensor,
        weight: &CpuParam,
        bias: Option<&CpuParam>,
        activation: Activation,
    ) -> Result<(CpuTensor, CpuTensor)> {
        let [columns, _] = weight.shape();
        let bias = bias.map(|bias| bias.vector_values(columns)).transpose()?;
        let x = x.view();
        self.with_packed(weight, |packed| {
            let (mut out, mut slopes) = (self.fresh(x.rows(), columns)?, self.fresh(x.rows(), columns)?);
            let bounds = self.row_blocks(x.rows(), packed.groups());
            let (data, stride) = out.parts();
            let tiles = Tiles::new(data, stride, columns, &bounds, PackedRef::GROUP);
            let (data, stride) = slopes.parts();
            let slope_tiles = Tiles::new(data, stride, columns, &bounds, PackedRef::GROUP);
            self.product_tiles(x, packed, bias.as_deref(), &tiles, |block, group, tile| {
                let mut slopes = slope_tiles.take(block, group);
                self.isa().vectorise(ActivateSloped { activation, tile, slopes: &mut slopes });
            });
            Ok((out.done(), slopes.done()))
        })
    }

    pub(super) fn linear_gradients(&self, task: LinearBackward<'_, Self>) -> Result<LinearGradients<CpuTensor>> {
        let LinearBackward { mut gradient, slope, x, bias, weight } = task;
        let mut of_bias = None;
        match slope {
            Some(slope) => of_bias = Some(self.scaled_and_summed(&mut gradient, slope)?).filter(|_| bias),
            None if bias => of_bias = Some(self.summed_columns(gradient.view())?),
            None => {}
        }
        Ok(LinearGradients {
            x: weight.map(|weight| self.linear(&gradient, weight, None, Activation::Identity)).transpose()?,
            weight: x.map(|x| self.transposed_product(gradient.view(), x.view())).transpose()?,
            bias: of_bias,
        })
    }

    /// `aᵀ · b`: `a [r, m]`, `b [r, n]`.
    pub(super) fn transposed_product(&self, a: Rows<'_>, b: Rows<'_>) -> Result<CpuTensor> {
        let (rows, columns) = (a.columns(), b.columns());
        let mut out = self.fresh(rows, columns)?;
        let groups = columns.div_ceil(PackedRef::GROUP);
        let bounds = self.row_blocks(rows, groups);
        let (data, stride) = out.parts();
        let tiles = Tiles::new(data, stride, columns, &bounds, PackedRef::GROUP);
        let blocks = tiles.row_blocks();
        let cost = a.rows().saturating_mul(rows).saturating_mul(columns) / 16;
        self.run(blocks * groups, cost, |_, unit| {
            let (group, block) = (unit / blocks, unit % blocks);
            let rows = tiles.rows(block);
            let mut tile = tiles.take(block, group);
            let left = a.part(0, a.rows(), rows.start, rows.len());
            let right = b.part(0, b.rows(), group * PackedRef::GROUP, tile.columns());
            multiply_transposed(self.isa(), left, right, &mut tile, false);
        });
        Ok(out.done())
    }
}
