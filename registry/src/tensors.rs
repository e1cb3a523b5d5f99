//! The header of a safetensors file, read as a stream's first stage and trusted in nothing.
//!
//! ```text
//! 8 bytes        n bytes                                         the rest
//! n, u64 LE      {"name":{"dtype":"F32","shape":[2,3],           tensor data, without gaps or overlaps
//!                 "data_offsets":[0,24]}, …}
//! ```
//!
//! After [`Header::read`] the reader stands at the first byte of tensor data, and [`Header::tensors`] are in the order
//! in which their data comes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::{self, Read};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::text::{serde_as_string, shorten};

/// The longest header, in bytes. A legal 48 MiB header costs half a gigabyte to parse; RoBERTa-large's is 50 KB.
pub const MAX_HEADER: u64 = 1024 * 1024;
/// The most tensors of a file; RoBERTa-large has 391.
pub const MAX_TENSORS: usize = 4096;
/// The most dimensions of a tensor.
pub const MAX_RANK: usize = 8;
/// The longest name of a tensor, in bytes.
pub const MAX_TENSOR_NAME: usize = 512;

/// The type of a tensor's elements, of those that safetensors knows and that fill whole bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(non_camel_case_types, reason = "the names that stand in the file")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    BOOL,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
}

impl Dtype {
    const NAMES: [(Self, &'static str, usize); 15] = [
        (Self::BOOL, "BOOL", 1),
        (Self::U8, "U8", 1),
        (Self::I8, "I8", 1),
        (Self::F8_E5M2, "F8_E5M2", 1),
        (Self::F8_E4M3, "F8_E4M3", 1),
        (Self::I16, "I16", 2),
        (Self::U16, "U16", 2),
        (Self::F16, "F16", 2),
        (Self::BF16, "BF16", 2),
        (Self::I32, "I32", 4),
        (Self::U32, "U32", 4),
        (Self::F32, "F32", 4),
        (Self::F64, "F64", 8),
        (Self::I64, "I64", 8),
        (Self::U64, "U64", 8),
    ];

    /// The size of one element, in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        Self::NAMES[self as usize].2
    }

    /// The name that stands in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }
}

impl std::str::FromStr for Dtype {
    type Err = TensorsError;

    fn from_str(text: &str) -> Result<Self, TensorsError> {
        let found = Self::NAMES.iter().find(|(_, name, _)| *name == text);
        found.map(|(dtype, ..)| *dtype).ok_or_else(|| TensorsError::Dtype { dtype: shorten(text) })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

serde_as_string!(Dtype, "dtype such as `F32`");

/// One tensor: its type, its shape and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, unique in the file.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The dimensions, outermost first; elements are stored in that (row-major) order.
    pub shape: Vec<usize>,
    /// The first byte, counted from the start of the data.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
}

impl TensorInfo {
    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end - self.begin
    }

    /// Tells whether the tensor has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.len() / self.dtype.size() as u64
    }
}

/// What is wrong with a safetensors file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is its sentence")]
pub enum TensorsError {
    #[error("it could not be read")]
    Read(#[source] io::Error),
    #[error("it ends inside its header")]
    Truncated,
    #[error("its header is {found} bytes long, at most {MAX_HEADER} are allowed")]
    HeaderSize { found: u64 },
    #[error("its header is not the JSON of safetensors: {problem}")]
    Malformed { problem: String },
    #[error("it has more than {MAX_TENSORS} tensors")]
    TooMany,
    #[error("the name of a tensor is empty, longer than {MAX_TENSOR_NAME} bytes or has control characters: `{name}`")]
    TensorName { name: String },
    #[error("the tensor type `{dtype}` is not supported")]
    Dtype { dtype: String },
    #[error("the tensor `{name}` has {rank} dimensions, at most {MAX_RANK} are allowed")]
    Rank { name: String, rank: usize },
    #[error("the tensor `{name}` is too large to address")]
    Overflow { name: String },
    #[error(
        "the tensor `{name}` of type {dtype} and shape {shape:?} needs {expected} bytes, its offsets leave {found}"
    )]
    Size { name: String, dtype: Dtype, shape: Vec<usize>, expected: u64, found: i128 },
    #[error("the tensor `{name}` begins at byte {found} of the data, byte {expected} comes next")]
    Offset { name: String, expected: u64, found: u64 },
    #[error("its header promises {expected} bytes of data, {found} follow")]
    DataSize { expected: u64, found: u64 },
}

/// A checked header: tensors that lie one after the other from byte 0 of the data, each as long as its shape says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    tensors: Vec<TensorInfo>,
    metadata: BTreeMap<String, String>,
    size: u64,
}

impl Header {
    /// Reads the header and leaves the reader at the first byte of data.
    ///
    /// # Errors
    /// A header that is cut off, longer than [`MAX_HEADER`], not in the format, or inconsistent in any tensor. Nothing is
    /// allocated for more than what the reader really yields.
    pub fn read(mut reader: impl Read) -> Result<Self, TensorsError> {
        let mut prefix = [0; 8];
        fill(&mut reader, &mut prefix)?;
        let found = u64::from_le_bytes(prefix);
        if found > MAX_HEADER {
            return Err(TensorsError::HeaderSize { found });
        }
        let mut json = Vec::new();
        let read = reader.by_ref().take(found).read_to_end(&mut json).map_err(TensorsError::Read)?;
        if read as u64 != found {
            return Err(TensorsError::Truncated);
        }
        Self::parse(&json, 8 + found)
    }

