//! A careful client of the Hugging Face Hub.
//!
//! ```text
//! hf:FacebookAI/roberta-large@main        a model, as people name it         ModelAddress
//!   └── 722cf37b1afa9454…                 what the name means now            Commit, by Hub::resolve
//!         ├── config.json          482    the files of that commit           HubFile, by Hub::files
//!         └── model.safetensors    1.4 G  their content                      Hub::open, Hub::model
//! ```
//!
//! Whatever is read is read at a commit, since names move. Nothing that a server says is trusted: its paths are parsed as
//! [`PackagePath`]s, its answers are bounded in size and time, content is streamed into files of ours and compared with the
//! promised size and, where the Hub knows it, SHA-256, before it gets its name. The token goes to the endpoint that it belongs
//! to and to no other host. `HF_HUB_OFFLINE` is honoured.
//!
//! The crate `hf-hub` streams content, since it speaks every kind of storage that the Hub has. Its cache is not used (it trusts
//! names and pages that servers send), nor its listings (it follows a server's `Link` with the token wherever it leads, and
//! reads answers of any length) or its commits (it holds every file in memory unless the server chooses otherwise).

mod content;
mod error;
mod identity;
mod listing;
mod model;
mod name;
mod settings;
mod transport;
mod upload;

use std::time::SystemTime;

use crate::error::Error;
use crate::path::PackagePath;
use crate::store::Stream;

pub use error::HubError;
pub(crate) use identity::Identity;
pub use listing::{HubFile, Refs};
pub use model::{Model, Step};
pub(crate) use name::part_problem;
pub use name::{Commit, ModelAddress, RepoId, Revision};
pub use settings::{OFFICIAL, Settings, Token};
pub(crate) use upload::{Change, Committed, Content};

use transport::Transport;

/// The Hub, or a server that speaks like it.
///
/// Making one costs nothing and asks nobody.
#[derive(Debug)]
pub struct Hub {
    transport: Transport,
}

impl Hub {
    /// Uses the Hub that these settings name.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { transport: Transport::new(settings) }
    }

    /// Uses the Hub that the environment names: `HF_ENDPOINT`, `HF_TOKEN` and so on (see [`Settings::from_environment`]).
    ///
    /// # Errors
    /// A variable has a value that cannot be.
    pub fn from_environment() -> Result<Self, Error> {
        Settings::from_environment().map(Self::new)
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        self.transport.settings()
    }

    /// Finds the commit that a revision means now. A revision that is a commit means itself, and nobody is asked.
    ///
    /// # Errors
    /// The Hub cannot be asked, has no such repository or revision, or does not show it.
    pub fn resolve(&self, repo: &RepoId, revision: &Revision) -> Result<Commit, Error> {
        match revision.as_commit() {
            Some(commit) => Ok(commit),
            None => listing::resolve(&self.transport, repo, revision),
        }
    }

    /// Lists the files of a commit. Those whose path is no [`PackagePath`] are left out: none of ours has such a path.
    ///
    /// # Errors
    /// The Hub cannot be asked, has no such repository or commit, or its answer is longer than any model's.
    pub fn files(&self, repo: &RepoId, commit: &Commit) -> Result<Vec<HubFile>, Error> {
        listing::files(&self.transport, repo, commit, None).map(Option::unwrap_or_default)
    }

    /// Lists the files of a commit below a folder; none where there is no such folder.
    pub(crate) fn folder(&self, repo: &RepoId, commit: &Commit, folder: &str) -> Result<Vec<HubFile>, Error> {
        listing::files(&self.transport, repo, commit, Some(folder)).map(Option::unwrap_or_default)
    }

    /// The branches and tags of a repository; none when it is not there.
    ///
    /// # Errors
    /// The Hub cannot be asked or does not show it.
    pub fn refs(&self, repo: &RepoId) -> Result<Option<Refs>, Error> {
        listing::refs(&self.transport, repo)
    }

    /// The names of an owner's model repositories, as far as they are well-formed.
    ///
    /// # Errors
    /// The Hub cannot be asked.
    pub fn models(&self, owner: &str) -> Result<Vec<RepoId>, Error> {
        listing::models(&self.transport, owner)
    }

    /// Opens a file of a commit to read it from its start; none when it is not there. What comes is not verified: the reader
    /// bounds and compares it.
    ///
    /// # Errors
    /// The Hub cannot be asked or does not show it.
    pub fn open(&self, repo: &RepoId, commit: &Commit, path: &PackagePath) -> Result<Option<Stream>, Error> {
        content::open(&self.transport, repo, commit, path)
    }

    /// Whose the token is, and when the Hub said so; none of a Hub that does not say.
    pub(crate) fn identity(&self) -> Result<Option<(Identity, Option<SystemTime>)>, Error> {
        identity::identity(&self.transport)
    }

    /// Tells whether a repository may be written to, where the Hub says it to somebody who does not.
    pub(crate) fn may_write(&self, repo: &RepoId) -> Result<Option<bool>, Error> {
        identity::may_write(&self.transport, repo)
    }

    /// The Hub's time, where it says it.
    pub(crate) fn time(&self, owner: &str) -> Result<Option<SystemTime>, Error> {
        identity::time(&self.transport, owner)
    }

    /// Makes a model repository where there is none.
    pub(crate) fn create_repository(&self, repo: &RepoId) -> Result<(), Error> {
        upload::create_repository(&self.transport, repo)
    }

    /// Makes a tag that is not there yet; false when there is one of this name.
    pub(crate) fn create_tag(&self, repo: &RepoId, tag: &str, commit: &Commit) -> Result<bool, Error> {
        upload::create_tag(&self.transport, repo, tag, commit)
    }

    /// Makes a commit on top of `parent`, which must be the main branch's end.
    pub(crate) fn commit(
        &self,
        repo: &RepoId,
        parent: &Commit,
        summary: &str,
        changes: &[Change<'_>],
    ) -> Result<Committed, Error> {
        upload::commit(&self.transport, repo, parent, summary, changes)
    }
}
