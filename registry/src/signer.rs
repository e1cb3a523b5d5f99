//! Whoever signs: secret keys stay with the command, and this crate only asks for signatures.

use crate::error::Error;
use crate::key::KeyId;

/// The holder of a secret key.
pub trait Signer {
    /// The key's id.
    fn key(&self) -> &KeyId;

    /// Signs bytes, in the form of a `.minisig` file (prehashed), which `minisign -V` accepts.
    ///
    /// # Errors
    /// The key cannot be used.
    fn sign(&self, bytes: &[u8]) -> Result<String, Error>;
}
