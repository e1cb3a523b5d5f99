//! What a check finds.

use crate::plugin::PluginError;
use serde::{Deserialize, Serialize};

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// What the check says holds.
    Success,
    /// It holds, and something is worth a look.
    Warning,
    /// It does not hold.
    Failed,
    /// The process died, or was not done in time.
    Crashed,
    /// It was not tried.
    Skipped,
}

impl Status {
    /// Its name, as people and programs read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the plugin is not as it should be.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Crashed)
    }
}

/// A status and what there is to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Finding {
    pub(super) status: Status,
    pub(super) details: Option<String>,
}

/// A finding either way: `?` ends a check early.
pub(super) type Verdict = Result<Finding, Finding>;

impl Finding {
    pub(super) fn success() -> Self {
        Self { status: Status::Success, details: None }
    }

    fn of(status: Status, details: impl Into<String>) -> Self {
        Self { status, details: Some(details.into()) }
    }

    /// Success with something to tell.
    pub(super) fn told(details: impl Into<String>) -> Self {
        Self::of(Status::Success, details)
    }

    pub(super) fn warning(details: impl Into<String>) -> Self {
        Self::of(Status::Warning, details)
    }

    pub(super) fn failed(details: impl Into<String>) -> Self {
        Self::of(Status::Failed, details)
    }

    pub(super) fn crashed(details: impl Into<String>) -> Self {
        Self::of(Status::Crashed, details)
    }

    pub(super) fn skipped(details: impl Into<String>) -> Self {
        Self::of(Status::Skipped, details)
    }
}

impl From<PluginError> for Finding {
    /// With what is behind it: a machine's own reason is nowhere else to be read.
    fn from(error: PluginError) -> Self {
        let (mut said, mut cause) = (error.to_string(), std::error::Error::source(&error));
        while let Some(error) = cause {
            if !said.ends_with(&error.to_string()) {
                said += &format!(": {error}");
            }
            cause = error.source();
        }
        Self::failed(said)
    }
}

impl From<kadapter_plugin_api::Error> for Finding {
    fn from(error: kadapter_plugin_api::Error) -> Self {
        Self::failed(error.message())
    }
}
