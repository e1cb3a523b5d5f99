//! What a file must be for its role, and its size and digest, in one pass over it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::copy::pipe;
use crate::digest::{Digest, Hasher};
use crate::error::Error;
use crate::files::read_bounded;
use crate::package::MAX_PACKAGE_FILE;
use crate::path::PackagePath;
use crate::progress::{Activity, Metered, Observer};
use crate::release::Role;
use crate::store::{Stage, Staged};
use crate::tensors::{Header, TensorInfo, TensorRecord};

/// The longest `config.json`, in bytes; RoBERTa's has 500.
const MAX_CONFIG: u64 = 1024 * 1024;
/// The longest `tokenizer.json`, in bytes; XLM-R's, with 250,000 pieces, has 17 MB.
const MAX_TOKENIZER: u64 = 64 * 1024 * 1024;
/// The longest card or notice, in bytes.
const MAX_PROSE: u64 = 1024 * 1024;
/// The longest native library, in bytes; plugins have half a megabyte.
const MAX_LIBRARY: u64 = 256 * 1024 * 1024;

/// A file that is what its role asks for.
pub(super) struct CheckedFile {
    pub(super) size: u64,
    pub(super) sha256: Digest,
    pub(super) tensors: Option<Vec<TensorRecord>>,
    /// Its content in a store, where it was copied there.
    pub(super) staged: Option<Staged>,
}

pub(super) fn check(
    directory: &Path,
    path: &PackagePath,
    role: Role,
    observer: &Observer,
    stage: Option<&dyn Stage>,
) -> Result<CheckedFile, Error> {
    let full = path.below(directory);
    let file = File::open(&full).map_err(|source| Error::Io { action: "read", path: full.clone(), source })?;
    match role {
        Role::Weights => {
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            let activity = if stage.is_some() { Activity::Publishing } else { Activity::Checking };
            check_weights(&full, Metered::new(file, observer, activity, path, size), stage)
        }
        Role::Manifest => check_small(&full, file, MAX_PACKAGE_FILE, |_| None),
        Role::Card | Role::Notice => check_small(&full, file, MAX_PROSE, text_problem),
        Role::Config => check_small(&full, file, MAX_CONFIG, object_problem),
        Role::Tokenizer => check_small(&full, file, MAX_TOKENIZER, object_problem),
        Role::Library => check_small(&full, file, MAX_LIBRARY, |_| None),
    }
}

fn check_small(
    full: &Path,
    file: File,
    limit: u64,
    problem: impl Fn(&[u8]) -> Option<String>,
) -> Result<CheckedFile, Error> {
    let bytes = read_bounded(file, limit)
        .map_err(|source| Error::Io { action: "read", path: full.to_path_buf(), source })?
        .ok_or_else(|| Error::TooLong { file: full.display().to_string(), limit })?;
    let problem = if bytes.is_empty() { Some("it is empty".to_owned()) } else { problem(&bytes) };
    match problem {
        Some(problem) => Err(Error::Content { file: full.display().to_string(), problem }),
        None => Ok(CheckedFile { size: bytes.len() as u64, sha256: Digest::of(&bytes), tensors: None, staged: None }),
    }
}

fn text_problem(bytes: &[u8]) -> Option<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => Some("it has no text".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("byte {} is not UTF-8", error.valid_up_to())),
    }
}

fn object_problem(bytes: &[u8]) -> Option<String> {
    match serde_json::from_slice::<std::collections::HashMap<String, serde::de::IgnoredAny>>(bytes) {
        Ok(_) => None,
        Err(error) => Some(format!("it is not a JSON object: {}", crate::text::shorten(&error.to_string()))),
    }
}

/// Checks the header against the data that follow while hashing both, and copying both where there is a place for them.
fn check_weights(full: &Path, file: Metered<File>, stage: Option<&dyn Stage>) -> Result<CheckedFile, Error> {
    let tensors_error = |problem| Error::Tensors { file: full.display().to_string(), problem: Box::new(problem) };
    let mut reader = Hashing { inner: file, hasher: Hasher::new(), kept: stage.map(|_| Vec::new()) };
    let header = Header::read(&mut reader).map_err(tensors_error)?;
    if header.tensors().iter().all(TensorInfo::is_empty) {
        let problem = "it has no tensors".to_owned();
        return Err(Error::Content { file: full.display().to_string(), problem });
    }
    let (staged, hasher) = match (stage, reader.kept.take()) {
        (Some(stage), Some(start)) => {
            let staged = stage.stage(&mut start.as_slice().chain(&mut reader))?;
            (Some(staged), reader.hasher)
        }
        _ => {
            let Hashing { inner: mut rest, mut hasher, .. } = reader;
            let read = pipe(&mut rest, |bytes| {
                hasher.update(bytes);
                Ok(())
            });
            read.map_err(|source| Error::Io { action: "read", path: full.to_path_buf(), source })?;
            (None, hasher)
        }
    };
    let (sha256, size) = hasher.finish();
    header.check_file_size(size).map_err(tensors_error)?;
    Ok(CheckedFile { size, sha256, tensors: Some(header.tensors().iter().map(TensorRecord::from).collect()), staged })
}

/// Hashes what is read, and keeps it as long as that is wanted.
struct Hashing {
    inner: Metered<File>,
    hasher: Hasher,
    kept: Option<Vec<u8>>,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&buffer[..count]);
        }
        Ok(count)
    }
}
