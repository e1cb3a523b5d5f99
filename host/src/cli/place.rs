//! Registries as arguments: a directory, or an address in a remote store.

use super::report::Failure;
use kadapter_registry::index::store_at;
use kadapter_registry::store::Store;
use kadapter_registry::{Registry, RegistryLocation};
use std::path::Path;

/// Opens the registry that a command was told of; a relative directory starts at the current one.
pub(super) fn open(location: &RegistryLocation) -> Result<Registry, Failure> {
    Ok(Registry::open(location, Path::new("."))?)
}

/// Opens the store of a registry that need not be there yet.
pub(super) fn store(location: &RegistryLocation) -> Result<Box<dyn Store>, Failure> {
    Ok(store_at(location, Path::new("."))?)
}
