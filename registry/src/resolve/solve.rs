//! The search: backtracking over backbones and tasks, everything else follows from them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use semver::VersionReq;

use super::reject::{Chosen, NoFit, Reason, Rejection};
use super::{Catalog, Platform, SelectedTask, Selection};
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{Manifest, TaskEntry, Wanted};
use crate::name::{Alias, PackageName};
use crate::package::{BackboneNeed, Kind, PluginNeed};
use crate::release::{Needs, ReleaseRecord, Role};
use crate::version::Version;

/// The most combinations that are tried before giving up; a project with sane packages needs one per task.
const MAX_STEPS: usize = 10_000;

type Record = Arc<ReleaseRecord>;
/// Either the result, or why nothing fits (the outer error is of the catalog and ends everything).
type Fit<T> = Result<Result<T, NoFit>, Error>;

pub(super) struct Solver<'a> {
    manifest: &'a Manifest,
    platform: &'a Platform,
    catalog: &'a dyn Catalog,
    steps: Cell<usize>,
    plugin_exists: RefCell<HashMap<(PackageName, VersionReq), bool>>,
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
        let section = "[backbone]".to_owned();
        let mut first_failure = None;
        let mut rejections = Vec::new();
        for version in self.catalog.versions(&wanted.package)?.iter() {
            match self.candidate(wanted, version, Kind::Backbone)? {
                Err(rejection) => rejections.push(rejection),
                Ok(backbone) => match self.with_backbone(backbone)? {
                    Ok(mut selection) => {
                        selection.rejected.extend(rejections);
                        return Ok(selection);
                    }
                    // The preferred backbone's failure is the one worth telling.
                    Err(no_fit) => first_failure = first_failure.or(Some(no_fit)),
                },
            }
        }
        let no_fit = NoFit { name: wanted.package.clone(), wanted_by: vec![section], rejections };
        Err(Error::NoFit(Box::new(first_failure.unwrap_or(no_fit))))
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
            state.adapters.entry(alias).or_insert(record);
        }
        let plugins = match self.plugins(&state.adapters)? {
            Ok(plugins) => plugins,
            Err(no_fit) => return Ok(Err(no_fit)),
        };
        let State { adapters, tasks, rejected, .. } = state;
        Ok(Ok(Selection { backbone, plugins, adapters, tasks, rejected }))
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

    fn candidate_of(
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
                Ok(record) => {
                    state.rejected.extend(rejections);
                    return Ok(Ok(record));
                }
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
            if let Err(rejections) = self.plugin(&need.package, &[need.version])? {
                return Ok(Err(NoFit { name: need.package, wanted_by, rejections }));
            }
        }
        let wanted_by = vec![format!("[adapters.{alias}]")];
        Ok(Err(NoFit { name: wanted.package.clone(), wanted_by, rejections }))
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
            let step = self.steps.get() + 1;
            self.steps.set(step);
            if step > MAX_STEPS {
                return Err(Error::TooManyCombinations { steps: MAX_STEPS });
            }
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
                match self.pin(&variant, goal.stack, state)? {
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
            state.stuck = Some((index, NoFit { name: goal.wanted.package.clone(), wanted_by, rejections }));
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
                    return Ok(Some(Reason::Adapter { alias: alias.clone(), needed: *needed, chosen }));
                }
                continue;
            }
            match self.adapter_with(alias, *needed, state.weights)? {
                Ok(record) => {
                    state.adapters.insert(alias.clone(), record);
                }
                Err(versions) => {
                    let chosen = Chosen::NotAmongFitting { versions };
                    return Ok(Some(Reason::Adapter { alias: alias.clone(), needed: *needed, chosen }));
                }
            }
        }
        Ok(None)
    }

    /// The fitting release of an adapter with this digest, or the versions that fit otherwise.
    fn adapter_with(
        &self,
        alias: &Alias,
        needed: Digest,
        weights: Digest,
    ) -> Result<Result<Record, Vec<Version>>, Error> {
        let Some(wanted) = self.manifest.adapters.get(alias) else { return Err(Error::Inconsistent) };
        let mut fitting = Vec::new();
        for version in self.catalog.versions(&wanted.package)?.iter() {
            match self.adapter(wanted, version, weights)? {
                Ok(record) if record.digest == needed => return Ok(Ok(record)),
                Ok(_) => fitting.push(version.clone()),
                Err(_) => {}
            }
        }
        Ok(Err(fitting))
    }

    /// Chooses the plugins: per package one release that all adapters of the project can use.
    fn plugins(&self, adapters: &BTreeMap<Alias, Record>) -> Fit<BTreeMap<PackageName, Record>> {
        let mut needs: BTreeMap<&PackageName, Vec<(&Alias, VersionReq)>> = BTreeMap::new();
        for (alias, record) in adapters {
            let Needs::Adapter { plugin, .. } = &record.release.needs else { return Err(Error::Inconsistent) };
            needs.entry(&plugin.package).or_default().push((alias, plugin.version.clone()));
        }
        let mut plugins = BTreeMap::new();
        for (package, wanted) in needs {
            let requirements: Vec<VersionReq> = wanted.iter().map(|(_, requirement)| requirement.clone()).collect();
            match self.plugin(package, &requirements)? {
                Ok(record) => plugins.insert(package.clone(), record),
                Err(rejections) => {
                    let by =
                        |(alias, requirement): &(&Alias, VersionReq)| format!("[adapters.{alias}] ({requirement})");
                    let wanted_by = wanted.iter().map(by).collect();
                    return Ok(Err(NoFit { name: package.clone(), wanted_by, rejections }));
                }
            };
        }
        Ok(Ok(plugins))
    }

    fn plugin_exists(&self, need: &PluginNeed) -> Result<bool, Error> {
        let key = (need.package.clone(), need.version.clone());
        if let Some(exists) = self.plugin_exists.borrow().get(&key) {
            return Ok(*exists);
        }
        let exists = self.plugin(&need.package, std::slice::from_ref(&need.version))?.is_ok();
        self.plugin_exists.borrow_mut().insert(key, exists);
        Ok(exists)
    }

    /// The preferred release of a plugin that meets all requirements and fits the host.
    fn plugin(
        &self,
        package: &PackageName,
        requirements: &[VersionReq],
    ) -> Result<Result<Record, Vec<Rejection>>, Error> {
        let mut rejections = Vec::new();
        for version in self.catalog.versions(package)?.iter() {
            let rejection = match self.candidate_of(package, requirements, version, Kind::Plugin)? {
                Err(rejection) => rejection,
                Ok(record) => match self.plugin_problem(&record) {
                    None => return Ok(Ok(record)),
                    Some(reason) => Rejection { name: package.clone(), version: version.clone(), reason },
                },
            };
            rejections.push(rejection);
        }
        Ok(Err(rejections))
    }

    fn plugin_problem(&self, record: &ReleaseRecord) -> Option<Reason> {
        let Needs::Plugin { abi } = record.release.needs else { return None };
        let host = self.platform.abi;
        if abi.major != host.major {
            return Some(Reason::Abi { found: abi, host });
        }
        if record.release.library(&self.platform.target).is_none() {
            let found = record.release.files_of(Role::Library).filter_map(|file| file.target.clone()).collect();
            return Some(Reason::Target { found, host: self.platform.target.clone() });
        }
        None
    }
}
