//! Why a backbone cannot be used.

use std::path::PathBuf;
use thiserror::Error;

/// A backbone whose configuration or weights do not fit.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum BackboneError {
    #[error("Could not read the backbone's configuration `{}`", path.display())]
    ConfigFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the backbone's configuration is not the JSON object it should be")]
    ConfigSyntax {
        #[source]
        source: serde_json::Error,
    },
    #[error("the backbone's configuration has `{field}` {found}, expected {expected}")]
    Config { field: &'static str, found: String, expected: String },
    #[error("token id {found} is not in the backbone's vocabulary of {vocabulary}")]
    Token { found: u32, vocabulary: usize },
    #[error("a segment has {found} tokens, expected at most {limit}: the backbone has no more positions")]
    TooLong { found: usize, limit: usize },
    #[error("the batch is empty in part: {reason}")]
    Segments { reason: String },
}

impl BackboneError {
    /// What to type next.
    pub fn hint(&self) -> String {
        match self {
            Self::TooLong { .. } => "pass `--truncate`, or shorten the text".into(),
            Self::Token { .. } => "use ids of the backbone's own tokenizer".into(),
            _ => {
                "import the checkpoint anew with `kadapter import backbone DIR --name NS/NAME --out PACKAGE_DIR`".into()
            }
        }
    }
}
