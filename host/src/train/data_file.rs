//! A file of labelled data as recipes name it: its path, or a table that says how it is read.

use crate::data::{Error, Options, Slice, Source};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A file of labelled data, and how it is read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct DataFile {
    /// The file, relative to the recipe.
    pub path: PathBuf,
    /// Its format's name; told by the file where there is none.
    pub format: Option<String>,
    /// The most records.
    pub limit: Option<u64>,
    /// The part of its records that is read, as shares: `[0.1, 1.0]` for all but the first tenth.
    pub slice: Option<[f64; 2]>,
    /// The fields whose values stay on one side of a slice; sentences without it.
    pub by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    path: PathBuf,
    format: Option<String>,
    limit: Option<u64>,
    slice: Option<[f64; 2]>,
    #[serde(default)]
    by: Vec<String>,
}

impl TryFrom<toml::Value> for DataFile {
    type Error = String;

    /// By hand, so that a key that is wrong is named: a slip must not read a file whole of which a part is asked for.
    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(path) => {
                Ok(Self { path: path.into(), format: None, limit: None, slice: None, by: Vec::new() })
            }
            toml::Value::Table(_) => {
                let table = value.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
                let Table { path, format, limit, slice, by } = table;
                if slice.is_none() && !by.is_empty() {
                    return Err("a file has `by` without `slice`, expected both: `slice = [0.1, 1.0]`".to_owned());
                }
                Ok(Self { path, format, limit, slice, by })
            }
            other => Err(format!("a file is {}, expected a path in quotes or a table with `path`", other.type_str())),
        }
    }
}

impl DataFile {
    /// The file, seen from the recipe's folder.
    ///
    /// # Errors
    /// When its format has no such name or cannot be told, or the ends of its slice are not in order within 0 and 1.
    pub fn source(&self, folder: &Path, skip_bad: bool) -> Result<Source, Error> {
        let format = self.format.as_deref().map(str::parse).transpose()?;
        let slice = self.slice.map(|slice| Slice::new(slice, self.by.clone())).transpose()?;
        Source::new(folder.join(&self.path), format, Options { skip_bad, limit: self.limit, slice, labels: None })
    }
}
