//! The manifest, `kadapter.toml`: what a project wants.
//!
//! ```
//! use kadapter_registry::manifest::Manifest;
//!
//! let manifest = Manifest::from_toml("kadapter.toml", r#"
//!     [registries]
//!     kadapter = "registry/seed"
//!     [backbone]
//!     package = "kadapter/minilm-roberta"
//!     version = "^1"
//!     [adapters]
//!     factual = { package = "kadapter/factual", version = "^1.2" }
//!     [tasks.features]
//!     kind = "features"
//!     stack = ["factual"]
//! "#)?;
//! assert_eq!(manifest.tasks["features"].stack().len(), 1);
//! # Ok::<(), kadapter_registry::Error>(())
//! ```

mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use semver::VersionReq;
use serde::Deserialize;

use crate::error::Error;
use crate::files;
use crate::location::RegistryLocation;
use crate::name::{Alias, Namespace, PackageName};
use crate::package::Fusion;
use crate::text::{self, list, nearest};
use crate::version::Requirement;

pub use settings::{Compat, Device, FloatType, Settings};

/// The file that describes a project.
pub const MANIFEST_FILE: &str = "kadapter.toml";
/// The longest manifest, in bytes.
const MAX_MANIFEST: u64 = 1024 * 1024;
/// The only kind of task that is not a package.
const FEATURES: &str = "features";

/// What a project wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// `[project]`: how to run.
    pub settings: Settings,
    /// `[registries]`: the one place of each namespace.
    pub registries: BTreeMap<Namespace, RegistryLocation>,
    /// `[backbone]`.
    pub backbone: Wanted,
    /// `[adapters]`, by the names that stacks use.
    pub adapters: BTreeMap<Alias, Wanted>,
    /// `[tasks]`.
    pub tasks: BTreeMap<Alias, TaskEntry>,
}

/// A package and the versions of it that will do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The package.
    pub package: PackageName,
    /// The versions.
    #[serde(deserialize_with = "crate::version::requirement")]
    pub version: VersionReq,
}

/// One task of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEntry {
    /// A task package, of which the stack selects the variant.
    Package {
        /// The package.
        wanted: Wanted,
        /// Names of [`Manifest::adapters`] in the order of fusion.
        stack: Vec<Alias>,
    },
    /// No head: the fused features come out.
    Features {
        /// Names of [`Manifest::adapters`] in the order of fusion.
        stack: Vec<Alias>,
        /// How they come together.
        fusion: Fusion,
    },
}

impl TaskEntry {
    /// The adapters in the order of fusion.
    #[must_use]
    pub fn stack(&self) -> &[Alias] {
        match self {
            Self::Package { stack, .. } | Self::Features { stack, .. } => stack,
        }
    }
}

