//! Yanks: what a publisher says later about a release that nobody should choose any more, and that it is good after all.
//!
//! A release is never removed, since somebody may run it. A yank is a [`Note`] on it, one line of JSON in the only spelling
//! that is accepted:
//!
//! ```text
//! {"schema":1,"name":"k/factual","version":"1.0.0","release":"sha256:…","yanked":true,"reason":"…","at":1700000000000}
//! ```
//!
//! A signed one ends in `"signature":"…"`, a minisign signature of the line without it. The newest note that counts holds;
//! of two at one time the one that yanks. What is malformed, or dated more than a day ahead, is passed over, told, and hides
//! nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Error;
use crate::id::PackageId;
use crate::key::KeyId;
use crate::name::PackageName;
use crate::note::{MAX_TIME, Note};
use crate::release::ReleaseRecord;
use crate::signer::Signer;
use crate::store::{Put, Store};
use crate::text;
use crate::version::Version;

/// The longest reason, in bytes: a sentence or two with an address.
pub const MAX_REASON: usize = 1000;
/// The most notes of one release that are looked at; more are no honest history, and hiding one among them must not work.
pub const MAX_NOTES: usize = 1000;
/// How far ahead of the clock here a note may be dated, in milliseconds: clocks differ, and one that is far ahead must not have
/// the last word for good.
const AHEAD: u64 = 24 * 60 * 60 * 1000;
/// The schema that this crate reads and writes.
const SCHEMA: u32 = 1;
/// How often a time that another process has taken is tried again.
const ATTEMPTS: usize = 16;

