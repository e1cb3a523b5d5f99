//! A package directory in the making, beside its place and under a temporary name.

use std::fs;
use std::path::{Path, PathBuf};

use kadapter_registry::Package;
use kadapter_registry::package::CARD_FILE;
use tempfile::TempDir;

use super::Error;

/// The directory; dropped before [`Stage::finish`] it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Stage {
    directory: TempDir,
    out: PathBuf,
}

impl Stage {
    /// Makes the temporary directory beside `out`, and the folders above it.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when something is at `out` already.
    pub(super) fn new(out: &Path) -> Result<Self, Error> {
        refuse_existing(out)?;
        let out =
            std::path::absolute(out).map_err(|source| Error::Io { action: "find", path: out.to_owned(), source })?;
        let parent = out.parent().unwrap_or(&out);
        let refuse = |source| Error::Io { action: "make a directory in", path: parent.to_owned(), source };
        fs::create_dir_all(parent).map_err(refuse)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".kadapter-import-");
        #[cfg(unix)]
        let permissions: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        #[cfg(unix)]
        builder.permissions(permissions);
        let directory = builder.tempdir_in(parent).map_err(refuse)?;
        Ok(Self { directory, out })
    }

    /// Where files are written.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a small file.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path().join(name);
        fs::write(&path, bytes).map_err(|source| Error::Io { action: "write", path, source })
    }

    /// Writes the package file and the card, and puts the directory in its place, which it tells.
    pub(super) fn finish(self, package: &Package, card: &str) -> Result<PathBuf, Error> {
        package.write(self.path())?;
        self.write(CARD_FILE, card.as_bytes())?;
        refuse_existing(&self.out)?;
        let refuse = |source| Error::Io { action: "make", path: self.out.clone(), source };
        fs::rename(self.directory.path(), &self.out).map_err(refuse)?;
        // It has another name now: there is nothing to remove.
        let _ = self.directory.keep();
        Ok(self.out)
    }
}

fn refuse_existing(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Error::Exists { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Io { action: "look at", path: path.to_owned(), source }),
    }
}
