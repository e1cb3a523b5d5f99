//! Import: checkpoints of other formats become package directories.
//!
//! | function | from | to |
//! | --- | --- | --- |
//! | [`backbone::import`] | a Hugging Face folder with a RoBERTa or BERT | a backbone package |
//! | [`adapter::import`] | an adapter of the official K-Adapter code | an adapter package |
//! | [`task::import`] | fusion and head of the official K-Adapter code | a task package |
//! | [`untrained::make`] | a plugin's initial values | an adapter package |
//!
//! Each reads its files as data and tensor by tensor, checks every shape and value, and makes the package in a temporary
//! directory beside its place: it appears there whole or not at all. Reports are data; printing is the command's matter.

pub mod adapter;
pub mod backbone;
mod card;
mod copy;
mod error;
mod layout;
mod source;
mod stage;
pub mod task;
pub mod torch;
pub mod untrained;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::str::FromStr;

use kadapter_registry::tensors::Dtype;
use kadapter_registry::{Digest, License, PackageName, Version};

pub use error::{Error, ShapeDifference};

/// What a package says about itself, whatever its kind.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `namespace/name`.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The licence of the weights.
    pub license: License,
    /// One sentence; made from the content when there is none.
    pub description: Option<String>,
    /// Sources and authors that the licence asks to name.
    pub attribution: Option<String>,
}

/// In which type weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// As in the file.
    #[default]
    Keep,
    /// All in this floating-point type.
    As(Dtype),
}

impl Storage {
    /// The type in which a tensor of type `dtype` is stored.
    fn of(self, dtype: Dtype) -> Dtype {
        match self {
            Self::Keep => dtype,
            Self::As(dtype) => dtype,
        }
    }
}

impl FromStr for Storage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "keep" => Ok(Self::Keep),
            "f32" => Ok(Self::As(Dtype::F32)),
            "f16" => Ok(Self::As(Dtype::F16)),
            "bf16" => Ok(Self::As(Dtype::BF16)),
            _ => Err(Error::Option {
                option: "--dtype",
                found: text.to_owned(),
                expected: "`keep`, `f32`, `f16` or `bf16`".to_owned(),
            }),
        }
    }
}

/// What every import did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The package directory.
    pub directory: PathBuf,
    /// The files that were read.
    pub sources: Vec<SourceFile>,
    /// The weights files that were written.
    pub weights: Vec<WeightsFile>,
    /// Tensors and other entries of the sources that the package does not hold, sorted.
    pub dropped: Vec<String>,
    /// Names and values that were found out or chosen, in order; also in the card.
    pub facts: Vec<(String, String)>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it lay.
    pub path: PathBuf,
    /// SHA-256 of all its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A weights file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsFile {
    /// Its path in the package.
    pub path: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Tensors in it.
    pub tensors: usize,
}
