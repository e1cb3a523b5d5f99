//! An adapter of the official K-Adapter code becomes an adapter package.
//!
//! The file holds more than the adapter: the heads that it was pre-trained with, or the whole downstream model. Only
//! `adapter.*` stays, under its official names; sizes are read from the shapes.

use std::collections::BTreeSet;
use std::path::Path;

use kadapter_registry::package::{Adapter, BackboneNeed, Content, MAX_TAP, PluginNeed};
use kadapter_registry::{Digest, Package, PackageName};

use super::copy::{Rows, copy};
use super::layout::{self, Expected, Found};
use super::source::{Source, record};
use super::stage::Stage;
use super::{Error, Identity, Report, Storage, card};

/// Name of the package's weights.
const WEIGHTS: &str = "weights.safetensors";
/// Layers of one kind; the paper has three of two.
const MAX_LAYERS: usize = 64;
/// What every kept name starts with.
const ADAPTER: &str = "adapter.";

/// What a checkpoint does not say about itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// What stands before `adapter.` in the file: empty, or `fac_adapter.`, `lin_adapter.` in downstream checkpoints.
    pub prefix: String,
    /// Indices into the backbone's hidden states, one per adapter layer; nothing in the file records them.
    pub taps: Vec<usize>,
    /// Attention heads of each transformer layer.
    pub heads: usize,
    /// Added to the variance in layer normalisation; 1e-5 in the official code.
    pub layer_norm_eps: f64,
    /// The official `adapter_skip_layers`; 0, off, in all published runs.
    pub skip: usize,
    /// Dropout in training; 0.1 in the official code.
    pub dropout: f64,
    /// The plugin that runs the weights.
    pub plugin: PluginNeed,
    /// The package of the backbone that the adapter was trained beside.
    pub backbone: PackageName,
    /// SHA-256 of that backbone's weights file.
    pub backbone_weights: Digest,
    /// The type of the weights in the package.
    pub storage: Storage,
}

impl Options {
    /// The official settings for one plugin and backbone: taps 0, 11 and 22 and 12 heads.
    #[must_use]
    pub fn official(plugin: PluginNeed, backbone: PackageName, backbone_weights: Digest) -> Self {
        Self {
            prefix: String::new(),
            taps: vec![0, 11, 22],
            heads: 12,
            layer_norm_eps: 1e-5,
            skip: 0,
            dropout: 0.1,
            plugin,
            backbone,
            backbone_weights,
            storage: Storage::Keep,
        }
    }
}

/// The sizes of an adapter, as its shapes tell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    /// Columns of the backbone.
    hidden: usize,
    /// Columns inside the adapter.
    size: usize,
    /// Columns inside its feed-forward parts.
    ffn: usize,
    /// Adapter layers, one per tap.
    adapter_layers: usize,
    /// Transformer layers of each.
    layers: usize,
}

/// Imports `file` as the package directory `out`.
///
/// # Errors
///
/// See [`Error`]: a file without `adapter.*`, tensors that are missing, extra or of another shape, taps or heads that do not
/// fit, values that are not finite. `out` is then not there.
pub fn import(file: &Path, identity: &Identity, out: &Path, options: &Options) -> Result<Report, Error> {
    let stage = Stage::new(out)?;
    let mut source = Source::open(file)?;
    let (found, mut dropped) = sort(&source, &options.prefix)?;
    let sizes = measure(&source, &found)?;
    check(options, sizes)?;
    let weights = copy(&mut source, &found, |_| Rows::Same, options.storage, stage.path(), WEIGHTS)?;

    dropped.sort();
    let facts = facts(sizes, options);
    let mut report =
        Report { directory: out.to_owned(), sources: vec![record(file)?], weights: vec![weights], dropped, facts };
    let summary = identity.description.clone().unwrap_or_else(|| {
        format!("A K-Adapter of {} columns on {} taps of `{}`", sizes.size, options.taps.len(), options.backbone)
    });
    let package = Package {
        name: identity.name.clone(),
        version: identity.version.clone(),
        license: identity.license.clone(),
        description: summary.clone(),
        attribution: identity.attribution.clone(),
        content: Content::Adapter(Adapter {
            weights: WEIGHTS.parse()?,
            taps: options.taps.clone(),
            plugin: options.plugin.clone(),
            backbone: BackboneNeed { package: options.backbone.clone(), weights: options.backbone_weights },
            config: config(sizes, options)?,
        }),
    };
    let usage = format!(
        "A side network that reads hidden states of `{}` (weights `{}`) and yields one row of features per token. \
         Plugin: `{}` {}.",
        options.backbone, options.backbone_weights, options.plugin.package, options.plugin.version
    );
    report.directory = stage.finish(&package, &card::render(identity, &summary, &usage, &report))?;
    Ok(report)
}

/// The tensors to keep, by their new names, and the names of what is dropped.
fn sort(source: &Source, prefix: &str) -> Result<(Found, Vec<String>), Error> {
    let mut found = Found::new();
    let mut dropped = source.others().to_vec();
    for tensor in source.tensors() {
        match tensor.name.strip_prefix(prefix).filter(|name| name.starts_with(ADAPTER)) {
            Some(name) => layout::add(source.path(), &mut found, name.to_owned(), tensor)?,
            None => dropped.push(tensor.name),
        }
    }
    Ok((found, dropped))
}

