//! The judgement of one release: before anything of it is opened, its record's signature is looked for and verified.

use super::{Demand, Expected, PublicKey, Signature, Trust, TrustError, TrustedKey};
use crate::error::Error;
use crate::id::PackageId;
use crate::index::Registry;
use crate::key::KeyId;
use crate::note::Note;
use crate::release::ReleaseRecord;

/// A release and what is known about its signer.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The release.
    pub record: &'a ReleaseRecord,
    /// The signer that the lock has for its package, unless another one may come.
    pub pinned: Option<&'a KeyId>,
    /// Whether nobody has judged it before: it is in no lock.
    pub fresh: bool,
}

/// A signature that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The trusted key.
    pub key: KeyId,
    /// Its signature.
    pub signature: Signature,
}

/// Where signatures lie: a registry, or a cache before it.
pub trait Shelf {
    /// The bytes of a key's signature of a release, and where they are for people; none when there is none.
    ///
    /// # Errors
    /// The place cannot be read, or the signature is too long.
    fn signature(&self, record: &ReleaseRecord, key: &KeyId) -> Result<Option<(Vec<u8>, String)>, Error>;

    /// The keys that have signed a release, by their own account.
    ///
    /// # Errors
    /// The place cannot be read.
    fn signers(&self, record: &ReleaseRecord) -> Result<Vec<KeyId>, Error>;

    /// Tells whether a key's signature can be had without asking a registry.
    fn is_at_hand(&self, record: &ReleaseRecord, key: &KeyId) -> bool {
        let _ = (record, key);
        false
    }
}

impl Shelf for Registry {
    fn signature(&self, record: &ReleaseRecord, key: &KeyId) -> Result<Option<(Vec<u8>, String)>, Error> {
        let (id, note) = (record.release.id(), Note::Signature(key.clone()));
        let found = self.store().note(&id, &note)?;
        Ok(found.map(|bytes| (bytes, format!("{note} in {}", self.store().location()))))
    }

    fn signers(&self, record: &ReleaseRecord) -> Result<Vec<KeyId>, Error> {
        let signer = |note| match note {
            Note::Signature(key) => Some(key),
            Note::Yank { .. } => None,
        };
        Ok(self.store().notes(&record.release.id())?.into_iter().filter_map(signer).collect())
    }
}

/// What became of looking at the trusted keys of a namespace.
enum Looked {
    Signed(Accepted),
    Unsigned,
    Refused(Error),
}

impl Trust {
    /// Lets a release in or says why not. Given back is the signature that was accepted; none where none is asked for.
    ///
    /// A signature is asked for where the policy demands one. Where it does not, one is still looked for as long as keys are
    /// trusted for the namespace and the release is new or the lock has a signer, so that a signer cannot silently change.
    ///
    /// # Errors
    /// [`TrustError`] for a release that is not let in; whatever the shelf meets.
    pub fn judge(&self, asked: Asked<'_>, shelf: &dyn Shelf) -> Result<Option<Accepted>, Error> {
        let Asked { record, pinned, fresh } = asked;
        let id = record.release.id();
        let demanded = match self.demand(record.release.kind()) {
            Demand::Denied => return Err(TrustError::Denied { id, file: self.file_name() }.into()),
            Demand::Signature => true,
            Demand::Nothing => false,
        };
        let mut keys: Vec<&TrustedKey> = self.keys_of(id.name.namespace()).collect();
        if !demanded && (keys.is_empty() || (pinned.is_none() && !fresh)) {
            return Ok(None);
        }
        keys.sort_by_key(|key| (Some(key.public.id()) != pinned, !shelf.is_at_hand(record, key.public.id())));
        let expected = || Expected {
            namespace: id.name.namespace().clone(),
            keys: self.keys_of(id.name.namespace()).map(|key| key.public.id().clone()).collect(),
            file: self.file_name(),
        };
        let withdrawn = pinned.filter(|pinned| !keys.iter().any(|key| key.public.id() == *pinned));
        let looked = match look(record, &keys, pinned, shelf) {
            // That the lock's signer is not trusted is known without the registry.
            Err(_) if withdrawn.is_some() => Looked::Unsigned,
            looked => looked?,
        };
        let refuse = |error: TrustError| Err(error.into());
        match (looked, pinned) {
            (Looked::Refused(error), _) => Err(error),
            (Looked::Signed(accepted), Some(locked)) if accepted.key != *locked => {
                refuse(TrustError::ChangedSigner { id, found: accepted.key, locked: locked.clone() })
            }
            (Looked::Signed(accepted), _) => Ok(Some(accepted)),
            (Looked::Unsigned, Some(locked)) if withdrawn.is_some() => {
                refuse(TrustError::Withdrawn { expected: expected(), id, locked: locked.clone() })
            }
            (Looked::Unsigned, Some(locked)) => refuse(TrustError::LostSigner { id, locked: locked.clone(), demanded }),
            (Looked::Unsigned, None) if !demanded => Ok(None),
            (Looked::Unsigned, None) => match shelf.signers(record)? {
                found if found.is_empty() => refuse(TrustError::Unsigned { expected: expected(), id }),
                found => refuse(TrustError::UnknownSigners { expected: expected(), id, found }),
            },
        }
    }
}

