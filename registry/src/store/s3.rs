//! Objects in an S3-compatible store: `s3://bucket/prefix`.
//!
//! Endpoint, region and credentials come from the environment, by the names that other S3 programs use too:
//! `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, a web identity, a
//! container's or an instance's role. `AWS_SKIP_SIGNATURE=true` reads public buckets without credentials. Plain `http://` is
//! for loopback, and elsewhere for those who set `AWS_ALLOW_HTTP=true`.
//!
//! # How an object is written once
//!
//! * What fits into one part is one `PUT` with `If-None-Match: *`.
//! * Longer content is a multipart upload whose completion carries the same condition: the object appears whole and only if its
//!   key is free. Nothing is copied and no temporary key is used. The parts of an upload that was broken off are no objects;
//!   they are aborted where that is still possible, and a lifecycle rule of the bucket drops the rest.
//! * AWS, SeaweedFS, MinIO and moto keep both conditions. A server that ignores them lets two publishers replace each other's
//!   release; it is found out by [`Objects::require_conditions`] before the first byte is written, and refused.
//! * An answer can be lost and the request sent again, so "exists already" may be our own write. Whoever is told
//!   [`Put::Exists`] reads and compares. A conflict with a write that then was not made is tried again.

mod access;
mod error;
mod probe;
mod sweep;
mod transport;

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart};

use super::remote::{Body, wait};
use super::{Objects, Put, Store, Stream, Sweep, Tree};
use crate::doctor::Finding;
use crate::error::Error;
use crate::layout::{Key, Prefix};
use crate::location::RegistryLocation;

use access::Access;
pub use error::S3Error;

/// The parts of an upload, in bytes: longer than any record, so that only content is uploaded in parts, and with
/// [`IN_FLIGHT`] of them and one being read, well within 64 MB.
const PART: usize = 10 * 1024 * 1024;
/// Parts that are on their way at the same time.
const IN_FLIGHT: usize = 2;
/// The most objects that a listing may name: what a hostile one can make us hold is some ten megabytes.
const MAX_LISTED: usize = 250_000;
/// How often a write is tried that was in conflict with another which then was not made.
const ATTEMPTS: u32 = 5;
/// The first wait between two such tries; each next is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a server may be silent, unless a store is opened with another patience.
pub const SILENCE: Duration = super::remote::SILENCE;

/// Opens the registry at an address, with the environment of this process.
pub(crate) fn open(location: &RegistryLocation) -> Result<Box<dyn Store>, Error> {
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Box::new(Tree::over(Bucket::open(location, variables, SILENCE)?)))
}

/// A bucket, or what is below a prefix in one.
pub struct Bucket {
    client: AmazonS3,
    access: Access,
    silence: Duration,
    /// That the server keeps conditions, once it was found out.
    conditions: OnceLock<()>,
    /// Whether the server keeps the bytes of what is copied onto itself, once it was found out.
    copies: OnceLock<bool>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own output may change and show what it signs with.
        formatter.debug_struct("Bucket").field("location", &self.access.location).finish_non_exhaustive()
    }
}

/// An object as a listing or an enquiry describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, by the server's clock.
    pub modified: SystemTime,
}

impl Bucket {
    /// Uses a bucket with the given variables of an environment. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// The location or a variable is not well-formed.
    pub fn open(
        location: &RegistryLocation,
        variables: impl IntoIterator<Item = (String, String)>,
        silence: Duration,
    ) -> Result<Self, Error> {
        let (client, access) = access::connect(location, variables, silence)?;
        Ok(Self { client, access, silence, conditions: OnceLock::new(), copies: OnceLock::new() })
    }

