//! From chosen releases to files at hand: package files are read and checked, larger files are located.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::Project;
use super::resolved::{
    FileRef, Resolved, ResolvedAdapter, ResolvedBackbone, ResolvedHead, ResolvedPlugin, ResolvedTask,
};
use crate::digest::Difference;
use crate::error::Error;
use crate::id::PackageId;
use crate::key::KeyId;
use crate::lock::Lock;
use crate::manifest::TaskEntry;
use crate::name::{Alias, PackageName};
use crate::package::{Content, Fusion, MAX_PACKAGE_FILE, Package};
use crate::path::PackagePath;
use crate::release::{Needs, ReleaseFile, ReleaseRecord, Role};
use crate::resolve::{SelectedTask, Selection};

/// A chosen release with its package file and the files of it that the project uses.
pub(crate) struct Used {
    pub(crate) record: Arc<ReleaseRecord>,
    pub(crate) package: Package,
    pub(crate) files: Vec<ReleaseFile>,
}

impl Project {
    /// Every chosen release once, with the files that this project uses of it on this platform.
    pub(crate) fn used(&self, selection: &Selection) -> Result<Vec<Used>, Error> {
        let mut used: BTreeMap<PackageId, Used> = BTreeMap::new();
        for record in selection.records() {
            if let Entry::Vacant(entry) = used.entry(id(record)) {
                let package = self.package(record)?;
                let files = self.payload(record, &package, selection)?;
                entry.insert(Used { record: record.clone(), package, files });
            }
        }
        Ok(used.into_values().collect())
    }

    /// The files of one release beside its package file that are needed to run it here.
    fn payload(
        &self,
        record: &ReleaseRecord,
        package: &Package,
        selection: &Selection,
    ) -> Result<Vec<ReleaseFile>, Error> {
        let find = |path: &PackagePath| record.release.file(path).cloned().ok_or(Error::Inconsistent);
        match &package.content {
            Content::Backbone(backbone) => {
                [&backbone.config, &backbone.tokenizer, &backbone.weights].into_iter().map(find).collect()
            }
            Content::Plugin(_) => {
                let library = record.release.library(&self.platform.target).cloned();
                Ok(vec![library.ok_or(Error::Inconsistent)?])
            }
            Content::Adapter(adapter) => Ok(vec![find(&adapter.weights)?]),
            Content::Task(task) => {
                let selected = |names: &Vec<Alias>| {
                    let mut tasks = selection.tasks.values();
                    tasks.any(|chosen| chosen.record.digest == record.digest && chosen.names == *names)
                };
                let variants = task.variants.iter().filter(|variant| selected(&variant.stack));
                variants.map(|variant| find(&variant.weights)).collect()
            }
        }
    }

    /// Reads a release's package file and checks that the record was made from it.
    fn package(&self, record: &ReleaseRecord) -> Result<Package, Error> {
        let release = &record.release;
        let Some(file) = release.files_of(Role::Manifest).next() else { return Err(Error::Inconsistent) };
        let bytes = self.sources.read(&release.id(), file, MAX_PACKAGE_FILE)?;
        let name = format!("{} of {}", file.path, release.id());
        let text = String::from_utf8(bytes)
            .map_err(|error| Error::NotUtf8 { file: name.clone(), offset: error.utf8_error().valid_up_to() })?;
        let package = Package::from_toml(&name, &text)?;
        release.check_package(&package)?;
        Ok(package)
    }

    /// Finds a file in the cache or, for a registry that is a directory, in place.
    pub(crate) fn find_file(&self, name: &PackageName, file: &ReleaseFile) -> Result<FileRef, Error> {
        let found = |path| FileRef { path, digest: file.sha256, size: file.size };
        if let Some(path) = self.cache().find(&file.sha256, file.size) {
            return Ok(found(path));
        }
        let registry = self.sources.registry_of(name)?;
        let Some(path) = registry.store().local_path(file) else {
            return Err(Error::MissingBlob {
                location: registry.store().location(),
                path: file.path.clone(),
                digest: file.sha256,
            });
        };
        let size = path.metadata().map_err(|source| Error::Io { action: "read", path: path.clone(), source })?.len();
        if size == file.size {
            return Ok(found(path));
        }
        let difference = Difference::Size { expected: file.size, found: size };
        Err(Error::Altered { file: path.display().to_string(), difference })
    }

