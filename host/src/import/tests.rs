//! What the tests of all imports share: data, identities, and a look at what was written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kadapter_registry::package::BackboneNeed;
use kadapter_registry::{Digest, Package};

use super::Identity;
use crate::weights::Reader;

/// A file of the cross-crate test data.
pub(super) fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data")).join(name)
}

pub(super) fn identity(name: &str) -> Identity {
    Identity {
        name: name.parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        license: "CC-BY-NC-4.0".parse().unwrap(),
        description: None,
        attribution: Some("T-REx, via | LAMA".to_owned()),
    }
}

pub(super) fn backbone() -> BackboneNeed {
    BackboneNeed { package: "kadapter/tiny".parse().unwrap(), weights: Digest::of(b"backbone") }
}

/// Shape and values of every tensor of a safetensors file.
pub(super) fn tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut reader = Reader::open(path, None).unwrap();
    let mut tensors = BTreeMap::new();
    while let Some(tensor) = reader.next_tensor().unwrap() {
        let info = tensor.info().clone();
        tensors.insert(info.name, (info.shape, tensor.read_f32().unwrap()));
    }
    tensors
}

/// Every package that an import makes is one that can be published.
pub(super) fn publishable(directory: &Path) -> Package {
    kadapter_registry::publish::check(directory).unwrap().package
}

/// Names of the files in a folder, temporary ones included.
pub(super) fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
