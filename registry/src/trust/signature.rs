//! Signatures of releases, as the `minisign` command writes them and with no byte to spare.
//!
//! ```text
//! untrusted comment: signature from minisign secret key        not signed, so exactly this
//! RUQ…                                                         algorithm, key id, signature of the record's hash
//! trusted comment: timestamp:1700000000 …                    the release and the time; tabs between the parts
//! …                                                            signature of the signature and the trusted comment
//! ```
//!
//! `minisign` lets the first line and the spelling of base64 differ. Here they may not: then every byte of a signature
//! counts, and one that was changed anywhere is refused.

use std::fmt;

use super::public_key::{decode, id_of};
use crate::key::KeyId;

/// The first line. It is the one that `minisign -S` writes unless it is told otherwise.
const FIRST_LINE: &str = "untrusted comment: signature from minisign secret key";
/// What stands before the comment that is signed.
const TRUSTED: &str = "trusted comment: ";
/// How our own trusted comments begin; the release stands behind it.
const ABOUT: &str = "release:";

/// A well-formed signature. Whether it is one of a release, [`super::PublicKey::has_signed`] tells.
#[derive(Clone)]
pub struct Signature {
    text: Box<str>,
    key: KeyId,
    inner: minisign_verify::Signature,
}

impl Signature {
    /// Reads a signature as it lies in a registry.
    ///
    /// # Errors
    /// What is wrong with it: a sentence about `it`.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [first, signature, comment, global, ""] = lines.as_slice() else {
            return Err("it must have four lines, as minisign writes them");
        };
        if *first != FIRST_LINE {
            return Err("its first line must be `untrusted comment: signature from minisign secret key`");
        }
        let Some(comment) = comment.strip_prefix(TRUSTED) else {
            return Err("its third line must begin with `trusted comment: `");
        };
        if comment.chars().any(|character| character.is_control() && character != '\t') {
            return Err("its trusted comment has control characters");
        }
        let bytes = decode::<74>(signature).ok_or("its second line is no signature")?;
        decode::<64>(global).ok_or("its fourth line is no signature")?;
        match &bytes[..2] {
            b"ED" => {}
            b"Ed" => return Err("it is of the old kind without a hash; sign with minisign 0.10 or newer"),
            _ => return Err("it is of an unknown algorithm"),
        }
        let inner = minisign_verify::Signature::decode(text).map_err(|_| "it is not one that minisign writes")?;
        Ok(Self { text: text.into(), key: id_of(&bytes), inner })
    }

    /// Reads a file that `minisign -S` wrote, whatever its first line and its line ends, and puts it into the form that is
    /// kept.
    ///
    /// # Errors
    /// As [`Signature::decode`].
    pub fn from_file(text: &str) -> Result<Self, &'static str> {
        let rest: Vec<&str> = text.lines().skip(1).map(|line| line.trim_end_matches('\r')).collect();
        let text: String = std::iter::once(FIRST_LINE).chain(rest).flat_map(|line| [line, "\n"]).collect();
        Self::decode(text.as_bytes())
    }

    /// The id of the key that made it, by its own account.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// The text, as it is kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the signer says about what was signed; worth as much as the signature.
    #[must_use]
    pub fn comment(&self) -> &str {
        self.inner.trusted_comment()
    }

    /// The release that the comment names, when it names one.
    pub(super) fn about(&self) -> Option<&str> {
        self.comment().split('\t').find_map(|part| part.strip_prefix(ABOUT))
    }

    pub(super) fn inner(&self) -> &minisign_verify::Signature {
        &self.inner
    }
}

/// The trusted comment for a release, signed at a time in seconds since 1970.
pub(super) fn comment_for(release: &impl fmt::Display, seconds: u64) -> String {
    format!("timestamp:{seconds}\tfile:release.json\t{ABOUT}{release}\thashed")
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Signature {}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, formatter)
    }
}
