//! Releases: the immutable record of one published version, `release.json`.
//!
//! ```text
//! {
//!   "schema": 1,
//!   "name": "kadapter/factual", "version": "1.0.0", "kind": "adapter", "license": "CC-BY-NC-4.0", "description": "…",
//!   "manifest": "sha256:…",                             digest of kadapter-package.toml
//!   "files": [{ "path": "…", "role": "weights", "size": 1, "sha256": "sha256:…" }, …],      sorted by path
//!   "tensors": { "weights.safetensors": [{ "name": "…", "dtype": "F16", "shape": [1] }, …] },
//!   "plugin": { "package": "…", "version": "^1" }, "backbone": { "package": "…", "weights": "sha256:…" }
//! }
//! ```
//!
//! The bytes are canonical, JSON on one line: a record that is not exactly what this module would write is refused, so the digest of the
//! bytes is the digest of the content. The record is a function of the package file and the files beside it
//! ([`Release::new`]), so a record that says something else than its package file is found out.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Error;
use crate::id::PackageId;
use crate::license::License;
use crate::name::{Alias, PackageName};
use crate::package::{AdapterNeed, BackboneNeed, Content, Kind, Package, PluginNeed, check_prose};
use crate::path::PackagePath;
use crate::target::Target;
use crate::tensors::TensorRecord;
use crate::version::{AbiVersion, Version};

/// The longest record, in bytes: a task of 64 variants with some hundred tensors each stays well below.
pub const MAX_RELEASE: u64 = 8 * 1024 * 1024;
/// The most files of a release.
pub const MAX_FILES: usize = 1024;

/// One published version of a package.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// `namespace/name`.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The licence.
    pub license: License,
    /// One sentence for whoever searches.
    pub description: String,
    /// Sources and authors that the licence asks to name.
    pub attribution: Option<String>,
    /// The digest of the package file.
    pub manifest: Digest,
    /// Every file, the package file included, sorted by path.
    pub files: Vec<ReleaseFile>,
    /// The tensors of each weights file.
    pub tensors: BTreeMap<PackagePath, Vec<TensorRecord>>,
    /// What the release belongs to, by its kind.
    pub needs: Needs,
}

/// What a release belongs to: all that resolution asks, so that it reads nothing but records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    /// A backbone stands alone.
    Backbone,
    /// A plugin needs a host.
    Plugin {
        /// Of this ABI.
        abi: AbiVersion,
    },
    /// An adapter needs what runs it and what it runs beside.
    Adapter {
        /// Any release that fits.
        plugin: PluginNeed,
        /// Exactly this one.
        backbone: BackboneNeed,
    },
    /// A task needs what it was trained on.
    Task {
        /// Exactly this one.
        backbone: BackboneNeed,
        /// Exactly these, by the names that the stacks use.
        adapters: BTreeMap<Alias, AdapterNeed>,
        /// The stacks that have a variant.
        stacks: Vec<Vec<Alias>>,
    },
}

impl Needs {
    /// The kind of package that has such needs.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Backbone => Kind::Backbone,
            Self::Plugin { .. } => Kind::Plugin,
            Self::Adapter { .. } => Kind::Adapter,
            Self::Task { .. } => Kind::Task,
        }
    }
}

impl From<&Content> for Needs {
    fn from(content: &Content) -> Self {
        match content {
            Content::Backbone(_) => Self::Backbone,
            Content::Plugin(plugin) => Self::Plugin { abi: plugin.abi },
            Content::Adapter(adapter) => {
                Self::Adapter { plugin: adapter.plugin.clone(), backbone: adapter.backbone.clone() }
            }
            Content::Task(task) => Self::Task {
                backbone: task.backbone.clone(),
                adapters: task.adapters.clone(),
                stacks: task.variants.iter().map(|variant| variant.stack.clone()).collect(),
            },
        }
    }
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseFile {
    /// Where it was in the package's directory.
    pub path: PackagePath,
    /// What it is for.
    pub role: Role,
    /// The system that a library is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its content, and so its address.
    pub sha256: Digest,
}

/// What a file of a release is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `kadapter-package.toml`.
    Manifest,
    /// `README.md`.
    Card,
    /// A licence text or notice.
    Notice,
    /// A backbone's `config.json`.
    Config,
    /// A safetensors file.
    Weights,
    /// A backbone's `tokenizer.json`.
    Tokenizer,
    /// A plugin's native library.
    Library,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Manifest => "manifest",
            Self::Card => "card",
            Self::Notice => "notice",
            Self::Config => "config",
            Self::Weights => "weights",
            Self::Tokenizer => "tokenizer",
            Self::Library => "library",
        })
    }
}

