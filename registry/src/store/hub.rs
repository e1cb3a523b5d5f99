//! Releases on the Hugging Face Hub: one model repository per package, one commit and one tag per release.
//!
//! ```text
//! hf://acme                                an owner: a user or an organisation
//!   acme/kadapter_factual                  the package `kadapter/factual` (see `naming`)
//!     tag v1.2.0 → commit                  the release: the tag is made last and only once, so it is the commit point
//!       README.md, weights.safetensors, …  its files under their own paths, so that the Hub shows the card
//!       release.json                       its record
//!     main                                 the newest commit, and beside its release
//!       notes/1.2.0/<note>                 what was said about releases since
//! ```
//!
//! A commit is made on top of a named parent, so of two publishers the second is refused, looks again and finds what the first
//! has done. Whoever reads takes the commit behind the tag and everything at that commit. Somebody with rights to the
//! repository can move a tag: the lock, which has the record's digest, refuses that.

mod naming;
mod probe;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::{Put, Scope, Source, Store, Stored, Stream};
use crate::digest::{Difference, Digest};
use crate::doctor::Finding;
use crate::error::Error;
use crate::files::read_bounded;
use crate::hub::{Change, Commit, Committed, Content, Hub, HubError, HubFile, RepoId, part_problem};
use crate::id::PackageId;
use crate::location::RegistryLocation;
use crate::name::PackageName;
use crate::note::{MAX_NOTE, Note};
use crate::package::CARD_FILE;
use crate::path::PackagePath;
use crate::release::{MAX_RELEASE, ReleaseFile, ReleaseRecord};
use crate::version::Version;

/// The record's file.
const RECORD: &str = "release.json";
/// The folder of notes.
const NOTES: &str = "notes";
/// How often a commit is tried while others commit too.
const TRIES: usize = 64;

/// A registry on the Hub, all of whose repositories belong to one owner.
#[derive(Debug)]
pub struct HubStore {
    hub: Hub,
    owner: String,
    /// Tags that were seen: a release never changes, and one command sees one state of the world.
    seen: Mutex<HashMap<PackageId, Commit>>,
}

/// Opens the store at `hf://OWNER`, on the Hub that the environment names.
pub(crate) fn open(location: &RegistryLocation) -> Result<Box<dyn Store>, Error> {
    let text = location.to_string();
    let owner = text.strip_prefix("hf://").unwrap_or(&text).trim_end_matches('/');
    Ok(Box::new(HubStore::new(Hub::from_environment()?, owner)?))
}

impl HubStore {
    /// Uses the repositories of `owner` on a Hub.
    ///
    /// # Errors
    /// The Hub allows no owner of this name.
    pub fn new(hub: Hub, owner: &str) -> Result<Self, Error> {
        let problem = if owner.contains('/') {
            Some("it must be `hf://OWNER`: each package is a repository of its own, and nothing follows the owner")
        } else {
            part_problem(owner)
        };
        match problem {
            Some(problem) => {
                let value = crate::text::shorten(&format!("hf://{owner}"));
                Err(Error::Name { what: "registry location", value, problem })
            }
            None => Ok(Self { hub, owner: owner.to_owned(), seen: Mutex::default() }),
        }
    }

    /// The repository of a package.
    fn repository(&self, name: &PackageName) -> Result<RepoId, Error> {
        let repository = naming::repository_name(name);
        format!("{}/{repository}", self.owner).parse().map_err(|_| {
            let problem = format!("`{repository}` is longer than the 96 characters that a repository's name may have");
            HubError::Unfit { what: name.to_string(), problem }.into()
        })
    }

    /// The commit of a release; none when there is no such release.
    fn commit_of(&self, id: &PackageId) -> Result<Option<(RepoId, Commit)>, Error> {
        let repo = self.repository(&id.name)?;
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(commit) = seen().get(id) {
            return Ok(Some((repo, commit.clone())));
        }
        let Some(refs) = self.hub.refs(&repo)? else { return Ok(None) };
        let Some(commit) = refs.tags.get(&naming::tag(&id.version)) else { return Ok(None) };
        seen().insert(id.clone(), commit.clone());
        Ok(Some((repo, commit.clone())))
    }

    /// Reads a small file at a commit; none when it is not there.
    fn read(&self, repo: &RepoId, commit: &Commit, path: &PackagePath, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(content) = self.hub.open(repo, commit, path)? else { return Ok(None) };
        let location = self.location_of(repo, commit.as_str(), path);
        match read_bounded(content, limit) {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => Err(Error::TooLong { file: location, limit }),
            Err(source) => Err(Error::Io { action: "read", path: PathBuf::from(location), source }),
        }
    }

    /// The repository and the end of its main branch; it is made when it is not there.
    fn head(&self, repo: &RepoId) -> Result<Commit, Error> {
        if let Some(refs) = self.hub.refs(repo)? {
            return Ok(refs.main);
        }
        self.hub.create_repository(repo)?;
        let refs = self.hub.refs(repo)?;
        refs.map(|refs| refs.main).ok_or_else(|| Error::Vanished { file: self.address(repo) })
    }

