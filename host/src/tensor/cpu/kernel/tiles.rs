//! One matrix, cut into tiles that different threads may write at the same time.

use std::{
    marker::PhantomData,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

/// A matrix cut into row blocks and column blocks. Each tile is handed out once.
pub(in super::super) struct Tiles<'a> {
    data: *mut f32,
    stride: usize,
    columns: usize,
    /// Row block `i` is `bounds[i] .. bounds[i + 1]`.
    bounds: &'a [usize],
    column_block: usize,
    taken: Vec<AtomicBool>,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: `data` is a unique borrow, and `take` gives each part of it to one caller only.
unsafe impl Sync for Tiles<'_> {}
// SAFETY: as above; floats may move between threads.
unsafe impl Send for Tiles<'_> {}

impl<'a> Tiles<'a> {
    /// Cuts `data`, whose row `r` begins at `r · stride` and has `columns` floats, at the given rows (ascending, from the first
    /// row to the end of the last) and every `column_block` columns.
    ///
    /// # Panics
    /// When the sizes do not fit: a bug of the caller.
    pub(in super::super) fn new(
        data: &'a mut [f32],
        stride: usize,
        columns: usize,
        bounds: &'a [usize],
        column_block: usize,
    ) -> Self {
        let rows = bounds.last().copied().unwrap_or(0);
        assert!(bounds.is_sorted() && column_block > 0, "tiles in no order");
        assert!(columns <= stride || rows <= 1, "rows overlap");
        assert!(rows == 0 || (rows - 1) * stride + columns <= data.len(), "tiles past the end of their data");
        let tiles = bounds.len().saturating_sub(1) * columns.div_ceil(column_block);
        Self {
            data: data.as_mut_ptr(),
            stride,
            columns,
            bounds,
            column_block,
            taken: std::iter::repeat_with(|| AtomicBool::new(false)).take(tiles).collect(),
            borrow: PhantomData,
        }
    }

    /// How many row blocks there are.
    pub(in super::super) fn row_blocks(&self) -> usize {
        self.bounds.len() - 1
    }

    /// How many column blocks there are.
    pub(in super::super) fn column_blocks(&self) -> usize {
        self.columns.div_ceil(self.column_block)
    }

    /// The rows of a row block.
    pub(in super::super) fn rows(&self, row_block: usize) -> Range<usize> {
        self.bounds[row_block]..self.bounds[row_block + 1]
    }

    /// A tile.
    ///
    /// # Panics
    /// When it was taken before or does not exist.
    pub(in super::super) fn take(&self, row_block: usize, column_block: usize) -> TileMut<'_> {
        assert!(row_block < self.row_blocks() && column_block < self.column_blocks(), "no such tile");
        let taken = &self.taken[row_block * self.column_blocks() + column_block];
        assert!(!taken.swap(true, Ordering::Relaxed), "a tile was taken twice");
        let rows = self.rows(row_block);
        let column = column_block * self.column_block;
        TileMut {
            // SAFETY: `new` checked that row `rows.start` and column `column` are inside the data (or the tile has no rows).
            data: if rows.is_empty() { self.data } else { unsafe { self.data.add(rows.start * self.stride + column) } },
            rows: rows.len(),
            columns: self.column_block.min(self.columns - column),
            stride: self.stride,
            borrow: PhantomData,
        }
    }
}

/// The only reference to a tile of a matrix.
pub(in super::super) struct TileMut<'a> {
    data: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

impl<'a> TileMut<'a> {
    /// A whole matrix as one tile: row `r` begins at `r · stride`.
    ///
    /// # Panics
    /// When the sizes do not fit: a bug of the caller.
    pub(in super::super) fn whole(data: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride || rows <= 1, "rows overlap");
        assert!(rows == 0 || (rows - 1) * stride + columns <= data.len(), "a tile past the end of its data");
        Self { data: data.as_mut_ptr(), rows, columns, stride, borrow: PhantomData }
    }

    pub(in super::super) fn rows(&self) -> usize {
        self.rows
    }

    pub(in super::super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.data
    }

    /// One row of the tile.
    #[inline(always)]
    pub(in super::super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "no such row");
        // SAFETY: the row is inside the tile, the tile is inside its data, and `&mut self` is the only reference to it.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride), self.columns) }
    }

    /// Rows `start .. start + rows` of the tile.
    pub(in super::super) fn part(&mut self, start: usize, rows: usize) -> TileMut<'_> {
        assert!(start + rows <= self.rows, "a part outside its tile");
        // SAFETY: the part is inside the tile; an empty part stays at its beginning.
        let data = if rows == 0 { self.data } else { unsafe { self.data.add(start * self.stride) } };
        TileMut { data, rows, columns: self.columns, stride: self.stride, borrow: PhantomData }
    }

    /// Columns `start .. start + columns` of the tile.
    pub(in super::super) fn columns_part(&mut self, start: usize, columns: usize) -> TileMut<'_> {
        assert!(start + columns <= self.columns, "a part outside its tile");
        // SAFETY: the part is inside the tile; an empty part stays at its beginning.
        let data = if columns == 0 || self.rows == 0 { self.data } else { unsafe { self.data.add(start) } };
        TileMut { data, rows: self.rows, columns, stride: self.stride, borrow: PhantomData }
    }
}
