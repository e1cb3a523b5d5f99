//! Whoever signs: secret keys stay with the command, and this crate only asks for signatures.

use crate::error::Error;
use crate::key::KeyId;

/// The holder of a secret key.
pub trait Signer {
    /// The key's id.
    fn key(&self) -> &KeyId;

    /// Signs bytes, in the form of a `.minisig` file (prehashed) that [`crate::trust::Signature`] reads and `minisign -V`
    /// accepts.
    ///
    /// # Errors
    /// The key cannot be used.
    fn sign(&self, bytes: &[u8]) -> Result<String, Error>;

    /// Signs bytes and with them a comment of one line, which `minisign -V` shows.
    ///
    /// A holder that cannot sign comments leaves it out: signatures are verified without it.
    ///
    /// # Errors
    /// The key cannot be used.
    fn sign_with_comment(&self, bytes: &[u8], comment: &str) -> Result<String, Error> {
        let _ = comment;
        self.sign(bytes)
    }
}