/// Reads the sizes from the first layer's shapes and checks every tensor against them.
fn measure(source: &Source, found: &Found) -> Result<Sizes, Error> {
    let first = "adapter.0.";
    let shape = |name: &str| found.get(&format!("{first}{name}")).map(|tensor| tensor.shape.as_slice());
    let down = shape("down_project.weight");
    let wide = shape("encoder.layer.0.intermediate.dense.weight");
    let (Some(&[size, hidden]), Some(&[ffn, _])) = (down, wide) else {
        let names = ["down_project.weight", "encoder.layer.0.intermediate.dense.weight"];
        let lost = |name: &&str| shape(name).is_none_or(|shape| shape.len() != 2);
        return Err(Error::Tensors {
            path: source.path().to_owned(),
            what: "a K-Adapter".to_owned(),
            missing: names.iter().filter(|name| lost(name)).map(|name| format!("{first}{name}")).collect(),
            unexpected: Vec::new(),
            shapes: Vec::new(),
        });
    };
    let sizes = Sizes {
        hidden,
        size,
        ffn,
        adapter_layers: count(found, ADAPTER),
        layers: count(found, &format!("{first}encoder.layer.")),
    };
    let what = format!(
        "a K-Adapter of {} layers with {} transformer layers each, {hidden} to {size} columns",
        sizes.adapter_layers, sizes.layers
    );
    layout::compare(source.path(), &what, &expected(sizes), found)?;
    Ok(sizes)
}

/// One more than the largest number that follows `prefix` in a name; what lies beyond [`MAX_LAYERS`] is unexpected later.
fn count(found: &Found, prefix: &str) -> usize {
    let number = |name: &String| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
    let largest = found.keys().filter_map(number).max();
    largest.map_or(0, |largest| largest.saturating_add(1).min(MAX_LAYERS))
}

fn expected(sizes: Sizes) -> Vec<Expected> {
    let mut expected = Vec::new();
    for layer in 0..sizes.adapter_layers {
        let name = format!("{ADAPTER}{layer}");
        layout::linear(&mut expected, &format!("{name}.down_project"), sizes.size, sizes.hidden);
        for inner in 0..sizes.layers {
            layout::transformer(&mut expected, &format!("{name}.encoder.layer.{inner}"), sizes.size, sizes.ffn);
        }
        layout::linear(&mut expected, &format!("{name}.up_project"), sizes.hidden, sizes.size);
    }
    expected
}

/// Checks what was given against what the file holds.
fn check(options: &Options, sizes: Sizes) -> Result<(), Error> {
    let refuse = |option, found: String, expected: String| Err(Error::Option { option, found, expected });
    let taps = options.taps.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    if options.taps.len() != sizes.adapter_layers {
        let expected = format!("{} taps, one per adapter layer of the file", sizes.adapter_layers);
        return refuse("--taps", taps, expected);
    }
    let distinct: BTreeSet<usize> = options.taps.iter().copied().collect();
    if distinct.len() != options.taps.len() || distinct.last().is_some_and(|tap| *tap > MAX_TAP) {
        return refuse("--taps", taps, format!("different indices of hidden states, 0 to {MAX_TAP}"));
    }
    if options.heads == 0 || !sizes.size.is_multiple_of(options.heads) {
        return refuse("--heads", options.heads.to_string(), format!("a divisor of the adapter's size {}", sizes.size));
    }
    if !(options.layer_norm_eps > 0.0 && options.layer_norm_eps < 1.0) {
        return refuse("--layer-norm-eps", options.layer_norm_eps.to_string(), "a small number above 0".to_owned());
    }
    if !(0.0..1.0).contains(&options.dropout) {
        return refuse("--dropout", options.dropout.to_string(), "0 up to 1".to_owned());
    }
    if options.skip == 1 {
        let expected =
            "0 (off) or at least 2: after the first layer the official rule reads a state that is not there yet";
        return refuse("--skip-layers", "1".to_owned(), expected.to_owned());
    }
    Ok(())
}

/// What the plugin is given.
fn config(sizes: Sizes, options: &Options) -> Result<toml::Table, Error> {
    let mut config = toml::Table::new();
    for (key, option, value) in [
        ("size", "--size", sizes.size),
        ("heads", "--heads", options.heads),
        ("ffn", "--ffn", sizes.ffn),
        ("layers", "--layers", sizes.layers),
        ("skip", "--skip-layers", options.skip),
    ] {
        let value = i64::try_from(value).map_err(|_| Error::Option {
            option,
            found: value.to_string(),
            expected: "a number that TOML can hold".to_owned(),
        })?;
        config.insert(key.to_owned(), value.into());
    }
    config.insert("layer_norm_eps".to_owned(), options.layer_norm_eps.into());
    config.insert("dropout".to_owned(), options.dropout.into());
    Ok(config)
}

/// What the card says about the adapter.
fn facts(sizes: Sizes, options: &Options) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let taps = options.taps.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    vec![
        fact("Backbone", format!("{} of {} columns", options.backbone, sizes.hidden)),
        fact("Plugin", format!("{} {}", options.plugin.package, options.plugin.version)),
        fact("Taps", taps),
        fact("Columns inside", sizes.size.to_string()),
        fact("Columns inside the feed-forward parts", sizes.ffn.to_string()),
        fact("Transformer layers per tap", sizes.layers.to_string()),
        fact("Attention heads", options.heads.to_string()),
    ]
}

#[cfg(test)]
mod tests;
