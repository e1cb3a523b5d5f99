//! Reading back what was written, and refusing what was changed.

use std::collections::BTreeMap;

use kadapter_registry::tensors::Dtype;

use super::super::{TensorSpec, Writer, write_f32};
use super::*;

fn sample(folder: &Path, dtype: Dtype) -> (PathBuf, Expected, Vec<f32>) {
    let path = folder.join("weights.safetensors");
    // Larger than a chunk, so that its seams are read.
    let large: Vec<f32> = (0..100_000_i32).map(|index| (index % 1000 - 500) as f32 / 16.0).collect();
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let tensors: [(&str, &[usize], &[f32]); 3] =
        [("z", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), ("a", &[100, 1000], &large), ("empty", &[0, 4], &[])];
    let (digest, size) = write_f32(&path, dtype, &tensors, &metadata).unwrap();
    (path, Expected { digest, size }, large)
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
        let (path, expected, large) = sample(folder.path(), dtype);
        assert_eq!(Digest::of(&std::fs::read(&path).unwrap()), expected.digest);
        let mut reader = Reader::open(&path, Some(expected)).unwrap();
        assert_eq!(reader.header().metadata()["format"], "pt");
        assert_eq!(reader.header().size() % 8, 0);
        let mut names = Vec::new();
        while let Some(tensor) = reader.next_tensor().unwrap() {
            let info = tensor.info().clone();
            let values = tensor.read_f32().unwrap();
            match info.name.as_str() {
                "a" if dtype == Dtype::BF16 => assert_eq!(values.len(), large.len()),
                "a" => assert!(values == large),
                "z" => assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
                _ => assert_eq!(info.shape, [0, 4]),
            }
            names.push(info.name);
        }
        assert_eq!(names, ["a", "empty", "z"]);
        assert_eq!(reader.finish().unwrap(), (expected.digest, expected.size));
    }
}

#[test]
fn tensors_may_be_skipped_and_are_hashed_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (path, expected, _) = sample(folder.path(), Dtype::F32);
    Reader::open(&path, Some(expected)).unwrap().finish().unwrap();
    let mut reader = Reader::open(&path, Some(expected)).unwrap();
    let mut last = Vec::new();
    while let Some(tensor) = reader.next_tensor().unwrap() {
        if tensor.info().name == "z" {
            last = tensor.read_f32().unwrap();
        }
    }
    assert_eq!(last, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    reader.finish().unwrap();
    let mut seen = 0;
    Reader::open(&path, Some(expected))
        .unwrap()
        .for_each::<Error>(|info, bytes| {
            assert_eq!(info.len(), bytes.len() as u64);
            seen += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, 3);
}

/// A flipped bit anywhere, a byte less, a byte more: refused at the latest at the end.
#[test]
fn changed_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, expected, _) = sample(folder.path(), Dtype::F16);
    let good = std::fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Reader::open(&path, Some(expected))?.for_each::<Error>(|_, _| Ok(()))
    };
    for at in [0, 20, 200, good.len() / 2, good.len() - 1] {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert!(read(&changed).is_err(), "byte {at}");
    }
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    let message = read(&changed).unwrap_err().to_string();
    assert!(message.contains("have the digest `sha256:") && message.contains("expected `sha256:"), "{message}");
    assert!(matches!(read(&good[..good.len() - 1]).unwrap_err(), Error::Size { .. }));
    assert!(matches!(read(&[good.as_slice(), &[0]].concat()).unwrap_err(), Error::Size { .. }));
    read(&good).unwrap();
}

#[test]
fn values_that_are_not_finite_are_refused_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let spec = TensorSpec { name: "w".to_owned(), dtype: Dtype::F16, shape: vec![70_000] };
    let mut writer = Writer::create(&path, vec![spec], &BTreeMap::new()).unwrap();
    let mut bytes = vec![0; 140_000];
    bytes[2 * 69_000..2 * 69_001].copy_from_slice(&0x7c00_u16.to_le_bytes());
    writer.tensor("w", &bytes).unwrap();
    writer.finish().unwrap();
    let mut reader = Reader::open(&path, None).unwrap();
    let error = reader.next_tensor().unwrap().unwrap().read_f32().unwrap_err();
    insta::assert_snapshot!(error, @"Tensor `w` has the value inf at index 69000; weights must be finite");
}

#[test]
fn a_writer_takes_what_it_was_told_and_leaves_nothing_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let spec = |name: &str, dtype| TensorSpec { name: name.to_owned(), dtype, shape: vec![2] };
    let create =
        || Writer::create(&path, vec![spec("b", Dtype::F16), spec("a", Dtype::F32)], &BTreeMap::new()).unwrap();
    let order: Vec<_> = create().order().iter().map(|info| info.name.clone()).collect();
    assert_eq!(order, ["a", "b"]);
    let error = create().tensor("b", &[0; 4]).unwrap_err().to_string();
    assert!(error.ends_with("expected tensor `a` with 8 bytes, found `b` with 4"), "{error}");
    assert!(create().tensor("a", &[0; 7]).is_err());
    let mut writer = create();
    writer.tensor("a", &[0; 8]).unwrap();
    assert!(writer.finish().is_err());
    let twice = vec![spec("a", Dtype::F16), spec("a", Dtype::F32)];
    assert!(matches!(Writer::create(&path, twice, &BTreeMap::new()), Err(Error::Layout { .. })));
    let nothing: [(&str, &[usize], &[f32]); 1] = [("a", &[1], &[f32::NAN])];
    assert!(write_f32(&path, Dtype::F32, &nothing, &BTreeMap::new()).is_err());
    let wrong: [(&str, &[usize], &[f32]); 1] = [("a", &[2], &[1.0])];
    assert!(write_f32(&path, Dtype::F32, &wrong, &BTreeMap::new()).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_is_no_float_has_no_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let spec = TensorSpec { name: "ids".to_owned(), dtype: Dtype::I64, shape: vec![1] };
    let mut writer = Writer::create(&path, vec![spec], &BTreeMap::new()).unwrap();
    writer.tensor("ids", &[0; 8]).unwrap();
    writer.finish().unwrap();
    let mut reader = Reader::open(&path, None).unwrap();
    let error = reader.next_tensor().unwrap().unwrap().read_f32().unwrap_err();
    insta::assert_snapshot!(error, @"Tensor `ids` is of type I64, expected F32, F16, BF16 or F64");
    reader.finish().unwrap();
}
