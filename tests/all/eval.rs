//! `kadapter eval`: the seed's head over a dozen labelled sentences, the official tiny heads, and a backbone that fills in words.

use crate::command::{run, said};
use crate::golden::example;
use kadapter_host::backbone::{MAX_CONFIG_BYTES, RobertaConfig};
use kadapter_host::data::{Labelled, Options, Source};
use kadapter_host::evaluate::{Cloze, ClozeOptions, Filled, Words};
use kadapter_host::import::{Identity, backbone};
use kadapter_host::pipeline::{Plan, RawInput, Settings};
use kadapter_host::tensor::device::{DeviceChoice, Dtype};
use kadapter_host::tokenizer::{SpecialTokens, Tokenizer};
use kadapter_host::weights::Reader;
use kadapter_registry::package::{Fusion, TaskKind};
use kadapter_registry::project::{FileRef, ResolvedBackbone};
use kadapter_tests::world::{HeadCase, open_plan, task_entry};
use kadapter_tests::{Publisher, World, paths};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn sample(name: &str) -> String {
    paths::data("labelled").join(name).to_str().unwrap().to_owned()
}

fn json(folder: &Path, words: &[&str]) -> Value {
    let ran = run(folder, &[words, &["--json"]].concat());
    assert!(ran.success, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn the_seed_is_scored_as_semeval_scores() {
    let (folder, _) = example("relation");
    let folder = folder.path();
    let data = sample("semeval.txt.xz");
    let scored = json(folder, &["eval", "relation", "--data", &data, "--predictions", "out.jsonl"]);
    assert_eq!((&scored["metric"], &scored["scored"], &scored["read"]), (&"semeval".into(), &12.into(), &12.into()));

    // The score again, from the file of predictions and the answers of `run`.
    let predictions: Vec<Value> = fs::read_to_string(folder.join("out.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(predictions.len(), 12);
    let bare = |label: &Value| label.as_str().unwrap().split('(').next().unwrap().to_owned();
    let mut counts: BTreeMap<String, [f64; 3]> = BTreeMap::new();
    for prediction in &predictions {
        let (gold, label) = (&prediction["gold"], &prediction["answer"]["label"]);
        counts.entry(bare(gold)).or_default()[2] += 1.0;
        counts.entry(bare(label)).or_default()[1] += 1.0;
        counts.entry(bare(gold)).or_default()[0] += f64::from(u8::from(gold == label));
    }
    let f1: Vec<f64> = counts
        .iter()
        .filter(|(name, [_, _, gold])| *name != "Other" && *gold > 0.0)
        .map(|(_, [correct, predicted, gold])| 2.0 * correct / (predicted + gold))
        .collect();
    let expected = f1.iter().sum::<f64>() / f1.len() as f64;
    let found = scored["scores"]["macro_F1"].as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    assert!(found > 0.5, "a trained head knows most of such sentences: {found}");
    assert_eq!(predictions[9]["line"], 37);
    let text = "The <e1>handle</e1> of the old <e2>kettle</e2> broke off this morning.";
    let answered = json(folder, &["run", "relation", text]);
    assert_eq!(answered["answer"], predictions[0]["answer"]);

    // Another metric, fewer records, a table for people.
    let scored = json(folder, &["eval", "relation", "--data", &data, "--metric", "accuracy", "--limit", "5"]);
    let right = predictions[..5].iter().filter(|line| line["gold"] == line["answer"]["label"]).count();
    assert_eq!((scored["scored"].as_u64(), scored["scores"]["accuracy"].as_f64()), (Some(5), Some(right as f64 / 5.0)));
    let table = run(folder, &["eval", "relation", "--data", &data]).stdout;
    assert!(table.starts_with("relation: 12 answers, metric `semeval`\n  macro F1"), "{table}");
    let twice = json(folder, &["eval", "relation", "--data", &data, &sample("semeval.txt")]);
    assert_eq!((&twice["scored"], &twice["scores"]["macro_F1"]), (&24.into(), &found.into()));
}

#[test]
fn what_is_wrong_is_said_before_a_model_is_loaded_and_leaves_no_file() {
    let (folder, _) = example("relation");
    let folder = folder.path();
    fs::write(
        folder.join("labels.jsonl"),
        "{\"text\": \"<e1>a</e1> <e2>b</e2>\", \"label\": \"Other\"}\n{\"text\": \"<e1>a</e1> <e2>b</e2>\", \"label\": \"Cause\"}\n",
    )
    .unwrap();
    fs::write(
        folder.join("tags.jsonl"),
        "{\"text\": \"<e1>a</e1> b\", \"label\": \"Other\"}\n{\"text\": \"The <e1>storm</e1> caused a <e2>flood</e2>.\", \"label\": \"Other\"}\n",
    )
    .unwrap();
    let long = format!(
        "{{\"text\": \"The <e1>storm</e1> caused a <e2>flood</e2>{}\", \"label\": \"Other\"}}\n",
        " and rain".repeat(400)
    );
    fs::write(folder.join("long.jsonl"), long).unwrap();
    let refuse = |words: &[&str]| {
        let said = said(folder, &run(folder, &[&["eval"], words, &["--predictions", "out.jsonl"]].concat()));
        assert!(!folder.join("out.jsonl").exists());
        let left = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!left.into_iter().any(|name| name.starts_with(".predictions")), "a temporary file is left");
        said
    };
    insta::assert_snapshot!(refuse(&["relation", "--data", "labels.jsonl"]), @r"
    error: the data has a label that task `relation` lacks: `Cause` (the first at labels.jsonl:2); the task has 18 that the data lacks: `Cause-Effect(e1,e2)`, `Cause-Effect(e2,e1)`, `Component-Whole(e1,e2)`, `Component-Whole(e2,e1)`, `Content-Container(e1,e2)`, `Content-Container(e2,e1)`, `Entity-Destination(e1,e2)`, `Entity-Destination(e2,e1)` and 10 more
      hint: evaluate with the data that the head was trained for, or leave those records out with `--skip-bad`
    ");
    insta::assert_snapshot!(refuse(&["relation", "--data", "tags.jsonl"]), @r#"
    error: tags.jsonl:1: the task refused the record: The text has no `<e2>`
      hint: a record of kind `relation-classification`: `<e1>Ada</e1> was born in <e2>London</e2>.` or `{"text": "Ada was born in London.", "subject": [0, 3], "object": [16, 22]}`; `--skip-bad` counts such records and goes on
    "#);
    insta::assert_snapshot!(refuse(&["relation", "--data", "long.jsonl"]), @r"
    error: long.jsonl:1: the task refused the record: The text is longer than the backbone takes: 811 tokens, at most 128 are read
      hint: shorten the text or have it cut with `--truncate`; `--skip-bad` counts such records and goes on
    ");
    insta::assert_snapshot!(refuse(&["relation", "--data", &sample("trees.conllu")]), @r"
    error: WORKSPACE/tests/data/labelled/trees.conllu:1: the gold answer does not fit the task: found a dependency tree, expected a label for a task of kind `relation-classification`
      hint: name the format of the data with `--format`, or evaluate another task
    ");
    insta::assert_snapshot!(refuse(&["relation", "--data", "nowhere.jsonl"]), @"
    error: Could not open `nowhere.jsonl`: No such file or directory (os error 2)
      hint: correct the path; those in a recipe are relative to the recipe's folder
    ");
    insta::assert_snapshot!(refuse(&["nothing", "--data", "tags.jsonl"]), @r"
    error: no task is named `nothing`, expected one of `relation`
      hint: see the project's tasks with `kadapter tree`
    ");
    insta::assert_snapshot!(refuse(&["relation", "--data", "tags.jsonl", "--metric", "squad"]), @r"
    error: metric `squad` does not fit a task of kind `relation-classification`, expected `accuracy`, `tacred`, `semeval`
      hint: `--metric accuracy`, or leave it out
    ");
    insta::assert_snapshot!(refuse(&["--data", "tags.jsonl"]), @r"
    error: no task is named, expected one of the manifest
      hint: kadapter eval TASK --data FILE
    ");
    insta::assert_snapshot!(refuse(&["relation", "--lama", &sample("lama.jsonl")]), @r"
    error: task `relation` stacks adapters, and filling in words with adapters needs a layer that was trained on them
      hint: leave the task out to probe the backbone alone: `kadapter eval --lama FILE` (the paper trains a linear layer on WikiText-2 for K-Adapter's own numbers, which is not part of this command)
    ");
    insta::assert_snapshot!(refuse(&["--lama", &sample("lama.jsonl")]), @r"
    error: backbone `kadapter/minilm-roberta 1.0.0` has no head of a masked language model, expected tensors `lm_head.*` among its weights
      hint: import the backbone again and keep the head: `kadapter import backbone FOLDER --keep-lm-head …`
    ");

    let skipped = json(folder, &["eval", "relation", "--data", "tags.jsonl", "--skip-bad"]);
    assert_eq!((&skipped["refused"], &skipped["scored"]), (&1.into(), &1.into()));
    let skipped = json(folder, &["eval", "relation", "--data", "labels.jsonl", "--skip-bad"]);
    assert_eq!((&skipped["bad"], &skipped["scored"]), (&1.into(), &1.into()));
    let cut = json(folder, &["eval", "relation", "--data", "long.jsonl", "--truncate"]);
    assert_eq!((&cut["cut"], &cut["scored"]), (&1.into(), &1.into()));
}

/// The tiny official heads over the official sample data: every kind of task meets its metric.
#[test]
fn every_kind_is_scored() {
    let mut world = World::with_adapters();
    let stack: &[&str] = &["fac", "lin"];
    let case = |name, prefix, kind, labels, options| HeadCase {
        name,
        prefix,
        kind,
        labels,
        stack,
        fusion: Fusion::Concat,
        options,
        max_length: 44,
    };
    world.add_head(case("typing", "openentity/", TaskKind::EntityTyping, 9, ""));
    world.add_head(case("choice", "cosmosqa/", TaskKind::MultipleChoice, 0, "pad_id = 0"));
    let manifest = world.manifest("p", stack, &[task_entry("typing", stack), task_entry("choice", stack)].concat());
    let folder = manifest.parent().unwrap();
    let official = |name: &str| paths::data("official/data").join(name).to_str().unwrap().to_owned();

    let choice = json(folder, &["eval", "choice", "--data", &official("cosmosqa.jsonl"), "--truncate"]);
    assert_eq!((&choice["metric"], &choice["scored"]), (&"accuracy".into(), &3.into()));
    // The head's labels are numbered, the data's are words: all of them are told apart.
    let refused = said(folder, &run(folder, &["eval", "typing", "--data", &official("openentity.json")]));
    assert!(refused.contains("labels that task `typing` lacks: ") && refused.contains("`label 0`"), "{refused}");
    let lines = "{\"sent\": \"Ada Quill painted the river.\", \"start\": 0, \"end\": 9, \"labels\": [\"label 0\", \"label 6\"]}\n";
    fs::write(folder.join("typing.jsonl"), lines.repeat(5)).unwrap();
    for metric in ["openentity", "figer", "figer-published"] {
        let typing =
            json(folder, &["eval", "typing", "--data", "typing.jsonl", "--metric", metric, "--figer-batch", "2"]);
        assert_eq!((&typing["metric"], &typing["scored"]), (&metric.into(), &5.into()));
        assert_eq!(typing["scores"].as_object().unwrap().len(), 7);
    }
}

/// A backbone package of the official tiny model, with or without its head, as a project's resolved backbone.
fn tiny(folder: &Path, keep_lm_head: bool) -> ResolvedBackbone {
    let checkpoint = folder.join("checkpoint");
    fs::create_dir_all(&checkpoint).unwrap();
    for (from, to) in [
        ("config.json", "config.json"),
        ("backbone.safetensors", "model.safetensors"),
        ("tokenizer/vocab.json", "vocab.json"),
        ("tokenizer/merges.txt", "merges.txt"),
    ] {
        fs::copy(paths::data("official").join(from), checkpoint.join(to)).unwrap();
    }
    let identity = Identity {
        name: "official/tiny".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        license: "MIT".parse().unwrap(),
        description: None,
        attribution: None,
    };
    let out = folder.join(format!("package-{keep_lm_head}"));
    let options = backbone::Options { keep_lm_head, ..backbone::Options::default() };
    backbone::import(&checkpoint, &identity, &out, options).unwrap();
    let record = Publisher::new().publish(&out, &folder.join(format!("registry-{keep_lm_head}")));
    let file = |name: &str| {
        let path = out.join(name);
        let bytes = fs::read(&path).unwrap();
        FileRef { path, digest: kadapter_registry::Digest::of(&bytes), size: bytes.len() as u64 }
    };
    ResolvedBackbone {
        id: record.release.id(),
        release: record.digest,
        license: "MIT".parse().unwrap(),
        attribution: None,
        architecture: "roberta".into(),
        config: file("config.json"),
        weights: file("weights.safetensors"),
        tokenizer: file("tokenizer.json"),
    }
}

/// The error function by its series, to the last digits of f64 where these tests need it.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// The official head, in f64, from its tensors: `LayerNorm(gelu(W h + b)) · wordsᵀ + bias`.
fn head_by_hand(weights: &BTreeMap<String, Vec<f32>>, state: &[f32], epsilon: f64) -> Vec<f64> {
    let get = |name: &str| weights[name].iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
    let width = state.len();
    let linear = |weight: &[f64], input: &[f64]| -> Vec<f64> {
        weight.chunks_exact(width).map(|row| row.iter().zip(input).map(|(w, x)| w * x).sum()).collect()
    };
    let state: Vec<f64> = state.iter().map(|&value| f64::from(value)).collect();
    let dense = linear(&get("lm_head.dense.weight"), &state);
    let gelu: Vec<f64> = dense
        .iter()
        .zip(get("lm_head.dense.bias"))
        .map(|(value, bias)| value + bias)
        .map(|x| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)))
        .collect();
    let mean = gelu.iter().sum::<f64>() / width as f64;
    let variance = gelu.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
    let (scale, shift) = (get("lm_head.layer_norm.weight"), get("lm_head.layer_norm.bias"));
    let normed: Vec<f64> =
        (0..width).map(|i| (gelu[i] - mean) / (variance + epsilon).sqrt() * scale[i] + shift[i]).collect();
    linear(&get("embeddings.word_embeddings.weight"), &normed)
        .iter()
        .zip(get("lm_head.bias"))
        .map(|(value, bias)| value + bias)
        .collect()
}

const SENTENCES: [(&str, &str); 4] = [
    ("The [MASK] flows near the sea.", "river"),
    ("the river near the [MASK]", "sea"),
    ("She works in the [MASK] .", "river"),
    ("[MASK] near the river .", "The"),
];

#[test]
fn hidden_words_are_filled_in_as_the_head_says() {
    let folder = TempDir::new().unwrap();
    let backbone = tiny(folder.path(), true);
    let path = folder.path().join("lama.jsonl");
    let lines: String = SENTENCES
        .iter()
        .map(|(text, word)| {
            format!(
                "{{\"masked_sentences\": [\"{text}\"], \"obj_label\": \"{word}\", \"pred\": \"r{}\"}}\n",
                word.len()
            )
        })
        .collect();
    fs::write(&path, lines).unwrap();
    let cloze = Cloze::open(&backbone, DeviceChoice::Cpu, Dtype::F32, Words::default()).unwrap();
    let source = Source::new(&path, None, Options::default()).unwrap();
    let probe = |max_batch_tokens: usize| {
        let mut filled: Vec<(Labelled, Filled)> = Vec::new();
        let options = ClozeOptions { max_batch_tokens, skip_bad: false, limit: None };
        let probed = cloze.probe(std::slice::from_ref(&source), options, |labelled, answer| {
            filled.push((labelled.clone(), answer.clone()));
            Ok(())
        });
        (probed.unwrap(), filled)
    };
    let (probed, filled) = probe(2048);
    assert_eq!((probed.probe.examples() as usize, filled.len(), probed.outside), (4, 4, 0));
    assert_eq!(probe(1).1, filled, "a sentence in a batch equals the sentence alone");

    // The hidden states, which other tests hold against the official ones, and the head by hand.
    let config_json = fs::read(&backbone.config.path).unwrap();
    assert!(config_json.len() < MAX_CONFIG_BYTES);
    let config = RobertaConfig::from_json(&config_json).unwrap();
    let special = SpecialTokens::from_config(&config_json).unwrap();
    let tokenizer = Tokenizer::from_bytes(&fs::read(&backbone.tokenizer.path).unwrap(), special).unwrap();
    let mut weights = BTreeMap::new();
    let mut reader = Reader::open(&backbone.weights.path, None).unwrap();
    while let Some(tensor) = reader.next_tensor().unwrap() {
        weights.insert(tensor.info().name.clone(), tensor.read_f32().unwrap());
    }
    let plan =
        Plan { backbone: backbone.clone(), adapters: Vec::new(), tasks: Vec::new(), more_taps: Default::default() };
    let opened = open_plan(plan, Settings::default());
    let words: Vec<(u32, String)> = (0..=tokenizer.highest_id())
        .filter_map(|id| Some((id, tokenizer.token_of(id)?.trim_start_matches('Ġ').to_owned())))
        .filter(|(id, word)| {
            word.bytes().all(|byte| byte.is_ascii_alphanumeric()) && tokenizer.pieces(word).unwrap() == [*id]
        })
        .collect();
    assert_eq!(probed.words, words.len());
    for ((text, gold), (_, found)) in SENTENCES.iter().zip(&filled) {
        let mask = tokenizer.token_of(tokenizer.mask().unwrap()).unwrap();
        let mut ids = vec![tokenizer.bos()];
        ids.extend(tokenizer.pieces(&text.replace("[MASK]", &mask)).unwrap());
        ids.push(tokenizer.eos());
        let place = ids.iter().position(|&id| Some(id) == tokenizer.mask()).unwrap();
        let input = RawInput {
            batch: 1,
            length: ids.len(),
            mask: vec![true; ids.len()],
            ids,
            positions_rule: kadapter_host::backbone::Positions::EverySlot,
            positions: None,
        };
        let hidden = opened.runner.forward(&input, None).unwrap().hidden.pop().unwrap();
        let width = config.hidden_size;
        let logits =
            head_by_hand(&weights, &hidden[place * width..(place + 1) * width], f64::from(config.layer_norm_eps));
        let mut ranked: Vec<(f64, &str)> =
            words.iter().map(|(id, word)| (logits[*id as usize], word.as_str())).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let sum: f64 = ranked.iter().map(|(logit, _)| (logit - ranked[0].0).exp()).sum();
        assert_eq!(found.word, ranked[0].1, "{text}");
        assert!((f64::from(found.probability) - 1.0 / sum).abs() < 1e-4, "{text}: {found:?}, {}", 1.0 / sum);
        assert_eq!(found.rank, 1 + ranked.iter().position(|(_, word)| word == gold).unwrap(), "{text}");
    }
}

#[test]
fn a_probe_chooses_among_words_and_uses_templates() {
    let folder = TempDir::new().unwrap();
    let backbone = tiny(folder.path(), true);
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let data = write(
        "lama.jsonl",
        "{\"predicate_id\": \"P1\", \"sub_label\": \"Ada\", \"obj_label\": \"river\", \"evidences\": [{\"masked_sentence\": \"[MASK]\"}]}\n\
         {\"predicate_id\": \"P2\", \"sub_label\": \"Ada\", \"obj_label\": \"unspeakable\", \"evidences\": [{\"masked_sentence\": \"[MASK]\"}]}\n",
    );
    let words = write("words.txt", "river\nsea\nunspeakable words\n\nriver\n");
    let templates = write(
        "relations.jsonl",
        "{\"relation\": \"P1\", \"template\": \"The [X] near the [Y] .\", \"type\": \"N-1\"}\n",
    );
    let open = |words: Words<'_>| Cloze::open(&backbone, DeviceChoice::Cpu, Dtype::F32, words);
    let source = Source::new(&data, None, Options::default()).unwrap();
    let probe = |cloze: &Cloze| {
        let mut found = Vec::new();
        let options = ClozeOptions { max_batch_tokens: 512, skip_bad: false, limit: None };
        let probed = cloze.probe(std::slice::from_ref(&source), options, |_, filled| {
            found.push(filled.clone());
            Ok(())
        });
        (probed.unwrap(), found)
    };
    let (probed, plain) = probe(&open(Words { vocabulary: Some(&words), templates: None }).unwrap());
    assert_eq!((probed.words, probed.outside, probed.probe.examples()), (2, 1, 1));
    let (_, templated) = probe(&open(Words { vocabulary: Some(&words), templates: Some(&templates) }).unwrap());
    assert!((plain[0].probability - templated[0].probability).abs() > 1e-6, "the template is another sentence");

    let wrong = write("wrong.jsonl", "{\"relation\": \"P1\", \"template\": \"The [X] .\"}\n");
    let show = |error: kadapter_host::Error| {
        let said = format!("{error}\n  hint: {}", error.hint().unwrap_or_default());
        said.replace(folder.path().to_str().unwrap(), "DIR")
    };
    insta::assert_snapshot!(show(open(Words { vocabulary: None, templates: Some(&wrong) }).unwrap_err()), @r#"
    the file of templates: found `DIR/wrong.jsonl`, line 1: template `The [X] .` without one `[X]` and one `[Y]`, expected `{"relation": "P19", "template": "[X] was born in [Y] ."}`
      hint: use LAMA's `relations.jsonl`
    "#);
    let none = write("none.txt", "no such words here at all\n");
    insta::assert_snapshot!(show(open(Words { vocabulary: Some(&none), templates: None }).unwrap_err()), @r"
    no word of `DIR/none.txt` is one token of the backbone's vocabulary, expected one word per line
      hint: leave `--vocabulary` out for all whole words of the backbone's vocabulary
    ");
    let headless = tiny(folder.path(), false);
    insta::assert_snapshot!(show(Cloze::open(&headless, DeviceChoice::Cpu, Dtype::F32, Words::default()).unwrap_err()), @r"
    backbone `official/tiny 1.0.0` has no head of a masked language model, expected tensors `lm_head.*` among its weights
      hint: import the backbone again and keep the head: `kadapter import backbone FOLDER --keep-lm-head …`
    ");
    // A file that is not the released one is found out.
    let mut forged = backbone.clone();
    forged.weights.digest = kadapter_registry::Digest::of(b"another");
    assert!(Cloze::open(&forged, DeviceChoice::Cpu, Dtype::F32, Words::default()).is_err());
}