/// A rule of the manifest that is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is its sentence")]
pub enum ManifestError {
    #[error(
        "[tasks.{task}] has the kind `{found}`; only `features` may stand there, other kinds come from a `package`"
    )]
    TaskKind { task: Alias, found: String },
    #[error("[tasks.{task}] has no `{key}`; a task needs `package` and `version`, or `kind = \"features\"`")]
    TaskKey { task: Alias, key: &'static str },
    #[error("[tasks.{task}] has both `kind = \"features\"` and `{key}`, which belongs to packages")]
    FeaturesKey { task: Alias, key: &'static str },
    #[error("[tasks.{task}] has a `fusion`, which the variants of its package decide")]
    TaskFusion { task: Alias },
    #[error("[tasks.{task}] fuses with `{fusion}`, which has weights and so comes from a `package`")]
    LearnedFusion { task: Alias, fusion: Fusion },
    #[error("[tasks.{task}] stacks `{name}`, but [adapters] has {}", list(.known))]
    UnknownAdapter { task: Alias, name: Alias, known: Vec<Alias>, nearest: Option<String> },
    #[error("[tasks.{task}] stacks `{name}` twice")]
    Twice { task: Alias, name: Alias },
    #[error("`{package}` is wanted, but [registries] says nothing about `{}`, only about {}", .package.namespace(), list(.known))]
    NoRegistry { package: PackageName, known: Vec<Namespace> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    project: Settings,
    registries: BTreeMap<Namespace, RegistryLocation>,
    backbone: Wanted,
    #[serde(default)]
    adapters: BTreeMap<Alias, Wanted>,
    #[serde(default)]
    tasks: BTreeMap<Alias, WireTask>,
}

/// The part of a recipe that says what it is made with: a manifest without tasks, among other tables.
#[derive(Deserialize)]
struct WirePart {
    #[serde(default)]
    project: Settings,
    registries: BTreeMap<Namespace, RegistryLocation>,
    backbone: Wanted,
    #[serde(default)]
    adapters: BTreeMap<Alias, Wanted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTask {
    package: Option<PackageName>,
    version: Option<Requirement>,
    kind: Option<String>,
    stack: Vec<Alias>,
    fusion: Option<Fusion>,
}

impl Manifest {
    /// Reads a manifest's text. `file` names it in errors.
    ///
    /// # Errors
    /// One sentence with the line for what is not TOML or not in the schema, or the first rule that is broken.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Error> {
        let wire: Wire = text::from_toml(file, text)?;
        Self::from_wire(wire).map_err(|problem| Error::Manifest { file: file.to_owned(), problem: Box::new(problem) })
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// As [`Manifest::from_toml`], and when the file cannot be read or is too long.
    pub fn read(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Err(Error::NoManifest { path: path.to_path_buf() });
        }
        let text = files::read_text(path, MAX_MANIFEST)?;
        Self::from_toml(&path.display().to_string(), &text)
    }

    /// Reads the manifest that stands in a recipe: `[project]`, `[registries]`, `[backbone]` and `[adapters]`. Other tables are the
    /// recipe's own.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn read_part(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Err(Error::NoManifest { path: path.to_path_buf() });
        }
        let (file, text) = (path.display().to_string(), files::read_text(path, MAX_MANIFEST)?);
        let WirePart { project, registries, backbone, adapters } = text::from_toml(&file, &text)?;
        let wire = Wire { project, registries, backbone, adapters, tasks: BTreeMap::new() };
        Self::from_wire(wire).map_err(|problem| Error::Manifest { file, problem: Box::new(problem) })
    }

    /// Every package that the manifest wants by itself, with the place where it says so.
    pub fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        let tasks = self.tasks.values().filter_map(|task| match task {
            TaskEntry::Package { wanted, .. } => Some(wanted),
            TaskEntry::Features { .. } => None,
        });
        std::iter::once(&self.backbone).chain(self.adapters.values()).chain(tasks)
    }

    /// The registry of a package's namespace.
    ///
    /// # Errors
    /// `[registries]` does not name the namespace.
    pub fn registry_of(&self, package: &PackageName) -> Result<&RegistryLocation, ManifestError> {
        self.registries.get(package.namespace()).ok_or_else(|| ManifestError::NoRegistry {
            package: package.clone(),
            known: self.registries.keys().cloned().collect(),
        })
    }

    fn from_wire(wire: Wire) -> Result<Self, ManifestError> {
        let mut tasks = BTreeMap::new();
        for (name, task) in wire.tasks {
            let entry = task_entry(&name, task)?;
            check_stack(&name, entry.stack(), &wire.adapters)?;
            tasks.insert(name, entry);
        }
        let Wire { project: settings, registries, backbone, adapters, .. } = wire;
        let manifest = Self { settings, registries, backbone, adapters, tasks };
        for wanted in manifest.wanted() {
            manifest.registry_of(&wanted.package)?;
        }
        Ok(manifest)
    }
}

fn task_entry(name: &Alias, task: WireTask) -> Result<TaskEntry, ManifestError> {
    let task_name = || name.clone();
    let WireTask { package, version, kind, stack, fusion } = task;
    match (kind.as_deref(), package, version) {
        (Some(FEATURES), None, None) => match fusion.unwrap_or_default() {
            fusion @ (Fusion::Gated | Fusion::Blocks) => {
                Err(ManifestError::LearnedFusion { task: task_name(), fusion })
            }
            fusion @ (Fusion::Concat | Fusion::Add) => Ok(TaskEntry::Features { stack, fusion }),
        },
        (Some(FEATURES), Some(_), _) => Err(ManifestError::FeaturesKey { task: task_name(), key: "package" }),
        (Some(FEATURES), None, Some(_)) => Err(ManifestError::FeaturesKey { task: task_name(), key: "version" }),
        (Some(found), ..) => Err(ManifestError::TaskKind { task: task_name(), found: text::shorten(found) }),
        (None, None, _) => Err(ManifestError::TaskKey { task: task_name(), key: "package" }),
        (None, Some(_), None) => Err(ManifestError::TaskKey { task: task_name(), key: "version" }),
        (None, Some(_), Some(_)) if fusion.is_some() => Err(ManifestError::TaskFusion { task: task_name() }),
        (None, Some(package), Some(Requirement(version))) => {
            Ok(TaskEntry::Package { wanted: Wanted { package, version }, stack })
        }
    }
}

fn check_stack(task: &Alias, stack: &[Alias], adapters: &BTreeMap<Alias, Wanted>) -> Result<(), ManifestError> {
    let mut seen = BTreeSet::new();
    for name in stack {
        if !adapters.contains_key(name) {
            let known: Vec<Alias> = adapters.keys().cloned().collect();
            let nearest = nearest(name.as_str(), known.iter().map(Alias::as_str)).map(str::to_owned);
            return Err(ManifestError::UnknownAdapter { task: task.clone(), name: name.clone(), known, nearest });
        }
        if !seen.insert(name) {
            return Err(ManifestError::Twice { task: task.clone(), name: name.clone() });
        }
    }
    Ok(())
}
