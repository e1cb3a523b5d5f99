//! The official fixture's backbone, a BERT made for the purpose, and folders that are not what they should be.

use std::collections::BTreeMap;
use std::fs;

use kadapter_registry::tensors::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::tests::{data, files, identity, publishable, tensors};
use super::*;
use crate::weights::write_f32;

/// The official fixture as a Hugging Face folder.
fn roberta() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("config.json", "config.json"),
        ("backbone.safetensors", "model.safetensors"),
        ("tokenizer/vocab.json", "vocab.json"),
        ("tokenizer/merges.txt", "merges.txt"),
    ] {
        fs::copy(data("official").join(from), folder.path().join(to)).unwrap();
    }
    folder
}

fn edit(folder: &TempDir, change: impl Fn(&mut Value)) {
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
}

/// Imports a folder, expects a refusal that leaves nothing behind, and gives its sentence.
fn refusal(folder: &TempDir) -> String {
    let place = tempfile::tempdir().unwrap();
    let error =
        import(folder.path(), &identity("kadapter/tiny"), &place.path().join("out"), Options::default()).unwrap_err();
    assert_eq!(files(place.path()), [""; 0], "something was left behind");
    error.to_string().replace(&folder.path().display().to_string(), "DIR")
}

#[test]
fn the_official_backbone_is_imported() {
    let folder = roberta();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("deep/out");
    let report = import(folder.path(), &identity("kadapter/tiny"), &out, Options::default()).unwrap();
    assert_eq!(
        files(&out),
        ["README.md", "config.json", "kadapter-package.toml", "tokenizer.json", "weights.safetensors"]
    );
    assert_eq!(
        report.dropped,
        [
            "lm_head.bias",
            "lm_head.dense.bias",
            "lm_head.dense.weight",
            "lm_head.layer_norm.bias",
            "lm_head.layer_norm.weight",
            "roberta.pooler.dense.bias",
            "roberta.pooler.dense.weight"
        ]
    );
    let before = tensors(&folder.path().join("model.safetensors"));
    let after = tensors(&out.join("weights.safetensors"));
    assert_eq!(after.len(), 5 + 4 * 16);
    for (name, tensor) in &after {
        assert!(*tensor == before[&format!("roberta.{name}")], "{name}");
    }
    let config: Value = serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
    for (field, expected) in [
        ("model_type", json!("roberta")),
        ("max_position_embeddings", json!(50)),
        ("layer_norm_eps", json!(1e-5)),
        ("pad_token_id", json!(1)),
        ("tokenizer_pad_token_id", json!(1)),
        ("bos_token_id", json!(0)),
        ("eos_token_id", json!(2)),
        ("mask_token_id", json!(4)),
        ("cls_token", json!("<s>")),
        ("sep_token", json!("</s>")),
    ] {
        assert_eq!(config[field], expected, "{field}");
    }
    assert!(matches!(publishable(&out).content, Content::Backbone(_)));
    assert_eq!(report.directory, out);
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("CC-BY-NC-4.0") && card.contains("T-REx, via | LAMA"), "{card}");
    assert!(card.contains(&report.sources[1].digest.hex()), "{card}");
}

/// The tokenizer made of `vocab.json` and `merges.txt` splits as the official code does (its prefix space apart).
#[test]
fn the_byte_level_tokenizer_is_the_official_one() {
    let folder = roberta();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    import(folder.path(), &identity("kadapter/tiny"), &out, Options::default()).unwrap();
    let tokenizer = tokenizers::Tokenizer::from_file(out.join("tokenizer.json")).unwrap();
    let features: Value = serde_json::from_slice(&fs::read(data("official/data/features.json")).unwrap()).unwrap();
    let cases = features["tokenize"].as_array().unwrap();
    let mut compared = 0;
    for case in cases {
        let text = case["text"].as_str().unwrap();
        // Special tokens inside, and texts of spaces alone, are the host's wrapper's matter.
        if text.trim().is_empty() || text.contains('<') {
            continue;
        }
        let expected: Vec<u64> = case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        let encoding = tokenizer.encode(format!(" {}", text.trim()), false).unwrap();
        let found: Vec<u64> = encoding.get_ids().iter().map(|id| u64::from(*id)).collect();
        assert_eq!(found, expected, "{text:?}");
        compared += 1;
    }
    assert!(compared > 3);
}

