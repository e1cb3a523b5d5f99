//! Collecting garbage: content that no release names, and what was begun and never finished.
//!
//! Publishing writes content first and the record last, so a publisher that dies leaves content without a name. It is kept for
//! a while ([`GRACE`]), so that publishing again need not upload it again, and then removed. Records and notes are never
//! touched. A record that cannot be read ends the collection before anything is removed: nobody knows what it names. So does
//! whatever else stands in the index: releases may be behind a link that no listing follows. How a publisher that is at work is
//! safe, [`crate::store::sweep`] tells.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::digest::Digest;
use crate::error::Error;
use crate::id::PackageId;
use crate::layout::{Key, Prefix};
use crate::release::Release;
use crate::store::sweep::{Found, Hold};
use crate::store::{Objects, Store, Sweep, Tree};

/// How old garbage must be unless one says otherwise: older than any publishing takes, with clocks that differ.
pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What is younger is left alone.
    pub older_than: Duration,
    /// Find and report, and remove nothing.
    pub dry_run: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { older_than: GRACE, dry_run: false }
    }
}

/// A piece of garbage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it is, for people.
    pub location: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What a collection found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// What was removed; in a dry run, what would be.
    pub removed: Vec<Piece>,
    /// Garbage that is too young.
    pub young: Vec<Piece>,
}

impl Collected {
    /// The bytes that were removed.
    #[must_use]
    pub fn removed_bytes(&self) -> u64 {
        self.removed.iter().map(|piece| piece.size).sum()
    }
}

/// Tells whether something was last touched long enough ago. What seems to come from the future is young.
pub(crate) fn is_old(modified: SystemTime, now: SystemTime, older_than: Duration) -> bool {
    now.duration_since(modified).is_ok_and(|age| age >= older_than)
}

/// Collects in a tree of objects.
pub(crate) fn collect<O: Objects>(tree: &Tree<O>, options: &Options) -> Result<Collected, Error> {
    let Some(sweep) = tree.objects().sweep() else {
        return Err(Error::NotOffered { action: "collect garbage", location: tree.location() });
    };
    if !tree.is_registry()? {
        return Err(Error::NoRegistry { location: tree.location() });
    }
    let _hold = if options.dry_run { Hold::nothing() } else { sweep.hold_to_collect()? };
    // Content is listed before the records are read: what comes after the listing is not looked at.
    let (blobs, unfinished) = (sweep.blobs()?, sweep.unfinished()?);
    let named = named(tree, sweep)?;
    let unnamed = |found: &Found| found.key.as_blob().is_some_and(|digest| !named.contains(&digest));
    let now = sweep.now();
    let mut collected = Collected::default();
    for found in blobs.into_iter().filter(unnamed).chain(unfinished) {
        let piece = Piece { location: format!("{}/{}", tree.location(), found.key), size: found.size };
        let old = is_old(found.modified, now, options.older_than);
        if old && (options.dry_run || sweep.remove(&found)?) {
            collected.removed.push(piece);
        } else {
            collected.young.push(piece);
        }
    }
    Ok(collected)
}

/// The digests of all content that releases name. Whatever is in the index must be a record that can be read.
fn named<O: Objects>(tree: &Tree<O>, sweep: &dyn Sweep) -> Result<BTreeSet<Digest>, Error> {
    let refuse = |key: &Key, source: Error| Error::NotCollected {
        location: tree.location(),
        key: Box::new(key.clone()),
        source: Box::new(source),
    };
    let file = |key: &Key| format!("{}/{key}", tree.location());
    if let Some(key) = sweep.unlisted(&Prefix::index())? {
        return Err(refuse(&key, Error::NotAFile { path: file(&key).into() }));
    }
    let mut named = BTreeSet::new();
    for key in tree.objects().list(&Prefix::index())? {
        let Some((name, version)) = key.as_release() else {
            let problem = "its name is no release's, expected `index/NAMESPACE/NAME/VERSION.json`".to_owned();
            return Err(refuse(&key, Error::Release { file: file(&key), problem }));
        };
        let digests = digests(tree, &PackageId::new(&name, &version)).map_err(|source| refuse(&key, source))?;
        named.extend(digests);
    }
    Ok(named)
}

fn digests<O: Objects>(tree: &Tree<O>, id: &PackageId) -> Result<Vec<Digest>, Error> {
    let file = tree.record_location(id);
    let Some(bytes) = tree.record(id)? else { return Err(Error::Vanished { file }) };
    let release = Release::decode(&file, bytes)?.release;
    if release.id() != *id {
        return Err(Error::OtherRelease { wanted: Box::new(id.clone()), found: Box::new(release.id()) });
    }
    Ok(release.files.iter().map(|file| file.sha256).collect())
}
