//! What can go wrong with an import, as facts; what to do about it is [`Error::hint`].

use std::fmt;
use std::path::PathBuf;

use kadapter_registry::tensors::TensorsError;

use super::torch;
use crate::stage::StageError;
use crate::weights;

/// Names that a message lists before it counts the rest.
const LISTED: usize = 6;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("Could not {action} `{}`", .path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The place of the package is taken.
    #[error("`{}` exists already", .path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// A PyTorch file that is not read.
    #[error("Could not read the PyTorch file `{}`", .path.display())]
    Torch {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: torch::Error,
    },
    /// A safetensors file that is not read.
    #[error("Could not read the safetensors file `{}`", .path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TensorsError,
    },
    /// Values that are not weights, or a file that could not be written.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// A package that breaks a rule.
    #[error(transparent)]
    Package(Box<kadapter_registry::Error>),
    /// A file that is needed is not there.
    #[error("`{}` has none of {}", .directory.display(), list(.wanted))]
    NoFile {
        /// Where it should be.
        directory: PathBuf,
        /// Names that would do.
        wanted: Vec<String>,
    },
    /// Weights in several files.
    #[error("`{}` spreads the weights over several files", .path.display())]
    Sharded {
        /// The index file.
        path: PathBuf,
    },
    /// A file that should be small.
    #[error("`{}` has {found} bytes, expected at most {limit}", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A file that is not JSON of the expected form.
    #[error("Could not understand `{}`", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A setting that this program does not compute.
    #[error("`{}` has `{field}` {found}, expected {expected}", .path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The setting.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// Tensors that are not those of the network.
    #[error("The tensors of `{}` are not those of {what}: {}", .path.display(), Differences { missing, unexpected, shapes })]
    Tensors {
        /// The file.
        path: PathBuf,
        /// The network.
        what: String,
        /// Tensors that should be there.
        missing: Vec<String>,
        /// Tensors that should not.
        unexpected: Vec<String>,
        /// Tensors of another shape.
        shapes: Vec<ShapeDifference>,
    },
    /// Two tensors of a file have the same meaning.
    #[error("`{}` has both `{first}` and `{second}`, which are one tensor", .path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A tokenizer that does not fit.
    #[error("The tokenizer of `{}` {problem}", .directory.display())]
    Tokenizer {
        /// The folder.
        directory: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// An option with a value that cannot be.
    #[error("`{option}` is `{found}`, expected {expected}")]
    Option {
        /// The option as it is typed.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        expected: String,
    },
}

impl From<StageError> for Error {
    fn from(source: StageError) -> Self {
        match source {
            StageError::Exists { path } => Self::Exists { path },
            StageError::Io { action, path, source } => Self::Io { action, path, source },
        }
    }
}

impl From<kadapter_registry::Error> for Error {
    fn from(source: kadapter_registry::Error) -> Self {
        Self::Package(Box::new(source))
    }
}

/// A tensor with another shape than the network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeDifference {
    /// The tensor.
    pub name: String,
    /// The network's shape.
    pub expected: Vec<usize>,
    /// The file's shape.
    pub found: Vec<usize>,
}

impl fmt::Display for ShapeDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` is {:?} instead of {:?}", self.name, self.found, self.expected)
    }
}

/// The three kinds of difference in one sentence.
struct Differences<'a> {
    missing: &'a [String],
    unexpected: &'a [String],
    shapes: &'a [ShapeDifference],
}

impl fmt::Display for Differences<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("{} missing ({})", self.missing.len(), list(self.missing)));
        }
        if !self.unexpected.is_empty() {
            parts.push(format!("{} unexpected ({})", self.unexpected.len(), list(self.unexpected)));
        }
        if !self.shapes.is_empty() {
            let shapes: Vec<String> = self.shapes.iter().map(ShapeDifference::to_string).collect();
            parts.push(format!("{} of another shape ({})", self.shapes.len(), shorten(&shapes)));
        }
        formatter.write_str(&parts.join(", "))
    }
}

/// Names in backticks, the first few.
fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    shorten(&quoted)
}

fn shorten(items: &[String]) -> String {
    match items.len().checked_sub(LISTED) {
        None | Some(0) => items.join(", "),
        Some(more) => format!("{} and {more} more", items[..LISTED].join(", ")),
    }
}

impl Error {
    /// What a person can do about it; ends in something to type.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Torch { source, .. } => source.hint(),
            Self::Weights(weights::Error::NotFinite { .. }) => {
                Some("the checkpoint is broken: import one that was saved before training diverged".to_owned())
            }
            Self::Weights(source) => source.hint(),
            Self::Package(source) => source.hint(),
            Self::Exists { path } => Some(format!("choose another place, or `rm -r {}` first", path.display())),
            Self::NoFile { .. } => Some(
                "download the whole folder of the model: `config.json`, `model.safetensors` and `tokenizer.json`".to_owned(),
            ),
            Self::Sharded { path } => Some(format!(
                "save it in one file first, in Python: \
                 `AutoModel.from_pretrained(\"{}\").save_pretrained(\"one-file\", max_shard_size=\"100GB\")`",
                path.parent().unwrap_or(path).display()
            )),
            Self::Safetensors { .. } => {
                Some("the file is damaged: download it again and compare with `sha256sum FILE`".to_owned())
            }
            Self::Tensors { .. } => Some(
                "if the tensors are there under a common prefix, name it: `--prefix fac_adapter.`; otherwise the file belongs \
                 to another configuration"
                    .to_owned(),
            ),
            Self::Io { .. }
            | Self::TooLong { .. }
            | Self::Json { .. }
            | Self::Setting { .. }
            | Self::Twice { .. }
            | Self::Tokenizer { .. }
            | Self::Option { .. } => None,
        }
    }
}
