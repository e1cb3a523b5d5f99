//! An adapter package with the values that its plugin starts from: to try a plugin out, and as a control for trained ones.

use std::collections::BTreeMap;
use std::path::Path;

use kadapter_plugin_api::{ParamSpec, random};
use kadapter_registry::package::{Adapter, Content};
use kadapter_registry::tensors::Dtype;
use kadapter_registry::{Package, PackagePath};

use super::stage::Stage;
use super::{Error, Identity, Report, WeightsFile, card};
use crate::weights;

/// Name of the package's weights.
const WEIGHTS: &str = "weights.safetensors";

/// Where the weights lie in the package.
///
/// # Errors
///
/// Never: the name is a good one.
pub fn weights_path() -> Result<PackagePath, Error> {
    Ok(WEIGHTS.parse()?)
}

/// Makes the package directory `out`; the values depend on `seed` and the parameters' names alone.
///
/// # Errors
///
/// See [`Error`]: an `out` that exists, a disk that is full. `out` is then not there.
pub fn make(
    identity: &Identity,
    out: &Path,
    adapter: Adapter,
    specs: &[ParamSpec],
    seed: u64,
) -> Result<Report, Error> {
    let stage = Stage::new(out)?;
    let drawn: Vec<_> = specs.iter().map(|spec| (spec.shape(), random::initial_values(spec, seed))).collect();
    let tensors: Vec<_> = specs
        .iter()
        .zip(&drawn)
        .map(|(spec, (shape, values))| (spec.name(), shape.as_slice(), values.as_slice()))
        .collect();
    let (digest, size) = weights::write_f32(&stage.path().join(WEIGHTS), Dtype::F32, &tensors, &BTreeMap::new())?;

    let mut report = Report {
        directory: out.to_owned(),
        sources: Vec::new(),
        weights: vec![WeightsFile { path: WEIGHTS.to_owned(), digest, size, tensors: specs.len() }],
        dropped: Vec::new(),
        facts: vec![
            ("Parameters".into(), drawn.iter().map(|(_, values)| values.len()).sum::<usize>().to_string()),
            ("Seed".into(), seed.to_string()),
        ],
    };
    let summary = identity
        .description
        .clone()
        .unwrap_or_else(|| format!("An untrained adapter of plugin `{}`, random values", adapter.plugin.package));
    let usage = format!(
        "It knows nothing: a control, or a start for training. It reads hidden states of `{}`.",
        adapter.backbone.package
    );
    let package = Package {
        name: identity.name.clone(),
        version: identity.version.clone(),
        license: identity.license.clone(),
        description: summary.clone(),
        attribution: identity.attribution.clone(),
        content: Content::Adapter(adapter),
    };
    report.directory = stage.finish(&package, &card::render(identity, &summary, &usage, &report))?;
    Ok(report)
}
