//! A file of labelled data and how it is read.

use super::{Error, Format, Records, Slice, detect};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A file of labelled data.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file, compressed or not.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// How it is read.
    pub options: Options,
}

/// How a file of labelled data is read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether records that cannot be read are counted and passed over, instead of ending the stream.
    pub skip_bad: bool,
    /// The most records that are given out.
    pub limit: Option<u64>,
    /// The part of the records that is given out; `None` for all.
    pub slice: Option<Slice>,
    /// The labels that a record may have; `None` for any.
    pub labels: Option<Arc<Labels>>,
}

impl Source {
    /// A file in a format, or in the one that its name and its first record tell.
    ///
    /// # Errors
    ///
    /// When no format is given, and the file cannot be opened or does not tell its format.
    pub fn new(path: impl Into<PathBuf>, format: Option<Format>, options: Options) -> Result<Self, Error> {
        let path = path.into();
        let format = match format {
            Some(format) => format,
            None => detect::detect(&path)?,
        };
        Ok(Self { path, format, options })
    }

    /// Streams the records. The file is opened with the first one, so that is where an error of opening comes.
    pub fn records(&self) -> Records {
        Records::of_file(&self.path, self.format, self.options.clone())
    }

    /// Streams the records of bytes that are somewhere else than in a file; `self.path` is what errors call them.
    pub fn records_from(&self, bytes: impl std::io::Read + Send + 'static) -> Records {
        Records::of_bytes(&self.path, self.format, self.options.clone(), bytes)
    }
}

/// The labels that are known, in the order of a head's outputs.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Labels {
    /// Labels in their order.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        let places = names.iter().cloned().zip(0..).collect();
        Self { names, places }
    }

    /// The place of a label.
    pub fn index_of(&self, label: &str) -> Option<usize> {
        self.places.get(label).copied()
    }

    /// The labels, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The labels that read most like one that is not there.
    pub(super) fn nearest(&self, label: &str) -> Vec<String> {
        const MOST: usize = 3;
        let mut ranked: Vec<_> = self.names.iter().map(|name| (distance(label, name), name)).collect();
        ranked.sort();
        ranked.into_iter().take(MOST).map(|(_, name)| name.clone()).collect()
    }
}

/// Letters to change, add or take away between two labels (Levenshtein), capitals not counted. Long ones are compared by
/// their beginning.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let letters = |text: &str| text.chars().take(LONGEST).flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (a, b) = (letters(a), letters(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}
