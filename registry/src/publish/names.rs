//! Names that a store has, so that a new one which only looks like another is refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::name::{Namespace, PackageName};
use crate::store::{Scope, Store};

/// The names of a store, listed namespace by namespace when first needed.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<Namespace, BTreeSet<PackageName>>);

impl Names {
    /// Refuses a new name that differs from a package of its namespace in separators only, and remembers it otherwise.
    pub(super) fn refuse_look_alike(&mut self, store: &dyn Store, name: &PackageName) -> Result<(), Error> {
        let namespace = name.namespace();
        if !self.0.contains_key(namespace) {
            let listed = match store.releases(Scope::Namespace(namespace)) {
                // Some registries cannot list what they have. Names there are the operator's to keep apart.
                Err(Error::NotOffered { .. }) => Vec::new(),
                listed => listed?,
            };
            self.0.insert(namespace.clone(), listed.into_iter().map(|(name, _)| name).collect());
        }
        let others = self.0.entry(namespace.clone()).or_default();
        // Who publishes a new version of a package has its name already.
        if !others.contains(name) {
            let skeleton = name.skeleton();
            if let Some(other) = others.iter().find(|other| other.skeleton() == skeleton) {
                return Err(Error::LookAlike { name: name.clone(), other: other.clone() });
            }
            others.insert(name.clone());
        }
        Ok(())
    }
}
