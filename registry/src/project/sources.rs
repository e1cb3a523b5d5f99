//! Where a project's content comes from: its registries, opened when first needed, and the cache.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::Cache;
use crate::error::Error;
use crate::id::PackageId;
use crate::index::Registry;
use crate::location::RegistryLocation;
use crate::manifest::ManifestError;
use crate::name::{Namespace, PackageName};
use crate::release::ReleaseFile;

/// The registries of a project and the cache.
#[derive(Debug)]
pub(crate) struct Sources {
    root: PathBuf,
    locations: BTreeMap<Namespace, RegistryLocation>,
    cache: Cache,
    opened: Mutex<BTreeMap<Namespace, Arc<Registry>>>,
}

impl Sources {
    pub(super) fn new(root: PathBuf, locations: BTreeMap<Namespace, RegistryLocation>, cache: Cache) -> Self {
        Self { root, locations, cache, opened: Mutex::default() }
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The one place that a package may come from.
    pub(super) fn location_of(&self, package: &PackageName) -> Result<&RegistryLocation, Error> {
        self.locations.get(package.namespace()).ok_or_else(|| Error::Manifest {
            file: self.root.join(crate::manifest::MANIFEST_FILE).display().to_string(),
            problem: Box::new(ManifestError::NoRegistry {
                package: package.clone(),
                known: self.locations.keys().cloned().collect(),
            }),
        })
    }

    pub(crate) fn registry_of(&self, package: &PackageName) -> Result<Arc<Registry>, Error> {
        let location = self.location_of(package)?;
        // A poisoned map is whole: nothing is changed in it but by one insertion.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = opened.get(package.namespace()) {
            return Ok(registry.clone());
        }
        let registry = Arc::new(Registry::open(location, &self.root)?);
        opened.insert(package.namespace().clone(), registry.clone());
        Ok(registry)
    }

    pub(super) fn use_registry(&self, namespace: &Namespace, registry: Arc<Registry>) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.clone(), registry);
    }

    /// Reads a small file of a release, from the cache or its registry, and checks it.
    pub(crate) fn read(&self, id: &PackageId, file: &ReleaseFile, limit: u64) -> Result<Vec<u8>, Error> {
        match self.cache.read(&file.sha256, limit)? {
            Some(bytes) => Ok(bytes),
            None => self.registry_of(&id.name)?.read(id, file, limit),
        }
    }
}
