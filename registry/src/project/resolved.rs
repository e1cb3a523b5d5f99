//! What a project comes to: every file that it runs, by path and digest, with all that a loader has to know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::id::PackageId;
use crate::key::KeyId;
use crate::license::License;
use crate::lock::Lock;
use crate::package::{Fusion, TaskKind};
use crate::resolve::Rejection;
use crate::version::AbiVersion;
use crate::warning::Warning;

/// Everything that a project runs.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The frozen backbone.
    pub backbone: ResolvedBackbone,
    /// The plugins.
    pub plugins: BTreeMap<PackageId, ResolvedPlugin>,
    /// The adapters, by the manifest's names.
    pub adapters: BTreeMap<String, ResolvedAdapter>,
    /// The tasks, by the manifest's names.
    pub tasks: BTreeMap<String, ResolvedTask>,
    /// The lock that this came from or that was written.
    pub lock: Lock,
    /// The releases whose signatures were verified, with the keys.
    pub signers: BTreeMap<PackageId, KeyId>,
    /// Candidates that were preferred and did not fit, for whoever asks why.
    pub rejected: Vec<Rejection>,
    /// What whoever runs it should be told though nothing failed.
    pub warnings: Vec<Warning>,
}

/// A file at hand. Its size was compared, its digest was not: whoever loads it hashes the very bytes that are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// Where it is: in the cache or in a registry that is a directory. Absolute.
    pub path: PathBuf,
    /// The digest that its content must have.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The frozen backbone with its tokenizer.
#[derive(Debug, Clone)]
pub struct ResolvedBackbone {
    /// Package and version.
    pub id: PackageId,
    /// The digest of the release record.
    pub release: Digest,
    /// The licence.
    pub license: License,
    /// Whom the licence asks to name.
    pub attribution: Option<String>,
    /// The network, `roberta`.
    pub architecture: String,
    /// `config.json`.
    pub config: FileRef,
    /// The weights, safetensors.
    pub weights: FileRef,
    /// `tokenizer.json`.
    pub tokenizer: FileRef,
}

/// A plugin's library for this platform.
#[derive(Debug, Clone)]
pub struct ResolvedPlugin {
    /// Package and version.
    pub id: PackageId,
    /// The digest of the release record.
    pub release: Digest,
    /// The licence.
    pub license: License,
    /// The ABI that the library was built against.
    pub abi: AbiVersion,
    /// The library.
    pub library: FileRef,
    /// The key that signed the release and was accepted.
    pub signer: Option<crate::key::KeyId>,
}

/// An adapter's weights and what its plugin is told.
#[derive(Debug, Clone)]
pub struct ResolvedAdapter {
    /// Package and version.
    pub id: PackageId,
    /// The digest of the release record.
    pub release: Digest,
    /// The licence.
    pub license: License,
    /// Whom the licence asks to name.
    pub attribution: Option<String>,
    /// The weights, safetensors.
    pub weights: FileRef,
    /// Indices into the backbone's hidden states, in the plugin's order.
    pub taps: Vec<usize>,
    /// Handed to the plugin as it is.
    pub config: toml::Table,
    /// The plugin, a key of [`Resolved::plugins`].
    pub plugin: PackageId,
}

/// One task of the project.
#[derive(Debug, Clone)]
pub struct ResolvedTask {
    /// Keys of [`Resolved::adapters`] in the order of fusion.
    pub stack: Vec<String>,
    /// How the features come together.
    pub fusion: Fusion,
    /// What turns features into an answer; none when the features are the answer.
    pub head: Option<ResolvedHead>,
}

/// A task package's variant for the stack.
#[derive(Debug, Clone)]
pub struct ResolvedHead {
    /// Package and version.
    pub id: PackageId,
    /// The digest of the release record.
    pub release: Digest,
    /// The licence.
    pub license: License,
    /// Whom the licence asks to name.
    pub attribution: Option<String>,
    /// What the head answers.
    pub kind: TaskKind,
    /// The answers, in the order of the head's outputs; empty for kinds without labels.
    pub labels: Vec<String>,
    /// The longest input in tokens, special tokens included.
    pub max_length: usize,
    /// Options of the task kind.
    pub options: toml::Table,
    /// The stack in the names that the weights use, position for position [`ResolvedTask::stack`].
    pub names: Vec<String>,
    /// Hidden states that the fusion reads beside the last.
    pub taps: Vec<usize>,
    /// The weights of fusion and head, safetensors.
    pub weights: FileRef,
}
