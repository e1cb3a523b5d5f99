//! Whoever publishes in a test: a key of its own, plugins signed with it, and the trust that lets them in.

use kadapter_host::signing::SecretKey;
use kadapter_registry::package::Kind;
use kadapter_registry::publish::publish;
use kadapter_registry::release::ReleaseRecord;
use kadapter_registry::store::LocalStore;
use kadapter_registry::trust::{PublicKey, TRUST_FILE, TrustedKey, sign, trust};
use kadapter_registry::{Namespace, Trust};
use std::path::Path;

/// A publisher with a key.
#[derive(Debug)]
pub struct Publisher(SecretKey);

impl Publisher {
    /// A publisher with a new key.
    pub fn new() -> Self {
        Self(SecretKey::generate().expect("a key"))
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        self.0.public()
    }

    /// Publishes a package directory into a directory registry, and signs it if it is a plugin.
    pub fn publish(&self, directory: &Path, registry: &Path) -> ReleaseRecord {
        let store = LocalStore::new(registry).expect("a store");
        let published = publish(&store, directory).unwrap_or_else(|error| panic!("{}: {error:?}", directory.display()));
        if published.record.release.kind() == Kind::Plugin {
            sign(&store, &published.record, &self.0, self.public()).expect("the release is signed");
        }
        published.record
    }

    /// A trust in this publisher for these namespaces, all else as it is without a `trust.toml`.
    pub fn trust(&self, namespaces: &[&str]) -> Trust {
        Trust { keys: namespaces.iter().map(|namespace| self.key(namespace)).collect(), ..Trust::default() }
    }

    /// Writes that trust into a home folder, for the command.
    pub fn trust_in(&self, home: &Path, namespaces: &[&str]) {
        for namespace in namespaces {
            trust(&home.join(TRUST_FILE), &self.key(namespace)).expect("the trust is written");
        }
    }

    fn key(&self, namespace: &str) -> TrustedKey {
        let namespace: Namespace = namespace.parse().expect("a namespace");
        TrustedKey { namespace, name: None, public: self.public().clone() }
    }
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}
