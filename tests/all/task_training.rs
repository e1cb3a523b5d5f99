//! `kadapter train task` and `kadapter compare` over the registry of a fresh clone, and the official losses of heads.

use crate::command::{command, run, said};
use crate::golden::example;
use kadapter_tests::paths;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The example recipes in a folder of their own, with this build's plugins.
fn training_example() -> (TempDir, PathBuf) {
    let (folder, _) = example("several");
    let place = folder.path().join("training");
    fs::create_dir_all(&place).unwrap();
    for name in ["train.jsonl", "test.jsonl", "task.toml", "compare.toml"] {
        let text = fs::read_to_string(paths::workspace("examples/training").join(name)).unwrap();
        let text = text
            .replace("../../registry/seed", paths::workspace("registry/seed").to_str().unwrap())
            .replace("../../registry/local", folder.path().join("plugins").to_str().unwrap());
        fs::write(place.join(name), text).unwrap();
    }
    (folder, place)
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Trained, published, locked and asked: every variant answers, and the one with both adapters knows better than chance.
#[test]
fn a_trained_task_is_published_locked_and_answers() {
    let (folder, place) = training_example();
    let recipe = fs::read_to_string(place.join("task.toml")).unwrap();
    let ran = run(folder.path(), &["train", "task", "training/task.toml", "--quiet"]);
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    let package = place.join("task.package");
    let log = lines(&place.join("task.log.jsonl"));
    let heads: Vec<_> = log.iter().filter(|line| line["event"] == "head").collect();
    assert_eq!(heads.len(), 3 * 2, "a head per variant and seed");
    assert!(log.iter().any(|line| line["event"] == "epoch" && line["loss"].is_number()));
    let best = heads.iter().filter(|head| head["variant"] == "factual + linguistic");
    let test = best.map(|head| head["test"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!(test > 0.6, "three relations, chance is 0.33: {test}");

    let card = fs::read_to_string(package.join("README.md")).unwrap();
    for part in ["CC0-1.0", "train.jsonl", "| factual + linguistic | blocks |", "weight_decay", recipe.trim_end()] {
        assert!(card.contains(part), "`{part}` is missing:\n{card}");
    }

    // A second training would overwrite what is there.
    let again = run(folder.path(), &["train", "task", "training/task.toml", "--quiet"]);
    assert!(said(folder.path(), &again).contains("exists already"), "{}", again.stderr);

    let ran = run(folder.path(), &["publish", "training/task.package", "--registry", "mine"]);
    assert!(ran.success, "{}", ran.stderr);
    let manifest = fs::read_to_string(folder.path().join("kadapter.toml")).unwrap();
    let (start, _) = manifest.split_once("[tasks.").unwrap();
    let tasks = [("both", "\"factual\", \"linguistic\""), ("one", "\"factual\""), ("none", "")];
    let entry = |(name, stack): &(&str, &str)| {
        format!("[tasks.{name}]\npackage = \"example/three-relations\"\nversion = \"^1\"\nstack = [{stack}]\n")
    };
    let text = start.replace("[registries]", "[registries]\nexample = \"mine\"");
    let text = text + &tasks.iter().map(entry).collect::<String>();
    fs::write(folder.path().join("kadapter.toml"), text).unwrap();
    for words in [["lock"], ["verify"]] {
        let ran = run(folder.path(), &words);
        assert!(ran.success, "{words:?}: {}", ran.stderr);
    }
    // The records' file answers as it was scored: `text` with markup is what a relation task reads.
    let ran = run(folder.path(), &["run", "both", "--input", "training/test.jsonl", "--json", "--frozen"]);
    assert!(ran.success, "{}", ran.stderr);
    let (gold, answers) = (lines(&place.join("test.jsonl")), ran.stdout.lines());
    let right = gold.iter().zip(answers).filter(|(gold, answer)| {
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        answer["answer"]["label"] == gold["label"]
    });
    let share = right.count() as f64 / gold.len() as f64;
    let scored = log_score(&heads, "factual + linguistic");
    assert!((share - scored).abs() < 1e-9, "the pipeline answers {share}, training scored {scored}");
    let all = run(folder.path(), &["run", "--all", "--json", "The <e1>lid</e1> of the <e2>jar</e2> is lost ."]);
    assert!(all.success && all.stdout.lines().count() == 3, "{}", all.stderr);
}

/// The test score of the head that is kept: the seed with the best development score, the first of equals.
fn log_score(heads: &[&serde_json::Value], variant: &str) -> f64 {
    let mut best: Option<&serde_json::Value> = None;
    let mut own: Vec<_> = heads.iter().filter(|head| head["variant"] == variant).collect();
    own.sort_by_key(|head| head["seed"].as_u64());
    for head in own {
        if best.is_none_or(|best| head["dev"].as_f64() > best["dev"].as_f64()) {
            best = Some(head);
        }
    }
    best.unwrap()["test"].as_f64().unwrap()
}

#[test]
fn training_twice_gives_the_same_bits_and_the_second_time_features_are_kept() {
    let (folder, place) = training_example();
    let train = |out: &str| {
        let ran = run(folder.path(), &["train", "task", "training/task.toml", "--quiet", "--out", out]);
        assert!(ran.success, "{}", ran.stderr);
    };
    train("first");
    let kept: Vec<_> = fs::read_dir(folder.path().join("home/cache/features")).unwrap().collect();
    assert!(!kept.is_empty());
    train("second");
    for name in ["factual+linguistic.safetensors", "factual.safetensors", "none.safetensors", "README.md"] {
        let read = |out: &str| fs::read(folder.path().join(out).join(name)).unwrap();
        assert!(read("first") == read("second"), "{name}");
    }
    assert_eq!(fs::read_dir(folder.path().join("home/cache/features")).unwrap().count(), kept.len());
    let _ = place;
}

#[test]
fn what_cannot_be_trained_is_refused_and_leaves_nothing() {
    let (folder, place) = training_example();
    let recipe = fs::read_to_string(place.join("task.toml")).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(recipe.contains(from), "{from}");
        fs::write(place.join("bad.toml"), recipe.replacen(from, to, 1)).unwrap();
        let ran = run(folder.path(), &["train", "task", "training/bad.toml", "--quiet"]);
        assert!(!place.join("bad.package").exists());
        said(folder.path(), &ran)
    };
    let unknown = refused("[task]\n", "[task]\nlabels = [\"cause\", \"part\"]\n");
    assert!(unknown.contains("label `destination` is not among the task's 2 labels"), "{unknown}");
    assert!(unknown.contains("train.jsonl:"), "{unknown}");
    assert!(unknown.contains("hint"), "{unknown}");
    fs::write(place.join("empty.jsonl"), "").unwrap();
    let empty = refused("test = \"test.jsonl\"", "test = \"empty.jsonl\"");
    assert!(empty.contains("empty"), "{empty}");
    let setting = refused("epochs = 30", "epochs = 0");
    assert!(setting.contains("setting `epochs` is 0, expected at least 1"), "{setting}");
    let key = refused("epochs = 30", "epoch = 30");
    assert!(key.contains("is not a recipe") && key.contains("unknown field `epoch`"), "{key}");
    assert_eq!(key.matches("unknown field").count(), 1, "{key}");
    let tap = refused("taps = [0, 3, 5]", "taps = [0, 3, 5, 9]");
    assert!(tap.contains("reads hidden state 9, expected 0 to 6"), "{tap}");
    let taps = refused("fusion = \"gated\"", "fusion = \"concat\"");
    assert!(taps.contains("fusion `concat` reads no hidden state but the last"), "{taps}");
    let less = refused("less_taps = true", "less_taps = [\"supersense\"]");
    assert!(less.contains("names `supersense`, expected names of its stack"), "{less}");
    let metric = refused("[task]\n", "[task]\nmetric = \"loose-micro-f1\"\n");
    assert!(metric.contains("metric `loose-micro-f1` does not judge"), "{metric}");
    let diverged = refused("epochs = 30", "epochs = 30\nlearning_rate = 1e30\nclip = 1e30\nwarmup = 0.0");
    assert!(diverged.contains("the loss is") && diverged.contains("learning_rate"), "{diverged}");
}

/// An interrupted comparison goes on: runs that are done are not done again, and the report is the same.
#[test]
fn a_comparison_is_resumed_and_says_the_same() {
    let (folder, place) = training_example();
    let compare = |more: &[&str]| {
        let words = [&["compare", "training/compare.toml", "--quick", "--quiet"], more].concat();
        let ran = run(folder.path(), &words);
        assert!(ran.success, "{}", ran.stderr);
        ran.stdout
    };
    let table = compare(&["--json", "report.json", "--svg", "chart.svg"]);
    for part in ["factual+linguistic", "taps ·", "random ·", "over its best part", "of the training data"] {
        assert!(table.contains(part), "`{part}` is missing:\n{table}");
    }
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    let rows = report["groups"][0]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        assert_eq!(row["scores"].as_array().unwrap().len(), 2, "{row}");
        assert_eq!(row["over_control"].is_object(), !row["control"].as_bool().unwrap(), "{row}");
    }
    assert!(fs::read_to_string(folder.path().join("chart.svg")).unwrap().starts_with("<svg "));

    let results = place.join("compare.quick.results.jsonl");
    let whole = fs::read(&results).unwrap();
    assert_eq!(lines(&results).len(), 6 * 2);
    assert_eq!(compare(&[]), table);
    assert_eq!(fs::read(&results).unwrap(), whole, "nothing was done again");
    // Killed in the middle of a line.
    fs::write(&results, &whole[..whole.len() / 2]).unwrap();
    let before = whole[..whole.len() / 2].iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(compare(&[]), table);
    let after = lines(&results);
    assert_eq!(after.len(), 6 * 2);
    assert_eq!(after[..before], lines_of(&whole)[..before]);
    // What goes into a run is part of its key.
    let recipe = fs::read_to_string(place.join("compare.toml")).unwrap();
    fs::write(place.join("compare.toml"), recipe.replace("batch = 16", "batch = 8")).unwrap();
    compare(&[]);
    assert_eq!(lines(&results).len(), 6 * 2 * 2);
}

fn lines_of(bytes: &[u8]) -> Vec<serde_json::Value> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Killed with -9 while heads are trained: nothing that was told as done is lost.
#[test]
#[cfg(unix)]
fn a_comparison_that_is_killed_loses_no_finished_run() {
    let (folder, place) = training_example();
    let results = place.join("compare.results.jsonl");
    let mut child = command(folder.path(), &["compare", "training/compare.toml", "--quiet"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let enough = || fs::read(&results).is_ok_and(|bytes| bytes.iter().filter(|&&byte| byte == b'\n').count() >= 3);
    while !enough() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = fs::read(&results).unwrap();
    let whole = before.iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    let ran = run(folder.path(), &["compare", "training/compare.toml", "--quiet"]);
    assert!(ran.success, "{}", ran.stderr);
    let after = fs::read(&results).unwrap();
    assert_eq!(after[..whole], before[..whole]);
    assert_eq!(lines(&results).len(), 6 * 3 * 2);
}
