//! Keys to sign with in tests. They were made by `minisign -G -W` and keep nothing secret.

use std::path::Path;

use ct_codecs::{Base64, Decoder};
use kadapter_registry::release::ReleaseRecord;
use kadapter_registry::store::Store;
use kadapter_registry::trust::{PublicKey, TrustedKey, sign};
use kadapter_registry::{Error, KeyId, Signer};

use crate::world::parse;

/// A key pair.
pub(crate) struct TestKey {
    pub(crate) public: PublicKey,
    secret: minisign::SecretKey,
}

impl TestKey {
    /// The key that signs what a world publishes.
    pub(crate) fn ada() -> Self {
        Self::new(
            "RWQgJznVEeKCz4EH+fpyewES7u+hv48gAquu3iWlsgj9i156GaYQ9UZU",
            "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAICc51RHigs+vrFTG+9Wz+ZH7klfFLBdKM5XGvLRIm/tenqKLH5X40YEH+fpyewES7u+hv48gAquu3iWlsgj9i156GaYQ9UZUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        )
    }

    /// Another key, whose id begins with a zero.
    pub(crate) fn grace() -> Self {
        Self::new(
            "RWQygWT6ZWiiCjBYDBaeK/mxb5uE2RC8BxvumIhc1x1E/HFhBnYQtBR+",
            "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMoFk+mVoogqnOjA4kmoTWnPGHY8yKoSrLo0dwNB/qAJkk38TI3ZD2zBYDBaeK/mxb5uE2RC8BxvumIhc1x1E/HFhBnYQtBR+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        )
    }

    fn new(public: &str, secret: &str) -> Self {
        let bytes = Base64::decode_to_vec(secret, None).unwrap();
        Self { public: parse(public), secret: minisign::SecretKey::from_bytes(&bytes).unwrap() }
    }

    /// The key as one that is trusted for a namespace.
    pub(crate) fn trusted(&self, namespace: &str) -> TrustedKey {
        TrustedKey { namespace: parse(namespace), name: None, public: self.public.clone() }
    }

    /// Signs a release in a store.
    pub(crate) fn sign_release(&self, store: &dyn Store, record: &ReleaseRecord) {
        sign(store, record, self, &self.public).unwrap();
    }

    /// Where a directory registry keeps this key's signature of a release.
    pub(crate) fn path(&self, registry: &Path, name: &str, version: &str) -> std::path::PathBuf {
        registry.join(format!("sigs/{name}/{version}/{}.minisig", self.public.id()))
    }
}

impl Signer for TestKey {
    fn key(&self) -> &KeyId {
        self.public.id()
    }

    fn sign(&self, bytes: &[u8]) -> Result<String, Error> {
        self.sign_with_comment(bytes, "timestamp:1700000000")
    }

    fn sign_with_comment(&self, bytes: &[u8], comment: &str) -> Result<String, Error> {
        let first_line = Some("signature from minisign secret key");
        let signature = minisign::sign(None, &self.secret, bytes, Some(comment), first_line).unwrap();
        Ok(signature.into_string())
    }
}
