//! The release record as JSON: one flat object in a fixed order, the only spelling that is accepted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Needs, Release, ReleaseFile};
use crate::digest::Digest;
use crate::error::Error;
use crate::license::License;
use crate::name::{Alias, PackageName};
use crate::package::{AdapterNeed, BackboneNeed, Kind, PluginNeed};
use crate::path::PackagePath;
use crate::tensors::TensorRecord;
use crate::text;
use crate::version::{AbiVersion, Version};

/// The schema of the record that this crate reads and writes.
const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema: u32,
    name: PackageName,
    version: Version,
    kind: Kind,
    license: License,
    description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attribution: Option<String>,
    manifest: Digest,
    files: Vec<ReleaseFile>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tensors: BTreeMap<PackagePath, Vec<TensorRecord>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    abi: Option<AbiVersion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plugin: Option<PluginNeed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backbone: Option<BackboneNeed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adapters: Option<BTreeMap<Alias, AdapterNeed>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stacks: Option<Vec<Vec<Alias>>>,
}

pub(super) fn encode(release: &Release) -> Result<Vec<u8>, String> {
    let release = release.clone();
    let kind = release.kind();
    let mut wire = Wire {
        schema: SCHEMA,
        name: release.name,
        version: release.version,
        kind,
        license: release.license,
        description: release.description,
        attribution: release.attribution,
        manifest: release.manifest,
        files: release.files,
        tensors: release.tensors,
        abi: None,
        plugin: None,
        backbone: None,
        adapters: None,
        stacks: None,
    };
    match release.needs {
        Needs::Backbone => {}
        Needs::Plugin { abi } => wire.abi = Some(abi),
        Needs::Adapter { plugin, backbone } => (wire.plugin, wire.backbone) = (Some(plugin), Some(backbone)),
        Needs::Task { backbone, adapters, stacks } => {
            (wire.backbone, wire.adapters, wire.stacks) = (Some(backbone), Some(adapters), Some(stacks));
        }
    }
    let mut bytes = serde_json::to_vec(&wire).map_err(|error| error.to_string())?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(super) fn decode(file: &str, bytes: &[u8]) -> Result<Release, Error> {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let refuse = |problem: String| Error::Release { file: file.to_owned(), problem };
    let malformed = |error: serde_json::Error| refuse(text::shorten(&error.to_string()));
    let Schema { schema } = serde_json::from_slice(bytes).map_err(malformed)?;
    if schema != SCHEMA {
        return Err(Error::Schema { file: file.to_owned(), found: schema, known: SCHEMA });
    }
    let wire: Wire = serde_json::from_slice(bytes).map_err(malformed)?;
    let needs = match (wire.kind, wire.abi, wire.plugin, wire.backbone, wire.adapters, wire.stacks) {
        (Kind::Backbone, None, None, None, None, None) => Needs::Backbone,
        (Kind::Plugin, Some(abi), None, None, None, None) => Needs::Plugin { abi },
        (Kind::Adapter, None, Some(plugin), Some(backbone), None, None) => Needs::Adapter { plugin, backbone },
        (Kind::Task, None, None, Some(backbone), Some(adapters), Some(stacks)) => {
            Needs::Task { backbone, adapters, stacks }
        }
        (kind, ..) => return Err(refuse(format!("what it needs is not what a {kind} needs"))),
    };
    let release = Release {
        name: wire.name,
        version: wire.version,
        license: wire.license,
        description: wire.description,
        attribution: wire.attribution,
        manifest: wire.manifest,
        files: wire.files,
        tensors: wire.tensors,
        needs,
    };
    let canonical = encode(&release).map_err(refuse)?;
    if canonical == bytes { Ok(release) } else { Err(refuse("its bytes are not in the canonical form".to_owned())) }
}
