//! The user's own keys: `keys/NAME.key`, readable for the user alone, and `keys/NAME.pub` beside it.

use super::{Error, NewKey, SecretKey};
use kadapter_registry::trust::PublicKey;
use kadapter_registry::{Alias, home};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The longest key file, in bytes; minisign's have some hundred.
const MAX_KEY: u64 = 64 * 1024;

/// A folder with keys.
#[derive(Debug, Clone)]
pub struct Ring {
    folder: PathBuf,
}

/// One key of a ring.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its secret part.
    pub secret: PathBuf,
    /// Its public part, where that is beside it.
    pub public: Option<PublicKey>,
}

impl Ring {
    /// The user's keys.
    ///
    /// # Errors
    /// The environment names no home.
    pub fn of_user() -> Result<Self, kadapter_registry::Error> {
        home::config().map(|folder| Self::new(folder.join("keys"))).ok_or(kadapter_registry::Error::NoHome)
    }

    /// The keys in a folder, which need not exist.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where a key's secret part is or would be.
    #[must_use]
    pub fn secret(&self, name: &Alias) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// Where a key's public part is or would be.
    #[must_use]
    pub fn public(&self, name: &Alias) -> PathBuf {
        self.folder.join(format!("{name}.pub"))
    }

    /// Tells whether a name is taken, so that nobody is asked for a password in vain.
    ///
    /// # Errors
    /// It is.
    pub fn check_free(&self, name: &Alias) -> Result<(), Error> {
        match [self.secret(name), self.public(name)].into_iter().find(|path| path.symlink_metadata().is_ok()) {
            Some(path) => Err(Error::Taken { name: name.to_string(), path }),
            None => Ok(()),
        }
    }

    /// Keeps a new key. Nothing that is there is ever replaced.
    ///
    /// # Errors
    /// The name is taken, or the folder cannot be written.
    pub fn keep(&self, name: &Alias, key: &NewKey) -> Result<(), Error> {
        self.check_free(name)?;
        make_private(&self.folder).map_err(|source| Error::Io { action: "make", path: self.folder.clone(), source })?;
        self.write(name, &self.secret(name), key.secret.as_bytes(), false)?;
        self.write(name, &self.public(name), key.public.to_file().as_bytes(), true)
    }

    /// Writes a file that is not there, whole or not at all.
    fn write(&self, name: &Alias, path: &Path, bytes: &[u8], for_all: bool) -> Result<(), Error> {
        let refuse = |source| Error::Io { action: "write", path: path.to_path_buf(), source };
        // Readable for the user alone from the first byte on.
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder).map_err(refuse)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(refuse)?;
        if for_all {
            let_all_read(file.as_file()).map_err(refuse)?;
        }
        file.persist_noclobber(path).map(drop).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => Error::Taken { name: name.to_string(), path: path.to_path_buf() },
            _ => refuse(error.error),
        })
    }

    /// The keys of the ring, sorted by name; none when the folder is not there.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let refuse = |source| Error::Io { action: "list", path: self.folder.clone(), source };
        let files = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(refuse)?,
        };
        let mut entries = Vec::new();
        for file in files {
            let secret = file.map_err(refuse)?.path();
            let Some(name) = secret.file_name().and_then(|name| name.to_str()?.strip_suffix(".key")) else { continue };
            let Ok(name) = name.parse::<Alias>() else { continue };
            let public = read(&self.public(&name)).ok().and_then(|text| text.parse().ok());
            entries.push(Entry { name: name.to_string(), secret: secret.clone(), public });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The file that `NAME` or `FILE` means: that of a key in the ring, or else a path that is there.
    ///
    /// # Errors
    /// Neither is there.
    pub fn find(&self, name_or_file: &str, part: Part) -> Result<PathBuf, Error> {
        let in_ring = name_or_file.parse::<Alias>().ok().map(|name| match part {
            Part::Secret => self.secret(&name),
            Part::Public => self.public(&name),
        });
        if let Some(path) = in_ring.into_iter().chain([PathBuf::from(name_or_file)]).find(|path| path.is_file()) {
            return Ok(path);
        }
        let known = self.entries()?.into_iter().map(|entry| entry.name).collect();
        Err(Error::Unknown { name: name_or_file.to_owned(), folder: self.folder.clone(), known })
    }

    /// Opens a secret key for signing, by name or file.
    ///
    /// # Errors
    /// It is not there, is no secret key, or the password is another.
    pub fn open(
        &self,
        name_or_file: &str,
        password: impl FnOnce(&str) -> Result<String, Error>,
    ) -> Result<SecretKey, Error> {
        let path = self.find(name_or_file, Part::Secret)?;
        let text = read(&path)?;
        let file = path.display().to_string();
        SecretKey::from_file(&file, &text, || password(&file))
    }
}

/// Which half of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What signs.
    Secret,
    /// What verifies.
    Public,
}

/// Reads a key file.
///
/// # Errors
/// It cannot be read, is too long, or is not text.
pub fn read(path: &Path) -> Result<String, Error> {
    let refuse = |source| Error::Io { action: "read", path: path.to_path_buf(), source };
    let mut text = String::new();
    File::open(path).map_err(refuse)?.take(MAX_KEY).read_to_string(&mut text).map_err(refuse)?;
    Ok(text)
}

/// Makes a folder that only the user can list.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    builder.create(folder)
}

fn let_all_read(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_for_its_user_alone_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let ring = Ring::new(folder.path().join("home/keys"));
        let name: Alias = "ada".parse().unwrap();
        let key = NewKey::generate(None).unwrap();
        assert!(ring.entries().unwrap().is_empty());
        ring.keep(&name, &key).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(ring.secret(&name)), 0o600);
            assert_eq!(mode(ring.public(&name)), 0o644);
            assert_eq!(mode(folder.path().join("home/keys")), 0o700);
        }
        let other = NewKey::generate(None).unwrap();
        assert!(matches!(ring.keep(&name, &other), Err(Error::Taken { .. })));
        fs::remove_file(ring.secret(&name)).unwrap();
        assert!(matches!(ring.keep(&name, &other), Err(Error::Taken { .. })), "the public part is still there");
        assert!(!ring.secret(&name).exists());
        fs::remove_file(ring.public(&name)).unwrap();
        ring.keep(&name, &other).unwrap();
        assert_eq!(ring.entries().unwrap()[0].public.as_ref(), Some(&other.public));
        assert_eq!(fs::read_dir(folder.path().join("home/keys")).unwrap().count(), 2);
    }
}
