//! What goes wrong with S3-compatible stores, as facts and with cures.

use std::error::Error as StdError;
use std::io;

use crate::error::Error;

/// What could not be done in an S3-compatible store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    /// The environment says something that makes no sense.
    #[error("Could not open `{location}`: {problem}")]
    Setting {
        /// The registry.
        location: String,
        /// What is wrong.
        problem: String,
        /// What to type.
        cure: &'static str,
    },
    /// There is no such bucket.
    #[error("Could not find the bucket `{bucket}` at `{endpoint}`")]
    NoBucket {
        /// The bucket.
        bucket: String,
        /// The server.
        endpoint: String,
    },
    /// The environment has no credentials, and no role of a machine was found either.
    #[error("Could not {action} `{location}`: there are no credentials in the environment")]
    NoCredentials {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        location: String,
        /// Why no role was found.
        #[source]
        source: io::Error,
    },
    /// The server does not let these credentials do it.
    #[error("Could not {action} `{location}`: the server refused, {answer}")]
    Denied {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        location: String,
        /// What the server said.
        answer: String,
    },
    /// The server cannot be spoken to, or says what no server should.
    #[error("Could not {action} `{location}` at `{endpoint}`")]
    Unreachable {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        location: String,
        /// The server.
        endpoint: String,
        /// What went wrong on the way.
        #[source]
        source: io::Error,
    },
    /// The server answered with something else.
    #[error("Could not {action} `{location}`: {answer}")]
    Answer {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        location: String,
        /// What the server said.
        answer: String,
    },
    /// A listing is longer than anything sensible.
    #[error("Could not list `{location}`: it has more than {limit} objects")]
    TooMany {
        /// What was listed.
        location: String,
        /// The most that is read.
        limit: usize,
    },
    /// The server writes over what is there although it is told not to.
    #[error(
        "Could not publish to `{location}`: its server ignores `If-None-Match`, so one publisher could replace another's release"
    )]
    Unconditional {
        /// The registry.
        location: String,
    },
    /// The server does not let content count as just written that a publisher has found.
    #[error(
        "Could not collect garbage in `{location}`: its server does not make an object younger that is copied onto itself, so \
         content could be removed that a publisher has just found"
    )]
    NotFreshened {
        /// The registry.
        location: String,
    },
}

impl S3Error {
    /// What to do about it, ending in something to type; none where nothing in general helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Setting { cure, .. } => (*cure).to_owned(),
            Self::NoBucket { bucket, .. } => format!(
                "make it with the tools of whoever runs the server, or name that server: `aws s3 mb s3://{bucket}`, \
                 `export AWS_ENDPOINT_URL=https://HOST`"
            ),
            Self::NoCredentials { .. } => {
                "set them, or read a public bucket without: `export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…`, \
                 `export AWS_SKIP_SIGNATURE=true`"
                    .to_owned()
            }
            Self::Denied { .. } => {
                "reading needs `s3:ListBucket` and `s3:GetObject`, publishing `s3:PutObject` as well; see \
                 whose credentials are used: `env | grep AWS_`"
                    .to_owned()
            }
            Self::Unreachable { .. } => {
                "see that this is the server and that it is up, or name another: `export AWS_ENDPOINT_URL=https://HOST`"
                    .to_owned()
            }
            Self::Unconditional { location } => format!(
                "keep the registry in a directory or in a store that knows conditional writes (AWS, MinIO, SeaweedFS, R2); see \
                 all that is wrong: `kadapter doctor --registry {location}`"
            ),
            Self::NotFreshened { location } => format!(
                "collect by mirroring what is used into another registry: `kadapter mirror --from {location} --to REGISTRY`"
            ),
            Self::Answer { .. } | Self::TooMany { .. } => return None,
        })
    }
}

impl From<S3Error> for Error {
    fn from(error: S3Error) -> Self {
        Self::S3(Box::new(error))
    }
}

/// The text of the last cause, which tells most: the layers above repeat it.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let text = last(error).to_string();
    let plain = text.strip_prefix("Server returned non-2xx status code: ").unwrap_or(&text);
    plain.trim().trim_end_matches(['.', ':']).to_owned()
}

fn last<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last
}

/// Finds a cause of a type.
pub(super) fn cause_of<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Tells whether something was not found because its bucket does not exist.
pub(super) fn is_no_bucket(error: &(dyn StdError + 'static)) -> bool {
    innermost(error).contains("NoSuchBucket")
}
