//! What can go wrong with secret keys, and what to type then.

use crate::error::list;
use std::path::PathBuf;

/// Why a key cannot be made, found or used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum Error {
    #[error("Could not make a key: {problem}")]
    Generate { problem: String },
    #[error("Could not make the key `{name}`: `{}` is there already", path.display())]
    Taken { name: String, path: PathBuf },
    #[error("Could not find the key `{name}` in `{}`, which has {}", folder.display(), list(known))]
    Unknown { name: String, folder: PathBuf, known: Vec<String> },
    #[error("Could not use the secret key `{file}`: {problem}")]
    Malformed { file: String, problem: &'static str },
    #[error("Could not open the secret key `{file}`: the password is another")]
    Password { file: String },
    #[error("Could not ask for a password: there is no terminal to ask at")]
    NoTerminal {
        #[source]
        source: std::io::Error,
    },
    #[error("Could not make a key: the two passwords differ")]
    Differ,
    #[error("Could not make a key: the password is empty")]
    Empty,
    #[error("Could not {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What to type next, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Generate { .. } | Self::Io { .. } => return None,
            Self::Taken { .. } => "a key is never replaced; choose another name: `kadapter key new OTHER`".to_owned(),
            Self::Unknown { name, .. } => format!("make it: `kadapter key new {name}`"),
            Self::Malformed { .. } => {
                "name a secret key of `kadapter key new` or `minisign -G`: `--key NAME`".to_owned()
            }
            Self::Password { .. } => "try again, without `KADAPTER_KEY_PASSWORD` to be asked: \
                                      `unset KADAPTER_KEY_PASSWORD`"
                .to_owned(),
            Self::NoTerminal { .. } => {
                "give the password in the environment, `KADAPTER_KEY_PASSWORD=…`, or make a key without one: \
                 `kadapter key new NAME --no-password`"
                    .to_owned()
            }
            Self::Differ => "try again: `kadapter key new NAME`".to_owned(),
            Self::Empty => "that is said by a flag: `kadapter key new NAME --no-password`".to_owned(),
        })
    }
}