#[test]
fn weights_may_be_narrowed_and_the_language_head_kept() {
    let folder = roberta();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let options = Options { storage: Storage::As(Dtype::F16), keep_lm_head: true };
    let report = import(folder.path(), &identity("kadapter/tiny"), &out, options).unwrap();
    assert_eq!(report.dropped.len(), 2);
    assert_eq!(report.weights[0].tensors, 5 + 4 * 16 + 5);
    let before = tensors(&folder.path().join("model.safetensors"));
    for (name, (shape, values)) in tensors(&out.join("weights.safetensors")) {
        let (old_shape, old) = before.get(&name).unwrap_or_else(|| &before[&format!("roberta.{name}")]);
        assert_eq!(&shape, old_shape);
        for (new, old) in values.iter().zip(old) {
            assert_eq!(*new, half::f16::from_f32(*old).to_f32(), "{name}");
        }
    }
}

/// A BERT of two layers, values all different, spelt as the oldest ones are.
fn bert() -> (TempDir, BTreeMap<String, Vec<f32>>) {
    let folder = tempfile::tempdir().unwrap();
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "##s", "the"];
    fs::write(folder.path().join("vocab.txt"), words.join("\n")).unwrap();
    let config = json!({
        "model_type": "bert", "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 6,
        "vocab_size": 8, "max_position_embeddings": 10, "type_vocab_size": 2, "pad_token_id": 0, "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    });
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![8, 4]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![10, 4]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, 4]),
        ("embeddings.LayerNorm.gamma".to_owned(), vec![4]),
        ("embeddings.LayerNorm.beta".to_owned(), vec![4]),
        ("pooler.dense.weight".to_owned(), vec![4, 4]),
    ];
    for layer in 0..2 {
        super::super::layout::transformer(&mut shapes, &format!("encoder.layer.{layer}"), 4, 6);
    }
    let mut next = 0.0;
    let values: BTreeMap<String, Vec<f32>> = shapes
        .iter()
        .map(|(name, shape)| {
            let values = (0..shape.iter().product::<usize>())
                .map(|_| {
                    next += 0.5;
                    next
                })
                .collect();
            (format!("bert.{name}"), values)
        })
        .collect();
    let shapes: BTreeMap<String, Vec<usize>> =
        shapes.into_iter().map(|(name, shape)| (format!("bert.{name}"), shape)).collect();
    let list: Vec<(&str, &[usize], &[f32])> =
        values.iter().map(|(name, values)| (name.as_str(), shapes[name].as_slice(), values.as_slice())).collect();
    write_f32(&folder.path().join("model.safetensors"), Dtype::F32, &list, &BTreeMap::new()).unwrap();
    (folder, values)
}

