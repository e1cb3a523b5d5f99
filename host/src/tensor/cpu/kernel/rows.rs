//! A borrowed matrix with a row stride.

/// `rows` rows of `columns` floats; row `r` begins at `r · stride`. Sizes are checked once, when it is made.
#[derive(Clone, Copy)]
pub(in super::super) struct Rows<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a> Rows<'a> {
    /// A view of `data`.
    ///
    /// # Panics
    /// When `data` ends before the last row does: a bug of the caller, who made the data.
    pub(in super::super) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride || rows <= 1, "rows overlap");
        assert!(rows == 0 || (rows - 1) * stride + columns <= data.len(), "a view past the end of its data");
        Self { data, rows, columns, stride }
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

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.data.as_ptr()
    }

    /// One row.
    #[inline(always)]
    pub(in super::super) fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.columns]
    }

    /// Rows `start .. start + rows`, columns `column .. column + columns`.
    pub(in super::super) fn part(&self, start: usize, rows: usize, column: usize, columns: usize) -> Self {
        assert!(start + rows <= self.rows && column + columns <= self.columns, "a part outside its matrix");
        let offset = if rows == 0 || columns == 0 { 0 } else { start * self.stride + column };
        Self::new(&self.data[offset..], rows, columns, self.stride)
    }
}
