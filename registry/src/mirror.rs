//! Mirroring: releases are copied between any two registries, byte for byte, with what was said about them.
//!
//! What is there already costs a read of its record and its notes on either side. A release that fails does not keep others
//! from being copied; one that is there with another content, or a note that is, is an error that names both. A note that is
//! not what its name promises is not copied: it could never be removed there, and would stand where a good one belongs.

use semver::VersionReq;
use std::str::FromStr;

use crate::digest::{Difference, Digest};
use crate::error::Error;
use crate::id::PackageId;
use crate::index::Registry;
use crate::name::PackageName;
use crate::note::Note;
use crate::progress::{Activity, Observer};
use crate::publish::{Names, publish_among};
use crate::release::{ReleaseFile, ReleaseRecord};
use crate::store::{Put, Source, Store, Stream};
use crate::trust::Signature;
use crate::version::{Requirement, Version};
use crate::yank::Yank;

/// A package to mirror, and which of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The package.
    pub name: PackageName,
    /// The versions; all of them, pre-releases too, when absent.
    pub versions: Option<VersionReq>,
}

impl FromStr for Wanted {
    type Err = Error;

    /// Reads `namespace/name` or `namespace/name@requirement`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((name, versions)) = text.split_once('@') else {
            return Ok(Self { name: text.parse()?, versions: None });
        };
        Ok(Self { name: name.parse()?, versions: Some(versions.parse::<Requirement>()?.0) })
    }
}

/// What became of one release.
#[derive(Debug)]
pub enum Outcome {
    /// It was copied.
    Copied {
        /// Content that was uploaded, in bytes; the rest was there already.
        uploaded: u64,
    },
    /// The very same release was there already.
    Present,
    /// It would be copied: this was a dry run.
    Missing {
        /// Its content, in bytes, whether some of it is there or not.
        size: u64,
    },
    /// It, or a note on it, could not be copied.
    Failed(Error),
}

/// One release and what became of it.
#[derive(Debug)]
pub struct Mirrored {
    /// The release.
    pub id: PackageId,
    /// What became of it.
    pub outcome: Outcome,
    /// Notes that were copied; in a dry run, that would be.
    pub notes: usize,
}

/// Mirrors releases from a registry into a store, which becomes a registry when it is none: the wanted ones, or all.
/// `each` is told of every release as soon as it is done.
///
/// # Errors
/// The registry cannot list what it has, or does not have a wanted package or any wanted version of it; nothing was written
/// then. What fails for a single release is its outcome.
pub fn mirror(
    from: &Registry,
    to: &dyn Store,
    wanted: &[Wanted],
    dry_run: bool,
    observer: &Observer,
    mut each: impl FnMut(&Mirrored),
) -> Result<Vec<Mirrored>, Error> {
    let ids = find(from, wanted)?;
    let mut work = Work { from, to, dry_run, observer, names: Names::default(), exists: to.is_registry()? };
    let mut report = Vec::new();
    for id in ids {
        let (outcome, notes) = work.all_of(&id).unwrap_or_else(|error| (Outcome::Failed(error), 0));
        let mirrored = Mirrored { id, outcome, notes };
        each(&mirrored);
        report.push(mirrored);
    }
    Ok(report)
}

/// The releases to mirror, each once, sorted by name and version.
fn find(from: &Registry, wanted: &[Wanted]) -> Result<Vec<PackageId>, Error> {
    let mut ids: Vec<PackageId> = Vec::new();
    if wanted.is_empty() {
        ids.extend(from.releases()?.iter().map(|(name, version)| PackageId::new(name, version)));
    }
    for Wanted { name, versions } in wanted {
        let there = from.versions(name)?;
        let location = || from.store().location();
        if there.is_empty() {
            return Err(Error::NoPackage { name: name.clone(), location: location(), similar: None });
        }
        let fits = |version: &&Version| versions.as_ref().is_none_or(|versions| versions.matches(version.as_semver()));
        let before = ids.len();
        ids.extend(there.iter().filter(fits).map(|version| PackageId::new(name, version)));
        if let Some(requirement) = versions.as_ref().filter(|_| ids.len() == before) {
            let (name, requirement) = (name.clone(), requirement.clone());
            return Err(Error::NoVersion { name, requirement, location: location() });
        }
    }
    ids.sort();
    ids.dedup();
    Ok(ids)
}

struct Work<'a> {
    from: &'a Registry,
    to: &'a dyn Store,
    dry_run: bool,
    observer: &'a Observer,
    /// The names that the target has, listed once.
    names: Names,
    /// Whether the target is a registry already; a dry run makes none.
    exists: bool,
}

