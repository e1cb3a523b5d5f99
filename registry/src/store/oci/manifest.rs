//! Manifests: a release as an OCI artifact after the CNCF ModelPack specification, and a note as a small one.
//!
//! ```text
//! artifactType  application/vnd.cncf.model.manifest.v1+json
//! config        application/vnd.cncf.model.config.v1+json       name, version, licence; for tools that show models
//! layers        application/vnd.kadapter.release.v1+json        the release record, as it is signed
//!               application/vnd.cncf.model.weight.v1.raw        each file as it is, never in an archive, with its path in
//!               …                                               `org.cncf.model.filepath`
//! ```
//!
//! All of it is a function of the record, so two publishers of one release write the same bytes. Only the record's layer is
//! ever read back: a manifest adds nothing that a reader has to trust.

use std::collections::BTreeMap;

use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use serde::Serialize;

use crate::digest::Digest;
use crate::note::Note;
use crate::release::{Release, ReleaseRecord, Role};

/// The type of all manifests that are written and read here.
pub(super) const MANIFEST_TYPE: &str = OCI_IMAGE_MEDIA_TYPE;
/// The type of the layer that is the release record.
pub(super) const RECORD_TYPE: &str = "application/vnd.kadapter.release.v1+json";
/// The type of a signature's manifest and layer.
const SIGNATURE_TYPE: &str = "application/vnd.kadapter.signature.v1";
/// The type of a yank's manifest and layer.
const YANK_TYPE: &str = "application/vnd.kadapter.yank.v1+json";
/// The type of what `doctor` tries a registry with.
const PROBE_TYPE: &str = "application/vnd.kadapter.probe.v1";
/// The type of what has nothing to say, with the content `{}` (OCI image specification 1.1).
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The content of [`EMPTY_TYPE`].
const EMPTY: &[u8] = b"{}";
const MODEL_TYPE: &str = "application/vnd.cncf.model.manifest.v1+json";
const MODEL_CONFIG_TYPE: &str = "application/vnd.cncf.model.config.v1+json";
/// A layer's file name, for ModelPack.
const MODEL_PATH: &str = "org.cncf.model.filepath";
/// A layer's file name, for ORAS.
const TITLE: &str = "org.opencontainers.image.title";
/// The record's file name: hidden files cannot be in a package, so it is none of the release's.
const RECORD_PATH: &str = ".kadapter/release.json";

/// A manifest to write, with the configuration that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Artifact {
    /// The bytes of the manifest.
    pub(super) manifest: Vec<u8>,
    /// The bytes of the configuration.
    pub(super) config: Vec<u8>,
}

/// The part of a ModelPack configuration that a release can fill.
#[derive(Serialize)]
struct ModelConfig<'a> {
    descriptor: ModelDescriptor<'a>,
    config: ModelFormat,
    modelfs: ModelFiles,
}

#[derive(Serialize)]
struct ModelDescriptor<'a> {
    name: String,
    version: String,
    licenses: [String; 1],
    description: &'a str,
}

#[derive(Serialize)]
struct ModelFormat {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
}

#[derive(Serialize)]
struct ModelFiles {
    r#type: &'static str,
    #[serde(rename = "diffIds")]
    diff_ids: Vec<String>,
}

/// Makes the artifact of a release.
pub(super) fn of_release(record: &ReleaseRecord) -> Artifact {
    let release = &record.release;
    let mut layers = vec![layer(RECORD_TYPE, record.digest, record.bytes.len() as u64, Some(RECORD_PATH))];
    let files = release.files.iter();
    layers.extend(files.map(|file| layer(media_type(file.role), file.sha256, file.size, Some(file.path.as_str()))));
    let config = ModelConfig {
        descriptor: ModelDescriptor {
            name: release.name.to_string(),
            version: release.version.to_string(),
            licenses: [release.license.to_string()],
            description: &release.description,
        },
        config: ModelFormat { format: release.files_of(Role::Weights).next().map(|_| "safetensors") },
        modelfs: ModelFiles {
            r#type: "layers",
            diff_ids: layers.iter().map(|descriptor| descriptor.digest.clone()).collect(),
        },
    };
    let config = json(&config);
    Artifact { manifest: manifest(MODEL_TYPE, MODEL_CONFIG_TYPE, &config, layers, annotations(release)), config }
}

/// Makes the artifact of a note.
pub(super) fn of_note(note: &Note, bytes: &[u8]) -> Artifact {
    let kind = note_type(note);
    let layers = vec![layer(kind, Digest::of(bytes), bytes.len() as u64, Some(&note.file_name()))];
    Artifact { manifest: manifest(kind, EMPTY_TYPE, EMPTY, layers, BTreeMap::new()), config: EMPTY.to_vec() }
}

/// Makes an artifact that says nothing, to try a registry with.
pub(super) fn of_probe(bytes: &[u8]) -> Artifact {
    let layers = vec![layer(PROBE_TYPE, Digest::of(bytes), bytes.len() as u64, None)];
    Artifact { manifest: manifest(PROBE_TYPE, EMPTY_TYPE, EMPTY, layers, BTreeMap::new()), config: EMPTY.to_vec() }
}

