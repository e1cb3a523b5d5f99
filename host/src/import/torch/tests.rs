//! Files that torch wrote, files that it would never write, and files that mean harm.

mod hostile;

use std::path::PathBuf;

use kadapter_registry::digest::Hasher;
use kadapter_registry::tensors::Header;

use super::{Error, StateDict};

/// A file of the cross-crate test data.
fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data")).join(name)
}

fn read_all(name: &str) -> Vec<(String, String, Vec<usize>, Vec<u8>)> {
    let mut state = StateDict::open(&data(name)).unwrap();
    let tensors = state.tensors().to_vec();
    let mut bytes = Vec::new();
    tensors
        .into_iter()
        .map(|tensor| {
            state.read(&tensor.name, &mut bytes).unwrap();
            (tensor.name, tensor.dtype.name().to_owned(), tensor.shape, bytes.clone())
        })
        .collect()
}

/// Every dtype, parameters, and views of all kinds on one storage.
#[test]
fn every_format_gives_what_torch_gives() {
    let file = std::fs::read(data("torch/variants.safetensors")).unwrap();
    let header = Header::read(file.as_slice()).unwrap();
    let start = usize::try_from(header.size()).unwrap();
    for name in
        ["torch/variants.zip.pt", "torch/variants.protocol4.pt", "torch/variants.legacy.pt", "torch/checkpoint.pt"]
    {
        let tensors = read_all(name);
        assert_eq!(tensors.len(), header.tensors().len());
        for (tensor, dtype, shape, bytes) in tensors {
            let expected = header.tensors().iter().find(|info| info.name == tensor).unwrap();
            assert_eq!(dtype, expected.dtype.name(), "{name}: {tensor}");
            assert_eq!(shape, expected.shape, "{name}: {tensor}");
            let (begin, end) = (expected.begin as usize, expected.end as usize);
            assert_eq!(bytes, file[start + begin..start + end], "{name}: {tensor}");
        }
    }
}

#[test]
fn a_checkpoint_names_what_it_holds_besides() {
    let state = StateDict::open(&data("torch/checkpoint.pt")).unwrap();
    assert_eq!(state.others(), ["epoch", "lr", "name", "history"]);
}

#[test]
fn untyped_storages_take_the_dtype_of_the_tensor() {
    let tensors = read_all("torch/unsigned.pt");
    assert_eq!(tensors[0].1, "U16");
    assert_eq!(tensors[0].3, [1, 0, 255, 255]);
    assert_eq!(tensors[1].3, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
}

/// The digests were computed with torch 2.15: names in order, each followed by its contiguous bytes.
#[test]
fn official_adapters_are_the_same_in_both_formats() {
    for (adapter, count, digest) in [
        ("fac", 114, "3c9a5a7712950ad91162d359999d02c0b3512402e54cd6e40961fc3499ae5a97"),
        ("lin", 124, "308a279c9fe721a277b0af59faf54dc835fc4c19ff71852195a31fff536236c7"),
    ] {
        let legacy = read_all(&format!("official/{adapter}-adapter/pytorch_model.bin"));
        let zip = read_all(&format!("official/{adapter}-adapter/pytorch_model.zip.bin"));
        assert_eq!(legacy.len(), count);
        assert!(legacy == zip, "{adapter}: the formats differ");
        let mut sorted = legacy;
        sorted.sort();
        let mut hasher = Hasher::new();
        for (name, _, _, bytes) in &sorted {
            hasher.update(name.as_bytes());
            hasher.update(bytes);
        }
        assert_eq!(hasher.finish().0.hex(), digest, "{adapter}");
    }
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for (content, expected) in [
        (&b""[..], "an empty file"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\x10\0\0\0\0\0\0\0{\"a\":1}", "a safetensors file"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"\x80\x02K\x01.", "another kind of pickle"),
        (b"hello", "something else"),
    ] {
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        let message = StateDict::open(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
