//! What moves between two locks, and that nothing moves down unasked.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::lock::Lock;
use crate::name::PackageName;
use crate::resolve::Selection;
use crate::version::Version;

/// What becomes of one locked version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The package.
    pub name: PackageName,
    /// The version before; none for what comes in.
    pub from: Option<Version>,
    /// The version after; none for what is dropped.
    pub to: Option<Version>,
}

impl Change {
    /// Tells whether a version is replaced by a lower one.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!((&self.from, &self.to), (Some(from), Some(to)) if to < from)
    }
}

/// Compares two locks, sorted by package. What is in both is no change; what went and what came is paired within a line
/// (major) first, then from the highest down.
pub(super) fn changes(old: &Lock, new: &Lock) -> Vec<Change> {
    let mut packages: BTreeMap<&PackageName, (Vec<&Version>, Vec<&Version>)> = BTreeMap::new();
    let absent = |from: &Lock, name, version| from.get(name, version).is_none();
    // Highest first.
    for locked in old.packages().iter().rev().filter(|locked| absent(new, &locked.name, &locked.version)) {
        packages.entry(&locked.name).or_default().0.push(&locked.version);
    }
    for locked in new.packages().iter().rev().filter(|locked| absent(old, &locked.name, &locked.version)) {
        packages.entry(&locked.name).or_default().1.push(&locked.version);
    }
    let mut changes = Vec::new();
    for (name, (mut gone, mut come)) in packages {
        let mut change = |from: Option<&Version>, to: Option<&Version>| {
            changes.push(Change { name: name.clone(), from: from.cloned(), to: to.cloned() });
        };
        gone.retain(|from| match come.iter().position(|to| to.same_line(from)) {
            Some(place) => {
                change(Some(from), Some(come.remove(place)));
                false
            }
            None => true,
        });
        let mut come = come.into_iter();
        for from in gone {
            change(Some(from), come.next());
        }
        for to in come {
            change(None, Some(to));
        }
    }
    changes.sort();
    changes
}

/// Refuses a choice in which something is lower than before.
///
/// `before` is what the old lock comes to under today's manifest: with it, each use of a package is compared. Where the old
/// lock does not fit the manifest any more there is none, and the locks are compared.
pub(super) fn refuse_downgrade(
    old: &Lock,
    new: &Lock,
    before: Option<&Selection>,
    after: &Selection,
) -> Result<(), Error> {
    let refuse = |name: &PackageName, before: &Version, after: &Version| {
        Err(Error::Downgrade { name: name.clone(), before: before.clone(), after: after.clone() })
    };
    if let Some(before) = before {
        let (before, after) = (uses(before), uses(after));
        for (use_, (name, from)) in &before {
            if let Some((now, to)) = after.get(use_)
                && now == name
                && to < from
            {
                return refuse(name, from, to);
            }
        }
        return Ok(());
    }
    for change in changes(old, new) {
        if let (true, Some(from), Some(to)) = (change.is_down(), &change.from, &change.to) {
            return refuse(&change.name, from, to);
        }
    }
    // What was dropped may have been replaced by a lower version that was locked already.
    for locked in new.packages() {
        let highest = |lock: &Lock| lock.of(&locked.name).next().map(|highest| highest.version.clone());
        if let (Some(from), Some(to)) = (highest(old), highest(new))
            && to < from
        {
            return refuse(&locked.name, &from, &to);
        }
    }
    Ok(())
}

/// What a project uses a release for, in words of the manifest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Use<'a> {
    Backbone,
    Adapter(&'a str),
    PluginOf(&'a str),
    Task(&'a str),
}

fn uses(selection: &Selection) -> BTreeMap<Use<'_>, (&PackageName, &Version)> {
    let backbone = &selection.backbone.release;
    let mut uses = BTreeMap::from([(Use::Backbone, (&backbone.name, &backbone.version))]);
    for (alias, record) in &selection.adapters {
        uses.insert(Use::Adapter(alias.as_str()), (&record.release.name, &record.release.version));
    }
    for (alias, plugin) in &selection.plugin_of {
        uses.insert(Use::PluginOf(alias.as_str()), (&plugin.name, &plugin.version));
    }
    for (alias, task) in &selection.tasks {
        let release = &task.record.release;
        uses.insert(Use::Task(alias.as_str()), (&release.name, &release.version));
    }
    uses
}
