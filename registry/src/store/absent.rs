//! Stands in for a kind of store that this build does not have.

use super::Store;
use crate::error::Error;
use crate::location::RegistryLocation;

/// Says that the store is not in this build.
pub(crate) fn open(location: &RegistryLocation) -> Result<Box<dyn Store>, Error> {
    Err(Error::StoreNotBuilt { location: location.clone() })
}
