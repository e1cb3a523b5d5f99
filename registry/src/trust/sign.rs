//! Signing a release: the signature of its record's bytes is kept beside it as a note.

use std::time::{SystemTime, UNIX_EPOCH};

use super::judge::{release_name, verify};
use super::signature::comment_for;
use super::{PublicKey, Signature, TrustError};
use crate::error::Error;
use crate::note::Note;
use crate::release::ReleaseRecord;
use crate::signer::Signer;
use crate::store::{Put, Store};

/// Signs a release that is in a store. A release that the key has signed before is left as it is.
///
/// # Errors
/// The key cannot sign, or the store cannot be written; what is there under the key's name is no signature of the release.
pub fn sign(store: &dyn Store, record: &ReleaseRecord, signer: &dyn Signer, public: &PublicKey) -> Result<Put, Error> {
    if is_signed(store, record, public)? {
        return Ok(Put::Exists);
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let comment = comment_for(&release_name(&record.release.id()), seconds);
    let text = signer.sign_with_comment(&record.bytes, &comment)?;
    attach(store, record, text.as_bytes(), public)
}

/// Keeps a signature that was made elsewhere, after verifying it.
///
/// # Errors
/// It is not one of this release by this key; the store cannot be written, or has something else under the key's name.
pub fn attach(store: &dyn Store, record: &ReleaseRecord, bytes: &[u8], public: &PublicKey) -> Result<Put, Error> {
    let signature: Signature = verify(record, public, bytes, &format!("{}.minisig", public.id()))?;
    let note = Note::Signature(public.id().clone());
    if store.put_note(&record.release.id(), &note, signature.as_str().as_bytes())? == Put::Created {
        return Ok(Put::Created);
    }
    // Our own write whose answer was lost, or somebody with the same key: what is there must count.
    if is_signed(store, record, public)? { Ok(Put::Exists) } else { Err(taken(record, public)) }
}

/// Tells whether the store has a signature of the release by this key.
fn is_signed(store: &dyn Store, record: &ReleaseRecord, public: &PublicKey) -> Result<bool, Error> {
    let note = Note::Signature(public.id().clone());
    let Some(bytes) = store.note(&record.release.id(), &note)? else { return Ok(false) };
    verify(record, public, &bytes, &note.file_name()).map_err(|_| taken(record, public))?;
    Ok(true)
}

fn taken(record: &ReleaseRecord, public: &PublicKey) -> Error {
    TrustError::Taken { id: record.release.id(), key: public.id().clone() }.into()
}
