//! Repositories in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A path's content; large ones are in the storage.
#[derive(Debug, Clone)]
pub(crate) enum File {
    Small(Arc<Vec<u8>>),
    Large { oid: String, size: u64 },
}

pub(crate) type Tree = BTreeMap<String, File>;

#[derive(Debug)]
struct Commit {
    parent: Option<String>,
    message: String,
    tree: Tree,
}

/// A repository with its history.
#[derive(Debug)]
pub(crate) struct Repository {
    commits: BTreeMap<String, Commit>,
    pub(crate) main: String,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Everything that the Hub has.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) repositories: BTreeMap<String, Repository>,
    pub(crate) storage: BTreeMap<String, Arc<Vec<u8>>>,
    pub(crate) gated: BTreeSet<String>,
}

/// The SHA-256 of some bytes in hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells whether the Hub would keep a file in its storage.
pub(crate) fn is_large(path: &str, size: u64) -> bool {
    let by_name = [".safetensors", ".bin", ".so", ".dylib", ".dll"].iter().any(|end| path.ends_with(end));
    size > 0 && (by_name || size > 10 << 20)
}

impl Repository {
    /// An empty repository, which has one commit.
    pub(crate) fn new() -> Self {
        let mut repository = Self { commits: BTreeMap::new(), main: String::new(), tags: BTreeMap::new() };
        let tree = Tree::from([(".gitattributes".to_owned(), File::Small(Arc::new(b"*.bin filter=lfs\n".to_vec())))]);
        repository.commit(tree, "initial commit");
        repository
    }

    /// Puts a commit on the main branch and tells its name.
    pub(crate) fn commit(&mut self, tree: Tree, message: &str) -> String {
        let parent = Some(self.main.clone()).filter(|parent| !parent.is_empty());
        let mut name = sha256_hex(format!("{} {parent:?} {message} {tree:?}", self.commits.len()).as_bytes());
        name.truncate(40);
        self.commits.insert(name.clone(), Commit { parent, message: message.to_owned(), tree });
        self.main.clone_from(&name);
        name
    }

    pub(crate) fn resolve(&self, revision: &str) -> Option<String> {
        match revision {
            "main" => Some(self.main.clone()),
            // A commit is its own name.
            commit if self.commits.contains_key(commit) => Some(commit.to_owned()),
            tag => self.tags.get(tag).cloned(),
        }
    }

    pub(crate) fn tree(&self, revision: &str) -> Option<&Tree> {
        self.commits.get(&self.resolve(revision)?).map(|commit| &commit.tree)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut next = Some(&self.main);
        while let Some(commit) = next.and_then(|name| self.commits.get(name)) {
            messages.push(commit.message.clone());
            next = commit.parent.as_ref();
        }
        messages
    }
}

impl State {
    pub(crate) fn find(&self, repo: &str) -> Option<&Repository> {
        self.repositories.get(repo)
    }

    pub(crate) fn add(&mut self, repo: &str, files: &[(&str, &[u8])]) -> String {
        let mut tree = Tree::new();
        for (path, content) in files {
            let content = Arc::new(content.to_vec());
            let file = if is_large(path, content.len() as u64) {
                let oid = sha256_hex(&content);
                let size = content.len() as u64;
                self.storage.insert(oid.clone(), content);
                File::Large { oid, size }
            } else {
                File::Small(content)
            };
            tree.insert((*path).to_owned(), file);
        }
        let repository = self.repositories.entry(repo.to_owned()).or_insert_with(Repository::new);
        repository.commit(tree, "add files")
    }
}

impl File {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Small(content) => content.len() as u64,
            Self::Large { size, .. } => *size,
        }
    }

    /// The file's entry in a list.
    pub(crate) fn entry(&self, path: &str) -> Value {
        let mut entry = json!({ "type": "file", "oid": "0".repeat(40), "size": self.size(), "path": path });
        if let Self::Large { oid, size } = self {
            entry["lfs"] = json!({ "oid": oid, "size": size, "pointerSize": 134 });
        }
        entry
    }
}
