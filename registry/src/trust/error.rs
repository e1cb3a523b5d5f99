//! What trust can refuse, with both sides, and what to type then.

use std::fmt;

use crate::error::Error;
use crate::id::PackageId;
use crate::key::KeyId;
use crate::name::Namespace;
use crate::text::list;

/// Why a release is not let in, or a `trust.toml` not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Plugins are denied.
    #[error("Could not let in the plugin `{id}`: `{file}` says `native = \"deny\"`")]
    Denied {
        /// The plugin.
        id: PackageId,
        /// The operator's file.
        file: String,
    },
    /// Nobody has signed a release that must be signed.
    #[error("Could not let in `{id}`: nobody has signed it, expected a signature by {expected}")]
    Unsigned {
        /// The release.
        id: PackageId,
        /// Whose signature would do.
        expected: Expected,
    },
    /// Only others have signed a release that must be signed.
    #[error("Could not let in `{id}`: it is signed by {}, expected a signature by {expected}", list(.found))]
    UnknownSigners {
        /// The release.
        id: PackageId,
        /// Whose signatures there are, by their own account.
        found: Vec<KeyId>,
        /// Whose signature would do.
        expected: Expected,
    },
    /// What should be a signature is none.
    #[error("Could not accept the signature `{file}` of `{id}`: {problem}")]
    Malformed {
        /// The release.
        id: PackageId,
        /// The signature.
        file: String,
        /// What is wrong: a sentence about `it`.
        problem: &'static str,
    },
    /// A signature is by another key than its name says.
    #[error("Could not accept the signature `{file}` of `{id}`: it is by `{found}`, expected one by `{expected}`")]
    OtherKey {
        /// The release.
        id: PackageId,
        /// The signature.
        file: String,
        /// Whose it is, by its own account.
        found: KeyId,
        /// Whose it should be.
        expected: KeyId,
    },
    /// A signature is of something else.
    #[error("Could not accept the signature `{file}`: it does not verify, expected one of `{id}` by `{key}`")]
    DoesNotVerify {
        /// The release.
        id: PackageId,
        /// The signature.
        file: String,
        /// The key.
        key: KeyId,
    },
    /// A signature is of another release, by its own account.
    #[error("Could not accept the signature `{file}`: it is of `{found}`, expected one of `{id}` by `{key}`")]
    OtherRelease {
        /// The release.
        id: PackageId,
        /// The signature.
        file: String,
        /// The key.
        key: KeyId,
        /// The release that its comment names.
        found: String,
    },
    /// Another key than the lock's has signed a release.
    #[error("Could not let in `{id}`: it is signed by `{found}`, the lock has the signer `{locked}`")]
    ChangedSigner {
        /// The release.
        id: PackageId,
        /// Whose signature there is and is trusted.
        found: KeyId,
        /// Whose the lock has.
        locked: KeyId,
    },
    /// The lock's signer has not signed a release.
    #[error("Could not let in `{id}`: nobody who is trusted has signed it, the lock has the signer `{locked}`")]
    LostSigner {
        /// The release.
        id: PackageId,
        /// Whose signature the lock has.
        locked: KeyId,
        /// Whether a signature is asked for in any case.
        demanded: bool,
    },
    /// The lock's signer is not trusted.
    #[error("Could not let in `{id}`: the lock has the signer `{locked}`, expected {expected}")]
    Withdrawn {
        /// The release.
        id: PackageId,
        /// Whose signature the lock has.
        locked: KeyId,
        /// Whose signature would do.
        expected: Expected,
    },
    /// A release has another signature by the same key.
    #[error("Could not sign `{id}`: it has a signature by `{key}` that is not one of it")]
    Taken {
        /// The release.
        id: PackageId,
        /// The key.
        key: KeyId,
    },
    /// A key does not sign.
    #[error("Could not sign with `{key}`: {problem}")]
    CannotSign {
        /// The key.
        key: KeyId,
        /// Why.
        problem: String,
    },
    /// A namespace has one key id twice.
    #[error("Could not accept `{file}`: it has two keys with the id `{key}` for `{namespace}`")]
    Twice {
        /// The operator's file.
        file: String,
        /// The namespace.
        namespace: Namespace,
        /// The id.
        key: KeyId,
    },
    /// A key is not there to be taken out.
    #[error("Could not find the key `{key}` in `{file}`, which has {}", list(.known))]
    NotTrusted {
        /// The operator's file.
        file: String,
        /// What was asked for.
        key: KeyId,
        /// What is there.
        known: Vec<KeyId>,
    },
    /// A person has written the keys in another way than this program does.
    #[error("Could not change `{file}`: its keys are not written as [[key]] tables")]
    HandWritten {
        /// The operator's file.
        file: String,
    },
}

