//! The configuration of an adapter: the `[adapter.config]` table of its package, read key by key.

use crate::{Error, Result};
use abi_stable::{
    StableAbi,
    std_types::{RString, RVec},
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// One value of a configuration. Tables are flattened by the host: `[config.down] size = 1` is the key `down.size`.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, StableAbi)]
pub struct Entry {
    key: RString,
    /// 0 text, 1 integer, 2 number, 3 boolean, 4 list of integers, 5 list of numbers, 6 list of texts
    code: u32,
    integers: RVec<i64>,
    numbers: RVec<f64>,
    texts: RVec<RString>,
}

impl Entry {
    fn blank(key: &str, code: u32) -> Self {
        Self { key: key.into(), code, integers: RVec::new(), numbers: RVec::new(), texts: RVec::new() }
    }

    /// A text.
    pub fn text(key: &str, value: &str) -> Self {
        Self { texts: vec![RString::from(value)].into(), ..Self::blank(key, 0) }
    }

    /// An integer.
    pub fn integer(key: &str, value: i64) -> Self {
        Self { integers: vec![value].into(), ..Self::blank(key, 1) }
    }

    /// A number with a fraction.
    pub fn number(key: &str, value: f64) -> Self {
        Self { numbers: vec![value].into(), ..Self::blank(key, 2) }
    }

    /// A boolean.
    pub fn boolean(key: &str, value: bool) -> Self {
        Self { integers: vec![i64::from(value)].into(), ..Self::blank(key, 3) }
    }

    /// A list of integers.
    pub fn integers(key: &str, values: &[i64]) -> Self {
        Self { integers: values.into(), ..Self::blank(key, 4) }
    }

    /// A list of numbers.
    pub fn numbers(key: &str, values: &[f64]) -> Self {
        Self { numbers: values.into(), ..Self::blank(key, 5) }
    }

    /// A list of texts.
    pub fn texts(key: &str, values: &[&str]) -> Self {
        Self { texts: values.iter().map(|&value| RString::from(value)).collect(), ..Self::blank(key, 6) }
    }

    /// The key, tables joined with dots.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn kind(&self) -> &'static str {
        match self.code {
            0 => "a text",
            1 => "an integer",
            2 => "a number",
            3 => "a boolean",
            4 => "a list of integers",
            5 => "a list of numbers",
            6 => "a list of texts",
            _ => "a value of a newer ABI",
        }
    }
}

/// The configuration that an adapter is built from.
///
/// Getters name the key and what they expect; a key that no getter asked for is an error after `build`, so a misspelt key is
/// never silently ignored.
#[derive(Debug, Default)]
pub struct Config {
    entries: BTreeMap<String, Entry>,
    read: RefCell<BTreeSet<String>>,
}

