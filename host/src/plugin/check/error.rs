//! Why checks cannot begin.

use crate::plugin::{PluginError, ProbeError};
use kadapter_registry::package::Kind;
use thiserror::Error;

/// Why checks cannot begin; what they find is no error.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum CheckError {
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Package(Box<kadapter_registry::Error>),
    #[error("`{package}` is a {found}, expected a plugin or an adapter")]
    Kind { package: String, found: Kind },
    #[error("no check is named `{found}`")]
    UnknownCheck { found: String, nearest: Option<&'static str> },
    #[error("no hidden state is named to be read, expected at least one")]
    NoTaps,
    #[error("the hidden states have 0 columns, expected at least 1")]
    NoColumns,
}

impl CheckError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Plugin(PluginError::Io { .. }) => "build it with `cargo build --release`".into(),
            Self::Plugin(error) => error.hint(),
            Self::Probe(error) => error.hint(),
            Self::Package(error) => return error.hint(),
            Self::Kind { .. } => "name the folder of the plugin's package, or of an adapter's: `--package DIR`".into(),
            Self::UnknownCheck { nearest: Some(nearest), .. } => {
                format!("perhaps `{nearest}` is meant; see all with `kadapter plugin check --list`")
            }
            Self::UnknownCheck { nearest: None, .. } => "see them all with `kadapter plugin check --list`".into(),
            Self::NoTaps => "name some: `--taps 0,6,12`".into(),
            Self::NoColumns => "--hidden 64".into(),
        })
    }
}
