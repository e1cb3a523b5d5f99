//! Questions about registries and projects, answered as data; printing them is the command's.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::id::PackageId;
use crate::index::Registry;
use crate::name::PackageName;
use crate::project::Resolved;
use crate::release::ReleaseRecord;
use crate::version::Version;

/// A package that a search has found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The highest release that is no pre-release, or the highest of all.
    pub latest: ReleaseRecord,
    /// All versions, highest first.
    pub versions: Vec<Version>,
}

/// What a search has found.
#[derive(Debug, Default)]
pub struct Search {
    /// The packages, sorted by name.
    pub found: Vec<Found>,
    /// Packages whose latest record cannot be read: one bad record hides no other package.
    pub unreadable: Vec<(PackageId, Error)>,
}

/// Finds packages in which every word stands in name, description or kind, without regard to case; no words find all.
///
/// # Errors
/// The registry cannot be listed.
pub fn search(registry: &Registry, words: &[&str]) -> Result<Search, Error> {
    let mut packages: BTreeMap<PackageName, Vec<Version>> = BTreeMap::new();
    for (name, version) in registry.releases()? {
        packages.entry(name).or_default().push(version);
    }
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let mut search = Search::default();
    for (name, mut versions) in packages {
        versions.sort_by(|a, b| b.cmp(a));
        let Some(latest) = latest(&versions) else { continue };
        let record = match registry.release(&name, latest) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) => {
                search.unreadable.push((PackageId::new(&name, latest), error));
                continue;
            }
        };
        let release = &record.release;
        let text = format!("{name} {} {}", release.kind(), release.description).to_lowercase();
        if words.iter().all(|word| text.contains(word)) {
            search.found.push(Found { latest: record, versions });
        }
    }
    Ok(search)
}

/// Describes one release of a package: the one asked for, or the latest.
///
/// # Errors
/// There is no such package or version, or the registry cannot be read.
pub fn info(registry: &Registry, name: &PackageName, version: Option<&Version>) -> Result<Found, Error> {
    let versions = registry.versions(name)?;
    let location = || registry.store().location();
    let no_package = || Error::NoPackage { name: name.clone(), location: location(), similar: None };
    let version = version.or_else(|| latest(&versions)).ok_or_else(no_package)?;
    let no_release = || Error::NoRelease { id: Box::new(PackageId::new(name, version)), location: location() };
    let record = registry.release(name, version)?.ok_or_else(no_release)?;
    Ok(Found { latest: record, versions })
}

/// The version that someone who asks for none gets; `versions` come highest first.
fn latest(versions: &[Version]) -> Option<&Version> {
    versions.iter().find(|version| !version.is_prerelease()).or_else(|| versions.first())
}

/// What a project is made of: tasks with their stacks, down to plugins and backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The backbone.
    pub backbone: PackageId,
    /// The tasks, by name.
    pub tasks: Vec<TreeTask>,
    /// Adapters of the manifest that no task stacks.
    pub unused: Vec<TreeAdapter>,
}

/// A task in a [`Tree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeTask {
    /// The manifest's name.
    pub name: String,
    /// The package; none for features.
    pub package: Option<PackageId>,
    /// Its adapters in the order of fusion.
    pub stack: Vec<TreeAdapter>,
}

/// An adapter in a [`Tree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeAdapter {
    /// The manifest's name.
    pub name: String,
    /// The package.
    pub package: PackageId,
    /// The plugin that runs it.
    pub plugin: PackageId,
}

/// Draws up the tree of a resolved project.
#[must_use]
pub fn tree(resolved: &Resolved) -> Tree {
    let adapter = |name: &String| {
        let adapter = resolved.adapters.get(name)?;
        Some(TreeAdapter { name: name.clone(), package: adapter.id.clone(), plugin: adapter.plugin.clone() })
    };
    let tasks = resolved.tasks.iter().map(|(name, task)| TreeTask {
        name: name.clone(),
        package: task.head.as_ref().map(|head| head.id.clone()),
        stack: task.stack.iter().filter_map(adapter).collect(),
    });
    let is_used = |name: &&String| resolved.tasks.values().any(|task| task.stack.contains(name));
    Tree {
        backbone: resolved.backbone.id.clone(),
        tasks: tasks.collect(),
        unused: resolved.adapters.keys().filter(|name| !is_used(name)).filter_map(adapter).collect(),
    }
}
