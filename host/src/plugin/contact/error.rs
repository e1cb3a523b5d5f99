//! Why a plugin is not met, or not opened again.

use super::When;
use crate::plugin::ProbeError;
use kadapter_registry::Digest;
use std::path::PathBuf;
use thiserror::Error;

/// A plugin that crashed on first contact, or a memory that cannot be used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum ContactError {
    #[error("plugin `{plugin}` crashed when a child process tried it out: {death}")]
    Crashed { plugin: String, digest: Digest, death: String },
    #[error("plugin `{plugin}` is not opened: it crashed when it was tried out on {when}: {death}")]
    Refused { plugin: String, digest: Digest, when: When, death: String },
    #[error("Could not understand what is remembered of plugin {digest} in `{}`: {reason}", path.display())]
    Broken { digest: Digest, path: PathBuf, reason: String },
    #[error("Could not {action} what is remembered of plugins in `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

impl ContactError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Crashed { digest, .. } => format!(
                "it was not opened here, and will be refused from now on; take it out of kadapter.toml, or have it tried out again: \
                 `kadapter plugin forget {digest}`"
            ),
            Self::Refused { digest, .. } => {
                format!("take it out of kadapter.toml, or have it tried out again: `kadapter plugin forget {digest}`")
            }
            Self::Broken { digest, .. } => format!("have it tried out again: `kadapter plugin forget {digest}`"),
            Self::Io { .. } => "name a folder that you may write to: `export KADAPTER_HOME=/path/to/folder`".into(),
            Self::Probe(error) => error.hint(),
        })
    }
}
