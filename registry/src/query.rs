//! Questions about registries and projects, answered as data; printing them is the command's.
//!
//! Yanks are shown as they are said, whoever says them; whose count is for whoever chooses releases.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::id::PackageId;
use crate::index::Registry;
use crate::name::PackageName;
use crate::project::Resolved;
use crate::release::ReleaseRecord;
use crate::version::Version;
use crate::yank::{self, Standing};

/// A package that a search has found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The release that was asked for, or else the highest that is neither yanked nor a pre-release, or the highest of all.
    pub latest: ReleaseRecord,
    /// Where that release stands.
    pub standing: Standing,
    /// All versions, highest first.
    pub versions: Vec<Version>,
}

/// One version of a package.
#[derive(Debug)]
pub struct Listed {
    /// The version.
    pub version: Version,
    /// Where it stands, or why that cannot be found out.
    pub standing: Result<Standing, Error>,
}

/// What a search has found.
#[derive(Debug, Default)]
pub struct Search {
    /// The packages, sorted by name.
    pub found: Vec<Found>,
    /// Packages whose latest record cannot be read: one bad record hides no other package.
    pub unreadable: Vec<(PackageId, Error)>,
}

/// Finds packages in which every word stands in name, description or kind, without regard to case; no words find all. Of a
/// package whose latest release is yanked the latest that is not is shown, if it has the words, too.
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
        let Some(highest) = preferred(&versions).next() else { continue };
        match found(registry, &name, &versions, &words) {
            Ok(None) => {}
            Ok(Some(found)) => search.found.push(found),
            Err(error) => search.unreadable.push((PackageId::new(&name, highest), error)),
        }
    }
    Ok(search)
}

/// The release of a package that a search shows; none when its words are not these.
fn found(
    registry: &Registry,
    name: &PackageName,
    versions: &[Version],
    words: &[String],
) -> Result<Option<Found>, Error> {
    let mut best = None;
    for version in preferred(versions) {
        let Some(latest) = registry.release(name, version)? else { continue };
        let release = &latest.release;
        let text = format!("{name} {} {}", release.kind(), release.description).to_lowercase();
        if !words.iter().all(|word| text.contains(word)) {
            break;
        }
        let standing = yank::standing_of(registry.store(), &latest, &yank::every)?;
        let is_yanked = standing.yanked().is_some();
        let found = Found { latest, standing, versions: versions.to_vec() };
        if !is_yanked {
            return Ok(Some(found));
        }
        best = best.or(Some(found));
    }
    Ok(best)
}

/// Describes one release of a package: the one asked for, or the latest.
///
/// # Errors
/// There is no such package or version, or the registry cannot be read.
pub fn info(registry: &Registry, name: &PackageName, version: Option<&Version>) -> Result<Found, Error> {
    let versions = existing(registry, name)?;
    match version {
        None => found(registry, name, &versions, &[])?.ok_or_else(|| no_package(registry, name)),
        Some(version) => {
            let latest = registry.release(name, version)?.ok_or_else(|| Error::NoRelease {
                id: Box::new(PackageId::new(name, version)),
                location: registry.store().location(),
            })?;
            let standing = yank::standing_of(registry.store(), &latest, &yank::every)?;
            Ok(Found { latest, standing, versions })
        }
    }
}

/// Lists the versions of a package, highest first, each with where it stands.
///
/// # Errors
/// There is no such package, or the registry cannot be listed.
pub fn versions(registry: &Registry, name: &PackageName) -> Result<Vec<Listed>, Error> {
    let listed = |version: Version| {
        let standing = registry.standing(name, &version, &yank::every);
        Listed { version, standing }
    };
    Ok(existing(registry, name)?.into_iter().map(listed).collect())
}

/// The versions of a package that is there, highest first.
fn existing(registry: &Registry, name: &PackageName) -> Result<Vec<Version>, Error> {
    let versions = registry.versions(name)?;
    if versions.is_empty() { Err(no_package(registry, name)) } else { Ok(versions) }
}

fn no_package(registry: &Registry, name: &PackageName) -> Error {
    Error::NoPackage { name: name.clone(), location: registry.store().location(), similar: None }
}

/// The versions in the order in which someone who asks for none gets them; `versions` come highest first.
fn preferred(versions: &[Version]) -> impl Iterator<Item = &Version> {
    let whole = versions.iter().filter(|version| !version.is_prerelease());
    whole.chain(versions.iter().filter(|version| version.is_prerelease()))
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
