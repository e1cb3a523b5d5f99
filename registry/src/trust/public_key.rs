//! Public keys, as the `minisign` command prints them.

use std::fmt;
use std::str::FromStr;

use ct_codecs::{Base64, Decoder, Encoder};

use super::signature::Signature;
use crate::error::Error;
use crate::key::KeyId;
use crate::text::{serde_as_string, shorten};

/// What stands before the key itself in a `.pub` file.
const COMMENT: &str = "untrusted comment: ";
/// Algorithm, id and key, in bytes.
const LENGTH: usize = 42;

/// A public key: 56 characters of base64, or a `.pub` file that has them in its second line.
#[derive(Clone)]
pub struct PublicKey {
    text: Box<str>,
    id: KeyId,
    key: minisign_verify::PublicKey,
}

impl PublicKey {
    /// The key's id, which its signatures name.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Tells whether a signature is by this key and of these bytes.
    #[must_use]
    pub fn has_signed(&self, bytes: &[u8], signature: &Signature) -> bool {
        // Signatures of the bytes themselves instead of their hash are of minisign before 0.10 and refused.
        self.key.verify(bytes, signature.inner(), false).is_ok()
    }

    /// The key as a `.pub` file.
    #[must_use]
    pub fn to_file(&self) -> String {
        format!("{COMMENT}minisign public key {}\n{self}\n", self.id)
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Name { what: "public key", value: shorten(text.trim()), problem };
        let mut lines = text.trim().lines().map(str::trim);
        let line = match (lines.next(), lines.next(), lines.next()) {
            (Some(line), None, None) => line,
            (Some(comment), Some(line), None) if comment.starts_with(COMMENT) => line,
            _ => return Err(refuse("it must be one line, or a comment and a line, as minisign writes `.pub` files")),
        };
        let bytes = decode::<LENGTH>(line).ok_or_else(|| refuse("it must be 56 characters of base64"))?;
        let (algorithm, id) = (&bytes[..2], id_of(&bytes));
        if algorithm != b"Ed" {
            return Err(refuse("it is not of the algorithm that minisign uses"));
        }
        let key = minisign_verify::PublicKey::from_base64(line);
        let key = key.map_err(|_| refuse("it must be 56 characters of base64"))?;
        Ok(Self { text: line.into(), id, key })
    }
}

/// Decodes base64 of exactly `N` bytes in its only spelling.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let decoded = Base64::decode(&mut bytes, text.as_bytes(), None).ok()?;
    if decoded.len() != N || Base64::encode_to_string(decoded).ok()? != text {
        return None;
    }
    Some(bytes)
}

/// The id in a key or signature: the eight bytes behind the algorithm's two.
pub(super) fn id_of<const N: usize>(bytes: &[u8; N]) -> KeyId {
    let mut id = [0; 8];
    for (to, from) in id.iter_mut().zip(&bytes[2..]) {
        *to = *from;
    }
    KeyId::from_bytes(id)
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PublicKey {}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, formatter)
    }
}

serde_as_string!(PublicKey, "public key as minisign prints it");
