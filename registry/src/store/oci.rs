//! Registries in an OCI registry: one repository per package, one tag per release (feature `oci`).
//!
//! ```text
//! oci://host[:port]/prefix
//!     prefix/<namespace>/<name>:<version>          manifest of a release: the record and every file, each a layer
//!     prefix/<namespace>/<name>:<version>_sig_…    manifest of a note: the note is its one layer
//! ```
//!
//! Blobs are addressed by the same SHA-256 digests as everywhere here. A blob that is there is not uploaded again: the
//! registry has checked its content against its digest when it came, and its size is compared once more. The manifest is
//! pushed last and is the commit point; what a failed publisher leaves are blobs that no manifest names, and the registry's
//! own garbage collection removes them.
//!
//! **What is not promised.** Tags are not conditional: a push under a tag that is there moves it. So a publisher looks before
//! it pushes, and reads back after. Who comes second sees the first one's release and is refused. Of several who look at the
//! same moment each may push; who finds another's manifest when reading back is refused, but one that read back before the
//! next push believes that it won. The release that stays is one of theirs, whole. Likewise a registry's operator can move
//! or delete a tag. Whoever has locked a release notices: locks pin the digest of its record.
//!
//! Registries that can make tags immutable should: then the registry itself refuses the second push.

mod address;
mod answer;
mod authentication;
mod challenge;
mod credentials;
mod error;
mod manifest;
mod probe;
mod pump;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::BTreeSet;
use std::time::Duration;

use super::remote::{self, wait};
use super::{Put, Scope, Source, Store, Stored, Stream};
use crate::digest::{Difference, Digest};
use crate::doctor::Finding;
use crate::error::Error;
use crate::id::PackageId;
use crate::location::RegistryLocation;
use crate::name::PackageName;
use crate::note::{MAX_NOTE, Note};
use crate::release::{MAX_RELEASE, ReleaseFile, ReleaseRecord};
use crate::version::Version;
use address::{Address, Tag};
pub use error::OciError;
use manifest::Artifact;
use pump::Upload;
use transport::Transport;

/// A registry of packages in an OCI registry.
#[derive(Debug)]
pub(crate) struct Oci {
    address: Address,
    transport: Transport,
}

/// Opens the registry at a location. Nothing is sent.
pub(crate) fn open(location: &RegistryLocation) -> Result<Box<dyn Store>, Error> {
    let RegistryLocation::Remote { address, .. } = location else {
        return Err(Error::StoreNotBuilt { location: location.clone() });
    };
    let insecure = std::env::var(address::INSECURE).unwrap_or_default();
    Ok(Box::new(Oci::new(Address::parse(address, &insecure)?, remote::SILENCE)?))
}

impl Oci {
    fn new(address: Address, silence: Duration) -> Result<Self, Error> {
        let transport = Transport::new(&address, silence)?;
        Ok(Self { address, transport })
    }

    fn place(&self, name: &PackageName) -> String {
        format!("{}/{name}", self.address)
    }

    fn tagged(&self, name: &PackageName, tag: &str) -> String {
        format!("{}:{tag}", self.place(name))
    }

    fn blob_location(&self, name: &PackageName, digest: &Digest) -> String {
        format!("{}@{digest}", self.place(name))
    }

    /// Reads the layer of one type behind a tag, whole and checked; none when there is no such tag.
    fn layer(&self, name: &PackageName, tag: &str, media_type: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let repository = self.address.repository(name)?;
        let location = self.tagged(name, tag);
        wait(async {
            let Some(manifest) = self.transport.manifest(&repository, tag, &location).await? else { return Ok(None) };
            let refuse = |problem| OciError::Answer { location: location.clone(), problem };
            let (digest, size) = manifest::layer_of(&manifest, media_type).map_err(refuse)?;
            if size > limit {
                return Err(Error::TooLong { file: location, limit });
            }
            let file = self.blob_location(name, &digest);
            let Some(response) = self.transport.blob(&repository, &digest, &file).await? else {
                return Err(refuse(format!("its layer `{digest}` is not there")).into());
            };
            let bytes = self.transport.whole(response, size).await?;
            match difference(bytes.as_deref(), digest, size) {
                None => Ok(bytes),
                Some(difference) => Err(Error::Altered { file, difference }),
            }
        })
    }