/// What is said: which release, whether it is yanked from then on, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The package and its version.
    pub id: PackageId,
    /// The digest of the release record.
    pub release: Digest,
    /// Whether the release is yanked; false takes a yank back.
    pub yanked: bool,
    /// Why, for people; never empty for a yank.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// A statement with the signature that it came with. That it is well-formed does not mean that anybody trusts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yank {
    /// What is said.
    pub statement: Statement,
    /// The key that signed it, by its own account, and the signature.
    pub signature: Option<(KeyId, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema: u32,
    name: PackageName,
    version: Version,
    release: Digest,
    yanked: bool,
    reason: String,
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

impl Statement {
    /// The bytes that are signed: the note without its signature.
    ///
    /// # Errors
    /// None in practice: every part can be written.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        self.line(None)
    }

    fn line(&self, signature: Option<String>) -> Result<Vec<u8>, Error> {
        let wire = Wire {
            schema: SCHEMA,
            name: self.id.name.clone(),
            version: self.id.version.clone(),
            release: self.release,
            yanked: self.yanked,
            reason: self.reason.clone(),
            at: self.at,
            signature,
        };
        let mut bytes = serde_json::to_vec(&wire)
            .map_err(|error| Error::Json { file: format!("yank of {}", self.id), problem: error.to_string() })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The rule that the statement breaks, if it does.
    fn problem(&self) -> Option<String> {
        let last = last_time();
        if self.at > last {
            return Some(format!("its time is {}, expected at most {last}, a day ahead of the clock here", self.at));
        }
        if self.yanked && self.reason.trim().is_empty() {
            return Some("its reason is empty".to_owned());
        }
        if self.reason.len() > MAX_REASON {
            return Some(format!("its reason has {} bytes, at most {MAX_REASON} are allowed", self.reason.len()));
        }
        self.reason.chars().any(char::is_control).then(|| "its reason has control characters".to_owned())
    }
}

impl Yank {
    /// The name that the note has.
    #[must_use]
    pub fn note(&self) -> Note {
        Note::Yank { at: self.statement.at, key: self.signature.as_ref().map(|(key, _)| key.clone()) }
    }

    /// The bytes of the note.
    ///
    /// # Errors
    /// None in practice: every part can be written.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        self.statement.line(self.signature.as_ref().map(|(_, signature)| signature.clone()))
    }

    /// Reads a note on a release, or says what is wrong with it.
    ///
    /// # Errors
    /// A sentence for what is not exactly what [`Yank::encode`] writes, for another release, for a note that is not what its
    /// name promises, and for one that is dated more than a day ahead of the clock here.
    pub fn decode(note: &Note, id: &PackageId, release: &Digest, bytes: &[u8]) -> Result<Self, String> {
        let Note::Yank { at, key } = note else { return Err("it is no yank".to_owned()) };
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let malformed = |error: serde_json::Error| text::shorten(&error.to_string());
        let Schema { schema } = serde_json::from_slice(bytes).map_err(malformed)?;
        if schema != SCHEMA {
            return Err(format!("it has schema {schema}, this program knows schema {SCHEMA}"));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(malformed)?;
        let found = PackageId { name: wire.name, version: wire.version };
        if (&found, &wire.release) != (id, release) {
            return Err(format!("it is about `{found}` with the release digest `{}`", wire.release.short()));
        }
        if wire.at != *at {
            return Err(format!("its time is {}, its name says {at}", wire.at));
        }
        let signature = match (key, wire.signature) {
            (None, None) => None,
            (Some(key), Some(signature)) => match Signature::decode(&signature) {
                Ok(_) => Some((key.clone(), signature)),
                Err(_) => return Err("its signature is not one of minisign".to_owned()),
            },
            (None, Some(_)) => return Err("it has a signature, its name says that it has none".to_owned()),
            (Some(key), None) => return Err(format!("it has no signature, its name says one of `{key}`")),
        };
        let statement =
            Statement { id: found, release: wire.release, yanked: wire.yanked, reason: wire.reason, at: wire.at };
        if let Some(problem) = statement.problem() {
            return Err(problem);
        }
        let yank = Self { statement, signature };
        let canonical = yank.encode().map_err(|error| error.to_string())?;
        if canonical == bytes { Ok(yank) } else { Err("its bytes are not in the canonical form".to_owned()) }
    }

    /// Tells whether one of these keys signed the statement. An unsigned one is signed by none.
    #[must_use]
    pub fn is_signed_by(&self, keys: &[PublicKey]) -> bool {
        let Some((_, signature)) = &self.signature else { return false };
        let (Ok(signature), Ok(bytes)) = (Signature::decode(signature), self.statement.bytes()) else { return false };
        keys.iter().any(|key| key.verify(&bytes, &signature, false).is_ok())
    }
}

/// Whose word counts: told of each well-formed note. Whoever has keys to go by asks [`Yank::is_signed_by`].
pub type Counts<'a> = &'a dyn Fn(&Yank) -> bool;

/// Counts every well-formed note, since who may write to a registry may say what is in it.
#[must_use]
pub const fn every(_: &Yank) -> bool {
    true
}

/// A note that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// The note.
    pub note: Note,
    /// What is wrong with it.
    pub problem: String,
}

/// Where a release stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The newest note that counts.
    pub newest: Option<Yank>,
    /// Malformed notes that are as new or newer.
    pub passed_over: Vec<PassedOver>,
}

impl Standing {
    /// Why the release is yanked; none when it is not.
    #[must_use]
    pub fn yanked(&self) -> Option<&str> {
        let newest = self.newest.as_ref().map(|yank| &yank.statement)?;
        newest.yanked.then_some(newest.reason.as_str())
    }
}

/// Finds out where a release stands. Its record is asked for only when there is something to check with it.
///
/// Notes are read from the newest on and no further than to the first that counts.
///
/// # Errors
/// The store cannot be read, or has more than [`MAX_NOTES`] notes on the release.
pub fn standing(
    store: &dyn Store,
    id: &PackageId,
    release: impl FnOnce() -> Result<Digest, Error>,
    counts: Counts<'_>,
) -> Result<Standing, Error> {
    let notes = yanks(store, id)?;
    let mut standing = Standing::default();
    if notes.is_empty() {
        return Ok(standing);
    }
    let release = release()?;
    for of_one_time in notes.chunk_by(|a, b| a.0 == b.0).rev() {
        for (_, note) in of_one_time {
            let yank = match store.note(id, note) {
                Ok(Some(bytes)) => Yank::decode(note, id, &release, &bytes),
                Ok(None) => Err("it was there a moment ago".to_owned()),
                Err(Error::TooLong { limit, .. }) => Err(format!("it is longer than {limit} bytes")),
                Err(error) => return Err(error),
            };
            match yank {
                Err(problem) => standing.passed_over.push(PassedOver { note: note.clone(), problem }),
                Ok(yank) if counts(&yank) => {
                    let yanks = standing.newest.as_ref().is_some_and(|newest| newest.statement.yanked);
                    if !yanks {
                        standing.newest = Some(yank);
                    }
                }
                Ok(_) => {}
            }
        }
        if standing.newest.is_some() {
            break;
        }
    }
    Ok(standing)
}

