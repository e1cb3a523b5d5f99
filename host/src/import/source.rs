//! A file of named tensors, whatever its format, read tensor by tensor in any order.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use kadapter_registry::Digest;
use kadapter_registry::tensors::{Dtype, Header};

use super::torch::StateDict;
use super::{Error, SourceFile};

/// A tensor of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceTensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
}

/// An open file with tensors.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Torch(StateDict),
    Safetensors { file: File, header: Header },
}

impl Source {
    /// Opens a safetensors file or a PyTorch file; the content decides, not the name.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let refuse = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let mut file = File::open(path).map_err(refuse)?;
        let mut head = Vec::new();
        (&mut file).take(9).read_to_end(&mut head).map_err(refuse)?;
        let content = if head.get(8) == Some(&b'{') {
            let safetensors = |source| Error::Safetensors { path: path.to_owned(), source };
            let size = file.metadata().map_err(refuse)?.len();
            file.seek(SeekFrom::Start(0)).map_err(refuse)?;
            let header = Header::read(&mut file).map_err(safetensors)?;
            header.check_file_size(size).map_err(safetensors)?;
            Content::Safetensors { file, header }
        } else {
            Content::Torch(StateDict::open(path).map_err(|source| Error::Torch { path: path.to_owned(), source })?)
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// Where the file lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors, in the file's order.
    pub(super) fn tensors(&self) -> Vec<SourceTensor> {
        match &self.content {
            Content::Torch(state) => state
                .tensors()
                .iter()
                .map(|tensor| SourceTensor {
                    name: tensor.name.clone(),
                    dtype: tensor.dtype,
                    shape: tensor.shape.clone(),
                })
                .collect(),
            Content::Safetensors { header, .. } => header
                .tensors()
                .iter()
                .map(|info| SourceTensor { name: info.name.clone(), dtype: info.dtype, shape: info.shape.clone() })
                .collect(),
        }
    }

    /// Entries that are not tensors.
    pub(super) fn others(&self) -> &[String] {
        match &self.content {
            Content::Torch(state) => state.others(),
            Content::Safetensors { .. } => &[],
        }
    }

    /// Reads a tensor's bytes into `bytes`, which is cleared first.
    pub(super) fn read(&mut self, name: &str, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let path = &self.path;
        match &mut self.content {
            Content::Torch(state) => {
                state.read(name, bytes).map_err(|source| Error::Torch { path: path.clone(), source })
            }
            Content::Safetensors { file, header } => {
                let refuse = |source| Error::Io { action: "read", path: path.clone(), source };
                let info = header.tensors().iter().find(|info| info.name == name).ok_or_else(|| {
                    refuse(io::Error::new(io::ErrorKind::NotFound, format!("it has no tensor `{name}`")))
                })?;
                file.seek(SeekFrom::Start(header.size() + info.begin)).map_err(refuse)?;
                bytes.clear();
                // The header was checked against the file's length.
                bytes.resize(usize::try_from(info.len()).unwrap_or_default(), 0);
                file.read_exact(bytes).map_err(refuse)
            }
        }
    }
}

/// Hashes a file that is read, for the report and the card.
pub(super) fn record(path: &Path) -> Result<SourceFile, Error> {
    let refuse = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let (digest, size) = Digest::of_reader(File::open(path).map_err(refuse)?).map_err(refuse)?;
    Ok(SourceFile { path: path.to_owned(), digest, size })
}

/// Reads a small file.
pub(super) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let refuse = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(refuse)?;
    let found = file.metadata().map_err(refuse)?.len();
    if found > limit {
        return Err(Error::TooLong { path: path.to_owned(), found, limit });
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(refuse)?;
    Ok(bytes)
}
