//! A folder in the making, beside its place and under a temporary name: it appears whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The folder; dropped before [`Stage::finish`] it leaves nothing behind.
#[derive(Debug)]
pub struct Stage {
    directory: TempDir,
    out: PathBuf,
}

/// Why a folder was not made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum StageError {
    #[error("`{}` exists already", path.display())]
    Exists { path: PathBuf },
    #[error("Could not {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl StageError {
    /// What to type next.
    pub fn hint(&self) -> String {
        match self {
            Self::Exists { path } => format!("choose another place, or `rm -r {}` first", path.display()),
            Self::Io { .. } => "choose a place that you may write to: `--out DIR`".to_owned(),
        }
    }
}

impl Stage {
    /// Makes the temporary folder beside `out`, and the folders above it.
    ///
    /// # Errors
    /// [`StageError::Exists`] when something is at `out` already, [`StageError::Io`] when nothing can be made there.
    pub fn new(out: &Path) -> Result<Self, StageError> {
        refuse_existing(out)?;
        let out = std::path::absolute(out).map_err(|source| StageError::Io {
            action: "find",
            path: out.to_owned(),
            source,
        })?;
        let parent = out.parent().unwrap_or(&out);
        let refuse = |source| StageError::Io { action: "make a directory in", path: parent.to_owned(), source };
        fs::create_dir_all(parent).map_err(refuse)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".kadapter-");
        #[cfg(unix)]
        let permissions: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        #[cfg(unix)]
        builder.permissions(permissions);
        let directory = builder.tempdir_in(parent).map_err(refuse)?;
        Ok(Self { directory, out })
    }

    /// Where files are written.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a small file, and the folders above it; `name` has `/` between its parts.
    ///
    /// # Errors
    /// [`StageError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StageError> {
        let mut path = self.path().to_owned();
        path.extend(name.split('/'));
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes)).map_err(|source| StageError::Io {
            action: "write",
            path,
            source,
        })
    }

    /// Puts the folder in its place, which it tells.
    ///
    /// # Errors
    /// As [`Stage::new`]; nothing is left then.
    pub fn finish(self) -> Result<PathBuf, StageError> {
        refuse_existing(&self.out)?;
        let refuse = |source| StageError::Io { action: "make", path: self.out.clone(), source };
        fs::rename(self.directory.path(), &self.out).map_err(refuse)?;
        // It has another name now: there is nothing to remove.
        let _ = self.directory.keep();
        Ok(self.out)
    }
}

fn refuse_existing(path: &Path) -> Result<(), StageError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(StageError::Exists { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StageError::Io { action: "look at", path: path.to_owned(), source }),
    }
}
