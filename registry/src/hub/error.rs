//! What can go wrong with the Hub, as facts; what to do about it is [`HubError::hint`].

use crate::error::Error;

/// Why the Hub was of no use. `what` is what was asked for, with its names in backticks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The network must not be used.
    #[error("Could not ask `{endpoint}` for {what}: `HF_HUB_OFFLINE` is set")]
    Offline {
        /// The Hub.
        endpoint: String,
        /// What was asked for.
        what: String,
    },
    /// No answer came, or it broke off.
    #[error("Could not ask `{endpoint}` for {what}")]
    Unreachable {
        /// The Hub.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is not there, or is not shown to whoever asks.
    #[error("Could not find {what} on `{endpoint}`")]
    Absent {
        /// The Hub.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// Whoever asks may not have it or do it.
    #[error("Could not get {what}: `{endpoint}` refuses it with status {status}")]
    Refused {
        /// The Hub.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent.
        with_token: bool,
        /// Whether it is given only to those who accept conditions.
        gated: bool,
    },
    /// The server could not or would not.
    #[error("Could not get {what}: `{endpoint}` answers with status {status}{}", .message.as_ref().map(|text| format!(", `{text}`")).unwrap_or_default())]
    Status {
        /// The Hub.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
        /// What it says about it, shortened.
        message: Option<String>,
    },
    /// An answer that cannot be used.
    #[error("Could not accept what `{endpoint}` answers for {what}: {problem}")]
    Answer {
        /// The Hub.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// A variable of the environment has a value that cannot be.
    #[error("Could not use `{variable}`: {problem}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Others kept changing a repository.
    #[error("Could not change `{repository}` on `{endpoint}`: others changed it each of {tries} times")]
    Busy {
        /// The Hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// How often it was tried.
        tries: usize,
    },
    /// What cannot hold a release, or be one, on the Hub.
    #[error("Could not use `{what}` for a release on the Hub: {problem}")]
    Unfit {
        /// A package, a release, its file, or a repository.
        what: String,
        /// Why not.
        problem: String,
    },
}

impl From<HubError> for Error {
    fn from(problem: HubError) -> Self {
        Self::Hub(Box::new(problem))
    }
}

impl HubError {
    /// What to do about it, ending in something to type; none where nothing in general helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Offline { .. } => {
                "allow the network: `unset HF_HUB_OFFLINE`; what was fetched before is used without it when the commit is \
                 named: `hf:OWNER/NAME@COMMIT`"
                    .to_owned()
            }
            Self::Unreachable { endpoint, .. } => format!("see whether it answers: `curl -I {endpoint}`"),
            Self::Absent { endpoint, with_token: false, .. } => format!(
                "compare the name with the page's address; what is private needs a token from {endpoint}/settings/tokens: \
                 `export HF_TOKEN=hf_…`"
            ),
            Self::Absent { .. } => {
                "compare the name with the page's address, and see whose token it is: `hf auth whoami`".to_owned()
            }
            Self::Refused { endpoint, with_token: false, gated, .. } => format!(
                "{}make a token at {endpoint}/settings/tokens and set it: `export HF_TOKEN=hf_…`",
                if *gated { "accept its conditions on its page, then " } else { "" }
            ),
            Self::Refused { gated: true, .. } => {
                "accept its conditions on its page, as the user of your token: `hf auth whoami`".to_owned()
            }
            Self::Refused { endpoint, .. } => format!(
                "the token may not do this; make one that may at {endpoint}/settings/tokens: `export HF_TOKEN=hf_…`"
            ),
            Self::Setting { variable, .. } => format!("set it anew or remove it: `unset {variable}`"),
            Self::Status { status: 429, .. } => "it is asked too often; wait, or ask with a token: `export HF_TOKEN=hf_…`".to_owned(),
            Self::Status { .. } | Self::Answer { .. } | Self::Busy { .. } | Self::Unfit { .. } => return None,
        })
    }
}
