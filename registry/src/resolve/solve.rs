//! The search: backtracking over backbones and tasks, everything else follows from them.
//!
//! Whether a release is yanked is asked last, of candidates that nothing else speaks against: it costs a look at the registry.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use semver::VersionReq;

use super::plugins::Plugins;
use super::reject::{Chosen, NoFit, Reason, Rejection, Trained, Untrained};
use super::{Catalog, Platform, SelectedTask, Selection};
use crate::digest::Digest;
use crate::error::Error;
use crate::id::PackageId;
use crate::manifest::{Manifest, TaskEntry, Wanted};
use crate::name::{Alias, PackageName};
use crate::package::{BackboneNeed, Kind, PluginNeed};
use crate::release::{Needs, ReleaseRecord};
use crate::version::Version;

/// The most combinations that are tried before giving up; a project with sane packages needs one per task.
const MAX_STEPS: usize = 10_000;
/// The most releases of an adapter that are read to find out which one a task was trained on, to tell it.
const MAX_LOOKUPS: usize = 200;

pub(super) type Record = Arc<ReleaseRecord>;
/// Either the result, or why nothing fits (the outer error is of the catalog and ends everything).
pub(super) type Fit<T> = Result<Result<T, NoFit>, Error>;

pub(super) struct Solver<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) platform: &'a Platform,
    pub(super) catalog: &'a dyn Catalog,
    steps: Cell<usize>,
    pub(super) plugin_exists: RefCell<HashMap<(PackageName, VersionReq), bool>>,
}

/// What the search has decided so far for one backbone.
struct State {
    weights: Digest,
    adapters: BTreeMap<Alias, Record>,
    tasks: BTreeMap<Alias, SelectedTask>,
    rejected: Vec<Rejection>,
    /// The task that the search could not get past, with the reasons of that time.
    stuck: Option<(usize, NoFit)>,
}

/// A task of the manifest that is a package.
struct Goal<'a> {
    alias: &'a Alias,
    wanted: &'a Wanted,
    stack: &'a [Alias],
}

impl<'a> Solver<'a> {
    pub(super) fn new(manifest: &'a Manifest, platform: &'a Platform, catalog: &'a dyn Catalog) -> Self {
        Self { manifest, platform, catalog, steps: Cell::new(0), plugin_exists: RefCell::default() }
    }

    pub(super) fn solve(&self) -> Result<Selection, Error> {
        let wanted = &self.manifest.backbone;
        let mut first_failure = None;
        let mut rejections = Vec::new();
        for version in self.catalog.versions(&wanted.package)?.iter() {
            let mut reject = |reason| {
                rejections.push(Rejection { name: wanted.package.clone(), version: version.clone(), reason });
            };
            let backbone = match self.candidate(wanted, version, Kind::Backbone)? {
                Ok(backbone) => backbone,
                Err(rejection) => {
                    reject(rejection.reason);
                    continue;
                }
            };
            if let Some(reason) = self.yanked(&backbone)? {
                reject(reason);
                continue;
            }
            match self.with_backbone(backbone)? {
                Ok(mut selection) => {
                    selection.rejected.extend(rejections);
                    return Ok(selection);
                }
                Err(no_fit) => {
                    reject(Reason::Stuck { name: no_fit.name.clone(), wanted_by: no_fit.wanted_by.clone() });
                    // The preferred backbone's failure is the one worth telling.
                    first_failure = first_failure.or(Some(no_fit));
                }
            }
        }
        let wanted_by = vec!["[backbone]".to_owned()];
        let no_fit = NoFit { name: wanted.package.clone(), task: None, wanted_by, rejections };
        self.failure(first_failure.unwrap_or(no_fit))
    }

    /// Turns a failure into what is told about it.
    fn failure<T>(&self, no_fit: NoFit) -> Result<T, Error> {
        let (Some(task), Some(Reason::Adapter { alias, needed, chosen: Chosen::NotAmongFitting { versions } })) =
            (&no_fit.task, no_fit.main_reason())
        else {
            return Err(Error::NoFit(Box::new(no_fit)));
        };
        let (Some(wanted), Some(version)) = (self.manifest.adapters.get(alias), versions.first()) else {
            return Err(Error::NoFit(Box::new(no_fit)));
        };
        let named = match &needed.version {
            Some(version) => Some(version.clone()),
            None => self.look_up(&wanted.package, needed.release)?,
        };
        let of = |rejection: &&Rejection| matches!(&rejection.reason, Reason::Adapter { needed: other, .. } if other == needed);
        let release = no_fit.rejections.iter().find(of).ok_or(Error::Inconsistent)?;
        Err(Error::Untrained(Box::new(Untrained {
            task: task.clone(),
            release: PackageId::new(&release.name, &release.version),
            adapter: alias.clone(),
            wanted: PackageId::new(&wanted.package, version),
            trained: Trained { version: named, release: needed.release },
            rejections: no_fit.rejections.clone(),
        })))
    }