    pub(super) fn locate(&self, selection: &Selection, lock: Lock) -> Result<Resolved, Error> {
        let mut packages = BTreeMap::new();
        for used in self.used(selection)? {
            packages.insert(id(&used.record), used.package);
        }
        let signer = |record: &Arc<ReleaseRecord>| Some((id(record), self.verified_signer(record, &lock)?));
        let signers: BTreeMap<PackageId, KeyId> = selection.records().filter_map(signer).collect();
        let package = |record: &ReleaseRecord| packages.get(&id(record)).ok_or(Error::Inconsistent);
        let mut plugins = BTreeMap::new();
        for record in selection.plugins.values() {
            plugins.insert(id(record), self.plugin(record, signers.get(&id(record)))?);
        }
        let mut adapters = BTreeMap::new();
        for (alias, record) in &selection.adapters {
            let plugin = selection.plugin_of.get(alias).ok_or(Error::Inconsistent)?;
            adapters.insert(alias.to_string(), self.adapter(record, package(record)?, plugin)?);
        }
        let mut tasks = BTreeMap::new();
        for (alias, entry) in &self.manifest.tasks {
            let stack = entry.stack().iter().map(Alias::to_string).collect();
            let (fusion, head) = match (entry, selection.tasks.get(alias)) {
                (TaskEntry::Features { fusion, .. }, _) => (*fusion, None),
                (TaskEntry::Package { .. }, Some(task)) => {
                    let (fusion, head) = self.head(task, package(&task.record)?)?;
                    (fusion, Some(head))
                }
                (TaskEntry::Package { .. }, None) => return Err(Error::Inconsistent),
            };
            tasks.insert(alias.to_string(), ResolvedTask { stack, fusion, head });
        }
        let backbone = self.backbone(&selection.backbone, package(&selection.backbone)?)?;
        let (rejected, warnings) = (selection.rejected.clone(), selection.warnings.clone());
        Ok(Resolved { backbone, plugins, adapters, tasks, lock, signers, rejected, warnings })
    }

    fn file(&self, record: &ReleaseRecord, path: &PackagePath) -> Result<FileRef, Error> {
        let file = record.release.file(path).ok_or(Error::Inconsistent)?;
        self.find_file(&record.release.name, file)
    }

    fn backbone(&self, record: &ReleaseRecord, package: &Package) -> Result<ResolvedBackbone, Error> {
        let Content::Backbone(backbone) = &package.content else { return Err(Error::Inconsistent) };
        Ok(ResolvedBackbone {
            id: id(record),
            release: record.digest,
            license: package.license.clone(),
            attribution: package.attribution.clone(),
            architecture: backbone.architecture.clone(),
            config: self.file(record, &backbone.config)?,
            weights: self.file(record, &backbone.weights)?,
            tokenizer: self.file(record, &backbone.tokenizer)?,
        })
    }

    fn plugin(&self, record: &ReleaseRecord, signer: Option<&KeyId>) -> Result<ResolvedPlugin, Error> {
        let release = &record.release;
        let (Needs::Plugin { abi }, Some(library)) = (&release.needs, release.library(&self.platform.target)) else {
            return Err(Error::Inconsistent);
        };
        Ok(ResolvedPlugin {
            id: id(record),
            release: record.digest,
            license: release.license.clone(),
            abi: *abi,
            library: self.find_file(&release.name, library)?,
            signer: signer.cloned(),
        })
    }

    fn adapter(&self, record: &ReleaseRecord, package: &Package, plugin: &PackageId) -> Result<ResolvedAdapter, Error> {
        let Content::Adapter(adapter) = &package.content else { return Err(Error::Inconsistent) };
        Ok(ResolvedAdapter {
            id: id(record),
            release: record.digest,
            license: package.license.clone(),
            attribution: package.attribution.clone(),
            weights: self.file(record, &adapter.weights)?,
            taps: adapter.taps.clone(),
            config: adapter.config.clone(),
            plugin: plugin.clone(),
        })
    }

    fn head(&self, task: &SelectedTask, package: &Package) -> Result<(Fusion, ResolvedHead), Error> {
        let record = &task.record;
        let Content::Task(content) = &package.content else { return Err(Error::Inconsistent) };
        let variant = content.variants.iter().find(|variant| variant.stack == task.names);
        let variant = variant.ok_or(Error::Inconsistent)?;
        let head = ResolvedHead {
            id: id(record),
            release: record.digest,
            license: package.license.clone(),
            attribution: package.attribution.clone(),
            kind: content.kind,
            labels: content.labels.clone(),
            max_length: content.max_length,
            options: content.options.clone(),
            names: task.names.iter().map(Alias::to_string).collect(),
            taps: variant.taps.clone(),
            weights: self.file(record, &variant.weights)?,
        };
        Ok((variant.fusion, head))
    }
}

fn id(record: &ReleaseRecord) -> PackageId {
    record.release.id()
}