#[test]
fn a_bert_is_laid_out_as_a_roberta() {
    let (folder, before) = bert();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let report = import(folder.path(), &identity("kadapter/tiny"), &out, Options::default()).unwrap();
    assert_eq!(report.dropped, ["bert.pooler.dense.weight"]);
    let after = tensors(&out.join("weights.safetensors"));
    let (shape, positions) = &after["embeddings.position_embeddings.weight"];
    assert_eq!(shape, &[12, 4]);
    assert_eq!(positions[..8], [0.0; 8]);
    assert_eq!(positions[8..], before["bert.embeddings.position_embeddings.weight"]);
    let (shape, types) = &after["embeddings.token_type_embeddings.weight"];
    assert_eq!(shape, &[1, 4]);
    assert_eq!(types[..], before["bert.embeddings.token_type_embeddings.weight"][..4]);
    assert_eq!(after["embeddings.LayerNorm.weight"].1, before["bert.embeddings.LayerNorm.gamma"]);
    assert_eq!(after["embeddings.LayerNorm.bias"].1, before["bert.embeddings.LayerNorm.beta"]);
    let config: Value = serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
    for (field, expected) in [
        ("model_type", json!("roberta")),
        ("max_position_embeddings", json!(12)),
        ("type_vocab_size", json!(1)),
        ("layer_norm_eps", json!(1e-12)),
        ("pad_token_id", json!(1)),
        ("position_offset", json!(2)),
        ("tokenizer_pad_token_id", json!(0)),
        ("bos_token_id", json!(2)),
        ("eos_token_id", json!(3)),
        ("cls_token", json!("[CLS]")),
        ("pad_token", json!("[PAD]")),
    ] {
        assert_eq!(config[field], expected, "{field}");
    }
    let tokenizer = tokenizers::Tokenizer::from_file(out.join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer.encode("The Rivers, x", true).unwrap().get_ids(), [2, 7, 5, 6, 1, 1, 3]);
    publishable(&out);
    // What was imported once can be imported again, and stays the same.
    fs::rename(out.join("weights.safetensors"), out.join("model.safetensors")).unwrap();
    let again = place.path().join("again");
    import(&out, &identity("kadapter/tiny"), &again, Options::default()).unwrap();
    assert!(tensors(&again.join("weights.safetensors")) == after);
    assert_eq!(fs::read(again.join("config.json")).unwrap(), fs::read(out.join("config.json")).unwrap());
}

