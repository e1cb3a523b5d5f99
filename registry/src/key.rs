//! Ids of signing keys.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::text::{serde_as_string, shorten};

/// The id of a signing key: 16 hex digits in capitals, as minisign prints them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// Reads the id as it lies in keys and signatures, the lowest byte first.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(format!("{:016X}", u64::from_le_bytes(bytes)).into())
    }
}

impl FromStr for KeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digit = |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
        if text.len() == 16 && text.bytes().all(digit) {
            return Ok(Self(text.into()));
        }
        let problem = "it must be 16 hex digits in capitals, as minisign prints it";
        Err(Error::Name { what: "key id", value: shorten(text), problem })
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

serde_as_string!(KeyId, "key id of 16 hex digits");
