//! Writes a safetensors file, tensor after tensor, whole or not at all.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kadapter_registry::Digest;
use kadapter_registry::digest::Hasher;
use kadapter_registry::tensors::{Dtype, Header, TensorInfo, TensorsError};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::convert::{check_finite, encode_f32};
use super::error::Error;

/// Values converted at a time by [`write_f32`].
const BLOCK: usize = 64 * 1024;

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Type of its values.
    pub dtype: Dtype,
    /// Lengths of its dimensions.
    pub shape: Vec<usize>,
}

/// A safetensors file in the making: under a temporary name until [`Writer::finish`].
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: io::BufWriter<NamedTempFile>,
    hasher: Hasher,
    header: Header,
    next: usize,
}

/// A tensor in the header's JSON.
#[derive(Serialize)]
struct Entry<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: (u64, u64),
}

impl Writer {
    /// Lays the tensors out and writes the header; the file appears at `path` when all of them were given.
    ///
    /// Wider types come first and names are sorted within a type, so that every tensor is aligned to its values.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] for tensors that a package may not have, or what the file system says.
    pub fn create(
        path: &Path,
        mut tensors: Vec<TensorSpec>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        tensors.sort_by(|a, b| b.dtype.size().cmp(&a.dtype.size()).then_with(|| a.name.cmp(&b.name)));
        let layout = |source| Error::Layout { path: path.to_owned(), source };
        let bytes = header_bytes(&tensors, metadata).map_err(layout)?;
        // What is written is what every reader's checks let through, ours first.
        let header = Header::read(bytes.as_slice()).map_err(layout)?;

        let refuse = |source| Error::Io { action: "write", path: path.to_owned(), source };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = temporary(directory).map_err(refuse)?;
        let mut writer = Self {
            path: path.to_owned(),
            file: io::BufWriter::with_capacity(256 * 1024, file),
            hasher: Hasher::new(),
            header,
            next: 0,
        };
        writer.put(&bytes)?;
        Ok(writer)
    }

    /// The tensors in the order in which they must be given.
    #[must_use]
    pub fn order(&self) -> &[TensorInfo] {
        self.header.tensors()
    }

    /// Writes the next tensor: little-endian, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] for another tensor or another length, or what the file system says.
    pub fn tensor(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        match self.header.tensors().get(self.next) {
            Some(info) if info.name == name && info.len() == bytes.len() as u64 => {}
            expected => return Err(self.unexpected(expected, name, bytes.len() as u64)),
        }
        self.next += 1;
        self.put(bytes)
    }

    /// Puts the file in its place, replacing one that is there, and tells its digest and size.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] when tensors are missing, or what the file system says; then nothing is left behind.
    pub fn finish(self) -> Result<(Digest, u64), Error> {
        if let expected @ Some(_) = self.header.tensors().get(self.next) {
            return Err(self.unexpected(expected, "the end", 0));
        }
        let refuse = |source| Error::Io { action: "write", path: self.path.clone(), source };
        let file = self.file.into_inner().map_err(|error| refuse(error.into_error()))?;
        file.as_file().sync_all().map_err(refuse)?;
        file.persist(&self.path).map_err(|error| refuse(error.error))?;
        Ok(self.hasher.finish())
    }

    fn unexpected(&self, expected: Option<&TensorInfo>, found: &str, found_length: u64) -> Error {
        Error::Unexpected {
            path: self.path.clone(),
            expected: expected.map_or_else(|| "the end".to_owned(), |info| info.name.clone()),
            length: expected.map_or(0, TensorInfo::len),
            found: found.to_owned(),
            found_length,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|source| Error::Io { action: "write", path: self.path.clone(), source })
    }
}

/// Prefix and JSON, padded with spaces so that the data starts at a multiple of 8.
fn header_bytes(tensors: &[TensorSpec], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, TensorsError> {
    let malformed = |problem: String| TensorsError::Malformed { problem };
    let mut json = serde_json::Map::new();
    if !metadata.is_empty() {
        json.insert(
            "__metadata__".to_owned(),
            serde_json::to_value(metadata).map_err(|error| malformed(error.to_string()))?,
        );
    }
    let mut begin = 0_u64;
    for tensor in tensors {
        let end = tensor
            .shape
            .iter()
            .try_fold(tensor.dtype.size() as u64, |bytes, &length| bytes.checked_mul(length as u64))
            .and_then(|bytes| begin.checked_add(bytes))
            .ok_or_else(|| TensorsError::Overflow { name: tensor.name.clone() })?;
        let entry = Entry { dtype: tensor.dtype, shape: &tensor.shape, data_offsets: (begin, end) };
        let entry = serde_json::to_value(entry).map_err(|error| malformed(error.to_string()))?;
        if json.insert(tensor.name.clone(), entry).is_some() {
            return Err(malformed(format!("`{}` stands in it twice", tensor.name)));
        }
        begin = end;
    }
    let mut json = serde_json::to_vec(&json).map_err(|error| malformed(error.to_string()))?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    Ok(bytes)
}

/// Makes a temporary file in `directory` that others may read once it has its name.
fn temporary(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kadapter-");
    #[cfg(unix)]
    let permissions: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.tempfile_in(directory)
}

/// Writes named `f32` tensors as `dtype` (F32, F16, BF16 or F64) and tells digest and size of the file.
///
/// Each tensor is `(name, shape, values)`, values row-major.
///
/// # Errors
///
/// As [`Writer`]; also [`Error::NotFinite`] and [`Error::OutOfRange`], before anything is left behind.
pub fn write_f32(
    path: &Path,
    dtype: Dtype,
    tensors: &[(&str, &[usize], &[f32])],
    metadata: &BTreeMap<String, String>,
) -> Result<(Digest, u64), Error> {
    let specs = tensors
        .iter()
        .map(|(name, shape, _)| TensorSpec { name: (*name).to_owned(), dtype, shape: shape.to_vec() })
        .collect();
    let values: BTreeMap<&str, &[f32]> = tensors.iter().map(|(name, _, values)| (*name, *values)).collect();
    let mut writer = Writer::create(path, specs, metadata)?;
    let mut bytes = Vec::new();
    for info in writer.order().to_vec() {
        bytes.clear();
        let values = values.get(info.name.as_str()).copied().unwrap_or_default();
        for (block, first) in values.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
            check_finite(&info.name, first, block)?;
            encode_f32(&info.name, dtype, first, block, &mut bytes)?;
        }
        writer.tensor(&info.name, &bytes)?;
    }
    writer.finish()
}
