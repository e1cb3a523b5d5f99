//! Matrices on the CPU: views of shared buffers.

use super::{
    kernel::Rows,
    pool::{Pool, Pooled},
};
use kadapter_plugin_api::{Error, Result};
use std::{fmt, sync::Arc};

/// A float32 matrix `[rows, columns]`: a view, with a row stride, of a buffer that clones and narrowed views share.
#[derive(Clone)]
pub struct CpuTensor {
    buffer: Arc<Pooled>,
    offset: usize,
    rows: usize,
    columns: usize,
    stride: usize,
}

impl CpuTensor {
    /// `[rows, columns]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// The row-major values, without the gaps between rows.
    pub fn to_vec(&self) -> Vec<f32> {
        let view = self.view();
        let mut values = Vec::with_capacity(self.rows * self.columns);
        (0..self.rows).for_each(|row| values.extend_from_slice(view.row(row)));
        values
    }

    pub(super) fn view(&self) -> Rows<'_> {
        let data = if self.rows == 0 || self.columns == 0 { &[] } else { &self.buffer[self.offset..] };
        if data.is_empty() {
            Rows::new(data, self.rows, 0, 0)
        } else {
            Rows::new(data, self.rows, self.columns, self.stride)
        }
    }

    /// The floats from the first row on, and how many lie between the beginnings of two rows, if nobody else holds the buffer.
    pub(super) fn parts_mut(&mut self) -> Option<(&mut [f32], usize)> {
        let buffer = Arc::get_mut(&mut self.buffer)?;
        let offset = if self.rows == 0 || self.columns == 0 { 0 } else { self.offset };
        Some((&mut buffer[offset..], self.stride))
    }

    /// Columns `start .. start + length`, sharing the buffer.
    pub(super) fn narrow(&self, start: usize, length: usize) -> Self {
        Self { offset: self.offset + start, columns: length, ..self.clone() }
    }
}

impl fmt::Debug for CpuTensor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CpuTensor").field("shape", &self.shape()).finish_non_exhaustive()
    }
}

/// A matrix that is being written: the only reference to its buffer, which holds anything at first.
pub(super) struct Fresh {
    buffer: Pooled,
    rows: usize,
    columns: usize,
    stride: usize,
}

/// Floats in a cache line.
const LINE: usize = 16;

/// Rows this many floats apart (or a multiple) compete for the same sets of a first-level cache.
const ALIASING: usize = 256;

impl Fresh {
    /// Room for `[rows, columns]`; rows begin on cache lines, and not all on the same set of the cache.
    ///
    /// # Errors
    /// When there is no memory.
    pub(super) fn new(pool: &Arc<Pool>, rows: usize, columns: usize) -> Result<Self> {
        let no_memory = || Error::device(format!("Could not allocate a matrix of {rows} x {columns}: out of memory"));
        let lines = columns.checked_next_multiple_of(LINE).ok_or_else(no_memory)?;
        let stride = if lines > 0 && lines.is_multiple_of(ALIASING) { lines + LINE } else { lines };
        let buffer = pool.take(rows.checked_mul(stride).ok_or_else(no_memory)?)?;
        Ok(Self { buffer, rows, columns, stride })
    }

    /// The floats, and how many lie between the beginnings of two rows.
    pub(super) fn parts(&mut self) -> (&mut [f32], usize) {
        (&mut self.buffer, self.stride)
    }

    /// The finished matrix.
    pub(super) fn done(self) -> CpuTensor {
        CpuTensor {
            buffer: Arc::new(self.buffer),
            offset: 0,
            rows: self.rows,
            columns: self.columns,
            stride: self.stride,
        }
    }
}