/// Whose signature would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The namespace of the release.
    pub namespace: Namespace,
    /// The keys that are trusted for it.
    pub keys: Vec<KeyId>,
    /// The operator's file.
    pub file: String,
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, keys, file } = self;
        match keys.as_slice() {
            [] => write!(formatter, "a key for `{namespace}`, of which `{file}` has none"),
            [key] => write!(formatter, "`{key}`, which `{file}` has for `{namespace}`"),
            keys => write!(formatter, "one of {}, which `{file}` has for `{namespace}`", list(keys)),
        }
    }
}

impl From<TrustError> for Error {
    fn from(error: TrustError) -> Self {
        Self::Trust(Box::new(error))
    }
}

impl From<Box<TrustError>> for Error {
    fn from(error: Box<TrustError>) -> Self {
        Self::Trust(error)
    }
}

impl TrustError {
    /// What to do about it, ending in something to type; none where nothing in general helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let sign =
            |id: &PackageId| format!("`kadapter sign {}@{} --registry REGISTRY --key NAME`", id.name, id.version);
        let accept = |id: &PackageId| format!("`kadapter lock --accept-signer {}`", id.name);
        Some(match self {
            Self::Denied { file, .. } => {
                format!("let in those that are signed with the line `native = \"signed\"`: `$EDITOR {file}`")
            }
            Self::Unsigned { id, .. } => {
                format!("have its publisher sign it: {}", sign(id))
            }
            Self::UnknownSigners { id, .. } => format!(
                "get the public key from its publisher, not from the registry, and trust it: \
                 `kadapter key trust PUBLIC_KEY --namespace {}`",
                id.name.namespace()
            ),
            Self::Malformed { id, .. }
            | Self::OtherKey { id, .. }
            | Self::DoesNotVerify { id, .. }
            | Self::OtherRelease { id, .. } => format!(
                "one in the cache is replaced by `kadapter fetch`; for one in the registry tell its publisher, and see what \
                 else is signed: `kadapter info {}@{}`",
                id.name, id.version
            ),
            Self::ChangedSigner { id, .. } => {
                format!("when its publisher says that this is right, accept it: {}", accept(id))
            }
            Self::LostSigner { id, demanded: true, .. } => {
                format!("have its publisher sign it: {}", sign(id))
            }
            Self::LostSigner { id, demanded: false, .. } => {
                format!("when its publisher says that this is right, accept it: {}", accept(id))
            }
            Self::Withdrawn { id, .. } => format!(
                "trust its key again, or for the first time: `kadapter key trust PUBLIC_KEY --namespace {}`",
                id.name.namespace()
            ),
            Self::Taken { id, .. } => {
                format!(
                    "publish the next version, since notes never change; see this one's: `kadapter info {}@{}`",
                    id.name, id.version
                )
            }
            Self::CannotSign { .. } => "see which keys there are: `kadapter key list`".to_owned(),
            Self::Twice { file, .. } => format!("keep one of them: `$EDITOR {file}`"),
            Self::NotTrusted { .. } => "see which keys there are: `kadapter key list`".to_owned(),
            Self::HandWritten { file } => format!("change it by hand: `$EDITOR {file}`"),
        })
    }
}