impl Config {
    /// A configuration of these entries; of two with one key the later counts.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries = entries.into_iter().map(|entry| (entry.key.to_string(), entry)).collect();
        Self { entries, read: RefCell::default() }
    }

    /// A whole number of at least 1: sizes, heads, layers.
    ///
    /// # Errors
    /// When the key is missing or not such a number.
    pub fn size(&self, key: &str) -> Result<usize> {
        let entry = self.find(key).ok_or_else(|| missing(key, "an integer"))?;
        match (entry.code, entry.integers.first()) {
            (1, Some(&value)) if value >= 1 => usize::try_from(value)
                .map_err(|_| Error::config(format!("`{key}` is {value}, expected a smaller integer"))),
            (1, Some(value)) => Err(Error::config(format!("`{key}` is {value}, expected at least 1"))),
            _ => Err(wrong(key, "an integer", entry)),
        }
    }

    /// [`Config::size`], or `default` where the key is missing.
    ///
    /// # Errors
    /// When the key is there and not such a number.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.find(key).is_some() { self.size(key) } else { Ok(default) }
    }

    /// An integer, or `default` where the key is missing.
    ///
    /// # Errors
    /// When the key is there and not an integer.
    pub fn integer_or(&self, key: &str, default: i64) -> Result<i64> {
        match self.find(key) {
            None => Ok(default),
            Some(entry) => match (entry.code, entry.integers.first()) {
                (1, Some(&value)) => Ok(value),
                _ => Err(wrong(key, "an integer", entry)),
            },
        }
    }

    /// A finite number (an integer counts), or `default` where the key is missing.
    ///
    /// # Errors
    /// When the key is there and not such a number.
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.find(key) {
            None => Ok(default),
            Some(entry) => match (entry.code, entry.integers.first(), entry.numbers.first()) {
                #[expect(clippy::cast_precision_loss, reason = "configuration integers are small")]
                (1, Some(&value), _) => Ok(value as f64),
                (2, _, Some(&value)) if value.is_finite() => Ok(value),
                _ => Err(wrong(key, "a finite number", entry)),
            },
        }
    }

    /// A boolean, or `default` where the key is missing.
    ///
    /// # Errors
    /// When the key is there and not a boolean.
    pub fn boolean_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.find(key) {
            None => Ok(default),
            Some(entry) => match (entry.code, entry.integers.first()) {
                (3, Some(&value)) => Ok(value != 0),
                _ => Err(wrong(key, "a boolean", entry)),
            },
        }
    }

    /// A text, or `default` where the key is missing.
    ///
    /// # Errors
    /// When the key is there and not a text.
    pub fn text_or(&self, key: &str, default: &str) -> Result<String> {
        match self.find(key) {
            None => Ok(default.to_owned()),
            Some(entry) => match (entry.code, entry.texts.first()) {
                (0, Some(value)) => Ok(value.to_string()),
                _ => Err(wrong(key, "a text", entry)),
            },
        }
    }

    /// A list of texts, empty where the key is missing.
    ///
    /// # Errors
    /// When the key is there and not a list of texts.
    pub fn texts(&self, key: &str) -> Result<Vec<String>> {
        match self.find(key) {
            None => Ok(Vec::new()),
            Some(entry) if entry.code == 6 || is_empty_list(entry) => {
                Ok(entry.texts.iter().map(ToString::to_string).collect())
            }
            Some(entry) => Err(wrong(key, "a list of texts", entry)),
        }
    }

    /// A list of integers, empty where the key is missing.
    ///
    /// # Errors
    /// When the key is there and not a list of integers.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>> {
        match self.find(key) {
            None => Ok(Vec::new()),
            Some(entry) if entry.code == 4 || is_empty_list(entry) => Ok(entry.integers.to_vec()),
            Some(entry) => Err(wrong(key, "a list of integers", entry)),
        }
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// An error that names the keys nobody read.
    pub(crate) fn check_all_read(&self) -> Result<()> {
        let read = self.read.borrow();
        let unknown: Vec<_> =
            self.entries.keys().filter(|key| !read.contains(*key)).map(|key| format!("`{key}`")).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let known: Vec<_> = read.iter().map(|key| format!("`{key}`")).collect();
        Err(Error::config(format!(
            "unknown configuration {} {}, expected only {}",
            if unknown.len() == 1 { "key" } else { "keys" },
            unknown.join(", "),
            if known.is_empty() { "no key at all".into() } else { known.join(", ") },
        )))
    }

    fn find(&self, key: &str) -> Option<&Entry> {
        self.read.borrow_mut().insert(key.to_owned());
        self.entries.get(key)
    }
}

fn is_empty_list(entry: &Entry) -> bool {
    entry.code >= 4 && entry.integers.is_empty() && entry.numbers.is_empty() && entry.texts.is_empty()
}

fn missing(key: &str, expected: &str) -> Error {
    Error::config(format!("configuration key `{key}` is missing, expected {expected}"))
}

fn wrong(key: &str, expected: &str, entry: &Entry) -> Error {
    Error::config(format!("`{key}` is {}, expected {expected}", entry.kind()))
}
