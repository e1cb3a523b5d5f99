//! PyTorch state dict files, read as data: nothing in them is ever executed.
//!
//! [`StateDict::open`] reads the names, types and shapes; [`StateDict::read`] reads one tensor, in any order, so that a file
//! is never in memory as a whole. Both formats of `torch.save` are understood: zip (torch 1.6 and later) and the older
//! row of pickles, which the released K-Adapter checkpoints use.

mod error;
mod globals;
mod legacy;
mod pickle;
mod strided;
mod value;
mod zip;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use kadapter_registry::tensors::Dtype;

pub use error::Error;

use pickle::{Unpickled, unpickle};
use value::{TensorMention, Value};

/// Bytes of the pickles of a file, tensors' values apart. RoBERTa-large's take 60 KiB.
const MAX_PICKLE: u64 = 16 << 20;
/// Tensors of a file: as many as a safetensors file of a package may have.
const MAX_TENSORS: usize = 4096;
/// Bytes of a tensor's name.
const MAX_NAME: usize = 512;
/// Keys under which training scripts put the state dict beside other things.
const NESTED: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// A stretch of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    start: u64,
    length: u64,
}

/// A tensor of a state dict.
#[derive(Clone, Debug)]
pub struct TorchTensor {
    /// Name in the state dict.
    pub name: String,
    /// Type of its values.
    pub dtype: Dtype,
    /// Lengths of its dimensions.
    pub shape: Vec<usize>,
    mention: TensorMention,
    window: strided::Window,
    /// Start of the storage in the file.
    storage: u64,
}

/// An open PyTorch file that holds names and tensors.
#[derive(Debug)]
pub struct StateDict {
    file: File,
    tensors: Vec<TorchTensor>,
    others: Vec<String>,
    /// The span of a strided tensor, before its values are put in order.
    scratch: Vec<u8>,
}

impl StateDict {
    /// Opens a file and reads everything but the tensors' values.
    ///
    /// A checkpoint that holds its state dict under `state_dict`, `model_state_dict` or `model` is opened there.
    ///
    /// # Errors
    ///
    /// See [`Error`]; every tensor is checked against its storage, and every storage against the file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut head = Vec::new();
        (&mut file).take(512).read_to_end(&mut head)?;
        let (tensors, others) = if head.starts_with(zip::SIGNATURE) {
            Self::open_zip(&mut file, size)?
        } else if head.first() == Some(&0x80) {
            (&mut file).take(MAX_PICKLE - head.len() as u64).read_to_end(&mut head)?;
            Self::open_legacy(&mut file, size, &head)?
        } else {
            return Err(Error::NotTorch { found: look(&head) });
        };
        Ok(Self { file, tensors, others, scratch: Vec::new() })
    }

    fn open_zip(file: &mut File, size: u64) -> Result<(Vec<TorchTensor>, Vec<String>), Error> {
        let entries = zip::entries(file, size)?;
        let mut roots = entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
        let (Some(root), None) = (roots.next(), roots.next()) else {
            return Err(Error::Zip { what: "it has no entry `data.pkl`, or several".to_owned() });
        };
        let entry = |name: &str| entries.get(&format!("{root}{name}")).copied();
        if let Some(extent) = entry("byteorder") {
            match zip::read_entry(file, "byteorder", extent, 16, size)?.as_slice() {
                b"little" => {}
                b"big" => return Err(Error::BigEndian),
                _ => return Err(Error::Zip { what: "its entry `byteorder` is neither `little` nor `big`".to_owned() }),
            }
        }
        let extent = entry("data.pkl").ok_or_else(|| Error::Zip { what: "it has no entry `data.pkl`".to_owned() })?;
        let bytes = zip::read_entry(file, "data.pkl", extent, MAX_PICKLE, size)?;
        let pickled = unpickle(&bytes)?;
        let extents = pickled
            .heap
            .storages
            .iter()
            .filter_map(|mention| Some((mention.key.to_owned(), entry(&format!("data/{}", mention.key))?)))
            .collect();
        tensors(&pickled, &extents)
    }

    fn open_legacy(file: &mut File, size: u64, head: &[u8]) -> Result<(Vec<TorchTensor>, Vec<String>), Error> {
        let pickles = legacy::pickles(head).map_err(|error| match error {
            Error::Truncated { .. } if (head.len() as u64) < size => {
                Error::TooMany { what: "bytes of pickles", limit: head.len() }
            }
            error => error,
        })?;
        let extents = legacy::extents(file, size, &pickles)?;
        tensors(&pickles.state, &extents)
    }

    /// The tensors, in the order of the state dict.
    pub fn tensors(&self) -> &[TorchTensor] {
        &self.tensors
    }

    /// Names of entries that are not tensors, such as `epoch`; they are not read.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// Reads the values of a tensor into `out` (which is cleared): little-endian, row-major, whatever its strides.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTensor`], or what the file system says.
    pub fn read(&mut self, name: &str, out: &mut Vec<u8>) -> Result<(), Error> {
        out.clear();
        let tensor = self
            .tensors
            .iter()
            .find(|tensor| tensor.name == name)
            .ok_or_else(|| Error::UnknownTensor { tensor: name.to_owned() })?;
        let too_large =
            || Error::OutsideStorage { tensor: name.to_owned(), what: "it is larger than memory".to_owned() };
        let span = usize::try_from(tensor.window.span).map_err(|_| too_large())?;
        self.file.seek(SeekFrom::Start(tensor.storage + tensor.window.start))?;
        if tensor.window.contiguous {
            out.resize(span, 0);
            self.file.read_exact(out)?;
        } else {
            self.scratch.resize(span, 0);
            self.file.read_exact(&mut self.scratch)?;
            strided::gather(&tensor.mention, tensor.dtype.size(), &self.scratch, out).ok_or_else(too_large)?;
        }
        Ok(())
    }
}

