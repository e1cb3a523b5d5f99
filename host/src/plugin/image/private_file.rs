//! Systems without sealed memory: a file in a directory that only this user can enter.

use std::io::{self, Write};
use std::path::Path;
use tempfile::TempPath;

/// Bytes in a private temporary file, removed when dropped (where the system allows it while the library is open).
pub(crate) struct Image {
    path: TempPath,
}

impl Image {
    /// Copies the bytes into a private file.
    pub(crate) fn new(bytes: &[u8]) -> io::Result<Self> {
        let mut file =
            tempfile::Builder::new().prefix("kadapter-plugin").suffix(std::env::consts::DLL_SUFFIX).tempfile()?;
        file.write_all(bytes)?;
        Ok(Self { path: file.into_temp_path() })
    }

    /// An absolute path to the bytes.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
