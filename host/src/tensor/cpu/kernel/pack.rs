//! The layout of the right-hand side of a product.
//!
//! ```text
//! group (64 columns) │ depth block │ panel (16 or 32 columns) │ step │ column
//! ```
//!
//! Everything that one unit of work reads of a weight lies in one piece, in the order in which it is read, and the next unit's
//! piece follows. Columns past the end are zero.

use super::{Aligned, Isa};
use std::ops::Deref;

/// Columns of a group: what one unit of work computes. A multiple of every panel's columns.
pub(super) const GROUP: usize = 64;

/// The longest depth block: two blocks of a 16-column panel fit into 32 KiB of first-level cache.
const DEPTH: usize = 256;

/// The depth blocks of a product of `depth` steps, as even as possible; they depend on nothing else.
pub(super) fn depth_blocks(depth: usize) -> impl Iterator<Item = (usize, usize)> {
    let block = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1);
    (0..depth).step_by(block).map(move |start| (start, block.min(depth - start)))
}

/// How many floats `columns` columns of `depth` steps take when packed.
pub(in super::super) fn packed_length(isa: Isa, depth: usize, columns: usize) -> Option<usize> {
    columns.checked_next_multiple_of(isa.shape().columns)?.checked_mul(depth)
}

/// Packed columns, borrowed.
#[derive(Clone, Copy)]
pub(in super::super) struct PackedRef<'a> {
    pub(super) isa: Isa,
    pub(super) depth: usize,
    pub(super) columns: usize,
    pub(super) data: &'a [f32],
}

impl PackedRef<'_> {
    /// How many groups of columns there are: the units that a product can be cut into.
    pub(in super::super) fn groups(&self) -> usize {
        self.columns.div_ceil(GROUP)
    }

    /// Columns of the result.
    pub(in super::super) fn columns(&self) -> usize {
        self.columns
    }

    /// Columns of a group: 64 but for the last.
    pub(in super::super) const GROUP: usize = GROUP;
}

/// Packed columns that own their memory: a weight.
pub(in super::super) struct Packed {
    isa: Isa,
    depth: usize,
    columns: usize,
    data: Box<dyn Deref<Target = [f32]> + Send + Sync>,
}

impl Packed {
    /// Packs a linear weight `[columns, depth]`, row-major, as `x · weightᵀ` needs it; `None` without memory for it.
    pub(in super::super) fn from_rows(isa: Isa, columns: usize, depth: usize, weight: &[f32]) -> Option<Self> {
        let mut data = Aligned::zeroed(packed_length(isa, depth, columns)?)?;
        pack_rows(isa, depth, columns, |column| &weight[column * depth..][..depth], &mut data);
        Some(Self { isa, depth, columns, data: Box::new(data) })
    }

    /// Columns that were packed group by group, with [`pack_rows_group`] or [`pack_columns_group`], into these floats.
    ///
    /// # Panics
    /// When there are too few floats: a bug of the caller.
    pub(in super::super) fn from_groups(
        isa: Isa,
        columns: usize,
        depth: usize,
        data: impl Deref<Target = [f32]> + Send + Sync + 'static,
    ) -> Self {
        assert!(packed_length(isa, depth, columns).is_some_and(|length| length <= data.len()), "packed data");
        Self { isa, depth, columns, data: Box::new(data) }
    }

    pub(in super::super) fn as_ref(&self) -> PackedRef<'_> {
        PackedRef { isa: self.isa, depth: self.depth, columns: self.columns, data: &self.data }
    }

    /// `[columns, depth]` of the weight that was packed.
    pub(in super::super) fn shape(&self) -> [usize; 2] {
        [self.columns, self.depth]
    }

    /// One row of the weight that was packed: a column of the product.
    pub(in super::super) fn unpack_row(&self, column: usize, row: &mut [f32]) {
        let width = self.isa.shape().columns;
        visit(self.isa, self.depth, self.columns, |panel, start, length, range| {
            if (panel..panel + width).contains(&column) {
                let block = &self.data[range];
                for (step, value) in row[start..start + length].iter_mut().enumerate() {
                    *value = block[step * width + column - panel];
                }
            }
        });
    }
}

/// Steps that are packed at a time: 16 cache lines of the source's columns are read whole.
const STEPS: usize = 16;

