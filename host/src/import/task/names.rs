//! Official names of fusion and head, and what they are called in a package.

use kadapter_registry::Alias;
use kadapter_registry::package::{Fusion, TaskKind};

use super::super::Error;
use super::super::layout::{self, Expected, Found};
use super::super::source::Source;
use super::{Options, VariantSource};

/// The official code's adapters, in the order in which it joins their features.
const SLOTS: [&str; 2] = ["fac", "lin"];

/// What a file holds for one variant.
pub(super) struct Sorted {
    /// The tensors to keep, by their new names.
    pub(super) found: Found,
    /// Names of what is dropped.
    pub(super) dropped: Vec<String>,
    /// Whether CosmosQA's extra layers are among them.
    pub(super) extra: bool,
}

/// Finds the variant's tensors and checks their shapes.
///
/// # Errors
///
/// [`Error::Option`] for stacks that the official code does not have, [`Error::Tensors`], [`Error::Twice`].
pub(super) fn sort(source: &Source, variant: &VariantSource, options: &Options) -> Result<Sorted, Error> {
    let slots = slots(variant, options)?;
    let mut found = Found::new();
    let mut dropped = source.others().to_vec();
    for tensor in source.tensors() {
        let name = tensor.name.strip_prefix(&variant.prefix).and_then(|name| canonical(name, variant, &slots));
        match name {
            Some(name) => layout::add(source.path(), &mut found, name, tensor)?,
            None => dropped.push(tensor.name),
        }
    }
    let extra = found.keys().any(|name| name.contains(".extra."));
    let what = format!("a {} head on {} adapters ({} fusion)", options.kind, slots.len(), variant.fusion);
    let columns = |name: &str, index: usize| found.get(name).and_then(|tensor| tensor.shape.get(index).copied());
    let dense = found.contains_key("head.dense.weight") || found.contains_key("head.dense.bias");
    // The head reads as many rows as the kind marks, each as wide as the backbone.
    let reads = if options.kind == TaskKind::RelationClassification { 2 } else { 1 };
    let inputs = columns(if dense { "head.dense.weight" } else { "head.out.weight" }, 1);
    let hidden = inputs.filter(|inputs| inputs.is_multiple_of(reads)).map_or(0, |inputs| inputs / reads);
    let expected = expected(&Shape { variant, options, extra, dense, hidden, reads });
    layout::compare(source.path(), &what, &expected, &found)?;
    Ok(Sorted { found, dropped, extra })
}

/// The official slot of each adapter of the stack.
fn slots<'a>(variant: &'a VariantSource, options: &Options) -> Result<Vec<(&'static str, &'a Alias)>, Error> {
    let refuse = |option, found: String, expected: String| Error::Option { option, found, expected };
    let known: Vec<&str> = options.slots.keys().map(String::as_str).filter(|slot| !SLOTS.contains(slot)).collect();
    if !known.is_empty() {
        return Err(refuse(
            "--stack-map",
            known.join(","),
            "names for the official adapters `fac` and `lin`".to_owned(),
        ));
    }
    let mut slots = Vec::new();
    for name in &variant.stack {
        let slot = SLOTS.iter().find(|slot| options.slots.get(**slot) == Some(name)).ok_or_else(|| {
            let map: Vec<String> = options.slots.iter().map(|(slot, name)| format!("{slot}={name}")).collect();
            refuse("--stack-map", map.join(","), format!("the official adapter, `fac` or `lin`, behind `{name}`"))
        })?;
        slots.push((*slot, name));
    }
    if !slots.is_sorted_by(|a, b| a.0 < b.0) {
        let found = variant.stack.iter().map(Alias::as_str).collect::<Vec<_>>().join(",");
        let expected = "the official order, `fac` before `lin`: the layer behind them was trained on it";
        return Err(refuse("--stack", found, expected.to_owned()));
    }
    Ok(slots)
}

/// The name in the package, without the prefix of the file; `None` for what the variant does not need.
fn canonical(name: &str, variant: &VariantSource, slots: &[(&'static str, &Alias)]) -> Option<String> {
    let (layer, part) = name.rsplit_once('.').filter(|(_, part)| matches!(*part, "weight" | "bias"))?;
    let layer = match layer {
        "dense" => "head.dense".to_owned(),
        "out_proj" | "classifier" => "head.out".to_owned(),
        _ if variant.fusion == Fusion::Add => return None,
        "task_dense" if slots.len() > 1 => "fusion.out".to_owned(),
        _ => slots.iter().find_map(|(slot, adapter)| {
            let extra = layer.strip_suffix("_adapter.task_dense") == Some(*slot);
            let own = layer.strip_prefix("task_dense_") == Some(*slot);
            (extra || own).then(|| format!("fusion.{adapter}{}", if extra { ".extra" } else { "" }))
        })?,
    };
    Some(format!("{layer}.{part}"))
}

/// What the shapes follow from.
struct Shape<'a> {
    variant: &'a VariantSource,
    options: &'a Options,
    extra: bool,
    dense: bool,
    hidden: usize,
    reads: usize,
}

/// Every tensor of fusion and head.
fn expected(shape: &Shape<'_>) -> Vec<Expected> {
    let hidden = shape.hidden;
    let mut expected = Vec::new();
    if shape.variant.fusion == Fusion::Concat {
        for name in &shape.variant.stack {
            if shape.extra {
                layout::linear(&mut expected, &format!("fusion.{name}.extra"), hidden, 2 * hidden);
            }
            layout::linear(&mut expected, &format!("fusion.{name}"), hidden, 2 * hidden);
        }
        if shape.variant.stack.len() > 1 {
            layout::linear(&mut expected, "fusion.out", hidden, shape.variant.stack.len() * hidden);
        }
    }
    let outputs = match shape.options.kind {
        TaskKind::MultipleChoice => 1,
        TaskKind::Span => 2,
        _ => shape.options.labels.len(),
    };
    if shape.dense {
        layout::linear(&mut expected, "head.dense", hidden, shape.reads * hidden);
        layout::linear(&mut expected, "head.out", outputs, hidden);
    } else {
        layout::linear(&mut expected, "head.out", outputs, shape.reads * hidden);
    }
    expected
}
