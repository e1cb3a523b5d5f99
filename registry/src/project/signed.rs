//! Signatures of a project's releases: judged whenever releases are chosen, and kept in the cache by a fetch.

use std::fs;

use super::Project;
use super::sources::Sources;
use crate::error::Error;
use crate::key::KeyId;
use crate::lock::{Lock, Locked};
use crate::release::{MAX_RELEASE, Release, ReleaseRecord};
use crate::resolve::Selection;
use crate::trust::{Asked, Shelf, TrustedKey, judge};

impl Project {
    /// Judges a chosen release and gives the signer for its entry in the lock: the one that was accepted, or, where none is
    /// asked for, the one that the lock has.
    ///
    /// # Errors
    /// The release is not let in, or its signature is neither in the cache nor can be read from its registry.
    pub(super) fn signer_of(&self, record: &ReleaseRecord, old: Option<&Lock>) -> Result<Option<KeyId>, Error> {
        let release = &record.release;
        let may_change = self.accept_signers.contains(&release.name);
        let before = old.and_then(|old| old.get(&release.name, &release.version));
        let before = before.filter(|locked| locked.release == record.digest);
        // Lines may have different signers. One that is new is expected to be by whoever signed another.
        let others: Vec<_> = old.map(|old| old.of(&release.name).collect()).unwrap_or_default();
        let find = |fits: &dyn Fn(&Locked) -> bool| others.iter().copied().find(|locked| fits(locked));
        let of_line = || find(&|locked| locked.version.same_line(&release.version));
        let of_package = before.or_else(of_line).or_else(|| find(&|locked| locked.signer.is_some()));
        let pinned = of_package.and_then(|locked| locked.signer.as_ref()).filter(|_| !may_change);
        let asked = Asked { record, pinned, fresh: before.is_none() || may_change };
        let accepted = self.trust.judge(asked, &CacheFirst(&self.sources))?;
        let kept = || before.filter(|_| !may_change).and_then(|locked| locked.signer.clone());
        Ok(accepted.map(|accepted| accepted.key).or_else(kept))
    }

    /// The signer of a release, if its signature was verified: the lock may name one that this operator does not ask for.
    pub(super) fn verified_signer(&self, record: &ReleaseRecord, lock: &Lock) -> Option<KeyId> {
        let release = &record.release;
        let signer = lock.get(&release.name, &release.version)?.signer.clone()?;
        self.trust.key(release.name.namespace(), &signer).map(|_| signer)
    }

    /// Keeps the verified signatures of chosen releases in the cache.
    ///
    /// # Errors
    /// A signature has gone from its registry meanwhile, or the cache cannot be written.
    pub(crate) fn keep_signatures(&self, selection: &Selection, lock: &Lock) -> Result<(), Error> {
        let shelf = CacheFirst(&self.sources);
        for record in selection.records() {
            let Some(signer) = self.verified_signer(record, lock) else { continue };
            let Some(key) = self.trust.key(record.release.name.namespace(), &signer) else { continue };
            let Some((bytes, file)) = shelf.signature(record, &signer)? else {
                return Err(Error::Vanished { file: format!("{signer}.minisig of {}", record.release.id()) });
            };
            let signature = judge::verify(record, &key.public, &bytes, &file)?;
            self.cache().keep_signature(&record.digest, &signer, signature.as_str())?;
        }
        Ok(())
    }

    /// Removes signatures from the cache that do not verify, so that they are read from the registry again.
    ///
    /// # Errors
    /// The cache cannot be read or written.
    pub(crate) fn drop_damaged_signatures(&self, lock: &Lock) -> Result<(), Error> {
        for locked in lock.packages() {
            let Some(bytes) = self.cache().read(&locked.release, MAX_RELEASE)? else { continue };
            let record = Release::decode(&locked.id().to_string(), bytes)?;
            let is_damaged = |key: &&TrustedKey| match self.cache().signature(&locked.release, key.public.id()) {
                Ok(Some(bytes)) => judge::verify(&record, &key.public, &bytes, "").is_err(),
                Ok(None) => false,
                Err(_) => true,
            };
            for key in self.trust.keys_of(locked.name.namespace()).filter(is_damaged) {
                let path = self.cache().signature_path(&locked.release, key.public.id());
                fs::remove_file(&path).map_err(|source| Error::Io { action: "remove", path, source })?;
            }
        }
        Ok(())
    }
}

/// The cache, and behind it the registries: a fetched project asks no registry.
struct CacheFirst<'a>(&'a Sources);

impl Shelf for CacheFirst<'_> {
    fn signature(&self, record: &ReleaseRecord, key: &KeyId) -> Result<Option<(Vec<u8>, String)>, Error> {
        let cache = self.0.cache();
        if let Some(bytes) = cache.signature(&record.digest, key)? {
            return Ok(Some((bytes, cache.signature_path(&record.digest, key).display().to_string())));
        }
        self.0.registry_of(&record.release.name)?.signature(record, key)
    }

    fn signers(&self, record: &ReleaseRecord) -> Result<Vec<KeyId>, Error> {
        self.0.registry_of(&record.release.name)?.signers(record)
    }

    fn is_at_hand(&self, record: &ReleaseRecord, key: &KeyId) -> bool {
        self.0.cache().signature_path(&record.digest, key).is_file()
    }
}