/// Packs columns that each lie in one piece: `column(j)` has `depth` floats.
pub(in super::super) fn pack_rows<'a>(
    isa: Isa,
    depth: usize,
    columns: usize,
    column: impl Fn(usize) -> &'a [f32],
    packed: &mut [f32],
) -> PackedRef<'_> {
    for group in 0..columns.div_ceil(GROUP) {
        pack_rows_group(isa, depth, columns, group, &column, &mut packed[group * GROUP * depth..]);
    }
    PackedRef { isa, depth, columns, data: packed }
}

/// Packs one group of what [`pack_rows`] packs, to the beginning of `packed`.
pub(in super::super) fn pack_rows_group<'a>(
    isa: Isa,
    depth: usize,
    columns: usize,
    group: usize,
    column: impl Fn(usize) -> &'a [f32],
    packed: &mut [f32],
) {
    let width = isa.shape().columns;
    visit_group(isa, depth, columns, group, |panel, start, length, range| {
        let block = &mut packed[range];
        if panel + width > columns {
            block.fill(0.0);
        }
        let used = width.min(columns - panel);
        // A few steps of every column at a time, so that the lines being filled stay in the cache.
        for (chunk, lines) in block.chunks_mut(STEPS * width).enumerate() {
            let from = start + chunk * STEPS;
            let steps = lines.len() / width;
            for j in 0..used {
                let source = &column(panel + j)[from..from + steps];
                for (line, &value) in lines.chunks_exact_mut(width).zip(source) {
                    line[j] = value;
                }
            }
        }
        debug_assert_eq!(length * width, block.len());
    });
}

/// Packs columns that lie side by side: `row(i)` has `columns` floats.
pub(in super::super) fn pack_columns<'a>(
    isa: Isa,
    depth: usize,
    columns: usize,
    row: impl Fn(usize) -> &'a [f32],
    packed: &mut [f32],
) -> PackedRef<'_> {
    for group in 0..columns.div_ceil(GROUP) {
        pack_columns_group(isa, depth, columns, group, &row, &mut packed[group * GROUP * depth..]);
    }
    PackedRef { isa, depth, columns, data: packed }
}

/// Packs one group of what [`pack_columns`] packs, to the beginning of `packed`.
pub(in super::super) fn pack_columns_group<'a>(
    isa: Isa,
    depth: usize,
    columns: usize,
    group: usize,
    row: impl Fn(usize) -> &'a [f32],
    packed: &mut [f32],
) {
    let width = isa.shape().columns;
    visit_group(isa, depth, columns, group, |panel, start, _, range| {
        let used = width.min(columns - panel);
        for (step, target) in packed[range].chunks_exact_mut(width).enumerate() {
            copy_panel_row(&row(start + step)[panel..panel + used], target);
        }
    });
}

/// Copies a row of a panel; columns past the end are zero. A whole row is a few vectors, too little for a call of `memmove`.
#[inline(always)]
pub(super) fn copy_panel_row(row: &[f32], target: &mut [f32]) {
    if let (Ok(row), Ok(target)) = (<&[f32; 32]>::try_from(row), <&mut [f32; 32]>::try_from(&mut *target)) {
        *target = *row;
    } else {
        target[..row.len()].copy_from_slice(row);
        target[row.len()..].fill(0.0);
    }
}

/// Names every block of a packed matrix: its first column, its first step, its steps, and where it lies.
fn visit(isa: Isa, depth: usize, columns: usize, mut block: impl FnMut(usize, usize, usize, std::ops::Range<usize>)) {
    for group in 0..columns.div_ceil(GROUP) {
        let offset = group * GROUP * depth;
        visit_group(isa, depth, columns, group, |panel, start, length, range| {
            block(panel, start, length, offset + range.start..offset + range.end);
        });
    }
}

/// [`visit`] for one group, counting from the group's beginning.
fn visit_group(
    isa: Isa,
    depth: usize,
    columns: usize,
    group: usize,
    mut block: impl FnMut(usize, usize, usize, std::ops::Range<usize>),
) {
    let width = isa.shape().columns;
    let first = group * GROUP;
    let mut offset = 0;
    for (start, length) in depth_blocks(depth) {
        for panel in (first..columns.min(first + GROUP)).step_by(width) {
            block(panel, start, length, offset..offset + length * width);
            offset += length * width;
        }
    }
}
