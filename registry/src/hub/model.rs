//! Models of others, fetched into a folder by commit: what is there was compared with what the Hub promised, and is not fetched
//! again.
//!
//! ```text
//! <cache>/<owner>/<name>/<commit>/.files.json         what the commit has, written first
//!                                /config.json         each there whole or not at all
//!                                /model.safetensors
//! ```

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::name::{Commit, ModelAddress, RepoId};
use super::{Hub, HubFile};
use crate::digest::{BUFFER, Difference, Hasher};
use crate::error::Error;
use crate::files;

/// The list of a commit's files. No [`PackagePath`](crate::PackagePath) starts with a dot, so no file of a model is in its way.
const LISTING: &str = ".files.json";
/// The longest list, in bytes.
const MAX_LISTING: u64 = 64 << 20;

/// Files of a model at one commit, in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The repository.
    pub repo: RepoId,
    /// The commit.
    pub commit: Commit,
    /// The folder.
    pub directory: PathBuf,
    /// The files that were wanted.
    pub files: Vec<HubFile>,
    /// Bytes that were fetched; the rest was there already.
    pub fetched: u64,
}

/// How far fetching has come.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The file.
    pub file: &'a HubFile,
    /// Bytes of it that have come.
    pub done: u64,
}

#[derive(Serialize, Deserialize)]
struct Listing {
    files: Vec<HubFile>,
}

impl Hub {
    /// Brings files of a model into the folder of its commit below `cache`: those that `choose` picks from what there is.
    ///
    /// A commit whose list and files are there needs no network.
    ///
    /// # Errors
    /// The Hub cannot be asked, does not show the model, or sends something else than it promised; or the folder cannot be
    /// written. Files that came whole stay for the next time.
    pub fn model(
        &self,
        address: &ModelAddress,
        cache: &Path,
        choose: &dyn Fn(&[HubFile]) -> Vec<HubFile>,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> Result<Model, Error> {
        let commit = self.resolve(&address.repo, &address.revision)?;
        let repo = address.repo.clone();
        let directory = cache.join(repo.owner()).join(repo.name()).join(commit.as_str());
        let wanted = choose(&self.listing(&repo, &commit, &directory)?);
        let mut fetched = 0;
        for file in &wanted {
            let path = file.path.below(&directory);
            let there = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.size);
            if !there {
                self.fetch(&repo, &commit, file, &path, progress)?;
                fetched += file.size;
            }
        }
        Ok(Model { repo, commit, directory, files: wanted, fetched })
    }

    /// The files of a commit, as they were listed before where they were.
    fn listing(&self, repo: &RepoId, commit: &Commit, directory: &Path) -> Result<Vec<HubFile>, Error> {
        let path = directory.join(LISTING);
        if path.is_file()
            && let Ok(Listing { files }) = serde_json::from_slice(&files::read_bytes(&path, MAX_LISTING)?)
        {
            return Ok(files);
        }
        let listing = Listing { files: self.files(repo, commit)? };
        let failed = |action| move |source| Error::Io { action, path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed("make"))?;
        let bytes = serde_json::to_vec(&listing).map_err(|error| failed("write")(error.into()))?;
        files::write_atomic(&path, &bytes)?;
        Ok(listing.files)
    }

    /// Writes one file, which gets its name when it is what the Hub has promised.
    fn fetch(
        &self,
        repo: &RepoId,
        commit: &Commit,
        file: &HubFile,
        path: &Path,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> Result<(), Error> {
        let what = format!("`{}` of `{repo}`", file.path);
        let mut content = self.open(repo, commit, &file.path)?.ok_or_else(|| self.transport.absent(&what))?;
        let failed = |source| Error::Io { action: "write", path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(failed)?;
        let mut temporary = files::temporary(folder).map_err(failed)?;
        let altered = |difference| Error::Altered { file: what.clone(), difference };
        let (mut hasher, mut done, mut buffer) = (Hasher::new(), 0, vec![0; BUFFER]);
        loop {
            progress(Step { file, done });
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.transport.unreachable(&what, error)),
            };
            done += count as u64;
            if done > file.size {
                return Err(altered(Difference::Size { expected: file.size, found: file.size + 1 }));
            }
            hasher.update(&buffer[..count]);
            temporary.write_all(&buffer[..count]).map_err(failed)?;
        }
        let (found, size) = hasher.finish();
        if size != file.size {
            return Err(altered(Difference::Size { expected: file.size, found: size }));
        }
        if let Some(expected) = file.sha256.filter(|expected| *expected != found) {
            return Err(altered(Difference::Digest { expected, found }));
        }
        temporary.as_file().sync_all().map_err(failed)?;
        temporary.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}