    /// Finds the version of an adapter by its release digest, at some cost: only for whoever is told of a failure.
    fn look_up(&self, package: &PackageName, release: Digest) -> Result<Option<Version>, Error> {
        for version in self.catalog.versions(package)?.iter().take(MAX_LOOKUPS) {
            // What cannot be read is not what is looked for.
            if self.catalog.release(package, version).is_ok_and(|record| record.digest == release) {
                return Ok(Some(version.clone()));
            }
        }
        Ok(None)
    }

    /// Counts one combination.
    pub(super) fn step(&self) -> Result<(), Error> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > MAX_STEPS { Err(Error::TooManyCombinations { steps: MAX_STEPS }) } else { Ok(()) }
    }

    /// Asks whether a release is yanked.
    pub(super) fn yanked(&self, record: &ReleaseRecord) -> Result<Option<Reason>, Error> {
        Ok(self.catalog.yanked(record)?.map(|reason| Reason::Yanked { reason }))
    }

    fn with_backbone(&self, backbone: Record) -> Fit<Selection> {
        let Some(weights) = backbone.release.backbone_weights() else { return Err(Error::Inconsistent) };
        let mut state =
            State { weights, adapters: BTreeMap::new(), tasks: BTreeMap::new(), rejected: Vec::new(), stuck: None };
        let mut preferred = BTreeMap::new();
        for (alias, wanted) in &self.manifest.adapters {
            match self.first_adapter(alias, wanted, &mut state)? {
                Ok(record) => preferred.insert(alias.clone(), record),
                Err(no_fit) => return Ok(Err(no_fit)),
            };
        }
        let goals: Vec<Goal<'_>> = self.goals().collect();
        if !self.place(&goals, 0, &mut state)? {
            return Ok(Err(state.stuck.map(|(_, no_fit)| no_fit).ok_or(Error::Inconsistent)?));
        }
        for (alias, record) in preferred {
            if let Some(held) = self.held_back(&alias, &record, &state) {
                state.rejected.push(held);
            }
            state.adapters.entry(alias).or_insert(record);
        }
        let plugins = match self.plugins(&state.adapters)? {
            Ok(plugins) => plugins,
            Err(no_fit) => return Ok(Err(no_fit)),
        };
        let State { adapters, tasks, mut rejected, .. } = state;
        let Plugins { releases: plugins, of_adapter: plugin_of, rejected: of_plugins } = plugins;
        rejected.extend(of_plugins);
        let warnings = Vec::new();
        Ok(Ok(Selection { backbone, plugins, plugin_of, adapters, tasks, rejected, warnings }))
    }

    /// Says which task keeps an adapter from being the preferred release, where that is higher.
    fn held_back(&self, alias: &Alias, preferred: &ReleaseRecord, state: &State) -> Option<Rejection> {
        let decided =
            state.adapters.get(alias).filter(|decided| decided.release.version < preferred.release.version)?;
        let task = self.goals().find(|goal| goal.stack.contains(alias))?.alias.clone();
        let PackageId { name, version } = preferred.release.id();
        Some(Rejection { name, version, reason: Reason::Trained { task, on: decided.release.version.clone() } })
    }

    fn goals(&self) -> impl Iterator<Item = Goal<'a>> {
        self.manifest.tasks.iter().filter_map(|(alias, entry)| match entry {
            TaskEntry::Package { wanted, stack } => Some(Goal { alias, wanted, stack }),
            TaskEntry::Features { .. } => None,
        })
    }

    /// Reads a candidate and applies what holds for every kind.
    fn candidate(&self, wanted: &Wanted, version: &Version, kind: Kind) -> Result<Result<Record, Rejection>, Error> {
        self.candidate_of(&wanted.package, std::slice::from_ref(&wanted.version), version, kind)
    }

    pub(super) fn candidate_of(
        &self,
        name: &PackageName,
        wanted: &[VersionReq],
        version: &Version,
        kind: Kind,
    ) -> Result<Result<Record, Rejection>, Error> {
        let reject = |reason| Ok(Err(Rejection { name: name.clone(), version: version.clone(), reason }));
        // Before anything is read: most versions of a package end here.
        if !wanted.iter().all(|requirement| requirement.matches(version.as_semver())) {
            return reject(Reason::Requirement { wanted: wanted.to_vec() });
        }
        let record = match self.catalog.release(name, version) {
            // Newer releases must not stop an older program from using older ones.
            Err(Error::Schema { found, known, .. }) => return reject(Reason::Schema { found, known }),
            answer => answer?,
        };
        let found = record.release.kind();
        if found == kind { Ok(Ok(record)) } else { reject(Reason::Kind { found, wanted: kind }) }
    }

    /// Applies the backbone's digest.
    fn belongs(&self, need: &BackboneNeed, chosen: Digest) -> Option<Reason> {
        (need.weights != chosen).then(|| Reason::Backbone {
            package: need.package.clone(),
            found: need.weights,
            chosen,
        })
    }

    /// Reads an adapter and applies all that concerns it alone.
    fn adapter(&self, wanted: &Wanted, version: &Version, weights: Digest) -> Result<Result<Record, Rejection>, Error> {
        let record = match self.candidate(wanted, version, Kind::Adapter)? {
            Ok(record) => record,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let Needs::Adapter { plugin, backbone } = &record.release.needs else { return Err(Error::Inconsistent) };
        let reason = match self.belongs(backbone, weights) {
            None if self.plugin_exists(plugin)? => return Ok(Ok(record)),
            None => Reason::Plugin { plugin: plugin.package.clone(), wanted: plugin.version.clone() },
            Some(reason) => reason,
        };
        Ok(Err(Rejection { name: wanted.package.clone(), version: version.clone(), reason }))
    }

    fn first_adapter(&self, alias: &Alias, wanted: &Wanted, state: &mut State) -> Fit<Record> {
        let mut rejections = Vec::new();
        let mut plugin_failure = None;
        for version in self.catalog.versions(&wanted.package)?.iter() {
            match self.adapter(wanted, version, state.weights)? {
                Ok(record) => match self.yanked(&record)? {
                    None => {
                        state.rejected.extend(rejections);
                        return Ok(Ok(record));
                    }
                    Some(reason) => {
                        let (name, version) = (wanted.package.clone(), version.clone());
                        rejections.push(Rejection { name, version, reason });
                    }
                },
                Err(rejection) => {
                    if let (Reason::Plugin { plugin, wanted }, None) = (&rejection.reason, &plugin_failure) {
                        plugin_failure = Some(PluginNeed { package: plugin.clone(), version: wanted.clone() });
                    }
                    rejections.push(rejection);
                }
            }
        }
        // When a plugin is all that is missing, its candidates tell more than the adapter's.
        if let Some(need) = plugin_failure {
            let wanted_by = vec![format!("[adapters.{alias}] ({})", need.version)];
            if let (None, rejections) = self.plugin(&need.package, &[need.version], None)? {
                return Ok(Err(NoFit { name: need.package, task: None, wanted_by, rejections }));
            }
        }
        let wanted_by = vec![format!("[adapters.{alias}]")];
        Ok(Err(NoFit { name: wanted.package.clone(), task: None, wanted_by, rejections }))
    }

    /// Chooses releases for the tasks from `index` on; false when there is none.
    fn place(&self, goals: &[Goal<'_>], index: usize, state: &mut State) -> Result<bool, Error> {
        let Some(goal) = goals.get(index) else { return Ok(true) };
        let mut rejections = Vec::new();
        for version in self.catalog.versions(&goal.wanted.package)?.iter() {
            let mut reject = |reason| {
                rejections.push(Rejection { name: goal.wanted.package.clone(), version: version.clone(), reason });
            };
            let record = match self.candidate(goal.wanted, version, Kind::Task)? {
                Ok(record) => record,
                Err(rejection) => {
                    reject(rejection.reason);
                    continue;
                }
            };
            self.step()?;
            let Needs::Task { backbone, .. } = &record.release.needs else { return Err(Error::Inconsistent) };
            if let Some(reason) = self.belongs(backbone, state.weights) {
                reject(reason);
                continue;
            }
            for variant in self.variants(&record, goal.stack) {
                let Some(variant) = variant else {
                    reject(self.no_variant(&record, goal.stack));
                    break;
                };
                let before = state.adapters.clone();
                let problem = match self.pin(&variant, goal.stack, state)? {
                    None => self.yanked(&record)?,
                    problem => problem,
                };
                match problem {
                    Some(reason) => reject(reason),
                    None => {
                        let names = variant.into_iter().map(|(name, _)| name).collect();
                        state.tasks.insert(goal.alias.clone(), SelectedTask { record: record.clone(), names });
                        if self.place(goals, index + 1, state)? {
                            state.rejected.extend(rejections);
                            return Ok(true);
                        }
                        state.tasks.remove(goal.alias);
                    }
                }
                state.adapters = before;
            }
        }
        // The task that the search got furthest to is the one that stands in the way.
        if state.stuck.as_ref().is_none_or(|(furthest, _)| *furthest < index) {
            let wanted_by = vec![format!("[tasks.{}]", goal.alias)];
            let (name, task) = (goal.wanted.package.clone(), Some(goal.alias.clone()));
            state.stuck = Some((index, NoFit { name, task, wanted_by, rejections }));
        }
        Ok(false)
    }

    /// The variants whose stack is this one, package for package, each with its names and the releases it was trained
    /// with; a single `None` when there is no such variant.
    fn variants(&self, record: &ReleaseRecord, stack: &[Alias]) -> Vec<Option<Vec<(Alias, Digest)>>> {
        let Needs::Task { adapters, stacks, .. } = &record.release.needs else { return vec![None] };
        let same = |(name, alias): (&Alias, &Alias)| {
            let need = adapters.get(name)?;
            let wanted = self.manifest.adapters.get(alias)?;
            (need.package == wanted.package).then(|| (name.clone(), need.release))
        };
        let fitting = stacks.iter().filter(|names| names.len() == stack.len());
        let found: Vec<_> = fitting
            .filter_map(|names| names.iter().zip(stack).map(same).collect::<Option<Vec<_>>>())
            .map(Some)
            .collect();
        if found.is_empty() { vec![None] } else { found }
    }

    /// Says which stacks there are, in the manifest's names where it has them and else by package.
    fn no_variant(&self, record: &ReleaseRecord, stack: &[Alias]) -> Reason {
        let Needs::Task { adapters, stacks, .. } = &record.release.needs else {
            return Reason::Variant { wanted: stack.to_vec(), found: Vec::new() };
        };
        let in_manifest = |name: &Alias| {
            let package = adapters.get(name).map(|need| &need.package);
            let mut known = self.manifest.adapters.iter();
            let alias = known.find(|(_, wanted)| Some(&wanted.package) == package).map(|(alias, _)| alias.to_string());
            alias.or_else(|| package.map(ToString::to_string)).unwrap_or_else(|| name.to_string())
        };
        let found = stacks.iter().map(|names| names.iter().map(in_manifest).collect()).collect();
        Reason::Variant { wanted: stack.to_vec(), found }
    }

    /// Decides the adapters of a stack by the releases that a variant names, or says why they cannot be those.
    fn pin(&self, variant: &[(Alias, Digest)], stack: &[Alias], state: &mut State) -> Result<Option<Reason>, Error> {
        for ((_, needed), alias) in variant.iter().zip(stack) {
            if let Some(decided) = state.adapters.get(alias) {
                if decided.digest != *needed {
                    let (version, release) = (decided.release.version.clone(), decided.digest);
                    let chosen = Chosen::Decided { version, release };
                    let needed = self.trained(alias, *needed);
                    return Ok(Some(Reason::Adapter { alias: alias.clone(), needed, chosen }));
                }
                continue;
            }
            match self.adapter_with(alias, *needed, state.weights)? {
                Ok(record) => {
                    state.adapters.insert(alias.clone(), record);
                }
                Err(reason) => return Ok(Some(reason)),
            }
        }
        Ok(None)
    }

    /// The fitting release of an adapter with this digest, or why there is none.
    fn adapter_with(&self, alias: &Alias, needed: Digest, weights: Digest) -> Result<Result<Record, Reason>, Error> {
        let Some(wanted) = self.manifest.adapters.get(alias) else { return Err(Error::Inconsistent) };
        let known = self.catalog.known_version(&wanted.package, &needed);
        let versions = self.catalog.versions(&wanted.package)?;
        let mut fitting = Vec::new();
        // Where the version is known, no other needs to be read.
        let first = versions.iter().filter(|version| Some(*version) == known.as_ref());
        for version in first.chain(versions.iter().filter(|version| Some(*version) != known.as_ref())) {
            match self.adapter(wanted, version, weights)? {
                Ok(record) if record.digest == needed => {
                    return Ok(match self.catalog.yanked(&record)? {
                        None => Ok(record),
                        Some(reason) => {
                            let (alias, version) = (alias.clone(), version.clone());
                            Err(Reason::AdapterYanked { alias, version, reason })
                        }
                    });
                }
                Ok(_) => fitting.push(version.clone()),
                Err(_) => {}
            }
        }
        let (needed, chosen) = (self.trained(alias, needed), Chosen::NotAmongFitting { versions: fitting });
        Ok(Err(Reason::Adapter { alias: alias.clone(), needed, chosen }))
    }

    /// Names the release that a task was trained on, by version where that costs nothing.
    fn trained(&self, alias: &Alias, release: Digest) -> Trained {
        let package = self.manifest.adapters.get(alias).map(|wanted| &wanted.package);
        Trained { version: package.and_then(|package| self.catalog.known_version(package, &release)), release }
    }
}