/// The type of the layer that is a note.
pub(super) fn note_type(note: &Note) -> &'static str {
    match note {
        Note::Signature(_) => SIGNATURE_TYPE,
        Note::Yank { .. } => YANK_TYPE,
    }
}

/// Finds the digest and size of the one layer of a type, or says what is wrong with the manifest.
pub(super) fn layer_of(manifest: &[u8], media_type: &str) -> Result<(Digest, u64), String> {
    let manifest: OciImageManifest = serde_json::from_slice(manifest)
        .map_err(|error| format!("its manifest is malformed: {}", crate::text::shorten(&error.to_string())))?;
    let mut layers = manifest.layers.iter().filter(|layer| layer.media_type == media_type);
    let (Some(layer), None) = (layers.next(), layers.next()) else {
        return Err(format!("its manifest must have one layer of type `{media_type}`"));
    };
    let digest = layer.digest.parse().map_err(|error: crate::Error| error.to_string())?;
    let size = u64::try_from(layer.size).map_err(|_| format!("its layer has the size {}", layer.size))?;
    Ok((digest, size))
}

fn media_type(role: Role) -> &'static str {
    match role {
        Role::Weights => "application/vnd.cncf.model.weight.v1.raw",
        Role::Manifest | Role::Config | Role::Tokenizer => "application/vnd.cncf.model.weight.config.v1.raw",
        Role::Card | Role::Notice => "application/vnd.cncf.model.doc.v1.raw",
        Role::Library => "application/vnd.cncf.model.code.v1.raw",
    }
}

fn annotations(release: &Release) -> BTreeMap<String, String> {
    let named = [
        ("org.opencontainers.image.title", release.name.to_string()),
        ("org.opencontainers.image.version", release.version.to_string()),
        ("org.opencontainers.image.licenses", release.license.to_string()),
        ("org.opencontainers.image.description", release.description.clone()),
    ];
    named.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn layer(media_type: &str, digest: Digest, size: u64, path: Option<&str>) -> OciDescriptor {
    let named = path.map(|path| [MODEL_PATH, TITLE].map(|key| (key.to_owned(), path.to_owned())).into());
    OciDescriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_string(),
        // Files of eight exabytes are not there to be published.
        size: i64::try_from(size).unwrap_or(i64::MAX),
        annotations: named,
        ..OciDescriptor::default()
    }
}

fn manifest(
    artifact_type: &str,
    config_type: &str,
    config: &[u8],
    layers: Vec<OciDescriptor>,
    annotations: BTreeMap<String, String>,
) -> Vec<u8> {
    json(&OciImageManifest {
        media_type: Some(MANIFEST_TYPE.to_owned()),
        artifact_type: Some(artifact_type.to_owned()),
        config: layer(config_type, Digest::of(config), config.len() as u64, None),
        layers,
        annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
        ..OciImageManifest::default()
    })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Structures of strings and numbers with string keys always have JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        Note::Yank { at: 7, key: None }
    }

    #[test]
    fn a_notes_manifest_is_as_the_specification_says() {
        let artifact = of_note(&note(), b"{}\n");
        insta::assert_snapshot!(String::from_utf8(artifact.manifest).unwrap(), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.kadapter.yank.v1+json","digest":"sha256:ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356","size":3,"annotations":{"org.cncf.model.filepath":"7-unsigned.json","org.opencontainers.image.title":"7-unsigned.json"}}],"artifactType":"application/vnd.kadapter.yank.v1+json"}"#);
    }

    #[test]
    fn the_layer_is_found_once_or_not_at_all() {
        let artifact = of_note(&note(), b"x");
        assert_eq!(layer_of(&artifact.manifest, YANK_TYPE), Ok((Digest::of(b"x"), 1)));
        assert!(layer_of(&artifact.manifest, RECORD_TYPE).unwrap_err().contains("must have one layer"));
        let text = String::from_utf8(artifact.manifest).unwrap();
        let one = &text[text.find("\"layers\":[").unwrap() + 10..text.find("],").unwrap()];
        let twice = text.replace(one, &format!("{one},{one}"));
        assert!(layer_of(twice.as_bytes(), YANK_TYPE).is_err());
        let x = Digest::of(b"x").to_string();
        for (from, to) in [("\"size\":1", "\"size\":-1"), (x.as_str(), "sha256:../../x"), ("sha256", "sha512")] {
            let other = text.replace(from, to);
            assert_ne!(other, text);
            assert!(layer_of(other.as_bytes(), YANK_TYPE).is_err(), "{to}");
        }
        for other in ["", "{}", "[]", "<html>", r#"{"schemaVersion":2,"manifests":[]}"#] {
            assert!(layer_of(other.as_bytes(), YANK_TYPE).is_err(), "{other}");
        }
    }
}