/// The files that a package file names, with their roles.
#[must_use]
pub fn named_files(content: &Content) -> Vec<(PackagePath, Role, Option<Target>)> {
    match content {
        Content::Backbone(backbone) => vec![
            (backbone.config.clone(), Role::Config, None),
            (backbone.weights.clone(), Role::Weights, None),
            (backbone.tokenizer.clone(), Role::Tokenizer, None),
        ],
        Content::Plugin(plugin) => {
            let library = |(target, path): (&Target, &PackagePath)| (path.clone(), Role::Library, Some(target.clone()));
            plugin.libraries.iter().map(library).collect()
        }
        Content::Adapter(adapter) => vec![(adapter.weights.clone(), Role::Weights, None)],
        Content::Task(task) => {
            task.variants.iter().map(|variant| (variant.weights.clone(), Role::Weights, None)).collect()
        }
    }
}

/// A record as it was read: content, bytes and their digest, which is the release's identity.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleaseRecord {
    /// What the record says.
    pub release: Release,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its bytes, which are what is signed.
    pub bytes: Vec<u8>,
}

impl Release {
    /// Makes the record of a package with these files and tensors.
    #[must_use]
    pub fn new(
        package: &Package,
        manifest: Digest,
        mut files: Vec<ReleaseFile>,
        tensors: BTreeMap<PackagePath, Vec<TensorRecord>>,
    ) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            license: package.license.clone(),
            description: package.description.clone(),
            attribution: package.attribution.clone(),
            manifest,
            files,
            tensors,
            needs: Needs::from(&package.content),
        }
    }

    /// The release's package and version.
    #[must_use]
    pub fn id(&self) -> PackageId {
        PackageId::new(&self.name, &self.version)
    }

    /// The release's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.needs.kind()
    }

    /// The files of one role, sorted by path.
    pub fn files_of(&self, role: Role) -> impl Iterator<Item = &ReleaseFile> {
        self.files.iter().filter(move |file| file.role == role)
    }

    /// The file with this path.
    #[must_use]
    pub fn file(&self, path: &PackagePath) -> Option<&ReleaseFile> {
        self.files.iter().find(|file| file.path == *path)
    }

    /// The library for a target.
    #[must_use]
    pub fn library(&self, target: &Target) -> Option<&ReleaseFile> {
        self.files.iter().find(|file| file.role == Role::Library && file.target.as_ref() == Some(target))
    }

    /// The digest of a backbone's weights, by which adapters and tasks name it; none for other kinds.
    #[must_use]
    pub fn backbone_weights(&self) -> Option<Digest> {
        match self.needs {
            Needs::Backbone => self.files_of(Role::Weights).next().map(|file| file.sha256),
            _ => None,
        }
    }

    /// Encodes the record into its canonical bytes.
    ///
    /// # Errors
    /// A record that breaks a rule has no bytes.
    pub fn encode(&self) -> Result<ReleaseRecord, Error> {
        let file = format!("release.json of {}", self.id());
        self.check(&file)?;
        let bytes = wire::encode(self).map_err(|problem| Error::Release { file, problem })?;
        Ok(ReleaseRecord { release: self.clone(), digest: Digest::of(&bytes), bytes })
    }

    /// Decodes a record. `file` names it in errors.
    ///
    /// # Errors
    /// Bytes that are not exactly what [`Release::encode`] writes, or a record that breaks a rule.
    pub fn decode(file: &str, bytes: Vec<u8>) -> Result<ReleaseRecord, Error> {
        let release = wire::decode(file, &bytes)?;
        release.check(file)?;
        Ok(ReleaseRecord { release, digest: Digest::of(&bytes), bytes })
    }

    /// Checks that the record says what its package file says.
    ///
    /// # Errors
    /// The two differ, so the record was not made from the package.
    pub fn check_package(&self, package: &Package) -> Result<(), Error> {
        let derived = Self::new(package, self.manifest, self.files.clone(), self.tensors.clone());
        let named = named_files(&package.content);
        let listed = |(path, role, target): &(PackagePath, Role, Option<Target>)| {
            self.file(path).is_some_and(|file| file.role == *role && file.target == *target)
        };
        if derived == *self && named.iter().all(listed) {
            Ok(())
        } else {
            Err(Error::ReleaseDiffers { id: Box::new(self.id()) })
        }
    }

    fn check(&self, file: &str) -> Result<(), Error> {
        self.broken_rule().map_or(Ok(()), |problem| Err(Error::Release { file: file.to_owned(), problem }))
    }

    /// Finds a rule that the types cannot hold and that is broken.
    fn broken_rule(&self) -> Option<String> {
        let attribution = self.attribution.as_deref().map_or(Ok(()), |text| check_prose("attribution", text));
        if let Err(problem) = check_prose("description", &self.description).and(attribution) {
            return Some(problem.to_string());
        }
        if self.files.len() > MAX_FILES {
            return Some(format!("it lists {} files, at most {MAX_FILES} are allowed", self.files.len()));
        }
        if !self.files.is_sorted_by(|a, b| a.path < b.path) {
            return Some("its files are not sorted by path, each once".to_owned());
        }
        let mut folded = BTreeSet::new();
        for file in &self.files {
            if !folded.insert(file.path.folded()) {
                return Some(format!("`{}` and another path are one file where case does not count", file.path));
            }
            if file.target.is_some() != (file.role == Role::Library) {
                return Some(format!("`{}` must have a target exactly when it is a library", file.path));
            }
            if file.size == 0 && file.role != Role::Notice {
                return Some(format!("`{}` is empty", file.path));
            }
            if (file.role == Role::Weights) != self.tensors.contains_key(&file.path) {
                return Some(format!("tensors are listed for weights and nothing else, but `{}` differs", file.path));
            }
        }
        if let Some(path) = self.tensors.keys().find(|path| self.file(path).is_none()) {
            return Some(format!("tensors are listed for `{path}`, which is not among its files"));
        }
        if self.files_of(Role::Manifest).map(|file| file.sha256).ne([self.manifest]) {
            return Some("it must list one package file, with the digest in `manifest`".to_owned());
        }
        let libraries: BTreeSet<_> = self.files_of(Role::Library).map(|file| &file.target).collect();
        if libraries.len() != self.files_of(Role::Library).count() {
            return Some("two libraries are for one target".to_owned());
        }
        self.broken_count()
    }

    /// Checks how many files of each role the kind asks for.
    fn broken_count(&self) -> Option<String> {
        let weights = match &self.needs {
            Needs::Task { stacks, .. } => stacks.len(),
            Needs::Backbone | Needs::Adapter { .. } => 1,
            Needs::Plugin { .. } => 0,
        };
        let backbone = usize::from(self.kind() == Kind::Backbone);
        let counts = [
            (Role::Card, 1),
            (Role::Weights, weights),
            (Role::Config, backbone),
            (Role::Tokenizer, backbone),
            (Role::Library, self.files_of(Role::Library).count().max(1) * usize::from(self.kind() == Kind::Plugin)),
        ];
        for (role, expected) in counts {
            let found = self.files_of(role).count();
            if found != expected {
                return Some(format!("a {} of this kind lists {expected} files for {role}, not {found}", self.kind()));
            }
        }
        if let Needs::Task { adapters, stacks, .. } = &self.needs {
            if let Some(name) = stacks.iter().flatten().find(|name| !adapters.contains_key(*name)) {
                return Some(format!("a stack names `{name}`, which is not among its adapters"));
            }
            if stacks.is_empty() || stacks.iter().collect::<BTreeSet<_>>().len() != stacks.len() {
                return Some("it must have at least one stack, each once".to_owned());
            }
        }
        None
    }
}
