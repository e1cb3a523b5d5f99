//! A package directory in the making.

use std::path::{Path, PathBuf};

use kadapter_registry::Package;
use kadapter_registry::package::CARD_FILE;

use super::Error;
use crate::stage;

/// The directory; dropped before [`Stage::finish`] it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Stage(stage::Stage);

impl Stage {
    /// Makes a temporary directory beside `out`.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when something is at `out` already.
    pub(super) fn new(out: &Path) -> Result<Self, Error> {
        Ok(Self(stage::Stage::new(out)?))
    }

    /// Where files are written.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a small file.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.0.write(name, bytes)?)
    }

    /// Writes the package file and the card, and puts the directory in its place, which it tells.
    pub(super) fn finish(self, package: &Package, card: &str) -> Result<PathBuf, Error> {
        package.write(self.path())?;
        self.write(CARD_FILE, card.as_bytes())?;
        Ok(self.0.finish()?)
    }
}
