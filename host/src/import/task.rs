//! Fusion and head of the official K-Adapter code become a task package.
//!
//! | official | in the package |
//! | --- | --- |
//! | `task_dense_fac`, `task_dense_lin` | `fusion.<adapter>`, by [`Options::slots`] |
//! | `task_dense` | `fusion.out` (stacks of two and more) |
//! | `fac_adapter.task_dense`, `lin_adapter.task_dense` | `fusion.<adapter>.extra` (CosmosQA) |
//! | `dense` | `head.dense` |
//! | `out_proj` or `classifier` | `head.out` |
//!
//! The rest of a downstream checkpoint, backbone and adapters, is dropped and listed. A package may have several variants,
//! one per stack; each has a file of its own.

mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kadapter_registry::package::{AdapterNeed, BackboneNeed, Content, Fusion, Task, TaskKind, Variant};
use kadapter_registry::{Alias, Package};

use super::copy::{Rows, copy};
use super::source::{Source, record};
use super::stage::Stage;
use super::{Error, Identity, Report, Storage, card};

/// The option that tells the host that CosmosQA's extra layers belong to the fusion.
const EXTRA: &str = "extra_dense";

/// What the checkpoints do not say about themselves.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the head answers.
    pub kind: TaskKind,
    /// The labels in the order of the head's outputs; empty for kinds without.
    pub labels: Vec<String>,
    /// The longest input in tokens, special tokens included.
    pub max_length: usize,
    /// Options of the task kind; `extra_dense` is added when the files have CosmosQA's extra layers.
    pub options: toml::Table,
    /// The backbone that fusion and head were trained on.
    pub backbone: BackboneNeed,
    /// The exact adapter releases behind the names in the stacks.
    pub adapters: BTreeMap<Alias, AdapterNeed>,
    /// Which official slot, `fac` or `lin`, an adapter's name stands for.
    pub slots: BTreeMap<String, Alias>,
    /// One per stack.
    pub variants: Vec<VariantSource>,
    /// The type of the weights in the package.
    pub storage: Storage,
}

/// The weights of one stack.
#[derive(Debug, Clone)]
pub struct VariantSource {
    /// The checkpoint.
    pub file: PathBuf,
    /// What stands before every name in it; mostly empty.
    pub prefix: String,
    /// The adapters in the order of fusion; the official code has `fac` before `lin`.
    pub stack: Vec<Alias>,
    /// How features come together.
    pub fusion: Fusion,
}

/// Imports the variants' files as the package directory `out`.
///
/// # Errors
///
/// See [`Error`]: names, stacks or labels that do not fit the tensors, tensors that are missing or of another shape, values
/// that are not finite. `out` is then not there.
pub fn import(identity: &Identity, out: &Path, options: &Options) -> Result<Report, Error> {
    let stage = Stage::new(out)?;
    let mut report = Report {
        directory: out.to_owned(),
        sources: Vec::new(),
        weights: Vec::new(),
        dropped: Vec::new(),
        facts: Vec::new(),
    };
    let mut variants = Vec::new();
    let mut task_options = options.options.clone();
    for variant in &options.variants {
        let mut source = Source::open(&variant.file)?;
        let mut sorted = names::sort(&source, variant, options)?;
        let name = file_name(&variant.stack);
        let weights = copy(&mut source, &sorted.found, |_| Rows::Same, options.storage, stage.path(), &name)?;
        if sorted.extra {
            task_options.insert(EXTRA.to_owned(), true.into());
        }
        report.weights.push(weights);
        report.dropped.append(&mut sorted.dropped);
        let file = record(&variant.file)?;
        if !report.sources.contains(&file) {
            report.sources.push(file);
        }
        variants.push(Variant {
            stack: variant.stack.clone(),
            fusion: variant.fusion,
            taps: Vec::new(),
            weights: name.parse()?,
        });
    }
    report.dropped.sort();
    report.dropped.dedup();
    report.facts = facts(options);
    let summary = identity
        .description
        .clone()
        .unwrap_or_else(|| format!("A {} task on `{}`", options.kind, options.backbone.package));
    let package = Package {
        name: identity.name.clone(),
        version: identity.version.clone(),
        license: identity.license.clone(),
        description: summary.clone(),
        attribution: identity.attribution.clone(),
        content: Content::Task(Task {
            kind: options.kind,
            backbone: options.backbone.clone(),
            labels: options.labels.clone(),
            max_length: options.max_length,
            options: task_options,
            adapters: options.adapters.clone(),
            variants,
        }),
    };
    let usage = format!(
        "Fusion and head, trained on `{}` (weights `{}`) and on exactly the adapters named in the package file.",
        options.backbone.package, options.backbone.weights
    );
    report.directory = stage.finish(&package, &card::render(identity, &summary, &usage, &report))?;
    Ok(report)
}

/// `factual+linguistic.safetensors`; `none.safetensors` for the backbone alone.
fn file_name(stack: &[Alias]) -> String {
    let names: Vec<&str> = stack.iter().map(Alias::as_str).collect();
    if names.is_empty() { "none.safetensors".to_owned() } else { format!("{}.safetensors", names.join("+")) }
}

/// What the card says about the task.
fn facts(options: &Options) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("Kind", options.kind.to_string()),
        fact("Backbone", options.backbone.package.to_string()),
        fact("Tokens at most", options.max_length.to_string()),
    ];
    if !options.labels.is_empty() {
        facts.push(fact("Labels", options.labels.len().to_string()));
    }
    for (name, need) in &options.adapters {
        facts.push(fact(&format!("Adapter {name}"), format!("{} {}", need.package, need.release)));
    }
    for variant in &options.variants {
        let names: Vec<&str> = variant.stack.iter().map(Alias::as_str).collect();
        let stack = if names.is_empty() { "no adapter".to_owned() } else { names.join(" + ") };
        facts.push(fact("Variant", format!("{stack}, fusion {}", variant.fusion)));
    }
    facts
}

#[cfg(test)]
mod tests;
