//! What a state dict's pickle may build: plain values, held in an arena.
//!
//! Containers are indices into a [`Heap`], so a value is `Copy`, nothing is expanded when it is used twice (no "billion
//! laughs"), cycles are harmless and dropping a deeply nested value does not recurse.

use kadapter_registry::tensors::Dtype;

use super::globals::Global;

/// One value; text and bytes borrow from the pickle itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer; torch's 80-bit magic number is the widest one in use.
    Int(i128),
    /// A floating-point number: never part of a tensor, but optimiser settings beside it have them.
    Float(f64),
    /// A string.
    Text(&'a str),
    /// A byte string.
    Bytes(&'a [u8]),
    /// One of the few names that a state dict may mention.
    Global(Global),
    /// Index into [`Heap::sequences`].
    Tuple(usize),
    /// Index into [`Heap::sequences`].
    List(usize),
    /// Index into [`Heap::dicts`]; `dict` and `OrderedDict` alike.
    Dict(usize),
    /// Index into [`Heap::storages`].
    Storage(usize),
    /// Index into [`Heap::tensors`].
    Tensor(usize),
}

impl Value<'_> {
    /// The kind of value in a word, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Global(_) => "a class or function",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// Everything that values point to.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    /// Tuples and lists.
    pub(super) sequences: Vec<Vec<Value<'a>>>,
    /// Dicts, in insertion order, keys as written (twice the same key stays twice).
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    /// Storages as the pickle mentions them; the same key may appear many times.
    pub(super) storages: Vec<StorageMention<'a>>,
    /// Tensors.
    pub(super) tensors: Vec<TensorMention>,
}

impl<'a> Heap<'a> {
    /// Items of a tuple or list.
    pub(super) fn items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple(index) | Value::List(index) => self.sequences.get(index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// Entries of a dict.
    pub(super) fn entries(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match value {
            Value::Dict(index) => self.dicts.get(index).map(Vec::as_slice),
            _ => None,
        }
    }
}

/// A persistent id `('storage', type, key, location, numel[, view])`: a stretch of raw data elsewhere in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StorageMention<'a> {
    /// The storage's name in the file.
    pub(super) key: &'a str,
    /// Type of its elements; `None` for an untyped storage, whose length is in bytes.
    pub(super) dtype: Option<Dtype>,
    /// Elements (bytes when untyped) in the whole storage.
    pub(super) length: u64,
    /// First element of the view, in elements of the storage; 0 but for files of torch 0.x.
    pub(super) start: u64,
    /// Elements visible from `start`.
    pub(super) visible: u64,
}

/// A `_rebuild_tensor*` call: a strided window on a storage. Nothing is checked against the storage yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorMention {
    /// Index into [`Heap::storages`].
    pub(super) storage: usize,
    /// Type of its elements.
    pub(super) dtype: Dtype,
    /// First element, counted from the first visible one.
    pub(super) offset: u64,
    /// Lengths of the dimensions.
    pub(super) shape: Vec<u64>,
    /// Steps between neighbours of each dimension, in elements.
    pub(super) strides: Vec<u64>,
}
