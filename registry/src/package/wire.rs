//! The package file as TOML: one section per kind, of which exactly one is present.

use serde::{Deserialize, Serialize};

use super::check::PackageError;
use super::{Adapter, Backbone, Content, Kind, Package, Plugin, Task};
use crate::error::Error;
use crate::license::License;
use crate::name::PackageName;
use crate::text;
use crate::version::Version;

/// The schema of the package file that this crate reads and writes.
pub(crate) const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema: u32,
    package: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    backbone: Option<Backbone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<Plugin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<Adapter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Task>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: PackageName,
    version: Version,
    kind: Kind,
    license: License,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribution: Option<String>,
}

pub(super) fn read(file: &str, text: &str) -> Result<Package, Error> {
    text::check_schema(file, text, SCHEMA)?;
    let wire: Wire = text::from_toml(file, text)?;
    let Metadata { name, version, kind, license, description, attribution } = wire.package;
    let refuse = |problem| Err(Error::Package { file: file.to_owned(), problem: Box::new(problem) });
    let sections = [
        wire.backbone.map(Content::Backbone),
        wire.plugin.map(Content::Plugin),
        wire.adapter.map(Content::Adapter),
        wire.task.map(Content::Task),
    ];
    let mut found = None;
    for content in sections.into_iter().flatten() {
        let package = Package {
            name: name.clone(),
            version: version.clone(),
            license: license.clone(),
            description: description.clone(),
            attribution: attribution.clone(),
            content,
        };
        if package.kind() != kind {
            return refuse(PackageError::OtherSection { kind, section: package.kind() });
        }
        found = Some(package);
    }
    found.map_or_else(|| refuse(PackageError::NoSection { kind }), Ok)
}

pub(super) fn write(package: &Package) -> Result<String, Error> {
    let mut wire = Wire {
        schema: SCHEMA,
        package: Metadata {
            name: package.name.clone(),
            version: package.version.clone(),
            kind: package.kind(),
            license: package.license.clone(),
            description: package.description.clone(),
            attribution: package.attribution.clone(),
        },
        backbone: None,
        plugin: None,
        adapter: None,
        task: None,
    };
    match package.content.clone() {
        Content::Backbone(backbone) => wire.backbone = Some(backbone),
        Content::Plugin(plugin) => wire.plugin = Some(plugin),
        Content::Adapter(adapter) => wire.adapter = Some(adapter),
        Content::Task(task) => wire.task = Some(task),
    }
    toml::to_string_pretty(&wire).map_err(|source| Error::WriteToml { file: super::PACKAGE_FILE, source })
}
