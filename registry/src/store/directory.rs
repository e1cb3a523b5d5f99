//! Objects as files in a directory.

mod probe;
mod sweep;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Objects, Put, Stage, Staged, Stream, Sweep, Tree};
use crate::copy::copy;
use crate::doctor::Finding;
use crate::error::Error;
use crate::files;
use crate::layout::{Key, Prefix};

/// The folder for files that are being written: on the same file system, so that they can be renamed into place.
const TEMPORARY: &str = "tmp";
/// The deepest folder that a listing enters; the layout needs four.
const MAX_DEPTH: usize = 8;

/// A directory with the layout of [`crate::layout`], shared by any number of processes.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Uses the directory `root`, which need not exist until something is written. Its path is freed of links and `..`
    /// when it exists, so that messages name it as people do.
    ///
    /// # Errors
    /// The current directory, which a relative `root` starts at, cannot be found.
    pub fn new(root: &Path) -> Result<Self, Error> {
        let root = fs::canonicalize(root).or_else(|_| std::path::absolute(root)).map_err(io_error("find", root))?;
        Ok(Self { root })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// A registry in a directory.
pub type LocalStore = Tree<Directory>;

impl LocalStore {
    /// Uses the directory `root`, as [`Directory::new`].
    ///
    /// # Errors
    /// The current directory, which a relative `root` starts at, cannot be found.
    pub fn new(root: &Path) -> Result<Self, Error> {
        Directory::new(root).map(Self::over)
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.objects().root()
    }
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::Io { action, path: path.to_path_buf(), source }
}

/// Tells whether the path leads to a regular file; what is neither file nor absent is an error.
fn is_file(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Objects for Directory {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn open(&self, key: &Key) -> Result<Option<Stream>, Error> {
        let path = key.below(&self.root);
        if !is_file(&path).map_err(io_error("read", &path))? {
            return Ok(None);
        }
        let file = File::open(&path).map_err(io_error("read", &path))?;
        Ok(Some(Box::new(file)))
    }

    fn put_new(&self, key: &Key, content: &mut dyn Read) -> Result<Put, Error> {
        let path = key.below(&self.root);
        let failed = io_error("write", &path);
        if is_file(&path).map_err(&failed)? {
            return Ok(Put::Exists);
        }
        let staged = self.write(content).map_err(&failed)?;
        self.name(staged, key)?.ok_or_else(|| Error::Vanished { file: path.display().to_string() })
    }

    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::new();
        let relative = prefix.as_str().trim_end_matches('/');
        let folder = Key::listed(relative.to_owned()).below(&self.root);
        walk(&folder, relative, MAX_DEPTH, &mut |key, is_file| {
            if is_file {
                keys.push(key);
            }
        })?;
        keys.sort();
        Ok(keys)
    }

    fn stage(&self) -> Option<&dyn Stage> {
        Some(self)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    fn probe(&self) -> Vec<Finding> {
        probe::probe(self)
    }

    fn local_path(&self, key: &Key) -> Option<PathBuf> {
        let path = key.below(&self.root);
        path.is_file().then_some(path)
    }
}

impl Directory {
    /// Writes a stream to its end into a file without a name, which lasts through a power cut.
    fn write(&self, content: &mut dyn Read) -> io::Result<Staged> {
        let temporary = self.root.join(TEMPORARY);
        fs::create_dir_all(&temporary)?;
        let file = files::temporary(&temporary)?;
        copy(content, file.as_file())?;
        file.as_file().sync_all()?;
        Ok(Staged(file))
    }
}

impl Stage for Directory {
    fn stage(&self, content: &mut dyn Read) -> Result<Staged, Error> {
        let temporary = self.root.join(TEMPORARY);
        self.write(content).map_err(io_error("write", &temporary))
    }

    fn name(&self, Staged(file): Staged, key: &Key) -> Result<Option<Put>, Error> {
        let path = key.below(&self.root);
        let failed = io_error("write", &path);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(&failed)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {
                files::sync_directory(folder).map_err(&failed)?;
                Ok(Some(Put::Created))
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Some(Put::Exists)),
            Err(error) if error.error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.error)),
        }
    }
}

/// Tells of what is below `folder` and no folder, and whether it is a regular file; links are not followed, hidden files and
/// names that are not UTF-8 are no objects.
fn walk(folder: &Path, relative: &str, depth: usize, each: &mut dyn FnMut(Key, bool)) -> Result<(), Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(io_error("list", folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(io_error("list", folder))?;
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let child = format!("{relative}/{name}");
        let kind = entry.file_type().map_err(io_error("list", folder))?;
        if !kind.is_dir() {
            each(Key::listed(child), kind.is_file());
        } else if depth > 1 {
            walk(&entry.path(), &child, depth - 1, each)?;
        }
    }
    Ok(())
}
