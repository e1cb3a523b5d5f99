//! The format of torch before 1.6: pickles in a row, then the storages.
//!
//! ```text
//! pickle  magic number 0x1950a86a20f9469cfc6c
//! pickle  protocol version 1001
//! pickle  { little_endian: True, … }
//! pickle  the state dict, tensors pointing to storages by key
//! pickle  [storage key, …]
//! then per key, in that order:  i64 count (little-endian), count raw values
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::error::Error;
use super::pickle::{Unpickled, unpickle};
use super::value::Value;
use super::{Extent, strided};

/// First pickle of the file.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// Second pickle of the file.
const VERSION: i128 = 1001;

/// The state dict and where its data starts, from the `head` of the file.
pub(super) struct Pickles<'a> {
    /// The state dict.
    pub(super) state: Unpickled<'a>,
    /// Storage keys in the order of their data.
    keys: Vec<&'a str>,
    /// First byte after the pickles.
    data: u64,
}

/// Reads the five pickles.
pub(super) fn pickles(head: &[u8]) -> Result<Pickles<'_>, Error> {
    let not_torch = || Error::NotTorch { found: "another kind of pickle" };
    let mut at = 0;
    let mut next = || {
        let pickled = unpickle(head.get(at..).unwrap_or_default());
        if let Ok(pickled) = &pickled {
            at += pickled.length;
        }
        pickled.map(|pickled| (pickled, at))
    };
    if next()?.0.root != Value::Int(MAGIC) {
        return Err(not_torch());
    }
    if next()?.0.root != Value::Int(VERSION) {
        return Err(not_torch());
    }
    let (system, _) = next()?;
    let little_endian = system
        .heap
        .entries(system.root)
        .and_then(|entries| entries.iter().find(|(key, _)| *key == Value::Text("little_endian")));
    match little_endian {
        Some((_, Value::Bool(true))) => {}
        Some((_, Value::Bool(false))) => return Err(Error::BigEndian),
        _ => return Err(not_torch()),
    }
    let (state, _) = next()?;
    let (list, end) = next()?;
    let keys = list
        .heap
        .items(list.root)
        .unwrap_or_default()
        .iter()
        .map(|key| match key {
            Value::Text(key) => Ok(*key),
            other => Err(Error::Malformed { at: end, what: format!("a storage key is {}", other.kind()) }),
        })
        .collect::<Result<_, _>>()?;
    Ok(Pickles { state, keys, data: end as u64 })
}

/// Walks over the storages, reading their lengths only.
pub(super) fn extents(file: &mut File, size: u64, pickles: &Pickles<'_>) -> Result<HashMap<String, Extent>, Error> {
    let mut extents = HashMap::with_capacity(pickles.keys.len());
    let mut at = pickles.data;
    for &key in &pickles.keys {
        let fact = |what: String| Error::Storage { key: key.to_owned(), what };
        let mention = pickles
            .state
            .heap
            .storages
            .iter()
            .find(|mention| mention.key == key)
            .ok_or_else(|| fact("has data, but no tensor uses it".to_owned()))?;
        let bytes = strided::storage_bytes(mention).ok_or_else(|| fact("is larger than any file".to_owned()))?;
        let end = at.checked_add(8).and_then(|at| at.checked_add(bytes));
        if end.is_none_or(|end| end > size) {
            return Err(Error::Truncated {
                what: format!("storage `{key}`"),
                needed: bytes,
                found: size.saturating_sub(at),
            });
        }
        file.seek(SeekFrom::Start(at))?;
        let mut count = [0; 8];
        file.read_exact(&mut count)?;
        let count = i64::from_le_bytes(count);
        if u64::try_from(count).ok() != Some(mention.length) {
            return Err(fact(format!("has {count} values, expected {}", mention.length)));
        }
        if extents.insert(key.to_owned(), Extent { start: at + 8, length: bytes }).is_some() {
            return Err(fact("is listed twice".to_owned()));
        }
        at = at + 8 + bytes;
    }
    Ok(extents)
}
