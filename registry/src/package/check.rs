//! The rules of a package that its types cannot hold.

use std::collections::BTreeSet;

use super::{Adapter, Backbone, Content, Fusion, Kind, Package, Plugin, Task, TaskKind};
use crate::name::Alias;
use crate::path::PackagePath;
use crate::text::list;

/// The most labels of a task; FIGER has 113, the largest typing sets some ten thousand.
pub const MAX_LABELS: usize = 65_536;
/// The longest input that a task may ask for, in tokens.
pub const MAX_LENGTH: usize = 65_536;
/// The highest tap, so the most layers of a backbone.
pub const MAX_TAP: usize = 1023;
/// The most taps of an adapter.
pub const MAX_TAPS: usize = 256;
/// The longest description or attribution, in bytes.
const MAX_PROSE: usize = 16 * 1024;
/// The longest label, in bytes.
const MAX_LABEL: usize = 512;
/// The most variants of a task: every subset of eight adapters.
const MAX_VARIANTS: usize = 256;
/// The most adapters in a stack.
const MAX_STACK: usize = 64;
/// The longest name of a backbone's architecture, in bytes.
const MAX_ARCHITECTURE: usize = 64;

/// A rule of the package file that is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is its sentence")]
pub enum PackageError {
    #[error("`kind` is `{kind}`, so a section `[{kind}]` must stand in it")]
    NoSection { kind: Kind },
    #[error("`kind` is `{kind}`, so a section `[{section}]` must not stand in it")]
    OtherSection { kind: Kind, section: Kind },
    #[error("`{field}` is empty")]
    Empty { field: &'static str },
    #[error("`{field}` has control characters")]
    Control { field: &'static str },
    #[error("`{field}` has {found}, at most {limit} are allowed")]
    TooMany { field: &'static str, found: usize, limit: usize },
    #[error("`{field}` is {found}, it must be from {least} to {most}")]
    OutOfRange { field: &'static str, found: usize, least: usize, most: usize },
    #[error("`{field}` names `{value}` twice")]
    Twice { field: &'static str, value: String },
    #[error("`{path}` stands in it for two files")]
    NamedTwice { path: PackagePath },
    #[error("`{first}` and `{second}` are one file where case does not count")]
    SameFile { first: PackagePath, second: PackagePath },
    #[error("tasks of kind `{kind}` need `labels`")]
    NoLabels { kind: TaskKind },
    #[error("the variant for the stack {} names `{name}`, but [task.adapters] has {}", stack_text(.stack), list(.known))]
    UnknownAdapter { stack: Vec<Alias>, name: Alias, known: Vec<Alias> },
    #[error("two variants have the stack {}", stack_text(.stack))]
    SameStack { stack: Vec<Alias> },
    #[error("the variant for the stack {} has `taps`, which the fusion `{fusion}` does not read", stack_text(.stack))]
    UnreadTaps { stack: Vec<Alias>, fusion: Fusion },
    #[error("[task.adapters] names `{name}`, which no variant uses")]
    UnusedAdapter { name: Alias },
}

/// Writes a stack for a message: `` [`factual`, `linguistic`] ``.
pub(crate) fn stack_text<T: std::fmt::Display>(stack: &[T]) -> String {
    let names: Vec<String> = stack.iter().map(|name| format!("`{name}`")).collect();
    format!("[{}]", names.join(", "))
}

type Checked = Result<(), PackageError>;

pub(super) fn check(package: &Package) -> Checked {
    check_prose("description", &package.description)?;
    if let Some(attribution) = &package.attribution {
        check_prose("attribution", attribution)?;
    }
    match &package.content {
        Content::Backbone(backbone) => check_backbone(backbone),
        Content::Plugin(plugin) => check_plugin(plugin),
        Content::Adapter(adapter) => check_adapter(adapter),
        Content::Task(task) => check_task(task),
    }
}

/// Checks text that people read: present, bounded, nothing that moves a terminal's cursor.
pub(crate) fn check_prose(field: &'static str, text: &str) -> Checked {
    if text.trim().is_empty() {
        return Err(PackageError::Empty { field });
    }
    at_most(field, text.len(), MAX_PROSE)?;
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(PackageError::Control { field });
    }
    Ok(())
}

fn at_most(field: &'static str, found: usize, limit: usize) -> Checked {
    if found > limit { Err(PackageError::TooMany { field, found, limit }) } else { Ok(()) }
}

fn check_backbone(backbone: &Backbone) -> Checked {
    check_prose("architecture", &backbone.architecture)?;
    at_most("architecture", backbone.architecture.len(), MAX_ARCHITECTURE)?;
    different_files([&backbone.config, &backbone.weights, &backbone.tokenizer])
}

fn check_plugin(plugin: &Plugin) -> Checked {
    if plugin.libraries.is_empty() {
        return Err(PackageError::Empty { field: "libraries" });
    }
    different_files(plugin.libraries.values())
}

fn check_adapter(adapter: &Adapter) -> Checked {
    if adapter.taps.is_empty() {
        return Err(PackageError::Empty { field: "taps" });
    }
    check_taps(&adapter.taps)
}

fn check_taps(taps: &[usize]) -> Checked {
    at_most("taps", taps.len(), MAX_TAPS)?;
    for tap in taps {
        in_range("taps", *tap, 0, MAX_TAP)?;
    }
    unique("taps", taps)
}

fn in_range(field: &'static str, found: usize, least: usize, most: usize) -> Checked {
    if (least..=most).contains(&found) { Ok(()) } else { Err(PackageError::OutOfRange { field, found, least, most }) }
}

fn check_task(task: &Task) -> Checked {
    in_range("max_length", task.max_length, 3, MAX_LENGTH)?;
    check_labels(task)?;
    if task.variants.is_empty() {
        return Err(PackageError::Empty { field: "variants" });
    }
    at_most("variants", task.variants.len(), MAX_VARIANTS)?;
    let mut stacks = BTreeSet::new();
    for variant in &task.variants {
        at_most("stack", variant.stack.len(), MAX_STACK)?;
        unique("stack", &variant.stack)?;
        check_taps(&variant.taps)?;
        if !variant.taps.is_empty() && !variant.fusion.mixes_taps() {
            return Err(PackageError::UnreadTaps { stack: variant.stack.clone(), fusion: variant.fusion });
        }
        if let Some(name) = variant.stack.iter().find(|name| !task.adapters.contains_key(*name)) {
            let known = task.adapters.keys().cloned().collect();
            return Err(PackageError::UnknownAdapter { stack: variant.stack.clone(), name: name.clone(), known });
        }
        if !stacks.insert(&variant.stack) {
            return Err(PackageError::SameStack { stack: variant.stack.clone() });
        }
    }
    let used = |name: &&Alias| task.variants.iter().any(|variant| variant.stack.contains(name));
    if let Some(name) = task.adapters.keys().find(|name| !used(name)) {
        return Err(PackageError::UnusedAdapter { name: name.clone() });
    }
    different_files(task.variants.iter().map(|variant| &variant.weights))
}

fn check_labels(task: &Task) -> Checked {
    if task.labels.is_empty() && task.kind.has_labels() {
        return Err(PackageError::NoLabels { kind: task.kind });
    }
    at_most("labels", task.labels.len(), MAX_LABELS)?;
    for label in &task.labels {
        check_prose("labels", label)?;
        at_most("labels", label.len(), MAX_LABEL)?;
    }
    unique("labels", &task.labels)
}

fn unique<T: Ord + std::fmt::Display>(field: &'static str, values: &[T]) -> Checked {
    let mut seen = BTreeSet::new();
    match values.iter().find(|value| !seen.insert(*value)) {
        None => Ok(()),
        Some(value) => Err(PackageError::Twice { field, value: value.to_string() }),
    }
}

fn different_files<'a>(paths: impl IntoIterator<Item = &'a PackagePath>) -> Checked {
    let mut seen = std::collections::BTreeMap::new();
    for path in paths {
        if let Some(first) = seen.insert(path.folded(), path) {
            if first == path {
                return Err(PackageError::NamedTwice { path: path.clone() });
            }
            return Err(PackageError::SameFile { first: first.clone(), second: path.clone() });
        }
    }
    Ok(())
}
