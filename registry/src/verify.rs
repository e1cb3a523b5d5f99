//! Verifying: every byte that a project runs is read and compared with its digest.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::digest::{Difference, Verifying};
use crate::error::Error;
use crate::index::Registry;
use crate::name::PackageName;
use crate::path::PackagePath;
use crate::project::{LockMode, Project};
use crate::release::ReleaseRecord;
use crate::version::Version;

/// One file and what was found.
#[derive(Debug)]
pub struct Verified {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The file in the package.
    pub path: PackagePath,
    /// Where it was read; none when it is nowhere or in a remote store.
    pub file: Option<PathBuf>,
    /// What was found.
    pub outcome: Outcome,
}

/// What reading a file to its end found.
#[derive(Debug)]
pub enum Outcome {
    /// Size and digest are as promised.
    Whole,
    /// It is something else.
    Altered(Difference),
    /// It is not there or cannot be read.
    Unreadable(Error),
}

impl Verified {
    /// Tells whether the file is as promised.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.outcome, Outcome::Whole)
    }
}

impl Project {
    /// Reads every file that the locked project runs on this platform, where it would be loaded from. A file that is
    /// not as promised is an outcome and does not end the reading.
    ///
    /// # Errors
    /// There is no lock, it does not fit the manifest, or a release record or package file is not as promised.
    pub fn verify(&self) -> Result<Vec<Verified>, Error> {
        let (selection, _) = self.select(LockMode::Frozen)?;
        let mut verified = Vec::new();
        for used in self.used(&selection)? {
            let release = &used.record.release;
            for file in &used.files {
                let found = self.find_file(&release.name, file);
                let path = found.as_ref().ok().map(|found| found.path.clone());
                let outcome = match found {
                    Err(Error::Altered { difference, .. }) => Outcome::Altered(difference),
                    Err(error) => Outcome::Unreadable(error),
                    Ok(found) => match File::open(&found.path) {
                        Ok(content) => read(Verifying::new(content, file.sha256, file.size), found.path),
                        Err(source) => Outcome::Unreadable(Error::Io { action: "read", path: found.path, source }),
                    },
                };
                let (name, version) = (release.name.clone(), release.version.clone());
                verified.push(Verified { name, version, path: file.path.clone(), file: path, outcome });
            }
        }
        Ok(verified)
    }
}

/// Reads every file of one release in a registry.
#[must_use]
pub fn verify_release(registry: &Registry, record: &ReleaseRecord) -> Vec<Verified> {
    let release = &record.release;
    let verify = |file: &crate::release::ReleaseFile| {
        let location = PathBuf::from(registry.store().content_location(&release.id(), file));
        let outcome = match registry.open_content(&release.id(), file) {
            Ok(stream) => read(stream, location.clone()),
            Err(error) => Outcome::Unreadable(error),
        };
        let (name, version) = (release.name.clone(), release.version.clone());
        Verified { name, version, path: file.path.clone(), file: Some(location), outcome }
    };
    release.files.iter().map(verify).collect()
}

fn read<R: io::Read>(mut content: Verifying<R>, path: PathBuf) -> Outcome {
    match crate::copy::drain(&mut content) {
        Ok(()) => Outcome::Whole,
        Err(source) => match content.difference() {
            Some(difference) => Outcome::Altered(difference),
            None => Outcome::Unreadable(Error::Io { action: "read", path, source }),
        },
    }
}
