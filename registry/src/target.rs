//! Target triples: which system a plugin library is for.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::text::{serde_as_string, shorten};

/// The longest triple, in bytes.
const MAX_TARGET: usize = 64;

/// A target triple such as `x86_64-unknown-linux-gnu`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(Box<str>);

impl Target {
    /// The triple that this program was built for, so the one whose plugins it can load.
    #[must_use]
    pub fn host() -> Self {
        Self(env!("KADAPTER_TARGET").into())
    }

    /// The triple as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Name { what: "target triple", value: shorten(text), problem };
        if text.len() > MAX_TARGET {
            return Err(refuse("it is longer than 64 characters"));
        }
        let parts: Vec<&str> = text.split('-').collect();
        let plain = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'))
                && !part.starts_with('.')
        };
        if !(2..=5).contains(&parts.len()) || !parts.iter().all(plain) {
            return Err(refuse("it must look like `x86_64-unknown-linux-gnu`"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

serde_as_string!(Target, "target triple");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_a_triple() {
        let host = Target::host();
        assert_eq!(host.as_str().parse::<Target>().unwrap(), host);
        assert!(host.as_str().starts_with(std::env::consts::ARCH));
    }
}