#[test]
fn truncation_and_padding_leave_the_tokenizer() {
    let (folder, _) = bert();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    import(folder.path(), &identity("kadapter/tiny"), &out, Options::default()).unwrap();
    let mut json: Value = serde_json::from_slice(&fs::read(out.join("tokenizer.json")).unwrap()).unwrap();
    json["truncation"] = json!({ "max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right" });
    json["padding"] = json!({ "strategy": { "Fixed": 9 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "[PAD]" });
    fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    let again = place.path().join("again");
    import(folder.path(), &identity("kadapter/tiny"), &again, Options::default()).unwrap();
    let tokenizer = tokenizers::Tokenizer::from_file(again.join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer.encode("the river the river", false).unwrap().get_ids(), [7, 5, 7, 5]);
}

#[test]
fn settings_that_are_not_computed_are_refused_by_name() {
    for (field, value, expected) in [
        (
            "hidden_act",
            json!("gelu_new"),
            "`DIR/config.json` has `hidden_act` `gelu_new`, expected `gelu`, the one with the error function",
        ),
        ("model_type", json!("deberta"), "`DIR/config.json` has `model_type` `deberta`, expected `roberta` or `bert`"),
        (
            "position_embedding_type",
            json!("relative_key"),
            "`position_embedding_type` `relative_key`, expected `absolute`",
        ),
        ("is_decoder", json!(true), "`is_decoder` true"),
        ("num_attention_heads", json!(5), "`num_attention_heads` 5, expected a divisor of the hidden size 32"),
        ("num_hidden_layers", json!(100_000), "`num_hidden_layers` 100000, expected at most 255"),
        ("vocab_size", json!(0), "`vocab_size` 0, expected 1 to 1048576"),
        ("pad_token_id", json!(49), "`pad_token_id` 49"),
        ("pad_token_id", json!(3), "The tokenizer of `DIR` has `<pad>` as 1, but `pad_token_id` is 3"),
        ("bos_token_id", json!(7), "The tokenizer of `DIR` has `<s>` as 0, but `bos_token_id` is 7"),
        ("layer_norm_eps", json!(0.0), "`layer_norm_eps` 0"),
        ("hidden_size", json!("wide"), "Could not understand `DIR/config.json`"),
    ] {
        let folder = roberta();
        edit(&folder, |config| config[field] = value.clone());
        let message = refusal(&folder);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn all_differences_are_told_at_once() {
    let folder = roberta();
    edit(&folder, |config| {
        config["num_hidden_layers"] = json!(3);
        config["intermediate_size"] = json!(40);
        config["max_position_embeddings"] = json!(60);
    });
    insta::assert_snapshot!(refusal(&folder), @"The tensors of `DIR/model.safetensors` are not those of a RoBERTa of 3 layers and 32 columns: 16 unexpected (`roberta.encoder.layer.3.attention.output.LayerNorm.bias`, `roberta.encoder.layer.3.attention.output.LayerNorm.weight`, `roberta.encoder.layer.3.attention.output.dense.bias`, `roberta.encoder.layer.3.attention.output.dense.weight`, `roberta.encoder.layer.3.attention.self.key.bias`, `roberta.encoder.layer.3.attention.self.key.weight` and 10 more), 10 of another shape (`roberta.embeddings.position_embeddings.weight` is [50, 32] instead of [60, 32], `roberta.encoder.layer.0.intermediate.dense.weight` is [48, 32] instead of [40, 32], `roberta.encoder.layer.0.intermediate.dense.bias` is [48] instead of [40], `roberta.encoder.layer.0.output.dense.weight` is [32, 48] instead of [32, 40], `roberta.encoder.layer.1.intermediate.dense.weight` is [48, 32] instead of [40, 32], `roberta.encoder.layer.1.intermediate.dense.bias` is [48] instead of [40] and 4 more)");
    edit(&folder, |config| config["num_hidden_layers"] = json!(5));
    assert!(refusal(&folder).contains("16 missing (`encoder.layer.4.attention.self.query.weight`, "));
}

#[test]
fn files_that_are_missing_or_broken_are_named() {
    let folder = roberta();
    fs::remove_file(folder.path().join("merges.txt")).unwrap();
    assert_eq!(refusal(&folder), "`DIR` has none of `tokenizer.json`, `vocab.json with merges.txt`");
    fs::write(folder.path().join("merges.txt"), "#version: 0.2\nh e\nthree are many\n").unwrap();
    assert_eq!(refusal(&folder), "The tokenizer of `DIR` has a line 3 in `merges.txt` that is not two tokens");
    fs::write(folder.path().join("merges.txt"), "#version: 0.2\nnot there\n").unwrap();
    assert!(refusal(&folder).contains("does not load"));
    fs::rename(folder.path().join("model.safetensors"), folder.path().join("model.safetensors.index.json")).unwrap();
    assert_eq!(refusal(&folder), "`DIR/model.safetensors.index.json` spreads the weights over several files");
    fs::remove_file(folder.path().join("model.safetensors.index.json")).unwrap();
    assert_eq!(refusal(&folder), "`DIR` has none of `model.safetensors`, `pytorch_model.bin`");
    fs::write(folder.path().join("model.safetensors"), "<html>").unwrap();
    assert_eq!(refusal(&folder), "Could not read the PyTorch file `DIR/model.safetensors`");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    assert_eq!(refusal(&folder), "Could not read `DIR/config.json`");
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let (folder, _) = bert();
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let data = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
    // The third value of the first tensor.
    bytes[data + 8..data + 12].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    insta::assert_snapshot!(
        refusal(&folder),
        @"Tensor `bert.embeddings.LayerNorm.beta` has the value NaN at index 2; weights must be finite"
    );
}

#[test]
fn a_place_that_is_taken_stays_as_it_is() {
    let folder = roberta();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    fs::write(&out, "mine").unwrap();
    let error = import(folder.path(), &identity("kadapter/tiny"), &out, Options::default()).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }));
    assert!(error.hint().unwrap().contains("rm -r"));
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    assert_eq!(files(place.path()), ["out"]);
}