    /// Lists the objects below a prefix of keys, with their sizes and ages, sorted by key.
    ///
    /// # Errors
    /// The server cannot be asked, or names more than can be held.
    pub fn describe_all(&self, prefix: &str) -> Result<Vec<Described>, Error> {
        let location = format!("{}/{prefix}", self.access.location);
        let failed = |error| self.access.failed("list", &location, error);
        let root = self.path(prefix.trim_end_matches('/'))?;
        let mut found = Vec::new();
        let mut listed = self.client.list(Some(&root));
        while let Some(object) = wait(listed.next()) {
            let object = object.map_err(failed)?;
            let Some(key) = self.access.key_of(&object.location) else { continue };
            if found.len() == MAX_LISTED {
                return Err(S3Error::TooMany { location, limit: MAX_LISTED }.into());
            }
            let modified = object.last_modified.into();
            found.push(Described { key: Key::listed(key.to_owned()), size: object.size, modified });
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Describes an object; none when there is none.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub fn describe(&self, key: &Key) -> Result<Option<Described>, Error> {
        match wait(self.client.head(&self.path(key.as_str())?)) {
            Ok(object) => {
                Ok(Some(Described { key: key.clone(), size: object.size, modified: object.last_modified.into() }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.access.failed("look at", &self.location_of(key), error)),
        }
    }

    /// Removes an object; that it is not there is no error.
    ///
    /// # Errors
    /// The server cannot be asked or refuses.
    pub fn remove(&self, key: &Key) -> Result<(), Error> {
        match wait(self.client.delete(&self.path(key.as_str())?)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.access.failed("remove", &self.location_of(key), error)),
        }
    }

    fn location_of(&self, key: &Key) -> String {
        format!("{}/{key}", self.access.location)
    }

    fn path(&self, key: &str) -> Result<Path, Error> {
        self.access.path(key)
    }

    /// Writes bytes under a key that is free, in one request.
    fn put_whole(&self, key: &Key, bytes: Bytes) -> Result<Put, Error> {
        let path = self.path(key.as_str())?;
        let write = || {
            let options = PutOptions::from(PutMode::Create);
            wait(self.client.put_opts(&path, PutPayload::from(bytes.clone()), options)).map(|_| ())
        };
        self.created(key, write)
    }

    /// Makes of a conditional write's outcome what became of it. A conflict may also mean that another write was under way
    /// and then was not made: the key is looked at, and while it is free, the write is tried again.
    fn created(&self, key: &Key, mut write: impl FnMut() -> object_store::Result<()>) -> Result<Put, Error> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            match write() {
                Ok(()) => return Ok(Put::Created),
                Err(error) if is_conflict(&error) => {
                    if self.describe(key)?.is_some() {
                        return Ok(Put::Exists);
                    }
                    if attempt == ATTEMPTS {
                        return Err(self.access.failed("write", &self.location_of(key), error));
                    }
                }
                Err(error) => return Err(self.access.failed("write", &self.location_of(key), error)),
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    /// Writes a stream that begins with `first` under a key that is free, in parts.
    fn put_parts(&self, key: &Key, first: Vec<u8>, content: &mut dyn Read) -> Result<Put, Error> {
        let failed = |error| self.access.failed("write", &self.location_of(key), error);
        let upload = wait(self.client.put_multipart(&self.path(key.as_str())?)).map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut part = first;
        loop {
            let whole = part.len() == PART;
            let sent = wait(async {
                upload.wait_for_capacity(IN_FLIGHT).await?;
                upload.put(part.into());
                Ok(())
            });
            let next = match sent {
                Err(error) => Err(failed(error)),
                Ok(()) if !whole => break,
                Ok(()) => self.read_part(key, content),
            };
            match next {
                Ok(next) if next.is_empty() => break,
                Ok(next) => part = next,
                Err(error) => {
                    // What cannot be aborted either is parts that nobody sees.
                    let _ = wait(upload.abort());
                    return Err(error);
                }
            }
        }
        // An upload is completed once; when another was faster or our own answer was lost, the object is there or soon will be.
        match wait(upload.finish()) {
            Ok(_) => Ok(Put::Created),
            Err(error) if is_conflict(&error) || matches!(error, object_store::Error::NotFound { .. }) => {
                if self.appears(key)? { Ok(Put::Exists) } else { Err(failed(error)) }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Looks for an object that somebody is writing, as often and as long as [`Self::created`] tries.
    fn appears(&self, key: &Key) -> Result<bool, Error> {
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            if self.describe(key)?.is_some() {
                return Ok(true);
            }
            if attempt < ATTEMPTS {
                std::thread::sleep(pause);
                pause *= 2;
            }
        }
        Ok(false)
    }

    /// Reads as much of a stream as makes one part; an error is the stream's own.
    fn read_part(&self, key: &Key, content: &mut dyn Read) -> Result<Vec<u8>, Error> {
        // As large as it may become, so that it does not grow to more.
        let mut part = Vec::with_capacity(PART);
        match content.take(PART as u64).read_to_end(&mut part) {
            Ok(_) => Ok(part),
            Err(source) => Err(Error::Io { action: "write", path: PathBuf::from(self.location_of(key)), source }),
        }
    }

    /// Writes one key twice and tells whether the second write was refused.
    fn refuses_second(&self, key: &Key) -> Result<bool, Error> {
        let content = Bytes::from_static(b"kadapter tries whether a second write of this is refused\n");
        if self.put_whole(key, content.clone())? == Put::Exists {
            return Ok(true);
        }
        let refused = self.put_whole(key, content)? == Put::Exists;
        // Who may not remove it leaves it: one small object that is no release.
        let _ = self.remove(key);
        Ok(refused)
    }
}

fn is_conflict(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
}

impl Objects for Bucket {
    fn location(&self) -> String {
        self.access.location.clone()
    }

    fn open(&self, key: &Key) -> Result<Option<Stream>, Error> {
        let path = self.path(key.as_str())?;
        let found = match wait(self.client.get_opts(&path, GetOptions::default())) {
            Ok(found) => found,
            Err(object_store::Error::NotFound { source, .. }) if !error::is_no_bucket(&*source) => return Ok(None),
            Err(error) => return Err(self.access.failed("read", &self.location_of(key), error)),
        };
        let silence = self.silence;
        let chunks = futures_util::stream::unfold(found.into_stream(), move |mut chunks| async move {
            let chunk = match tokio::time::timeout(silence, chunks.next()).await {
                Ok(chunk) => chunk?.map_err(|error| io::Error::other(error::innermost(&error))),
                Err(_) => Err(transport::silent(silence)),
            };
            Some((chunk, chunks))
        });
        Ok(Some(Box::new(Body::new(chunks))))
    }

    fn put_new(&self, key: &Key, content: &mut dyn Read) -> Result<Put, Error> {
        // Content is often there already, and is long: what a look can spare is not sent.
        if key.is_blob() && self.describe(key)?.is_some() {
            return Ok(Put::Exists);
        }
        let first = self.read_part(key, content)?;
        if first.len() < PART {
            return self.put_whole(key, first.into());
        }
        self.put_parts(key, first, content)
    }

    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, Error> {
        Ok(self.describe_all(prefix.as_str())?.into_iter().map(|object| object.key).collect())
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    fn require_conditions(&self) -> Result<(), Error> {
        if self.conditions.get().is_some() {
            return Ok(());
        }
        // Others may try it at the same time and remove the object between two writes of ours: a key of our own decides.
        let own = format!("{}-{}", std::process::id(), transport::nanoseconds());
        if self.refuses_second(&Key::probe("conditions"))? || self.refuses_second(&Key::probe(&own))? {
            self.conditions.get_or_init(|| ());
            return Ok(());
        }
        Err(S3Error::Unconditional { location: self.access.location.clone() }.into())
    }

    fn probe(&self) -> Vec<Finding> {
        probe::probe(self)
    }
}