    /// Uploads what a manifest needs and is small, when it is not there.
    fn put_small(&self, name: &PackageName, repository: &str, bytes: &[u8]) -> Result<(), Error> {
        let digest = Digest::of(bytes);
        let location = self.blob_location(name, &digest);
        let size = bytes.len() as u64;
        wait(async {
            if self.transport.blob_size(repository, &digest, &location).await?.is_some() {
                return Ok(());
            }
            self.transport.upload(repository, &digest, size, Upload::of(bytes), &location).await
        })
    }

    /// Uploads a file when it is not there. Returns the bytes that were sent.
    fn put_content(
        &self,
        name: &PackageName,
        repository: &str,
        file: &ReleaseFile,
        source: &dyn Source,
    ) -> Result<u64, Error> {
        let location = self.blob_location(name, &file.sha256);
        match wait(self.transport.blob_size(repository, &file.sha256, &location))? {
            Some(Some(found)) if found != file.size => {
                let difference = Difference::Size { expected: file.size, found };
                return Err(Error::Altered { file: location, difference });
            }
            Some(_) => return Ok(0),
            None => {}
        }
        let mut stream = source.open(file)?;
        let (pump, upload) = pump::pump();
        std::thread::scope(|scope| {
            let pumping = scope.spawn(move || pump.run(&mut stream));
            let sent = wait(self.transport.upload(repository, &file.sha256, file.size, upload, &location));
            match pumping.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(()) => sent.map(|()| file.size),
                // The request broke off for this, so this is what went wrong.
                Err(error) => Err(match Difference::of(&error) {
                    Some(difference) => source.altered(file, difference),
                    None => Error::Io { action: "read", path: file.path.as_str().into(), source: error },
                }),
            }
        })
    }

    /// Puts an artifact under a tag that is free, and looks whether it stayed there.
    fn commit(&self, name: &PackageName, repository: &str, tag: &str, artifact: &Artifact) -> Result<Put, Error> {
        let location = self.tagged(name, tag);
        wait(async {
            if self.transport.manifest(repository, tag, &location).await?.is_some() {
                return Ok(Put::Exists);
            }
            let pushed = self.transport.put_manifest(repository, tag, &artifact.manifest, &location).await;
            // What is there now decides, also when the answer was lost or was wrong.
            match (self.transport.manifest(repository, tag, &location).await, pushed) {
                (Ok(Some(found)), _) if found == artifact.manifest => Ok(Put::Created),
                (Ok(Some(_)), _) => Ok(Put::Exists),
                (_, Err(error)) | (Err(error), Ok(())) => Err(error),
                (Ok(None), Ok(())) => Err(Error::Vanished { file: location }),
            }
        })
    }

    /// What the tags of a package's repository stand for.
    fn tags(&self, name: &PackageName) -> Result<Vec<Tag>, Error> {
        let repository = self.address.repository(name)?;
        wait(self.transport.tags(&repository, &self.place(name), Tag::parse))
    }
}

/// Compares what was read, none when it was longer than promised, with its digest and size.
fn difference(bytes: Option<&[u8]>, digest: Digest, size: u64) -> Option<Difference> {
    let found = bytes.map_or(size.saturating_add(1), |bytes| bytes.len() as u64);
    if found != size {
        return Some(Difference::Size { expected: size, found });
    }
    let found = Digest::of(bytes.unwrap_or_default());
    (found != digest).then_some(Difference::Digest { expected: digest, found })
}

impl Store for Oci {
    fn location(&self) -> String {
        self.address.to_string()
    }