/// Finds the state dict in what was unpickled and places its tensors in the file.
fn tensors(
    pickled: &Unpickled<'_>,
    extents: &HashMap<String, Extent>,
) -> Result<(Vec<TorchTensor>, Vec<String>), Error> {
    let heap = &pickled.heap;
    let mut entries =
        heap.entries(pickled.root).ok_or_else(|| Error::NotStateDict { found: pickled.root.kind().to_owned() })?;
    let mut others = Vec::new();
    if !entries.iter().any(|(_, value)| matches!(value, Value::Tensor(_))) {
        let nested = NESTED.iter().find_map(|&key| {
            let (_, value) = entries.iter().find(|(name, _)| *name == Value::Text(key))?;
            Some((key, heap.entries(*value)?))
        });
        let Some((key, inner)) = nested else {
            return Err(Error::NotStateDict { found: format!("a dict of {} entries without a tensor", entries.len()) });
        };
        others.extend(entries.iter().filter_map(|(name, _)| match name {
            Value::Text(name) if *name != key => Some((*name).to_owned()),
            _ => None,
        }));
        entries = inner;
    }

    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for &(name, value) in entries {
        let Value::Text(name) = name else {
            return Err(Error::NotStateDict { found: format!("a dict with {} as a name", name.kind()) });
        };
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(Error::NotStateDict { found: format!("a name that no tensor has, `{}`", name.escape_debug()) });
        }
        if !names.insert(name) {
            return Err(Error::NotStateDict { found: format!("the name `{name}` twice") });
        }
        match value {
            Value::Tensor(index) => tensors.push(place(name, pickled, index, extents)?),
            _ => others.push(name.to_owned()),
        }
        if tensors.len() > MAX_TENSORS {
            return Err(Error::TooMany { what: "tensors", limit: MAX_TENSORS });
        }
    }
    if tensors.is_empty() {
        return Err(Error::NotStateDict { found: "a dict without a tensor".to_owned() });
    }
    Ok((tensors, others))
}

/// Checks one tensor against its storage, and its storage against the file.
fn place(
    name: &str,
    pickled: &Unpickled<'_>,
    index: usize,
    extents: &HashMap<String, Extent>,
) -> Result<TorchTensor, Error> {
    let missing = |what: &str| Error::OutsideStorage { tensor: name.to_owned(), what: what.to_owned() };
    let mention = pickled.heap.tensors.get(index).ok_or_else(|| missing("it does not exist"))?.clone();
    let storage = pickled.heap.storages.get(mention.storage).ok_or_else(|| missing("its storage does not exist"))?;
    let fact = |what: String| Error::Storage { key: storage.key.to_owned(), what };
    let extent = extents.get(storage.key).ok_or_else(|| fact(format!("of tensor `{name}` is missing")))?;
    let expected = strided::storage_bytes(storage).ok_or_else(|| fact("is larger than any file".to_owned()))?;
    if extent.length != expected {
        return Err(fact(format!("of tensor `{name}` has {} bytes, expected {expected}", extent.length)));
    }
    let window = strided::window(name, &mention, storage)?;
    let shape = mention
        .shape
        .iter()
        .map(|&length| usize::try_from(length).map_err(|_| missing("it is larger than memory")))
        .collect::<Result<_, _>>()?;
    Ok(TorchTensor { name: name.to_owned(), dtype: mention.dtype, shape, mention, window, storage: extent.start })
}

/// What a file that torch did not write looks like.
fn look(head: &[u8]) -> &'static str {
    if head.is_empty() {
        "an empty file"
    } else if head.starts_with(b"version https://git-lfs") {
        "a Git LFS pointer in place of the file (`git lfs pull` fetches it)"
    } else if head.get(257..262) == Some(b"ustar") {
        "a tar archive, as torch wrote before 0.1.10"
    } else if head.get(8) == Some(&b'{') {
        "a safetensors file"
    } else if head.trim_ascii_start().starts_with(b"<") {
        "a web page"
    } else if head.starts_with(b"\x1f\x8b") {
        "a gzip file"
    } else {
        "something else"
    }
}
