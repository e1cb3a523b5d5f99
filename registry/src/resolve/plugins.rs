//! Plugins: as few releases as can serve all adapters, and of each line at most one.
//!
//! Requirements on one plugin package that one release meets share it. Where none meets them all, releases of different
//! lines (majors) stand side by side, each serving the adapters that can only use it. Two releases of one line never do:
//! whoever asks for both contradicts himself.

use std::collections::BTreeMap;

use semver::VersionReq;

use super::reject::{NoFit, Reason, Rejection};
use super::solve::{Fit, Record, Solver};
use crate::error::Error;
use crate::id::PackageId;
use crate::name::{Alias, PackageName};
use crate::package::{Kind, PluginNeed};
use crate::release::{Needs, ReleaseRecord, Role};

/// A line of versions, see [`crate::Version::same_line`].
type Line = [u64; 3];

/// The plugins of a project.
pub(super) struct Plugins {
    /// The releases.
    pub(super) releases: BTreeMap<PackageId, Record>,
    /// The release that runs each adapter.
    pub(super) of_adapter: BTreeMap<Alias, PackageId>,
    /// Candidates that were preferred and did not fit.
    pub(super) rejected: Vec<Rejection>,
}

/// Groups that meet all requirements together, and what was passed over for them.
type Shared = (Vec<Group>, Vec<Rejection>);

/// Requirements that one release meets.
#[derive(Clone)]
struct Group {
    members: Vec<usize>,
    record: Record,
}

