//! What an OCI registry can do wrong or refuse, as facts; what to do about it is [`OciError::hint`].

use std::io;

use super::credentials::{HOST, PASSWORD, USERNAME};
use crate::error::Error;
use crate::name::PackageName;

/// What could not be done in an OCI registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// An address is not one that an OCI registry can have.
    #[error("Could not use `{address}` as an OCI registry: {problem}")]
    Address {
        /// What follows `oci://`.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A package's name is not one that OCI registries allow.
    #[error("Could not name `{name}` in an OCI registry: `{repository}` breaks its rules for repositories")]
    Repository {
        /// The package.
        name: PackageName,
        /// The repository that it would be.
        repository: String,
    },
    /// The host does not answer.
    #[error("Could not reach `{host}`")]
    Unreachable {
        /// The host, with its port.
        host: String,
        /// What the network said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The host answers, but not in a way that can be trusted.
    #[error("Could not trust `{host}`: no TLS connection came about")]
    Untrusted {
        /// The host, with its port.
        host: String,
        /// What the handshake said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The host stopped answering.
    #[error("Could not go on with `{host}`: it was silent for {seconds} seconds")]
    Silent {
        /// The host, with its port.
        host: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The host answers, but is no OCI registry.
    #[error("Could not find an OCI registry at `{host}`: `/v2/` answered {found}")]
    NotARegistry {
        /// The host, with its port.
        host: String,
        /// The status or the kind of document.
        found: String,
    },
    /// The registry wants other credentials, or does not allow this to anybody.
    #[error("Could not {action} `{location}`: {} ({status})", denied(.username.as_deref()))]
    Denied {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        location: String,
        /// The registry's host, with its port.
        host: String,
        /// Who asked; none when no credentials are known.
        username: Option<String>,
        /// 401 or 403.
        status: u16,
    },
    /// The registry refuses a request.
    #[error("Could not {action} `{location}`: the registry answered {status}{}", said(.message))]
    Refused {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        location: String,
        /// The HTTP status.
        status: u16,
        /// What the registry says about it, shortened; empty when it says nothing.
        message: String,
    },
    /// The registry's answer breaks the rules of its protocol, or something else than ours is in a release's place.
    #[error("Could not accept `{location}`: {problem}")]
    Answer {
        /// What was asked for.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A list of names does not end.
    #[error("Could not list `{location}`: it has more than {limit} names")]
    Endless {
        /// What was listed.
        location: String,
        /// The most that is read.
        limit: usize,
    },
    /// A file of credentials cannot be used.
    #[error("Could not read credentials for `{host}` from `{file}`: {problem}")]
    Credentials {
        /// The registry's host, with its port.
        host: String,
        /// The file or helper.
        file: String,
        /// What is wrong.
        problem: String,
    },
}

impl From<OciError> for Error {
    fn from(error: OciError) -> Self {
        Self::Oci(Box::new(error))
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(", \"{message}\"") }
}

fn denied(username: Option<&str>) -> String {
    username.map_or_else(|| "the registry asks for a login".to_owned(), |name| format!("`{name}` may not"))
}

/// The root of a host's API, for people to try.
fn api(host: &str) -> String {
    let scheme = if super::address::is_loopback(host) { "http" } else { "https" };
    format!("{scheme}://{host}/v2/")
}

impl OciError {
    /// What to do about it, ending in something to type; none where nothing in general helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Address { .. } => "write host, port and path: `oci://registry.example.com/acme/models`".to_owned(),
            Self::Repository { .. } => {
                "letters and digits with one `.`, one or two `_`, or any `-` between: choose another `name = \"…\"`"
                    .to_owned()
            }
            Self::Unreachable { host, .. } | Self::Silent { host, .. } => {
                format!("see whether it answers: `curl -sSI {}`", api(host))
            }
            Self::Untrusted { host, .. } => {
                format!("if it speaks plain HTTP and that is meant: `export {}={host}`", super::address::INSECURE)
            }
            Self::NotARegistry { host, .. } => format!("see what is there: `curl -sSi {}`", api(host)),
            Self::Denied { host, username: None, .. } => format!(
                "log in with `docker login {host}`, or without Docker: \
                 `export {HOST}={host} {USERNAME}=NAME {PASSWORD}=SECRET`"
            ),
            Self::Denied { host, .. } => {
                format!("ask its operator for the right, or log in as somebody else: `docker login {host}`")
            }
            Self::Credentials { host, .. } => format!("log in anew: `docker login {host}`"),
            _ => return None,
        })
    }

    /// The error of a stream that was waited for in vain.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, self)
    }
}
