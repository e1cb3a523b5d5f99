//! Publishing: a directory is checked completely, its files become blobs, and the release record is written last.
//!
//! Whatever fails before the record is written leaves only blobs that nothing refers to. Publishing the same directory
//! again is no error and changes nothing; publishing another content under a taken version is refused.

mod content;
mod directory;
mod names;

pub use directory::is_notice;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::{Difference, Digest, Verifying};
use crate::error::Error;
use crate::files;
use crate::id::PackageId;
use crate::package::{MAX_PACKAGE_FILE, Package, package_file};
use crate::progress::{Activity, Metered, Observer, nobody};
use crate::release::{MAX_RELEASE, Release, ReleaseFile, ReleaseRecord, Role};
use crate::store::stage::StagedFiles;
use crate::store::{Put, Source, Stage, Staged, Store, Stored, Stream};

pub(crate) use names::Names;

/// A package directory that passed every check: what publishing it would write.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The directory.
    pub directory: PathBuf,
    /// What its package file says.
    pub package: Package,
    /// The record that publishing writes.
    pub record: ReleaseRecord,
    /// Content that is in a store already, since it was copied there while it was hashed.
    staged: Arc<StagedFiles>,
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
    check_observed(directory, &nobody())
}

/// [`check`], telling an observer how far it is.
///
/// # Errors
/// As [`check`].
pub fn check_observed(directory: &Path, observer: &Observer) -> Result<Checked, Error> {
    check_among(directory, observer, |_| Ok(None))
}

/// [`check_observed`] for publishing into a store. Where that is a registry which takes content before it has a name, weights
/// are copied there while they are hashed, and publishing them costs no second pass. Nothing is published: what was copied is
/// gone with what this returns.
///
/// # Errors
/// As [`check`]; a store that cannot be read or written.
pub fn check_for(store: &dyn Store, directory: &Path, observer: &Observer) -> Result<Checked, Error> {
    check_among(directory, observer, |id| {
        let Some(stage) = store.stage() else { return Ok(None) };
        // A place that is no registry yet is left as it is until everything is checked; of a release that is there already
        // nothing will be written.
        Ok(if store.is_registry()? && store.record(id)?.is_none() { Some(stage) } else { None })
    })
}

fn check_among<'a>(
    directory: &Path,
    observer: &Observer,
    stage: impl FnOnce(&PackageId) -> Result<Option<&'a dyn Stage>, Error>,
) -> Result<Checked, Error> {
    let path = package_file(directory)?;
    let bytes = files::read_bytes(&path, MAX_PACKAGE_FILE)?;
    let manifest = Digest::of(&bytes);
    let file = path.display().to_string();
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| Error::NotUtf8 { file: file.clone(), offset: error.valid_up_to() })?;
    let package = Package::from_toml(&file, text)?;
    let mut release_files = Vec::new();
    let mut tensors = BTreeMap::new();
    let named = directory::files(directory, &package)?;
    let stage = stage(&PackageId::new(&package.name, &package.version))?;
    let staged = StagedFiles::default();
    for (path, role, target) in named {
        let checked = content::check(directory, &path, role, observer, stage)?;
        if let Some(content) = checked.staged {
            staged.keep(checked.sha256, content);
        }
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
    Ok(Checked { directory: directory.to_path_buf(), package, record, staged: Arc::new(staged) })
}

/// Publishes a package directory into a store, which becomes a registry when it is none.
///
/// # Errors
/// Those of [`check`]; a version that is taken by another content; a name that looks like another package's; a file
/// that changes meanwhile; a store that cannot be written or that has other content under a blob's digest.
pub fn publish(store: &dyn Store, directory: &Path) -> Result<Published, Error> {
    let checked = check_for(store, directory, &nobody())?;
    publish_checked(store, &checked)
}

/// Publishes what [`check`] has passed.
///
/// # Errors
/// As [`publish`].
pub fn publish_checked(store: &dyn Store, checked: &Checked) -> Result<Published, Error> {
    publish_observed(store, checked, &nobody())
}

/// [`publish_checked`], telling an observer how far it is.
///
/// # Errors
/// As [`publish`].
pub fn publish_observed(store: &dyn Store, checked: &Checked, observer: &Observer) -> Result<Published, Error> {
    let source = PackageDirectory { directory: &checked.directory, observer, staged: &checked.staged };
    publish_record(store, &checked.record, &source)
}

/// Publishes a record with its content, wherever that comes from.
///
/// # Errors
/// As [`publish`].
pub(crate) fn publish_record(
    store: &dyn Store,
    record: &ReleaseRecord,
    source: &dyn Source,
) -> Result<Published, Error> {
    publish_among(&mut Names::default(), store, record, source)
}

/// [`publish_record`] as one of many into the same store, whose names are listed once.
pub(crate) fn publish_among(
    names: &mut Names,
    store: &dyn Store,
    record: &ReleaseRecord,
    source: &dyn Source,
) -> Result<Published, Error> {
    let id = record.release.id();
    // The cheapest refusals come before the first byte is written; the store itself decides in the end.
    if let Some(taken) = store.record(&id)? {
        return same_release(record, &taken).map(|()| Published {
            record: record.clone(),
            created: false,
            uploaded: 0,
        });
    }
    names.refuse_look_alike(store, &id.name)?;
    store.create_registry()?;
    let Stored { put, uploaded } = store.publish(record, source)?;
    let created = match put {
        Put::Created => true,
        // "Exists" may also be our own write whose answer was lost: what is there decides.
        Put::Exists => {
            let taken = store.record(&id)?.unwrap_or_default();
            same_release(record, &taken)?;
            false
        }
    };
    Ok(Published { record: record.clone(), created, uploaded })
}

/// The files of a package directory as a source: each must still be what was checked.
struct PackageDirectory<'a> {
    directory: &'a Path,
    observer: &'a Observer,
    staged: &'a StagedFiles,
}

impl Source for PackageDirectory<'_> {
    fn open(&self, file: &ReleaseFile) -> Result<Stream, Error> {
        let path = file.path.below(self.directory);
        let content = File::open(&path).map_err(|source| Error::Io { action: "read", path, source })?;
        let content = Metered::new(content, self.observer, Activity::Publishing, &file.path, file.size);
        Ok(Box::new(Verifying::new(content, file.sha256, file.size)))
    }

    fn staged(&self, file: &ReleaseFile) -> Option<Staged> {
        self.staged.take(&file.sha256)
    }

    fn altered(&self, file: &ReleaseFile, _difference: Difference) -> Error {
        Error::Changed { file: file.path.below(self.directory).display().to_string() }
    }
}

fn same_release(record: &ReleaseRecord, taken: &[u8]) -> Result<(), Error> {
    if record.bytes == taken {
        return Ok(());
    }
    let id = Box::new(record.release.id());
    Err(Error::VersionTaken { id, ours: record.digest, theirs: Digest::of(taken) })
}