impl Solver<'_> {
    /// Chooses the plugins of these adapters.
    pub(super) fn plugins(&self, adapters: &BTreeMap<Alias, Record>) -> Fit<Plugins> {
        let mut needs: BTreeMap<&PackageName, Vec<(&Alias, VersionReq)>> = BTreeMap::new();
        for (alias, record) in adapters {
            let Needs::Adapter { plugin, .. } = &record.release.needs else { return Err(Error::Inconsistent) };
            needs.entry(&plugin.package).or_default().push((alias, plugin.version.clone()));
        }
        let mut plugins = Plugins { releases: BTreeMap::new(), of_adapter: BTreeMap::new(), rejected: Vec::new() };
        for (package, wanted) in needs {
            let mut distinct: Vec<VersionReq> = Vec::new();
            for (_, requirement) in &wanted {
                if !distinct.contains(requirement) {
                    distinct.push(requirement.clone());
                }
            }
            let Some((groups, rejected)) = self.share(package, &distinct)? else {
                let core = self.contradiction(package, distinct)?;
                let by = |(alias, requirement): &(&Alias, VersionReq)| {
                    core.contains(requirement).then(|| format!("[adapters.{alias}] ({requirement})"))
                };
                let wanted_by = wanted.iter().filter_map(by).collect();
                let (_, rejections) = self.plugin(package, &core, None)?;
                return Ok(Err(NoFit { name: package.clone(), task: None, wanted_by, rejections }));
            };
            plugins.rejected.extend(rejected);
            for group in groups {
                let id = group.record.release.id();
                let met =
                    |requirement: &VersionReq| group.members.iter().any(|&member| distinct[member] == *requirement);
                for (alias, _) in wanted.iter().filter(|(_, requirement)| met(requirement)) {
                    plugins.of_adapter.insert((*alias).clone(), id.clone());
                }
                plugins.releases.insert(id, group.record);
            }
        }
        Ok(Ok(plugins))
    }

    /// The fewest releases that meet all requirements, and what was passed over for them; none when nothing does.
    fn share(&self, package: &PackageName, requirements: &[VersionReq]) -> Result<Option<Shared>, Error> {
        if let (Some(record), rejected) = self.plugin(package, requirements, None)? {
            let members = (0..requirements.len()).collect();
            return Ok(Some((vec![Group { members, record }], rejected)));
        }
        for most in 2..=requirements.len() {
            let mut groups = Vec::new();
            if self.assign(package, requirements, 0, most, &mut groups)? {
                let mut rejected = Vec::new();
                for group in &groups {
                    let met = pick(requirements, &group.members);
                    rejected.extend(self.plugin(package, &met, Some(group.record.release.version.line()))?.1);
                }
                return Ok(Some((groups, rejected)));
            }
        }
        Ok(None)
    }

    /// Puts the requirements from `index` on into at most `most` groups, each of a line of its own; false when that cannot
    /// be.
    fn assign(
        &self,
        package: &PackageName,
        requirements: &[VersionReq],
        index: usize,
        most: usize,
        groups: &mut Vec<Group>,
    ) -> Result<bool, Error> {
        if index == requirements.len() {
            return Ok(true);
        }
        self.step()?;
        for place in 0..groups.len() {
            let before = groups[place].clone();
            let members: Vec<usize> = before.members.iter().copied().chain([index]).collect();
            let line = before.record.release.version.line();
            if let (Some(record), _) = self.plugin(package, &pick(requirements, &members), Some(line))? {
                groups[place] = Group { members, record };
                if self.assign(package, requirements, index + 1, most, groups)? {
                    return Ok(true);
                }
                groups[place] = before;
            }
        }
        if groups.len() == most {
            return Ok(false);
        }
        let mut tried: Vec<Line> = groups.iter().map(|group| group.record.release.version.line()).collect();
        for version in self.catalog.versions(package)?.iter() {
            let line = version.line();
            if tried.contains(&line) {
                continue;
            }
            tried.push(line);
            if let (Some(record), _) = self.plugin(package, &pick(requirements, &[index]), Some(line))? {
                groups.push(Group { members: vec![index], record });
                if self.assign(package, requirements, index + 1, most, groups)? {
                    return Ok(true);
                }
                groups.pop();
            }
        }
        Ok(false)
    }

    /// The requirements that contradict each other: without any one of them the others can be met.
    fn contradiction(
        &self,
        package: &PackageName,
        mut requirements: Vec<VersionReq>,
    ) -> Result<Vec<VersionReq>, Error> {
        let mut index = 0;
        while index < requirements.len() {
            let mut others = requirements.clone();
            others.remove(index);
            if !others.is_empty() && self.share(package, &others)?.is_none() {
                requirements = others;
            } else {
                index += 1;
            }
        }
        Ok(requirements)
    }

    /// Tells whether some release meets a need.
    pub(super) fn plugin_exists(&self, need: &PluginNeed) -> Result<bool, Error> {
        let key = (need.package.clone(), need.version.clone());
        if let Some(exists) = self.plugin_exists.borrow().get(&key) {
            return Ok(*exists);
        }
        let exists = self.plugin(&need.package, std::slice::from_ref(&need.version), None)?.0.is_some();
        self.plugin_exists.borrow_mut().insert(key, exists);
        Ok(exists)
    }

    /// The preferred release, of a line if one is given, that meets all requirements and fits the host; and why each before
    /// it does not.
    pub(super) fn plugin(
        &self,
        package: &PackageName,
        requirements: &[VersionReq],
        line: Option<Line>,
    ) -> Result<(Option<Record>, Vec<Rejection>), Error> {
        let mut rejections = Vec::new();
        let versions = self.catalog.versions(package)?;
        for version in versions.iter().filter(|version| line.is_none_or(|line| version.line() == line)) {
            let rejection = match self.candidate_of(package, requirements, version, Kind::Plugin)? {
                Err(rejection) => rejection,
                Ok(record) => match self.plugin_problem(&record)? {
                    None => return Ok((Some(record), rejections)),
                    Some(reason) => Rejection { name: package.clone(), version: version.clone(), reason },
                },
            };
            rejections.push(rejection);
        }
        Ok((None, rejections))
    }

    fn plugin_problem(&self, record: &ReleaseRecord) -> Result<Option<Reason>, Error> {
        let Needs::Plugin { abi } = record.release.needs else { return Err(Error::Inconsistent) };
        let host = self.platform.abi;
        if abi.major != host.major {
            return Ok(Some(Reason::Abi { found: abi, host }));
        }
        if record.release.library(&self.platform.target).is_none() {
            let found = record.release.files_of(Role::Library).filter_map(|file| file.target.clone()).collect();
            return Ok(Some(Reason::Target { found, host: self.platform.target.clone() }));
        }
        self.yanked(record)
    }
}

/// The requirements at these places.
fn pick(requirements: &[VersionReq], members: &[usize]) -> Vec<VersionReq> {
    members.iter().filter_map(|&member| requirements.get(member)).cloned().collect()
}
