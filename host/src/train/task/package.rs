//! Trained heads as a task package that can be published.

use super::{HeadSettings, HeadSpec, LessTaps, PreparedTask, TaskRecipe, TrainedHead};
use crate::error::Error;
use crate::pipeline::Plan;
use crate::pipeline::head::EXTRA;
use crate::stage::Stage;
use crate::train::recipe::StoredType;
use crate::weights;
use kadapter_registry::package::{
    AdapterNeed, BackboneNeed, CARD_FILE, Content, Fusion, Package, Task as TaskContent, Variant,
};
use kadapter_registry::project::Resolved;
use kadapter_registry::tensors::Dtype;
use kadapter_registry::{Alias, License, PackageName, Version};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `[package]` of a recipe: what the package says about itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagePart {
    /// `namespace/name`.
    pub name: PackageName,
    /// Its version.
    #[serde(default = "first_version")]
    pub version: Version,
    /// The licence of the weights: what the data allow.
    pub license: License,
    /// One sentence.
    pub description: Option<String>,
    /// Whom the data's licences ask to name.
    pub attribution: Option<String>,
    /// How the weights are stored.
    #[serde(default)]
    pub dtype: StoredType,
}

/// `[[variants]]` of a recipe: a stack that a head is trained for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantPart {
    /// Names of `[adapters]` in the order of fusion.
    pub stack: Vec<Alias>,
    /// How features come together.
    #[serde(default)]
    pub fusion: Fusion,
    /// Hidden states that the fusion reads beside the last.
    #[serde(default)]
    pub taps: Vec<usize>,
    /// Under `blocks`: which adapters the head learns from as what they add to the sum of their taps.
    #[serde(default)]
    pub less_taps: LessTaps,
}

/// A variant that was trained: the head that is kept, and what all seeds reached.
#[derive(Clone, Debug)]
pub struct TrainedVariant {
    /// What was asked for.
    pub part: VariantPart,
    /// The head that is kept.
    pub head: TrainedHead,
    /// What it was trained with.
    pub settings: HeadSettings,
    /// The seed that it was trained with.
    pub seed: u64,
    /// Per seed the development and the test score, where there is such data.
    pub scores: Vec<(u64, Option<f64>, Option<f64>)>,
}

fn first_version() -> Version {
    Version::new(1, 0, 0)
}

/// Writes a package directory, whole or not at all; gives its place.
///
/// # Errors
/// When something is at `out` already, a rule of packages is broken, or the file system says so.
pub fn write(
    out: &Path,
    about: &PackagePart,
    recipe: &TaskRecipe,
    prepared: &PreparedTask,
    resolved: &Resolved,
    variants: &[TrainedVariant],
    card: &str,
) -> Result<PathBuf, Error> {
    let stage = Stage::new(out)?;
    let dtype = match about.dtype {
        StoredType::F32 => Dtype::F32,
        StoredType::F16 => Dtype::F16,
    };
    let mut entries = Vec::new();
    let mut adapters = BTreeMap::new();
    for variant in variants {
        let name = file_name(&variant.part.stack);
        let head = variant.head.packaged();
        let tensors: Vec<_> = head
            .parameters
            .iter()
            .map(|(declared, values)| (declared.name.as_str(), declared.shape.as_slice(), values.as_slice()))
            .collect();
        weights::write_f32(&stage.path().join(&name), dtype, &tensors, &BTreeMap::new())?;
        for alias in &variant.part.stack {
            if let Some(adapter) = resolved.adapters.get(alias.as_str()) {
                let need = AdapterNeed { package: adapter.id.name.clone(), release: adapter.release };
                adapters.insert(alias.clone(), need);
            }
        }
        entries.push(Variant {
            stack: variant.part.stack.clone(),
            fusion: variant.part.fusion,
            taps: variant.part.taps.clone(),
            weights: name.parse()?,
        });
    }
    let mut options = prepared.options.clone();
    if recipe.has_extra() {
        options.insert(EXTRA.to_owned(), true.into());
    }
    let backbone = &resolved.backbone;
    let content = TaskContent {
        kind: recipe.kind,
        backbone: BackboneNeed { package: backbone.id.name.clone(), weights: backbone.weights.digest },
        labels: prepared.labels.names().to_vec(),
        max_length: prepared.task.max_length(),
        options,
        adapters,
        variants: entries,
    };
    let package = Package {
        name: about.name.clone(),
        version: about.version.clone(),
        license: about.license.clone(),
        description: summary(about, recipe, resolved),
        attribution: about.attribution.clone(),
        content: Content::Task(content),
    };
    package.write(stage.path())?;
    stage.write(CARD_FILE, card.as_bytes())?;
    Ok(stage.finish()?)
}

/// The package's sentence about itself.
#[must_use]
pub fn summary(about: &PackagePart, recipe: &TaskRecipe, resolved: &Resolved) -> String {
    let made = || format!("A {} task on `{}`", recipe.kind, resolved.backbone.id.name);
    about.description.clone().unwrap_or_else(made)
}

/// `factual+linguistic.safetensors`; `none.safetensors` for the backbone alone.
fn file_name(stack: &[Alias]) -> String {
    let names: Vec<&str> = stack.iter().map(Alias::as_str).collect();
    if names.is_empty() { "none.safetensors".to_owned() } else { format!("{}.safetensors", names.join("+")) }
}

impl VariantPart {
    /// What is trained for it.
    #[must_use]
    pub fn spec(&self, prepared: &PreparedTask, recipe: &TaskRecipe, plan: &Plan, hidden: usize) -> Option<HeadSpec> {
        let member = |alias: &Alias| self.less_taps.member(alias.to_string(), alias.as_str(), plan);
        Some(HeadSpec {
            fusion: self.fusion,
            taps: self.taps.clone(),
            stack: self.stack.iter().map(member).collect(),
            head: prepared.task.head()?,
            kind: prepared.kind,
            extra: recipe.has_extra(),
            hidden,
        })
    }

    /// The stack for people.
    #[must_use]
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.stack.iter().map(Alias::as_str).collect();
        if names.is_empty() { "no adapter".to_owned() } else { names.join(" + ") }
    }
}