/// Looks for a signature by one of these keys, the first that has one.
fn look(
    record: &ReleaseRecord,
    keys: &[&TrustedKey],
    pinned: Option<&KeyId>,
    shelf: &dyn Shelf,
) -> Result<Looked, Error> {
    let mut refused = None;
    for key in keys {
        let Some((bytes, file)) = shelf.signature(record, key.public.id())? else { continue };
        match verify(record, &key.public, &bytes, &file) {
            Ok(signature) => {
                return Ok(Looked::Signed(Accepted { key: key.public.id().clone(), signature }));
            }
            // Behind the lock's signer nobody else is asked: its signature was altered, which must not pass.
            Err(error) if pinned == Some(key.public.id()) => return Ok(Looked::Refused(error.into())),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Ok(refused.map_or(Looked::Unsigned, |error| Looked::Refused(error.into())))
}

/// Verifies what lies under a key's name as its signature of a record.
pub(crate) fn verify(
    record: &ReleaseRecord,
    public: &PublicKey,
    bytes: &[u8],
    file: &str,
) -> Result<Signature, Box<TrustError>> {
    let (id, file) = (record.release.id(), file.to_owned());
    let signature = match Signature::decode(bytes) {
        Ok(signature) => signature,
        Err(problem) => return Err(TrustError::Malformed { id, file, problem }.into()),
    };
    if signature.key() != public.id() {
        let (found, expected) = (signature.key().clone(), public.id().clone());
        return Err(TrustError::OtherKey { id, file, found, expected }.into());
    }
    if public.has_signed(&record.bytes, &signature) {
        return Ok(signature);
    }
    let key = public.id().clone();
    Err(Box::new(match signature.about().filter(|about| *about != release_name(&id)) {
        Some(about) => TrustError::OtherRelease { id, file, key, found: crate::text::shorten(about) },
        None => TrustError::DoesNotVerify { id, file, key },
    }))
}

/// A release in the words of a trusted comment.
pub(super) fn release_name(id: &PackageId) -> String {
    format!("{}@{}", id.name, id.version)
}

/// One signature of a release and what it is worth here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is, by its own account.
    pub key: KeyId,
    /// What people call the key, where it is trusted and has a name.
    pub name: Option<String>,
    /// Whether its key is trusted for the namespace.
    pub trusted: bool,
    /// Why it does not count though its key is trusted.
    pub problem: Option<Box<TrustError>>,
}

/// Lists the signatures of a release, and which of them count.
///
/// # Errors
/// The registry cannot be read.
pub fn signatures(registry: &Registry, record: &ReleaseRecord, trust: &Trust) -> Result<Vec<Standing>, Error> {
    let mut standings = Vec::new();
    for key in registry.signers(record)? {
        let trusted = trust.key(record.release.name.namespace(), &key);
        let problem = match (trusted, registry.signature(record, &key)?) {
            (Some(trusted), Some((bytes, file))) => verify(record, &trusted.public, &bytes, &file).err(),
            _ => None,
        };
        standings.push(Standing {
            name: trusted.and_then(|trusted| trusted.name.clone()),
            trusted: trusted.is_some(),
            key,
            problem,
        });
    }
    Ok(standings)
}