    /// An OCI registry needs no marker: where the API answers, there is one.
    fn is_registry(&self) -> Result<bool, Error> {
        wait(self.transport.ping()).map(|()| true)
    }

    fn create_registry(&self) -> Result<(), Error> {
        wait(self.transport.ping())
    }

    fn releases(&self, scope: Scope<'_>) -> Result<Vec<(PackageName, Version)>, Error> {
        let in_scope = |name: &PackageName| match scope {
            Scope::All => true,
            Scope::Namespace(namespace) => name.namespace() == namespace,
            Scope::Package(_) => false,
        };
        let names = match scope {
            Scope::Package(name) => BTreeSet::from([name.clone()]),
            Scope::All | Scope::Namespace(_) => {
                let keep = |repository: &str| self.address.package(repository).filter(in_scope);
                let listed = wait(self.transport.repositories(keep))?;
                let listed =
                    listed.ok_or_else(|| Error::NotOffered { action: "list packages", location: self.location() })?;
                listed.into_iter().collect()
            }
        };
        let mut releases = BTreeSet::new();
        for name in names {
            for tag in self.tags(&name)? {
                if let Tag::Release(version) = tag {
                    releases.insert((name.clone(), version));
                }
            }
        }
        Ok(releases.into_iter().collect())
    }

    fn record(&self, id: &PackageId) -> Result<Option<Vec<u8>>, Error> {
        self.layer(&id.name, &id.version.to_string(), manifest::RECORD_TYPE, MAX_RELEASE)
    }

    fn content(&self, id: &PackageId, file: &ReleaseFile) -> Result<Option<Stream>, Error> {
        let repository = self.address.repository(&id.name)?;
        let location = self.blob_location(&id.name, &file.sha256);
        let response = wait(self.transport.blob(&repository, &file.sha256, &location))?;
        Ok(response.map(|response| Box::new(self.transport.body(response)) as Stream))
    }

    fn publish(&self, record: &ReleaseRecord, source: &dyn Source) -> Result<Stored, Error> {
        let release = &record.release;
        let repository = self.address.repository(&release.name)?;
        let artifact = manifest::of_release(record);
        let mut uploaded = 0;
        for file in &release.files {
            uploaded += self.put_content(&release.name, &repository, file, source)?;
        }
        self.put_small(&release.name, &repository, &artifact.config)?;
        self.put_small(&release.name, &repository, &record.bytes)?;
        let put = self.commit(&release.name, &repository, &release.version.to_string(), &artifact)?;
        Ok(Stored { put, uploaded })
    }

    fn notes(&self, id: &PackageId) -> Result<Vec<Note>, Error> {
        let notes = self.tags(&id.name)?.into_iter().filter_map(|tag| match tag {
            Tag::Note(version, note) if version == id.version => Some(note),
            _ => None,
        });
        // A registry may name a tag twice, on two pages.
        Ok(notes.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn note(&self, id: &PackageId, note: &Note) -> Result<Option<Vec<u8>>, Error> {
        self.layer(&id.name, &Tag::of_note(&id.version, note), manifest::note_type(note), MAX_NOTE)
    }

    fn put_note(&self, id: &PackageId, note: &Note, bytes: &[u8]) -> Result<Put, Error> {
        let repository = self.address.repository(&id.name)?;
        let artifact = manifest::of_note(note, bytes);
        self.put_small(&id.name, &repository, &artifact.config)?;
        self.put_small(&id.name, &repository, bytes)?;
        self.commit(&id.name, &repository, &Tag::of_note(&id.version, note), &artifact)
    }

    fn record_location(&self, id: &PackageId) -> String {
        self.tagged(&id.name, &id.version.to_string())
    }

    fn content_location(&self, id: &PackageId, file: &ReleaseFile) -> String {
        self.blob_location(&id.name, &file.sha256)
    }

    fn picks_one_publisher(&self) -> bool {
        false
    }

    fn probe(&self) -> Vec<Finding> {
        probe::probe(self)
    }
}
