//! Packages: what `kadapter-package.toml` says, as types.
//!
//! ```
//! use kadapter_registry::package::{Content, Package};
//!
//! let package = Package::from_toml("kadapter-package.toml", r#"
//!     schema = 1
//!     [package]
//!     name = "kadapter-plugins/factual"
//!     version = "1.0.0"
//!     kind = "plugin"
//!     license = "MIT OR Apache-2.0"
//!     description = "The factual adapter's network and objective"
//!     [plugin]
//!     abi = "1.0"
//!     [plugin.libraries]
//!     "x86_64-unknown-linux-gnu" = "plugins/x86_64-unknown-linux-gnu/libfactual.so"
//! "#)?;
//! assert!(matches!(package.content, Content::Plugin(_)));
//! assert_eq!(Package::from_toml("again", &package.to_toml()?)?, package);
//! # Ok::<(), kadapter_registry::Error>(())
//! ```

mod check;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use semver::VersionReq;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Error;
use crate::files;
use crate::license::License;
use crate::name::{Alias, PackageName};
use crate::path::PackagePath;
use crate::target::Target;
use crate::version::{AbiVersion, Version};

pub(crate) use check::{check_prose, stack_text};

pub use check::{MAX_LABELS, MAX_LENGTH, MAX_TAP, MAX_TAPS, PackageError};

/// The file in a package directory that describes the package.
pub const PACKAGE_FILE: &str = "kadapter-package.toml";
/// The card that every package has.
pub const CARD_FILE: &str = "README.md";
/// The longest package file, in bytes: room for every label and option that is allowed.
pub const MAX_PACKAGE_FILE: u64 = 4 * 1024 * 1024;

/// What a package directory holds and what it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// `namespace/name`.
    pub name: PackageName,
    /// The version that this directory becomes when it is published.
    pub version: Version,
    /// The licence of the content.
    pub license: License,
    /// One sentence for whoever searches.
    pub description: String,
    /// Sources and authors that the licence asks to name.
    pub attribution: Option<String>,
    /// What the package's kind asks for.
    pub content: Content,
}

/// The part of a package that depends on its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A frozen backbone with its tokenizer.
    Backbone(Backbone),
    /// A native library that runs and trains adapters of one architecture.
    Plugin(Plugin),
    /// An adapter's weights.
    Adapter(Adapter),
    /// A task's fusion and head.
    Task(Task),
}

/// The four kinds of package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// See [`Content::Backbone`].
    Backbone,
    /// See [`Content::Plugin`].
    Plugin,
    /// See [`Content::Adapter`].
    Adapter,
    /// See [`Content::Task`].
    Task,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Backbone => "backbone",
            Self::Plugin => "plugin",
            Self::Adapter => "adapter",
            Self::Task => "task",
        })
    }
}

/// `[backbone]`: the files of a frozen backbone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backbone {
    /// The network, `roberta`.
    pub architecture: String,
    /// The network's sizes, `config.json`.
    pub config: PackagePath,
    /// The weights, safetensors.
    pub weights: PackagePath,
    /// The tokenizer, `tokenizer.json`.
    pub tokenizer: PackagePath,
}

/// `[plugin]`: one native library per target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// The ABI that the libraries were built against.
    pub abi: AbiVersion,
    /// The library of each target.
    pub libraries: BTreeMap<Target, PackagePath>,
}

/// `[adapter]`: weights, and what they mean something to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// The weights, safetensors.
    pub weights: PackagePath,
    /// Indices into the backbone's hidden states, in the order that the plugin reads them.
    pub taps: Vec<usize>,
    /// The plugin that runs the weights.
    pub plugin: PluginNeed,
    /// The backbone that the weights were trained beside.
    pub backbone: BackboneNeed,
    /// Handed to the plugin as it is.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub config: toml::Table,
}

/// `[task]`: fusion and head, one variant per stack they were trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// What the head answers.
    pub kind: TaskKind,
    /// The backbone that fusion and head were trained on.
    pub backbone: BackboneNeed,
    /// The answers of kinds that choose from a fixed set, in the order of the head's outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The longest input in tokens, special tokens included.
    pub max_length: usize,
    /// Options of the task kind.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub options: toml::Table,
    /// The exact adapter releases behind the names that the variants use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adapters: BTreeMap<Alias, AdapterNeed>,
    /// The stacks that the task was trained on.
    pub variants: Vec<Variant>,
}

/// `[[task.variants]]`: fusion and head for one stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Names of [`Task::adapters`] in the order of fusion; empty for the backbone alone.
    pub stack: Vec<Alias>,
    /// How the features come together.
    pub fusion: Fusion,
    /// Hidden states that the fusion reads beside the last, indices as in [`Adapter::taps`]; only for fusions that mix them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taps: Vec<usize>,
    /// The weights of fusion and head, safetensors.
    pub weights: PackagePath,
}

