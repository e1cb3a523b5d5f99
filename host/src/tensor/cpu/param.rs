//! Parameters on the CPU, each laid out for how it is used.

use super::{
    Isa,
    kernel::{Packed, Rows},
};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use kadapter_plugin_api::{Error, Result};
use std::{borrow::Cow, fmt};

/// A parameter of the CPU engine. The constructors take the data over, so that a loader can go tensor by tensor without ever
/// holding a model twice.
pub struct CpuParam(Layout);

enum Layout {
    /// A linear weight `[out, in]`, packed.
    Linear(Packed),
    /// `[1, length]`.
    Vector(Vec<f32>),
    /// Row-major.
    Matrix { values: Vec<f32>, rows: usize, columns: usize },
    /// Row-major, as stored.
    F16 { values: Vec<f16>, rows: usize, columns: usize },
    /// Row-major, as stored.
    Bf16 { values: Vec<bf16>, rows: usize, columns: usize },
}

impl CpuParam {
    /// A linear weight `[rows = out, columns = in]`, row-major. It is packed for the best instructions of this processor, and
    /// `values` are freed.
    ///
    /// # Errors
    /// When `values` are not `rows · columns` many, or there is no memory.
    pub fn linear(rows: usize, columns: usize, values: Vec<f32>) -> Result<Self> {
        Self::linear_for(Isa::detect(), rows, columns, values)
    }

    /// [`CpuParam::linear`] packed for given instructions: those of the engine that will use it.
    ///
    /// # Errors
    /// As [`CpuParam::linear`].
    pub fn linear_for(isa: Isa, rows: usize, columns: usize, values: Vec<f32>) -> Result<Self> {
        check_length(rows, columns, values.len())?;
        Packed::from_rows(isa.or_available(), rows, columns, &values)
            .map(|packed| Self(Layout::Linear(packed)))
            .ok_or_else(|| Error::device(format!("Could not pack a weight of {rows} x {columns}: out of memory")))
    }

    /// A vector: a bias, or the weight of a norm.
    pub fn vector(values: Vec<f32>) -> Self {
        Self(Layout::Vector(values))
    }

    /// A matrix `[rows, columns]` for general use, row-major, not packed.
    ///
    /// # Errors
    /// When `values` are not `rows · columns` many.
    pub fn matrix(rows: usize, columns: usize, values: Vec<f32>) -> Result<Self> {
        check_length(rows, columns, values.len())?;
        Ok(Self(Layout::Matrix { values, rows, columns }))
    }

    /// A table of embeddings `[rows, columns]` in float32, row-major.
    ///
    /// # Errors
    /// When `values` are not `rows · columns` many.
    pub fn table_f32(rows: usize, columns: usize, values: Vec<f32>) -> Result<Self> {
        Self::matrix(rows, columns, values)
    }

    /// A table of embeddings `[rows, columns]` in float16, row-major; rows become float32 when they are looked up.
    ///
    /// # Errors
    /// When `values` are not `rows · columns` many.
    pub fn table_f16(rows: usize, columns: usize, values: Vec<f16>) -> Result<Self> {
        check_length(rows, columns, values.len())?;
        Ok(Self(Layout::F16 { values, rows, columns }))
    }

    /// A table of embeddings `[rows, columns]` in bfloat16, row-major; rows become float32 when they are looked up.
    ///
    /// # Errors
    /// When `values` are not `rows · columns` many.
    pub fn table_bf16(rows: usize, columns: usize, values: Vec<bf16>) -> Result<Self> {
        check_length(rows, columns, values.len())?;
        Ok(Self(Layout::Bf16 { values, rows, columns }))
    }

    /// A linear weight that is packed already.
    pub(super) fn from_packed(packed: Packed) -> Self {
        Self(Layout::Linear(packed))
    }

    /// `[rows, columns]`; a vector is `[1, length]`.
    pub fn shape(&self) -> [usize; 2] {
        match &self.0 {
            Layout::Linear(packed) => packed.shape(),
            Layout::Vector(values) => [1, values.len()],
            Layout::Matrix { rows, columns, .. }
            | Layout::F16 { rows, columns, .. }
            | Layout::Bf16 { rows, columns, .. } => [*rows, *columns],
        }
    }

    /// Bytes that the values take, padding of packed weights left out.
    pub fn bytes(&self) -> usize {
        let [rows, columns] = self.shape();
        let width = match &self.0 {
            Layout::F16 { .. } | Layout::Bf16 { .. } => size_of::<u16>(),
            Layout::Linear(_) | Layout::Vector(_) | Layout::Matrix { .. } => size_of::<f32>(),
        };
        rows * columns * width
    }

    /// The packed weight, if this is one.
    pub(super) fn packed(&self) -> Option<&Packed> {
        match &self.0 {
            Layout::Linear(packed) => Some(packed),
            _ => None,
        }
    }

    /// The values in row-major order, if they lie so in float32.
    pub(super) fn rows(&self) -> Option<Rows<'_>> {
        match &self.0 {
            Layout::Vector(values) => Some(Rows::new(values, 1, values.len(), values.len())),
            Layout::Matrix { values, rows, columns } => Some(Rows::new(values, *rows, *columns, *columns)),
            _ => None,
        }
    }

    /// The values of a parameter that is one row: a bias, or the weight of a norm.
    ///
    /// # Errors
    /// When it has more than one row, which the op that was asked for does not take.
    pub(super) fn vector_values(&self, length: usize) -> Result<Cow<'_, [f32]>> {
        match (self.shape(), self.rows()) {
            ([1, found], Some(rows)) if found == length => Ok(Cow::Borrowed(rows.row(0))),
            ([1, found], None) if found == length => {
                let mut values = vec![0.0; length];
                self.copy_row(0, &mut values);
                Ok(Cow::Owned(values))
            }
            ([rows, columns], _) => {
                Err(Error::shape(format!("a parameter of {rows} x {columns}, expected a vector of {length}")))
            }
        }
    }

    /// Writes one row in float32; `row` and the length of `target` must fit the shape.
    pub(super) fn copy_row(&self, row: usize, target: &mut [f32]) {
        let range = row * target.len()..(row + 1) * target.len();
        match &self.0 {
            Layout::Linear(packed) => packed.unpack_row(row, target),
            Layout::Vector(values) | Layout::Matrix { values, .. } => target.copy_from_slice(&values[range]),
            Layout::F16 { values, .. } => values[range].convert_to_f32_slice(target),
            Layout::Bf16 { values, .. } => values[range].convert_to_f32_slice(target),
        }
    }
}

impl fmt::Debug for CpuParam {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = match &self.0 {
            Layout::Linear(_) => "linear",
            Layout::Vector(_) => "vector",
            Layout::Matrix { .. } => "matrix",
            Layout::F16 { .. } => "float16 table",
            Layout::Bf16 { .. } => "bfloat16 table",
        };
        formatter
            .debug_struct("CpuParam")
            .field("layout", &layout)
            .field("shape", &self.shape())
            .finish_non_exhaustive()
    }
}

fn check_length(rows: usize, columns: usize, found: usize) -> Result<()> {
    if rows.checked_mul(columns) == Some(found) {
        Ok(())
    } else {
        Err(Error::shape(format!("{found} values for a parameter of {rows} x {columns}")))
    }
}