    fn address(&self, repo: &RepoId) -> String {
        format!("{}/{repo}", self.hub.settings().endpoint())
    }

    fn location_of(&self, repo: &RepoId, revision: &str, path: &PackagePath) -> String {
        format!("{}/blob/{revision}/{path}", self.address(repo))
    }

    fn location_in(&self, id: &PackageId, path: &str) -> String {
        let (name, tag) = (naming::repository_name(&id.name), naming::tag(&id.version));
        format!("{}/{}/{name}/blob/{tag}/{path}", self.hub.settings().endpoint(), self.owner)
    }

    fn busy(&self, repo: &RepoId) -> Error {
        let endpoint = self.hub.settings().endpoint().to_owned();
        HubError::Busy { endpoint, repository: repo.to_string(), tries: TRIES }.into()
    }

    /// Tells whether the end of the branch is this very release, which somebody has committed and not tagged.
    fn is_committed(
        &self,
        repo: &RepoId,
        head: &Commit,
        files: &[HubFile],
        record: &ReleaseRecord,
    ) -> Result<bool, Error> {
        let path = record_path()?;
        let size = record.bytes.len() as u64;
        let find = |path: &PackagePath| files.iter().find(|file| file.path == *path);
        let sizes_fit = |file: &ReleaseFile| find(&file.path).is_some_and(|found| found.size == file.size);
        if find(&path).is_none_or(|found| found.size != size) || !record.release.files.iter().all(sizes_fit) {
            return Ok(false);
        }
        Ok(self.read(repo, head, &path, size)?.is_some_and(|bytes| bytes == record.bytes))
    }

    /// Refuses a repository that somebody uses for something else, whose files a release would replace.
    fn expect_ours(&self, repo: &RepoId, files: &[HubFile]) -> Result<(), Error> {
        let path = record_path()?;
        let foreign = |file: &&HubFile| !is_note(&file.path) && file.path.as_str() != CARD_FILE;
        match files.iter().find(foreign) {
            Some(file) if !files.iter().any(|file| file.path == path) => {
                let problem = format!("it has `{}` and no `{RECORD}`, so it is something else", file.path);
                Err(HubError::Unfit { what: self.address(repo), problem }.into())
            }
            _ => Ok(()),
        }
    }

    /// The changes that make a release of what the branch has.
    fn changes<'a>(
        record: &'a ReleaseRecord,
        source: &'a dyn Source,
        files: &[HubFile],
    ) -> Result<Vec<Change<'a>>, Error> {
        let kept: BTreeSet<&PackagePath> = record.release.files.iter().map(|file| &file.path).collect();
        let record_path = record_path()?;
        let mut changes: Vec<Change<'a>> = Vec::new();
        for HubFile { path, .. } in files {
            if !kept.contains(path) && !is_note(path) && *path != record_path {
                changes.push(Change::Remove(path.clone()));
            }
        }
        for file in &record.release.files {
            if file.path == record_path || file.path.as_str() == NOTES || is_note(&file.path) {
                let problem = format!("`{RECORD}` and `{NOTES}/` have a meaning there");
                return Err(HubError::Unfit { what: file.path.to_string(), problem }.into());
            }
            changes.push(Change::Put(content_of(file, source)));
        }
        changes.push(Change::Put(Content {
            path: record_path,
            size: record.bytes.len() as u64,
            sha256: record.digest,
            open: Box::new(|| Ok(Box::new(io::Cursor::new(record.bytes.clone())))),
            failed: Box::new(|_| Error::Inconsistent),
        }));
        Ok(changes)
    }

    fn note_path(id: &PackageId, note: &Note) -> Result<PackagePath, Error> {
        format!("{NOTES}/{}/{note}", id.version).parse()
    }

    /// The end of the main branch, where notes are; none when there is no repository.
    fn notes_at(&self, id: &PackageId) -> Result<Option<(RepoId, Commit)>, Error> {
        let repo = self.repository(&id.name)?;
        Ok(self.hub.refs(&repo)?.map(|refs| (repo, refs.main)))
    }
}

fn is_note(path: &PackagePath) -> bool {
    path.as_str().strip_prefix(NOTES).is_some_and(|rest| rest.starts_with('/'))
}

fn record_path() -> Result<PackagePath, Error> {
    RECORD.parse()
}

/// A file of a release as what is uploaded.
fn content_of<'a>(file: &'a ReleaseFile, source: &'a dyn Source) -> Content<'a> {
    Content {
        path: file.path.clone(),
        size: file.size,
        sha256: file.sha256,
        open: Box::new(move || {
            let verified = crate::digest::Verifying::new(source.open(file)?, file.sha256, file.size);
            Ok(Box::new(verified))
        }),
        failed: Box::new(move |error| match Difference::of(&error) {
            Some(difference) => source.altered(file, difference),
            None => Error::Io { action: "read", path: PathBuf::from(file.path.as_str()), source: error },
        }),
    }
}

impl Store for HubStore {
    fn location(&self) -> String {
        format!("hf://{}", self.owner)
    }

    /// Every owner is a registry, with or without packages.
    fn is_registry(&self) -> Result<bool, Error> {
        Ok(true)
    }

