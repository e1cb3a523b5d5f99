//! Publishing: a directory is checked completely, its files become blobs, and the release record is written last.
//!
//! Whatever fails before the record is written leaves only blobs that nothing refers to. Publishing the same directory
//! again is no error and changes nothing; publishing another content under a taken version is refused.

mod content;
mod directory;

pub use directory::is_notice;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Verifying};
use crate::error::Error;
use crate::files;
use crate::index::ensure_registry_record;
use crate::layout::{Key, Prefix};
use crate::name::PackageName;
use crate::package::{MAX_PACKAGE_FILE, Package, package_file};
use crate::release::{MAX_RELEASE, Release, ReleaseFile, ReleaseRecord, Role};
use crate::store::{Put, Store};

/// A package directory that passed every check: what publishing it would write.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The directory.
    pub directory: PathBuf,
    /// What its package file says.
    pub package: Package,
    /// The record that publishing writes.
    pub record: ReleaseRecord,
}

/// What publishing did.
#[derive(Debug, Clone)]
pub struct Published {
    /// The record.
    pub record: ReleaseRecord,
    /// Whether this call wrote the record; false when the very same release was there already.
    pub created: bool,
    /// Content that was uploaded, in bytes; the rest was there already.
    pub uploaded: u64,
}

/// Checks a package directory completely and makes the record of its release. Nothing is written.
///
/// # Errors
/// The first thing that is wrong: a broken package file, a file that is missing, not named, a link, or not what its
/// role asks for.
pub fn check(directory: &Path) -> Result<Checked, Error> {
    let path = package_file(directory)?;
    let bytes = files::read_bytes(&path, MAX_PACKAGE_FILE)?;
    let manifest = Digest::of(&bytes);
    let file = path.display().to_string();
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| Error::NotUtf8 { file: file.clone(), offset: error.valid_up_to() })?;
    let package = Package::from_toml(&file, text)?;
    let mut release_files = Vec::new();
    let mut tensors = BTreeMap::new();
    for (path, role, target) in directory::files(directory, &package)? {
        let checked = content::check(directory, &path, role)?;
        if role == Role::Manifest && checked.sha256 != manifest {
            return Err(Error::Changed { file });
        }
        if let Some(records) = checked.tensors {
            tensors.insert(path.clone(), records);
        }
        release_files.push(ReleaseFile { path, role, target, size: checked.size, sha256: checked.sha256 });
    }
    let record = Release::new(&package, manifest, release_files, tensors).encode()?;
    if record.bytes.len() as u64 > MAX_RELEASE {
        let file = format!("release.json of {}", record.release.id());
        return Err(Error::TooLong { file, limit: MAX_RELEASE });
    }
    Ok(Checked { directory: directory.to_path_buf(), package, record })
}

/// Publishes a package directory into a store, which becomes a registry when it is none.
///
/// # Errors
/// Those of [`check`]; a version that is taken by another content; a name that looks like another package's; a file
/// that changes meanwhile; a store that cannot be written or that has other content under a blob's digest.
pub fn publish(store: &dyn Store, directory: &Path) -> Result<Published, Error> {
    let checked = check(directory)?;
    publish_checked(store, &checked)
}

/// Publishes what [`check`] has passed.
///
/// # Errors
/// As [`publish`].
pub fn publish_checked(store: &dyn Store, checked: &Checked) -> Result<Published, Error> {
    let Checked { directory, record, .. } = checked;
    let release = &record.release;
    let key = Key::release(&release.name, &release.version);
    // The cheapest refusals come before the first byte is written; the index key itself decides in the end.
    if let Some(taken) = store.get(&key, MAX_RELEASE)? {
        return same_release(record, &taken).map(|()| Published {
            record: record.clone(),
            created: false,
            uploaded: 0,
        });
    }
    refuse_look_alike(store, &release.name)?;
    ensure_registry_record(store)?;
    let mut uploaded = 0;
    for file in &release.files {
        uploaded += put_blob(store, directory, file)?;
    }
    let created = match store.put_new(&key, &mut record.bytes.as_slice())? {
        Put::Created => true,
        // "Exists" may also be our own write whose answer was lost: what is there decides.
        Put::Exists => {
            let taken = store.get(&key, MAX_RELEASE)?.unwrap_or_default();
            same_release(record, &taken)?;
            false
        }
    };
    Ok(Published { record: record.clone(), created, uploaded })
}

fn same_release(record: &ReleaseRecord, taken: &[u8]) -> Result<(), Error> {
    if record.bytes == taken {
        return Ok(());
    }
    let id = Box::new(record.release.id());
    Err(Error::VersionTaken { id, ours: record.digest, theirs: Digest::of(taken) })
}

/// Refuses a new name that differs from a package of its namespace in separators only.
fn refuse_look_alike(store: &dyn Store, name: &PackageName) -> Result<(), Error> {
    let skeleton = name.skeleton();
    for key in store.list(&Prefix::namespace(name.namespace()))? {
        let Some((other, _)) = key.as_release() else { continue };
        if other == *name {
            return Ok(());
        }
        if other.skeleton() == skeleton {
            return Err(Error::LookAlike { name: name.clone(), other });
        }
    }
    Ok(())
}

/// Writes one file as a blob, or checks the blob that is there. Returns the bytes that were uploaded.
fn put_blob(store: &dyn Store, directory: &Path, file: &ReleaseFile) -> Result<u64, Error> {
    let path = file.path.below(directory);
    let io_error = |source| Error::Io { action: "read", path: path.clone(), source };
    let key = Key::blob(&file.sha256);
    let mut content = Verifying::new(File::open(&path).map_err(io_error)?, file.sha256, file.size);
    let put = store.put_new(&key, &mut content).map_err(|error| match content.difference() {
        Some(_) => Error::Changed { file: path.display().to_string() },
        None => error,
    })?;
    if put == Put::Created {
        return Ok(file.size);
    }
    let location = format!("{}/{key}", store.location());
    let Some(mut present) = store.open(&key)? else {
        return Err(Error::Vanished { file: location });
    };
    let mut present = Verifying::new(&mut present, file.sha256, file.size);
    match std::io::copy(&mut present, &mut std::io::sink()) {
        Ok(_) => Ok(0),
        Err(source) => Err(match present.difference() {
            Some(difference) => Error::Altered { file: location, difference },
            None => Error::Io { action: "read", path: location.into(), source },
        }),
    }
}
