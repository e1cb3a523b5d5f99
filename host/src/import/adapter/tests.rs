//! The official fixtures' adapters, and what does not fit them.

use std::collections::BTreeMap;
use std::fs;

use kadapter_registry::tensors::Dtype;

use super::super::tests::{backbone, data, files, identity, publishable, tensors};
use super::*;
use crate::weights::write_f32;

const FAC: &str = "official/fac-adapter/pytorch_model.bin";

fn options() -> Options {
    let plugin = PluginNeed { package: "kadapter-plugins/factual".parse().unwrap(), version: "^1".parse().unwrap() };
    let need = backbone();
    Options { taps: vec![0, 2, 3], heads: 3, ..Options::official(plugin, need.package, need.weights) }
}

fn refusal(file: &Path, options: &Options) -> String {
    let place = tempfile::tempdir().unwrap();
    let error = import(file, &identity("kadapter/factual"), &place.path().join("out"), options).unwrap_err();
    assert_eq!(files(place.path()), [""; 0], "something was left behind");
    error.to_string()
}

#[test]
fn official_adapters_are_imported_from_both_formats() {
    let place = tempfile::tempdir().unwrap();
    for (adapter, dropped) in [("fac", 6), ("lin", 16)] {
        let mut digests = Vec::new();
        for file in ["pytorch_model.bin", "pytorch_model.zip.bin"] {
            let out = place.path().join(format!("{adapter}-{file}"));
            let file = data(&format!("official/{adapter}-adapter/{file}"));
            let report = import(&file, &identity("kadapter/factual"), &out, &options()).unwrap();
            assert_eq!(report.weights[0].tensors, 108);
            assert_eq!(report.dropped.len(), dropped);
            digests.push(report.weights[0].digest);
            let package = publishable(&out);
            let Content::Adapter(content) = package.content else { panic!("not an adapter") };
            assert_eq!(content.taps, [0, 2, 3]);
            assert_eq!(content.backbone, backbone());
            insta::allow_duplicates! {
                insta::assert_snapshot!(content.config, @r"
                dropout = 0.1
                ffn = 40
                heads = 3
                layer_norm_eps = 0.00001
                layers = 2
                size = 24
                skip = 0
                ");
            }
        }
        assert_eq!(digests[0], digests[1], "{adapter}: the formats differ");
    }
}

#[test]
fn names_and_values_stay_as_they_are() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    import(&data(FAC), &identity("kadapter/factual"), &out, &options()).unwrap();
    let after = tensors(&out.join("weights.safetensors"));
    let mut state = super::super::torch::StateDict::open(&data(FAC)).unwrap();
    let mut bytes = Vec::new();
    for (name, (shape, values)) in &after {
        let tensor = state.tensors().iter().find(|tensor| tensor.name == *name).unwrap().clone();
        state.read(name, &mut bytes).unwrap();
        assert_eq!(*shape, tensor.shape);
        let expected: Vec<f32> = bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        assert!(*values == expected, "{name}");
    }
    // A safetensors file, narrowed.
    let again = place.path().join("again");
    let options = Options { storage: Storage::As(Dtype::BF16), ..options() };
    let report = import(&out.join("weights.safetensors"), &identity("kadapter/factual"), &again, &options).unwrap();
    assert_eq!(report.dropped, [""; 0]);
    assert!(report.weights[0].size < fs::metadata(out.join("weights.safetensors")).unwrap().len() * 3 / 5);
}

/// Downstream checkpoints hold both adapters and more, each under a prefix.
#[test]
fn one_of_several_adapters_is_chosen_by_its_prefix() {
    let place = tempfile::tempdir().unwrap();
    let first = place.path().join("first");
    import(&data(FAC), &identity("kadapter/factual"), &first, &options()).unwrap();
    let own = tensors(&first.join("weights.safetensors"));
    let zeros: BTreeMap<&String, Vec<f32>> =
        own.iter().map(|(name, (_, values))| (name, vec![0.0; values.len()])).collect();
    let names: Vec<(String, String)> =
        own.keys().map(|name| (format!("fac_adapter.{name}"), format!("lin_adapter.{name}"))).collect();
    let mut list: Vec<(&str, &[usize], &[f32])> = vec![("task_dense.bias", &[1], &[1.0])];
    for ((name, (shape, values)), (fac, lin)) in own.iter().zip(&names) {
        list.push((fac, shape, values));
        list.push((lin, shape, &zeros[name]));
    }
    let both = place.path().join("both.safetensors");
    write_f32(&both, Dtype::F32, &list, &BTreeMap::new()).unwrap();
    let out = place.path().join("out");
    let options = Options { prefix: "fac_adapter.".to_owned(), ..options() };
    let report = import(&both, &identity("kadapter/factual"), &out, &options).unwrap();
    assert_eq!(report.dropped.len(), 109);
    assert!(tensors(&out.join("weights.safetensors")) == own);
    let message = refusal(&both, &Options { prefix: String::new(), ..options });
    assert!(message.contains("2 missing (`adapter.0.down_project.weight`, "), "{message}");
}

#[test]
fn what_does_not_fit_the_file_is_refused() {
    let file = data(FAC);
    let base = options();
    for (options, expected) in [
        (
            Options { taps: vec![0, 2], ..base.clone() },
            "`--taps` is `0,2`, expected 3 taps, one per adapter layer of the file",
        ),
        (
            Options { taps: vec![0, 2, 2], ..base.clone() },
            "`--taps` is `0,2,2`, expected different indices of hidden states",
        ),
        (Options { heads: 5, ..base.clone() }, "`--heads` is `5`, expected a divisor of the adapter's size 24"),
        (Options { heads: 0, ..base.clone() }, "`--heads` is `0`"),
        (Options { skip: 1, ..base.clone() }, "`--skip-layers` is `1`, expected 0 (off) or at least 2"),
        (Options { dropout: 1.0, ..base.clone() }, "`--dropout` is `1`"),
        (Options { layer_norm_eps: f64::NAN, ..base.clone() }, "`--layer-norm-eps` is `NaN`"),
        (Options { prefix: "et_adapter.".to_owned(), ..base.clone() }, "are not those of a K-Adapter: 2 missing"),
    ] {
        let message = refusal(&file, &options);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn tensors_that_are_not_an_adapter_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.safetensors");
    let list: [(&str, &[usize], &[f32]); 4] = [
        ("adapter.0.down_project.weight", &[1, 2], &[1.0, 1.0]),
        ("adapter.0.encoder.layer.0.intermediate.dense.weight", &[2, 1], &[1.0, 1.0]),
        ("adapter.0.up_project.weight", &[1, 2], &[1.0, 1.0]),
        ("adapter.999999999999.up_project.weight", &[1], &[1.0]),
    ];
    write_f32(&path, Dtype::F32, &list, &BTreeMap::new()).unwrap();
    let message = refusal(&path, &options());
    assert!(message.contains("1 unexpected (`adapter.999999999999.up_project.weight`)"), "{message}");
    assert!(
        message.contains("1 of another shape (`adapter.0.up_project.weight` is [1, 2] instead of [2, 1])"),
        "{message}"
    );
    let numbers: [(&str, &[usize], &[f32]); 1] = [("adapter.0.down_project.weight", &[], &[1.0])];
    write_f32(&path, Dtype::F32, &numbers, &BTreeMap::new()).unwrap();
    assert!(refusal(&path, &options()).contains("2 missing"));
}
