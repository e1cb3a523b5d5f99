//! Why labelled data cannot be read, with what to type next.

use super::{Format, Place};
use std::path::PathBuf;
use thiserror::Error as ThisError;

/// An error of a file of labelled data.
#[derive(Debug, ThisError)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum Error {
    #[error("no format is named `{found}`, expected one of {}", formats())]
    FormatUnknown { found: String },
    #[error("Could not tell the format of `{}`: {found}", path.display())]
    FormatUnclear { path: PathBuf, found: &'static str },
    #[error("Could not open `{}`", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("Could not read on after line {line} of `{}`", path.display())]
    Read {
        path: PathBuf,
        line: u64,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` is empty, expected at least one record of format `{format}`", path.display())]
    Empty { path: PathBuf, format: Format },
    #[error("{at}: {bytes} bytes, expected a record of at most {limit}")]
    TooLarge { at: Place, bytes: u64, limit: usize },
    #[error("{at}: byte {byte} of the record is not UTF-8, expected text in UTF-8")]
    NotUtf8 { at: Place, byte: usize },
    #[error("{at}: Could not read the JSON of a record of format `{format}`")]
    NotJson {
        at: Place,
        format: Format,
        #[source]
        source: serde_json::Error,
    },
    #[error("{at}: found {found}, expected {expected} (format `{format}`)")]
    Structure { at: Place, format: Format, found: String, expected: &'static str },
    #[error("{at}: field `{field}` is missing, expected {expected} (format `{format}`)")]
    FieldMissing { at: Place, format: Format, field: &'static str, expected: &'static str },
    #[error("{at}: field `{field}` is {found}, expected {expected} (format `{format}`)")]
    FieldType { at: Place, format: Format, field: String, found: String, expected: &'static str },
    #[error(
        "{at}: `{field}` ends at {end} of {length} {unit}, expected a stretch that begins before it ends and lies in them (format `{format}`)"
    )]
    Outside { at: Place, format: Format, field: &'static str, end: usize, length: usize, unit: &'static str },
    #[error("{at}: label `{label}` is unknown, expected one of {known} labels{}", nearest_of(nearest))]
    LabelUnknown { at: Place, label: String, known: usize, nearest: Vec<String> },
    #[error("a share of {found} was asked for, expected a number from 0 to 1")]
    Share { found: f64 },
    #[error("a slice from {from} to {to} was asked for, expected two numbers from 0 to 1, the lower one first")]
    Slice { from: f64, to: f64 },
    #[error("{found} folds were asked for, expected at least 2")]
    Folds { found: usize },
}

impl Error {
    /// What to type next, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::FormatUnknown { .. } => "let the file tell its format, or name one of these with `--format`".into(),
            Self::FormatUnclear { .. } => format!("name it with `--format`, one of {}", formats()),
            Self::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "correct the path; those in a recipe are relative to the recipe's folder".into()
            }
            Self::Open { .. } | Self::Share { .. } | Self::Slice { .. } | Self::Folds { .. } => return None,
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::OutOfMemory => {
                "compress it anew with `xz -9` or less: larger dictionaries are not read".into()
            }
            Self::Read { .. } => {
                "a compressed file may be cut short or damaged: fetch it anew, or try `xz -t`, `gzip -t`".into()
            }
            Self::Empty { format, .. } => format!("a record of format `{format}`: {}", format.example()),
            Self::TooLarge { .. } => "write one record per line, and shorten it".into(),
            Self::NotUtf8 { .. } => "convert it: `iconv -f LATIN1 -t UTF-8 FILE`".into(),
            Self::NotJson { format, .. }
            | Self::Structure { format, .. }
            | Self::FieldMissing { format, .. }
            | Self::FieldType { format, .. }
            | Self::Outside { format, .. } => {
                format!("a record of format `{format}`: {}; or name another with `--format`", format.example())
            }
            Self::LabelUnknown { .. } => {
                "compare the labels with those of the head: `kadapter info NS/NAME`, or leave such records out with \
                 `--skip-bad`"
                    .into()
            }
        })
    }
}

fn formats() -> String {
    Format::ALL.map(|format| format!("`{format}`")).join(", ")
}

fn nearest_of(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    let nearest: Vec<_> = nearest.iter().map(|label| format!("`{label}`")).collect();
    format!(", nearest {}", nearest.join(", "))
}
