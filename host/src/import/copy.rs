//! Copies tensors from a source into a weights file, one at a time, checked and converted on the way.

use std::collections::BTreeMap;
use std::path::Path;

use kadapter_registry::tensors::Dtype;

use super::layout::Found;
use super::source::{Source, SourceTensor};
use super::{Error, Storage, WeightsFile};
use crate::weights::{self, TensorSpec, Writer, decode_f32, encode_f32};

/// What happens to the rows of a tensor on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// All stay.
    Same,
    /// This many rows of zeros come before the first.
    Prepend(usize),
    /// Only this many stay.
    First(usize),
}

impl Rows {
    /// The shape that comes out.
    fn shape(self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if let Some(rows) = shape.first_mut() {
            *rows = match self {
                Self::Same => *rows,
                Self::Prepend(more) => *rows + more,
                Self::First(count) => (*rows).min(count),
            };
        }
        shape
    }

    /// Does the same to the bytes of a tensor whose rows have `row` bytes.
    fn apply(self, bytes: &mut Vec<u8>, row: usize) {
        match self {
            Self::Same => {}
            Self::Prepend(more) => drop(bytes.splice(..0, std::iter::repeat_n(0, more * row))),
            Self::First(count) => bytes.truncate(count * row),
        }
    }
}

/// Writes the tensors in `found` to `directory/name`; `rows` says what happens to each, by its name in the package.
pub(super) fn copy(
    source: &mut Source,
    found: &Found,
    rows: impl Fn(&str) -> Rows,
    storage: Storage,
    directory: &Path,
    name: &str,
) -> Result<WeightsFile, Error> {
    let mut specs = Vec::with_capacity(found.len());
    for (name, tensor) in found {
        if !weights::is_float(tensor.dtype) {
            return Err(weights::Error::NotFloat { tensor: tensor.name.clone(), found: tensor.dtype }.into());
        }
        let shape = rows(name).shape(&tensor.shape);
        specs.push(TensorSpec { name: name.clone(), dtype: storage.of(tensor.dtype), shape });
    }
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut writer = Writer::create(&directory.join(name), specs, &metadata)?;
    let mut buffers = Buffers::default();
    for info in writer.order().to_vec() {
        let Some(tensor) = found.get(&info.name) else { continue };
        source.read(&tensor.name, &mut buffers.read)?;
        let bytes = buffers.checked(tensor, info.dtype, rows(&info.name))?;
        writer.tensor(&info.name, bytes)?;
    }
    let (digest, size) = writer.finish()?;
    Ok(WeightsFile { path: name.to_owned(), digest, size, tensors: found.len() })
}

/// Memory that is used for one tensor after the other.
#[derive(Default)]
struct Buffers {
    read: Vec<u8>,
    values: Vec<f32>,
    written: Vec<u8>,
}

impl Buffers {
    /// The bytes to write for what was read: finite, in the wanted type, with the wanted rows.
    fn checked(&mut self, tensor: &SourceTensor, dtype: Dtype, rows: Rows) -> Result<&[u8], Error> {
        self.values.clear();
        decode_f32(&tensor.name, tensor.dtype, &self.read, &mut self.values)?;
        let bytes = if dtype == tensor.dtype {
            &mut self.read
        } else {
            self.written.clear();
            encode_f32(&tensor.name, dtype, 0, &self.values, &mut self.written)?;
            &mut self.written
        };
        let row = tensor.shape.iter().skip(1).product::<usize>() * dtype.size();
        rows.apply(bytes, row);
        Ok(bytes)
    }
}