    fn create_registry(&self) -> Result<(), Error> {
        Ok(())
    }

    fn releases(&self, scope: Scope<'_>) -> Result<Vec<(PackageName, Version)>, Error> {
        let packages: Vec<(PackageName, RepoId)> = match scope {
            Scope::Package(name) => vec![(name.clone(), self.repository(name)?)],
            Scope::All | Scope::Namespace(_) => {
                let repositories = self.hub.models(&self.owner)?.into_iter();
                repositories.filter_map(|repo| Some((naming::package_name(&repo)?, repo))).collect()
            }
        };
        let mut releases = Vec::new();
        for (name, repo) in packages {
            if matches!(scope, Scope::Namespace(namespace) if name.namespace() != namespace) {
                continue;
            }
            let tags = self.hub.refs(&repo)?.map(|refs| refs.tags).unwrap_or_default();
            releases.extend(tags.keys().filter_map(|tag| Some((name.clone(), naming::version(tag)?))));
        }
        Ok(releases)
    }

    fn record(&self, id: &PackageId) -> Result<Option<Vec<u8>>, Error> {
        let Some((repo, commit)) = self.commit_of(id)? else { return Ok(None) };
        self.read(&repo, &commit, &record_path()?, MAX_RELEASE)
    }

    fn content(&self, id: &PackageId, file: &ReleaseFile) -> Result<Option<Stream>, Error> {
        let Some((repo, commit)) = self.commit_of(id)? else { return Ok(None) };
        self.hub.open(&repo, &commit, &file.path)
    }

    fn publish(&self, record: &ReleaseRecord, source: &dyn Source) -> Result<Stored, Error> {
        let id = record.release.id();
        let (repo, tag) = (self.repository(&id.name)?, naming::tag(&id.version));
        if tag.ends_with(".lock") {
            let problem = "Git allows no tag that ends in `.lock`".to_owned();
            return Err(HubError::Unfit { what: id.to_string(), problem }.into());
        }
        let mut uploaded_before = 0;
        for _ in 0..TRIES {
            if self.commit_of(&id)?.is_some() {
                return Ok(Stored { put: Put::Exists, uploaded: uploaded_before });
            }
            let head = self.head(&repo)?;
            let files = self.hub.files(&repo, &head)?;
            self.expect_ours(&repo, &files)?;
            let commit = if self.is_committed(&repo, &head, &files, record)? {
                head
            } else {
                let changes = Self::changes(record, source, &files)?;
                match self.hub.commit(&repo, &head, &format!("Publish {id}"), &changes)? {
                    Committed::Moved => continue,
                    Committed::Done { commit, uploaded } => {
                        uploaded_before += uploaded;
                        commit
                    }
                }
            };
            let put = if self.hub.create_tag(&repo, &tag, &commit)? { Put::Created } else { Put::Exists };
            return Ok(Stored { put, uploaded: uploaded_before });
        }
        Err(self.busy(&repo))
    }

    fn notes(&self, id: &PackageId) -> Result<Vec<Note>, Error> {
        let Some((repo, head)) = self.notes_at(id)? else { return Ok(Vec::new()) };
        let folder = format!("{NOTES}/{}", id.version);
        let files = self.hub.folder(&repo, &head, &folder)?;
        let name = |file: &HubFile| Note::from_file_name(file.path.as_str().strip_prefix(&folder)?.strip_prefix('/')?);
        let mut notes: Vec<Note> = files.iter().filter_map(name).collect();
        notes.sort();
        Ok(notes)
    }

    fn note(&self, id: &PackageId, note: &Note) -> Result<Option<Vec<u8>>, Error> {
        let Some((repo, head)) = self.notes_at(id)? else { return Ok(None) };
        self.read(&repo, &head, &Self::note_path(id, note)?, MAX_NOTE)
    }

    fn put_note(&self, id: &PackageId, note: &Note, bytes: &[u8]) -> Result<Put, Error> {
        let (repo, path) = (self.repository(&id.name)?, Self::note_path(id, note)?);
        let content = || Content {
            path: path.clone(),
            size: bytes.len() as u64,
            sha256: Digest::of(bytes),
            open: Box::new(|| Ok(Box::new(io::Cursor::new(bytes.to_vec())))),
            failed: Box::new(|_| Error::Inconsistent),
        };
        for _ in 0..TRIES {
            let head = self.head(&repo)?;
            let folder = format!("{NOTES}/{}", id.version);
            if self.hub.folder(&repo, &head, &folder)?.iter().any(|file| file.path == path) {
                return Ok(Put::Exists);
            }
            let summary = format!("Note {note} on {}", id.version);
            match self.hub.commit(&repo, &head, &summary, &[Change::Put(content())])? {
                Committed::Moved => {}
                Committed::Done { .. } => return Ok(Put::Created),
            }
        }
        Err(self.busy(&repo))
    }

    fn probe(&self) -> Vec<Finding> {
        probe::probe(self)
    }

    fn record_location(&self, id: &PackageId) -> String {
        self.location_in(id, RECORD)
    }

    fn content_location(&self, id: &PackageId, file: &ReleaseFile) -> String {
        self.location_in(id, file.path.as_str())
    }
}