impl Work<'_> {
    /// Mirrors a release and then its notes. One note that fails keeps no other from being copied.
    fn all_of(&mut self, id: &PackageId) -> Result<(Outcome, usize), Error> {
        let location = || self.from.store().location();
        let record = self.from.release(&id.name, &id.version)?;
        let record = record.ok_or_else(|| Error::NoRelease { id: Box::new(id.clone()), location: location() })?;
        let outcome = self.release(id, &record)?;
        let notes = self.from.store().notes(id)?;
        let there = if self.exists && !notes.is_empty() { self.to.notes(id)? } else { Vec::new() };
        let (mut copied, mut failed) = (0, None);
        for note in notes {
            match self.note(&record, &note, there.contains(&note)) {
                Ok(is_new) => copied += usize::from(is_new),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Ok((failed.map_or(outcome, Outcome::Failed), copied))
    }

    fn release(&mut self, id: &PackageId, record: &ReleaseRecord) -> Result<Outcome, Error> {
        if self.exists
            && let Some(bytes) = self.to.record(id)?
        {
            return self.same(record, &bytes).map(|()| Outcome::Present);
        }
        if self.dry_run {
            let size = record.release.files.iter().fold(0_u64, |size, file| size.saturating_add(file.size));
            return Ok(Outcome::Missing { size });
        }
        let source = OtherStore { from: self.from, id, observer: self.observer };
        let published = publish_among(&mut self.names, self.to, record, &source).map_err(|error| match error {
            // Another process published it meanwhile.
            Error::VersionTaken { theirs, .. } => self.differs(record, theirs),
            error => error,
        })?;
        self.exists = true;
        Ok(if published.created { Outcome::Copied { uploaded: published.uploaded } } else { Outcome::Present })
    }

    fn same(&self, record: &ReleaseRecord, bytes: &[u8]) -> Result<(), Error> {
        if record.bytes == bytes { Ok(()) } else { Err(self.differs(record, Digest::of(bytes))) }
    }

    fn differs(&self, record: &ReleaseRecord, there: Digest) -> Error {
        Error::MirrorDiffers {
            id: Box::new(record.release.id()),
            from: self.from.store().location().into(),
            here: record.digest,
            to: self.to.location().into(),
            there,
        }
    }

    /// Copies a note as it is, when it is well-formed; who trusts it checks the rest. True when it was not there yet.
    fn note(&self, record: &ReleaseRecord, note: &Note, is_there: bool) -> Result<bool, Error> {
        let id = record.release.id();
        let bytes = read(self.from.store(), &id, note)?;
        if is_there {
            return self.same_note(&id, note, &bytes).map(|()| false);
        }
        if let Some(problem) = problem(note, record, &bytes) {
            let (id, note, location) = (Box::new(id), Box::new(note.clone()), self.from.store().location());
            return Err(Error::NoteRefused { id, note, location, problem });
        }
        if !self.dry_run && self.to.put_note(&id, note, &bytes)? == Put::Exists {
            // Somebody else wrote it meanwhile.
            self.same_note(&id, note, &bytes)?;
        }
        Ok(true)
    }

    /// Compares a note with the one of its name that is there.
    fn same_note(&self, id: &PackageId, note: &Note, bytes: &[u8]) -> Result<(), Error> {
        let there = read(self.to, id, note)?;
        if there == bytes {
            return Ok(());
        }
        Err(Error::NoteDiffers {
            id: Box::new(id.clone()),
            note: Box::new(note.clone()),
            from: self.from.store().location().into(),
            here: Digest::of(bytes),
            to: self.to.location().into(),
            there: Digest::of(&there),
        })
    }
}

fn read(store: &dyn Store, id: &PackageId, note: &Note) -> Result<Vec<u8>, Error> {
    store.note(id, note)?.ok_or_else(|| Error::Vanished { file: format!("{note} of {id} in {}", store.location()) })
}

/// What keeps a note from being what its name promises.
fn problem(note: &Note, record: &ReleaseRecord, bytes: &[u8]) -> Option<String> {
    match note {
        Note::Signature(key) => match Signature::decode(bytes) {
            Ok(signature) if signature.key() == key => None,
            Ok(signature) => Some(format!("it is by `{}`, its name says `{key}`", signature.key())),
            Err(problem) => Some(problem.to_owned()),
        },
        Note::Yank { .. } => Yank::decode(note, &record.release.id(), &record.digest, bytes).err(),
    }
}

/// A release's content in the registry that it comes from.
struct OtherStore<'a> {
    from: &'a Registry,
    id: &'a PackageId,
    observer: &'a Observer,
}

impl Source for OtherStore<'_> {
    fn open(&self, file: &ReleaseFile) -> Result<Stream, Error> {
        Ok(Box::new(self.from.open_observed(self.id, file, self.observer, Activity::Mirroring)?))
    }

    fn altered(&self, file: &ReleaseFile, difference: Difference) -> Error {
        Error::Altered { file: self.from.store().content_location(self.id, file), difference }
    }
}
