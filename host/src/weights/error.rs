//! What can be wrong with a weights file.

use std::io;
use std::path::PathBuf;

use kadapter_registry::Digest;
use kadapter_registry::tensors::{Dtype, TensorsError};

/// Why weights were not read or not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("Could not {action} `{}`", .path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not safetensors, or not one that a package may have.
    #[error("Could not read the weights `{}`", .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: TensorsError,
    },
    /// The file is longer or shorter than promised.
    #[error("The weights `{}` have {found} bytes, expected {expected}", .path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Bytes that were promised.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The file has other content than promised.
    #[error("The weights `{}` have the digest `{found}`, expected `{expected}`", .path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// A value that no network computes with.
    #[error("Tensor `{tensor}` has the value {value} at index {index}; weights must be finite")]
    NotFinite {
        /// Name of the tensor.
        tensor: String,
        /// Index of the value in row-major order.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A tensor that is not made of floating-point numbers.
    #[error("Tensor `{tensor}` is of type {found}, expected F32, F16, BF16 or F64")]
    NotFloat {
        /// Name of the tensor.
        tensor: String,
        /// Its type.
        found: Dtype,
    },
    /// A value that the wanted type cannot hold.
    #[error("Tensor `{tensor}` has the value {value} at index {index}, which {dtype} cannot hold")]
    OutOfRange {
        /// Name of the tensor.
        tensor: String,
        /// Index of the value in row-major order.
        index: usize,
        /// The value.
        value: f32,
        /// The wanted type.
        dtype: Dtype,
    },
    /// Tensors to write that no reader would take: too many, names twice, shapes without end.
    #[error("Could not lay out the weights `{}`", .path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: TensorsError,
    },
    /// The writer was given another tensor than the one that comes next.
    #[error("Could not write the weights `{}`: expected tensor `{expected}` with {length} bytes, found `{found}` with {found_length}", .path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The tensor that comes next, or `the end`.
        expected: String,
        /// Its bytes.
        length: u64,
        /// The tensor that was given, or `the end`.
        found: String,
        /// Its bytes.
        found_length: u64,
    },
}

impl Error {
    /// What a person can do about it; ends in something to type.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Header { path, .. } | Self::Size { path, .. } | Self::Digest { path, .. } => Some(format!(
                "the file is damaged or another one: delete `{}` and fetch it again with `kadapter fetch`",
                path.display()
            )),
            Self::OutOfRange { .. } => Some("keep more digits: `--dtype f32`".to_owned()),
            Self::Io { .. }
            | Self::NotFinite { .. }
            | Self::NotFloat { .. }
            | Self::Layout { .. }
            | Self::Unexpected { .. } => None,
        }
    }
}