/// Finds out where a release stands whose record is at hand.
///
/// # Errors
/// As [`standing`].
pub fn standing_of(store: &dyn Store, record: &ReleaseRecord, counts: Counts<'_>) -> Result<Standing, Error> {
    standing(store, &record.release.id(), || Ok(record.digest), counts)
}

/// The yanks among a release's notes with their times, oldest first.
fn yanks(store: &dyn Store, id: &PackageId) -> Result<Vec<(u64, Note)>, Error> {
    let notes = match store.notes(id) {
        // A registry that keeps no notes has none.
        Err(Error::NotOffered { .. }) => return Ok(Vec::new()),
        notes => notes?,
    };
    let time = |note: Note| match note {
        Note::Yank { at, .. } => Some((at, note)),
        Note::Signature(_) => None,
    };
    let mut yanks: Vec<_> = notes.into_iter().filter_map(time).collect();
    if yanks.len() > MAX_NOTES {
        return Err(Error::TooManyNotes { id: Box::new(id.clone()), limit: MAX_NOTES, location: store.location() });
    }
    yanks.sort();
    Ok(yanks)
}

/// What saying something did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// This note was written and holds now.
    Written(Yank),
    /// Nothing was written, since this holds already: the same note, or nothing against a release that should be taken back.
    Held(Option<Yank>),
}

/// Yanks a release, or takes its yank back. Saying again what holds already writes nothing.
///
/// The note is newer than every other that counts, whatever the clocks of those who wrote them.
///
/// # Errors
/// A reason that is empty, too long or has control characters; a key that cannot sign; a store that cannot be written or has
/// too many notes.
pub fn say(
    store: &dyn Store,
    record: &ReleaseRecord,
    yanked: bool,
    reason: &str,
    signer: Option<&dyn Signer>,
) -> Result<Said, Error> {
    let id = record.release.id();
    let mut held = standing_of(store, record, &every)?.newest;
    let holds = held.as_ref().map_or(!yanked, |yank| {
        let same = |key: &Option<(KeyId, String)>| key.as_ref().map(|(key, _)| key) == signer.map(Signer::key);
        yank.statement.yanked == yanked && yank.statement.reason == reason && same(&yank.signature)
    });
    if holds {
        return Ok(Said::Held(held));
    }
    let mut after = 0;
    for _ in 0..ATTEMPTS {
        let next = held.as_ref().map_or(0, |yank| yank.statement.at.saturating_add(1));
        // What counts is ahead by a day at most, so this is not refused for its time.
        let at = now().max(next).max(after);
        let statement = Statement { id: id.clone(), release: record.digest, yanked, reason: reason.to_owned(), at };
        if let Some(problem) = statement.problem() {
            return Err(Error::Statement { id: Box::new(id), problem });
        }
        let signature = match signer {
            Some(signer) => Some((signer.key().clone(), signer.sign(&statement.bytes()?)?)),
            None => None,
        };
        let yank = Yank { statement, signature };
        if store.put_note(&id, &yank.note(), &yank.encode()?)? == Put::Created {
            return Ok(Said::Written(yank));
        }
        // Something stands at this very millisecond: what is said now is said after it.
        after = at.saturating_add(1);
        held = standing_of(store, record, &every)?.newest;
    }
    Err(Error::Contended { what: format!("notes on `{id}`"), location: store.location() })
}

/// The last time that counts for now.
fn last_time() -> u64 {
    now().saturating_add(AHEAD).min(MAX_TIME)
}

/// Milliseconds since 1970; a clock before that counts as 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
