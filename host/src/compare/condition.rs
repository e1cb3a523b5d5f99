//! Conditions as what is loaded and trained: adapters under names of their own, and the members of stacks.

use super::recipe::{ConditionRecipe, Control, Recipe, RecipeError};
use crate::error::Error;
use crate::pipeline::{Plan, PlannedAdapter};
use crate::plugin::{Plugin, Promise};
use crate::task::{HeadShape, Kind};
use crate::train::task::{Feature, HeadSpec, Member};
use crate::weights;
use kadapter_plugin_api::{Backbone, random};
use kadapter_registry::project::FileRef;
use kadapter_registry::tensors::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A condition that can be trained.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// Whether it is a control, and which.
    pub control: Option<Control>,
    /// The recipe's stack.
    pub stack: Vec<String>,
    /// What it says of fusion.
    pub recipe: ConditionRecipe,
}

/// What untrained adapters are called in a plan.
fn untrained_name(adapter: &str, draw: usize) -> String {
    format!("untrained {draw} of {adapter}")
}

impl Condition {
    /// A condition of a recipe.
    #[must_use]
    pub fn of(recipe: &ConditionRecipe) -> Self {
        Self {
            name: recipe.name(),
            control: recipe.control,
            stack: recipe.stack.iter().map(ToString::to_string).collect(),
            recipe: recipe.clone(),
        }
    }

    /// What is trained for a task; `draw` says which untrained adapters stand in the stack.
    #[must_use]
    pub fn spec(&self, plan: &Plan, kind: Kind, head: HeadShape, hidden: usize, extra: bool, draw: usize) -> HeadSpec {
        let adapter = |name: String, of: &str| self.recipe.less_taps.member(name, of, plan);
        let member = |name: &String| match self.control {
            Some(Control::Taps) => Member::TapMix { name: name.clone(), taps: plan.taps_of(name) },
            Some(Control::Random) => adapter(untrained_name(name, draw), name),
            _ => adapter(name.clone(), name),
        };
        HeadSpec {
            fusion: self.recipe.fusion,
            taps: self.recipe.taps.clone(),
            stack: self.stack.iter().map(member).collect(),
            head,
            kind,
            extra,
            hidden,
        }
    }
}

/// Puts everything that the conditions of a recipe need into a plan that has the project's adapters: untrained adapters, whose weights
/// are written into `folder`, and the hidden states that fusions and mixes read.
///
/// # Errors
/// When a condition names an adapter that the project does not, a plugin cannot be opened, or weights cannot be written.
pub fn complete(plan: &mut Plan, recipe: &Recipe, hidden: usize, layers: usize, folder: &Path) -> Result<(), Error> {
    let mut untrained: BTreeSet<(String, usize)> = BTreeSet::new();
    for condition in &recipe.conditions {
        plan.more_taps.extend(&condition.taps);
        for name in &condition.stack {
            let adapter = plan.adapters.iter().find(|adapter| adapter.names.iter().any(|own| own == name.as_str()));
            let unknown = || RecipeError::UnknownAdapter { name: condition.name(), adapter: name.clone() };
            let adapter = adapter.ok_or_else(unknown)?;
            plan.more_taps.extend(&adapter.release.taps);
            if condition.control == Some(Control::Random) {
                untrained.extend((0..recipe.compare.random_adapters.max(1)).map(|draw| (name.to_string(), draw)));
            }
        }
    }
    if let Some(&tap) = plan.more_taps.iter().find(|&&tap| tap > layers) {
        return Err(Error::TaskTap { task: "of the recipe".to_owned(), tap, layers });
    }
    for (name, draw) in untrained {
        let trained = plan.adapters.iter().find(|adapter| adapter.names.contains(&name)).cloned();
        if let Some(trained) = trained {
            plan.adapters.push(without_knowledge(&trained, &name, draw, hidden, layers, folder)?);
        }
    }
    Ok(())
}

/// The same adapter with the values that its plugin starts from.
fn without_knowledge(
    trained: &PlannedAdapter,
    name: &str,
    draw: usize,
    hidden: usize,
    layers: usize,
    folder: &Path,
) -> Result<PlannedAdapter, Error> {
    let release = &trained.release;
    let library = &trained.plugin.library;
    let promise = Promise {
        digest: library.digest,
        size: library.size,
        version: trained.plugin.id.version.to_string(),
        abi: trained.plugin.abi.to_string(),
    };
    let plugin = Plugin::load(&library.path, &promise)?;
    let backbone = Backbone::new(hidden, layers, &release.taps);
    let (_, specs) = plugin.build(&release.config, backbone).map_err(|source| Error::Build {
        adapter: name.to_owned(),
        plugin: trained.plugin.id.to_string(),
        source,
    })?;
    let drawn: Vec<_> = specs.iter().map(|spec| (spec.shape(), random::initial_values(spec, draw as u64))).collect();
    let tensors: Vec<_> = specs
        .iter()
        .zip(&drawn)
        .map(|(spec, (shape, values))| (spec.name(), shape.as_slice(), values.as_slice()))
        .collect();
    std::fs::create_dir_all(folder).map_err(|source| Error::Io { action: "make", path: folder.to_owned(), source })?;
    let path = folder.join(format!("untrained-{}-{draw}.safetensors", release.weights.digest.short()));
    let (digest, size) = weights::write_f32(&path, Dtype::F32, &tensors, &BTreeMap::new())?;
    let mut untrained = trained.clone();
    untrained.names = vec![untrained_name(name, draw)];
    untrained.release.weights = FileRef { path, digest, size };
    Ok(untrained)
}

/// All features that the conditions read of a task.
#[must_use]
pub fn features(specs: &[HeadSpec]) -> Vec<Feature> {
    let all: BTreeSet<Feature> = specs.iter().flat_map(HeadSpec::features).collect();
    all.into_iter().collect()
}
