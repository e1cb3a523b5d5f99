//! The plan: which tasks, which distinct adapters, which taps. Made once per manifest.

use super::head::kind_of;
use crate::error::Error;
use crate::task::Kind;
use kadapter_registry::package::Fusion;
use kadapter_registry::project::{Resolved, ResolvedAdapter, ResolvedBackbone, ResolvedHead, ResolvedPlugin};
use std::collections::{BTreeMap, BTreeSet};

/// What a model has to load and run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The frozen backbone.
    pub backbone: ResolvedBackbone,
    /// Distinct adapters: two names of one release are one adapter.
    pub adapters: Vec<PlannedAdapter>,
    /// The tasks, by name.
    pub tasks: Vec<PlannedTask>,
    /// Hidden states that somebody reads beside adapters and tasks.
    pub more_taps: BTreeSet<usize>,
}

/// An adapter that runs once per batch, whoever uses it.
#[derive(Clone, Debug)]
pub struct PlannedAdapter {
    /// Its names in the manifest.
    pub names: Vec<String>,
    /// Its release.
    pub release: ResolvedAdapter,
    /// The plugin that runs it.
    pub plugin: ResolvedPlugin,
}

/// A task and the adapters under it.
#[derive(Clone, Debug)]
pub struct PlannedTask {
    /// Its name in the manifest.
    pub name: String,
    /// Indices into [`Plan::adapters`], in the order of fusion.
    pub stack: Vec<usize>,
    /// The stack in the names that the head's weights use; the manifest's names where there is no head.
    pub stack_names: Vec<String>,
    /// How the features come together.
    pub fusion: Fusion,
    /// The head; none where the fused features are the answer.
    pub head: Option<ResolvedHead>,
}

impl PlannedTask {
    /// What the task answers.
    pub fn kind(&self) -> Kind {
        self.head.as_ref().map_or(Kind::Features, |head| kind_of(head.kind))
    }

    /// The labels in the order of the head's outputs, none for kinds without.
    pub fn labels(&self) -> &[String] {
        self.head.as_ref().map(|head| head.labels.as_slice()).unwrap_or_default()
    }
}

impl PlannedAdapter {
    /// The name that counters and errors use.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

impl Plan {
    /// Plans the named tasks and what they stack.
    ///
    /// # Errors
    /// When the project has no task of a name.
    pub fn tasks(resolved: &Resolved, names: &[String]) -> Result<Self, Error> {
        Self::new(resolved, names, &[])
    }

    /// Plans every task of the project.
    ///
    /// # Errors
    /// Never, today; as [`Plan::tasks`].
    pub fn all(resolved: &Resolved) -> Result<Self, Error> {
        Self::new(resolved, &resolved.tasks.keys().cloned().collect::<Vec<_>>(), &[])
    }

    /// Plans every adapter of the project, used or not, and the named tasks.
    ///
    /// # Errors
    /// As [`Plan::tasks`].
    pub fn every_adapter(resolved: &Resolved, tasks: &[String]) -> Result<Self, Error> {
        Self::new(resolved, tasks, &resolved.adapters.keys().cloned().collect::<Vec<_>>())
    }

    fn new(resolved: &Resolved, tasks: &[String], adapters: &[String]) -> Result<Self, Error> {
        let mut plan = Self {
            backbone: resolved.backbone.clone(),
            adapters: Vec::new(),
            tasks: Vec::new(),
            more_taps: BTreeSet::new(),
        };
        let mut places = BTreeMap::new();
        for name in adapters {
            plan.place(resolved, &mut places, name);
        }
        for name in tasks {
            let task = resolved.tasks.get(name).ok_or_else(|| Error::UnknownTask {
                found: name.clone(),
                known: resolved.tasks.keys().cloned().collect(),
            })?;
            let stack = task.stack.iter().filter_map(|name| plan.place(resolved, &mut places, name)).collect();
            let stack_names = task.head.as_ref().map_or_else(|| task.stack.clone(), |head| head.names.clone());
            plan.tasks.push(PlannedTask {
                name: name.clone(),
                stack,
                stack_names,
                fusion: task.fusion,
                head: task.head.clone(),
            });
        }
        Ok(plan)
    }

    fn place(
        &mut self,
        resolved: &Resolved,
        places: &mut BTreeMap<kadapter_registry::Digest, usize>,
        name: &str,
    ) -> Option<usize> {
        let release = resolved.adapters.get(name)?;
        let place = match places.get(&release.release) {
            Some(&place) => place,
            None => {
                let plugin = resolved.plugins.get(&release.plugin)?.clone();
                self.adapters.push(PlannedAdapter { names: Vec::new(), release: release.clone(), plugin });
                places.insert(release.release, self.adapters.len() - 1);
                self.adapters.len() - 1
            }
        };
        let names = &mut self.adapters[place].names;
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        Some(place)
    }

    /// The taps of the adapter with this name, in its plugin's order; none where there is no such adapter.
    #[must_use]
    pub fn taps_of(&self, name: &str) -> Vec<usize> {
        let adapter = self.adapters.iter().find(|adapter| adapter.names.iter().any(|own| own == name));
        adapter.map(|adapter| adapter.release.taps.clone()).unwrap_or_default()
    }

    /// The hidden states that some adapter, some task's fusion or somebody else reads.
    pub fn taps(&self) -> BTreeSet<usize> {
        let adapters = self.adapters.iter().map(|adapter| &adapter.release.taps);
        let heads = self.tasks.iter().filter_map(|task| task.head.as_ref()).map(|head| &head.taps);
        adapters.chain(heads).flatten().chain(&self.more_taps).copied().collect()
    }
}
