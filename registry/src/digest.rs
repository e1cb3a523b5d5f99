//! SHA-256 digests: their text form, and hashing of whatever is read.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::text::{serde_as_string, shorten};

/// The buffer that streams are hashed through, in bytes: large enough that system calls do not show.
pub(crate) const BUFFER: usize = 256 * 1024;

const PREFIX: &str = "sha256:";

/// The SHA-256 digest of some bytes, written `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes bytes that are in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Hashes a stream to its end and counts it.
    ///
    /// # Errors
    /// The stream's own.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::new();
        crate::copy::pipe(&mut reader, |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        Ok(hasher.finish())
    }

    /// Wraps a digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits, without the `sha256:` before them.
    #[must_use]
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
    }

    /// The first twelve hex digits, for messages that compare two digests.
    #[must_use]
    pub fn short(&self) -> String {
        let mut short = self.hex();
        short.truncate(12);
        short
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Name { what: "digest", value: shorten(text), problem };
        let hex = text.strip_prefix(PREFIX).ok_or_else(|| refuse("it must start with `sha256:`"))?.as_bytes();
        if hex.len() != 64 {
            return Err(refuse("64 hex digits must follow `sha256:`"));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            for digit in pair {
                let nibble = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(refuse("only the hex digits 0-9 and a-f may follow `sha256:`")),
                };
                *byte = *byte << 4 | nibble;
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

serde_as_string!(Digest, "digest `sha256:<64 hex digits>`");

/// Hashes and counts bytes as they come.
#[derive(Debug, Clone, Default)]
pub struct Hasher {
    sha256: Sha256,
    count: u64,
}

impl Hasher {
    /// Starts with nothing hashed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.count += bytes.len() as u64;
    }

    /// Ends, with the digest and the number of bytes.
    #[must_use]
    pub fn finish(self) -> (Digest, u64) {
        (Digest(self.sha256.finalize().into()), self.count)
    }
}

/// Passes a stream on while hashing it, and fails instead of ending when size or digest are not as expected.
///
/// Whoever copies from it to its end has verified content; whoever gets an error discards what was copied. It never
/// reads more than one byte past the expected size, so an endless stream ends here.
#[derive(Debug)]
pub struct Verifying<R> {
    inner: R,
    hasher: Option<Hasher>,
    digest: Digest,
    size: u64,
    difference: Option<Difference>,
}

impl<R: Read> Verifying<R> {
    /// Expects `inner` to be `size` bytes with the given digest.
    pub fn new(inner: R, digest: Digest, size: u64) -> Self {
        Self { inner, hasher: Some(Hasher::new()), digest, size, difference: None }
    }

    /// What was found to be different, once reading has failed for that reason.
    pub fn difference(&self) -> Option<Difference> {
        self.difference
    }

    fn fail(&mut self, difference: Difference) -> io::Result<usize> {
        self.difference = Some(difference);
        Err(io::Error::new(io::ErrorKind::InvalidData, difference))
    }
}

/// What [`Verifying`] found to be different; the cause inside its `io::Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The stream ended early or went on.
    #[error("expected {expected} bytes, found {}{found}", if *.found > *.expected { "at least " } else { "" })]
    Size {
        /// Bytes that were promised.
        expected: u64,
        /// Bytes that came, at most one more than promised.
        found: u64,
    },
    /// The right number of bytes came, but other ones.
    #[error("expected `{expected}`, found `{found}`")]
    Digest {
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
}

impl Difference {
    /// The difference that made a stream fail, where that is why.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// The difference behind an error of this crate, where a stream failed for it.
    #[must_use]
    pub fn in_error(error: &Error) -> Option<Self> {
        match error {
            Error::Io { source, .. } => Self::of(source),
            _ => None,
        }
    }
}

impl<R: Read> Read for Verifying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some(difference) = self.difference {
            return self.fail(difference);
        }
        let Some(hasher) = &mut self.hasher else { return Ok(0) };
        // One byte more than is left: enough to notice that the stream goes on.
        let left = self.size.saturating_sub(hasher.count).saturating_add(1);
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..room])?;
        hasher.update(&buffer[..count]);
        if hasher.count > self.size {
            let found = hasher.count;
            return self.fail(Difference::Size { expected: self.size, found });
        }
        if count == 0 {
            let (found, size) = self.hasher.take().unwrap_or_default().finish();
            if size != self.size {
                return self.fail(Difference::Size { expected: self.size, found: size });
            }
            if found != self.digest {
                return self.fail(Difference::Digest { expected: self.digest, found });
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_digest() {
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), expected);
        assert_eq!(Digest::of_reader(&b"abc"[..]).unwrap(), (expected.parse().unwrap(), 3));
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = Digest::of(b"abc").to_string();
        for bad in [good.to_uppercase(), good.replace("sha256:", ""), good[..70].to_owned(), format!("{good}0")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    fn copy(content: &[u8], digest: Digest, size: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Verifying::new(content, digest, size).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn verification_finds_short_long_and_other_content() {
        let digest = Digest::of(b"content");
        assert_eq!(copy(b"content", digest, 7).unwrap(), b"content");
        assert!(copy(b"conten", digest, 7).is_err());
        assert!(copy(b"contents", digest, 7).is_err());
        assert!(copy(b"contenT", digest, 7).is_err());
        assert!(copy(b"", Digest::of(b""), 0).unwrap().is_empty());
        let endless = Verifying::new(io::repeat(1), digest, 1000).read_to_end(&mut Vec::new());
        assert_eq!(endless.unwrap_err().to_string(), "expected 1000 bytes, found at least 1001");
    }
}
