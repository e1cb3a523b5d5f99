//! Trust: what an operator lets in, and whose signatures count. `trust.toml` says so.
//!
//! ```toml
//! native = "signed"                # plugins, which are native code: "deny", "signed" (the default) or "any"
//! weights = "digest"               # backbones, adapters and tasks: "digest" (the default) or "signed"
//!
//! [[key]]                          # as many as there are; several of one namespace while its publisher changes keys
//! namespace = "kadapter-plugins"
//! name = "Ada's build machine"     # for people
//! public = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
//! ```
//!
//! It lies in the user's folder ([`crate::home::config`]) and is the operator's alone: no project and no registry can change
//! it, and a key is never fetched. Without it the defaults hold. What a signature must be of is in [`signature`]; when it is
//! asked for, in [`Trust::judge`]. A signature says who published a release and not that it is harmless: a plugin that is
//! let in has all the rights of whoever runs it.

mod error;
mod file;
pub(crate) mod judge;
mod public_key;
mod sign;
pub mod signature;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files;
use crate::home;
use crate::key::KeyId;
use crate::name::Namespace;
use crate::package::Kind;

pub use error::{Expected, TrustError};
pub use file::{Change, distrust, trust};
pub use judge::{Accepted, Asked, Shelf, Standing, signatures};
pub use public_key::PublicKey;
pub use sign::{attach, sign};
pub use signature::Signature;

/// The operator's file.
pub const TRUST_FILE: &str = "trust.toml";

/// What an operator lets in; the default is what holds without a `trust.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// Which plugins may run.
    pub native: Native,
    /// Which backbones, adapters and tasks may be used.
    pub weights: Weights,
    /// The keys whose signatures count, each for one namespace.
    pub keys: Vec<TrustedKey>,
    /// The file that says so, for messages; none when there is no such place.
    pub file: Option<PathBuf>,
}

/// Which plugins may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Native {
    /// None.
    Deny,
    /// Those that a trusted key has signed.
    #[default]
    Signed,
    /// All, signed or not.
    Any,
}

/// Which backbones, adapters and tasks may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// Those whose digests are the lock's.
    #[default]
    Digest,
    /// Those that a trusted key has signed.
    Signed,
}

/// A key whose signatures of one namespace's releases count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The namespace.
    pub namespace: Namespace,
    /// What people call it.
    pub name: Option<String>,
    /// The key.
    pub public: PublicKey,
}

/// What a policy asks of a kind of release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It may not be used at all.
    Denied,
    /// A signature by a trusted key.
    Signature,
    /// Nothing beyond the digest.
    Nothing,
}

impl Trust {
    /// Lets in everything, signed or not: for programs that have decided by other means what they run.
    #[must_use]
    pub fn any() -> Self {
        Self { native: Native::Any, ..Self::default() }
    }

    /// Reads the user's `trust.toml`; the defaults when there is none.
    ///
    /// # Errors
    /// As [`Trust::read`].
    pub fn of_user() -> Result<Self, Error> {
        user_file().map_or_else(|| Ok(Self::default()), |path| Self::read(&path))
    }

    /// Reads a `trust.toml`; the defaults when there is no such file.
    ///
    /// # Errors
    /// It cannot be read, is malformed, or has a key twice.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let there = path.try_exists().map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
        let text = if there { files::read_text(path, file::MAX_TRUST)? } else { String::new() };
        let trust = Self::from_toml(&path.display().to_string(), &text)?;
        Ok(Self { file: Some(path.to_path_buf()), ..trust })
    }

    /// The keys that count for a namespace, in the file's order.
    pub fn keys_of<'a>(&'a self, namespace: &'a Namespace) -> impl Iterator<Item = &'a TrustedKey> {
        self.keys.iter().filter(move |key| key.namespace == *namespace)
    }

    /// The trusted key of a namespace with this id.
    #[must_use]
    pub fn key<'a>(&'a self, namespace: &'a Namespace, id: &KeyId) -> Option<&'a TrustedKey> {
        self.keys_of(namespace).find(|key| key.public.id() == id)
    }

    /// Tells whether a trusted key of the namespace has signed these bytes: for yanks and other notes that carry a signature.
    #[must_use]
    pub fn has_signed(&self, namespace: &Namespace, bytes: &[u8], signature: &str) -> bool {
        let Ok(signature) = Signature::decode(signature.as_bytes()) else { return false };
        self.key(namespace, signature.key()).is_some_and(|key| key.public.has_signed(bytes, &signature))
    }

    pub(crate) fn demand(&self, kind: Kind) -> Demand {
        match (kind, self.native, self.weights) {
            (Kind::Plugin, Native::Deny, _) => Demand::Denied,
            (Kind::Plugin, Native::Signed, _) => Demand::Signature,
            (Kind::Plugin, Native::Any, _) => Demand::Nothing,
            (_, _, Weights::Signed) => Demand::Signature,
            (_, _, Weights::Digest) => Demand::Nothing,
        }
    }

    /// The file for messages.
    fn file_name(&self) -> String {
        self.file.as_ref().map_or_else(|| TRUST_FILE.to_owned(), |file| file.display().to_string())
    }
}

/// Where the user's `trust.toml` is or would be; none where the environment names no home.
#[must_use]
pub fn user_file() -> Option<PathBuf> {
    home::config().map(|folder| folder.join(TRUST_FILE))
}