/// How a stack's features come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fusion {
    /// Backbone and adapters side by side.
    #[default]
    Concat,
    /// Backbone plus adapters.
    Add,
    /// A learned mix of hidden states, plus each adapter's normalised features behind a gate that starts closed.
    Gated,
    /// Hidden states and adapters side by side, each column of each shifted and scaled.
    Blocks,
}

impl Fusion {
    /// Every fusion, in the order in which they are documented.
    pub const ALL: [Self; 4] = [Self::Concat, Self::Add, Self::Gated, Self::Blocks];

    /// Tells whether the fusion reads hidden states beside the last, those in [`Variant::taps`].
    #[must_use]
    pub const fn mixes_taps(self) -> bool {
        matches!(self, Self::Gated | Self::Blocks)
    }
}

impl fmt::Display for Fusion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Concat => "concat",
            Self::Add => "add",
            Self::Gated => "gated",
            Self::Blocks => "blocks",
        })
    }
}

/// The kinds of task that have a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Which relation holds between two marked entities.
    RelationClassification,
    /// Which types a marked entity has.
    EntityTyping,
    /// Which of several answers is right.
    MultipleChoice,
    /// Which words of a text answer a question.
    Span,
    /// Which class a text is of.
    SequenceClassification,
}

impl TaskKind {
    /// Tells whether the head's outputs are labels, so that a package must list them.
    #[must_use]
    pub const fn has_labels(self) -> bool {
        matches!(self, Self::RelationClassification | Self::EntityTyping | Self::SequenceClassification)
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::RelationClassification => "relation-classification",
            Self::EntityTyping => "entity-typing",
            Self::MultipleChoice => "multiple-choice",
            Self::Span => "span",
            Self::SequenceClassification => "sequence-classification",
        })
    }
}

/// A plugin by requirement: any release that fits runs the weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginNeed {
    /// The plugin's package.
    pub package: PackageName,
    /// The versions that fit.
    #[serde(deserialize_with = "crate::version::requirement")]
    pub version: VersionReq,
}

/// A backbone by the digest of its weights file: no other one gives the same features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneNeed {
    /// The package it was taken from, for messages; the digest decides.
    pub package: PackageName,
    /// SHA-256 of the weights file.
    pub weights: Digest,
}

/// An adapter by the digest of its release record: fusion was trained on exactly these features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterNeed {
    /// The adapter's package.
    pub package: PackageName,
    /// SHA-256 of its `release.json`.
    pub release: Digest,
}

impl Package {
    /// The package's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.content {
            Content::Backbone(_) => Kind::Backbone,
            Content::Plugin(_) => Kind::Plugin,
            Content::Adapter(_) => Kind::Adapter,
            Content::Task(_) => Kind::Task,
        }
    }

    /// Reads a package file's text and checks everything that needs no other file. `file` names it in errors.
    ///
    /// # Errors
    /// One sentence with the line for what is not TOML or not in the schema, or the first rule that is broken.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Error> {
        let package = wire::read(file, text)?;
        package.check(file)?;
        Ok(package)
    }

    /// Writes the text of the package file, always the same for the same package.
    ///
    /// # Errors
    /// A package that breaks a rule is not written.
    pub fn to_toml(&self) -> Result<String, Error> {
        self.check(PACKAGE_FILE)?;
        wire::write(self)
    }

    /// Reads `directory/kadapter-package.toml`.
    ///
    /// # Errors
    /// As [`Package::from_toml`], and when the file cannot be read or is longer than [`MAX_PACKAGE_FILE`].
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = package_file(directory)?;
        let text = files::read_text(&path, MAX_PACKAGE_FILE)?;
        Self::from_toml(&path.display().to_string(), &text)
    }

    /// Writes `directory/kadapter-package.toml`, whole or not at all.
    ///
    /// # Errors
    /// As [`Package::to_toml`], and when the file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), Error> {
        let text = self.to_toml()?;
        files::write_atomic(&directory.join(PACKAGE_FILE), text.as_bytes())
    }

    /// Checks the rules that types cannot hold.
    ///
    /// # Errors
    /// The first rule that is broken; `file` names the package in it.
    pub fn check(&self, file: &str) -> Result<(), Error> {
        check::check(self).map_err(|problem| Error::Package { file: file.to_owned(), problem: Box::new(problem) })
    }
}

/// The path of a directory's package file, which must exist.
pub(crate) fn package_file(directory: &Path) -> Result<PathBuf, Error> {
    let path = directory.join(PACKAGE_FILE);
    match path.try_exists() {
        Ok(true) => Ok(path),
        Ok(false) => Err(Error::MissingFile { path: PACKAGE_FILE.parse()?, directory: directory.to_path_buf() }),
        Err(source) => Err(Error::Io { action: "read", path, source }),
    }
}