    fn parse(json: &[u8], size: u64) -> Result<Self, TensorsError> {
        let malformed = |problem: String| TensorsError::Malformed { problem };
        if json.first() != Some(&b'{') {
            return Err(malformed("it does not start with `{`".to_owned()));
        }
        let raw: RawHeader = serde_json::from_slice(json).map_err(|error| malformed(shorten(&error.to_string())))?;
        if raw.too_many {
            return Err(TensorsError::TooMany);
        }
        let mut tensors = raw.tensors.into_iter().map(check_tensor).collect::<Result<Vec<_>, _>>()?;
        // Tensors without elements come before the one that begins where they lie.
        tensors.sort_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
        let mut expected = 0;
        for tensor in &tensors {
            if tensor.begin != expected {
                return Err(TensorsError::Offset { name: shorten(&tensor.name), expected, found: tensor.begin });
            }
            expected = tensor.end;
        }
        Ok(Self { tensors, metadata: raw.metadata, size })
    }

    /// The tensors in the order of their data.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The free text that the file's writer left, by key.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The size of prefix and header, in bytes: where the data begins in the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The size of the data, in bytes.
    #[must_use]
    pub fn data_size(&self) -> u64 {
        self.tensors.last().map_or(0, |tensor| tensor.end)
    }

    /// Checks that a file of `file_size` bytes holds exactly this header and its data.
    ///
    /// # Errors
    /// A file that is cut off or goes on after its last tensor.
    pub fn check_file_size(&self, file_size: u64) -> Result<(), TensorsError> {
        let found = file_size.saturating_sub(self.size);
        let expected = self.data_size();
        if found == expected { Ok(()) } else { Err(TensorsError::DataSize { expected, found }) }
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), TensorsError> {
    reader.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => TensorsError::Truncated,
        _ => TensorsError::Read(error),
    })
}

fn check_tensor((name, raw): (String, RawTensor)) -> Result<TensorInfo, TensorsError> {
    if name.is_empty() || name.len() > MAX_TENSOR_NAME || name.chars().any(char::is_control) {
        return Err(TensorsError::TensorName { name: shorten(&name) });
    }
    let dtype: Dtype = raw.dtype.parse()?;
    if raw.shape.len() > MAX_RANK {
        return Err(TensorsError::Rank { name: shorten(&name), rank: raw.shape.len() });
    }
    let overflow = || TensorsError::Overflow { name: shorten(&name) };
    let mut shape = Vec::with_capacity(raw.shape.len());
    for dimension in &raw.shape {
        shape.push(usize::try_from(*dimension).map_err(|_| overflow())?);
    }
    let expected = shape
        .iter()
        .try_fold(dtype.size(), |product, dimension| product.checked_mul(*dimension))
        // What cannot be addressed on this machine cannot be loaded either.
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or_else(overflow)? as u64;
    let (begin, end) = raw.data_offsets;
    if end.checked_sub(begin) != Some(expected) {
        let found = i128::from(end) - i128::from(begin);
        return Err(TensorsError::Size { name: shorten(&name), dtype, shape, expected, found });
    }
    Ok(TensorInfo { name, dtype, shape, begin, end })
}

/// The header as it stands in the file; serde's derived types and the visitor refuse every key that comes twice.
struct RawHeader {
    tensors: BTreeMap<String, RawTensor>,
    metadata: BTreeMap<String, String>,
    too_many: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { tensors: BTreeMap::new(), metadata: BTreeMap::new(), too_many: false };
                let mut has_metadata = false;
                let twice = |name: &str| A::Error::custom(format_args!("`{}` stands in it twice", shorten(name)));
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        if std::mem::replace(&mut has_metadata, true) {
                            return Err(twice(&name));
                        }
                        header.metadata = map.next_value::<Metadata>()?.0;
                    } else if header.tensors.len() == MAX_TENSORS {
                        // The rest is read to its end, so that the error is about the number and not about the syntax.
                        header.too_many = true;
                        map.next_value::<serde::de::IgnoredAny>()?;
                    } else {
                        match header.tensors.entry(name) {
                            Entry::Vacant(entry) => entry.insert(map.next_value()?),
                            Entry::Occupied(entry) => return Err(twice(entry.key())),
                        };
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// `__metadata__`, with keys that come twice refused.
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;
        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut metadata = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if metadata.contains_key(&key) {
                        return Err(A::Error::custom(format_args!(
                            "`{}` stands in `__metadata__` twice",
                            shorten(&key)
                        )));
                    }
                    metadata.insert(key, value);
                }
                Ok(Metadata(metadata))
            }
        }
        deserializer.deserialize_map(MetadataVisitor)
    }
}

/// A tensor as a release record lists it: without offsets, which are the file's own matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRecord {
    /// The name, unique in the file.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl From<&TensorInfo> for TensorRecord {
    fn from(info: &TensorInfo) -> Self {
        Self { name: info.name.clone(), dtype: info.dtype, shape: info.shape.clone() }
    }
}
