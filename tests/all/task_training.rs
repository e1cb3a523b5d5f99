//! `kadapter train task` and `kadapter compare` over the registry of a fresh clone, and the official losses of heads.

use crate::command::{command, run, said};
use crate::golden::example;
use kadapter_registry::project::{LockMode, Options, Project};
use kadapter_registry::trust::TRUST_FILE;
use kadapter_registry::{Cache, Digest, Trust};
use kadapter_tests::paths;
use std::collections::BTreeMap;
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

/// The digests of all files of some folders.
fn digests(folders: &[PathBuf]) -> BTreeMap<PathBuf, Digest> {
    let (mut left, mut found) = (folders.to_vec(), BTreeMap::new());
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let digest = Digest::of(&fs::read(&path).unwrap());
                found.insert(path, digest);
            }
        }
    }
    found
}

/// Every blob is the same before and after, in the registries and in the cache, and those of the frozen parts are among them.
#[test]
fn training_a_task_leaves_backbone_and_adapters_as_they_were() {
    let (folder, place) = training_example();
    let (home, plugins) = (folder.path().join("home"), folder.path().join("plugins/blobs"));
    // What the manifest beside the recipe needs is what the recipe needs.
    let ran = run(folder.path(), &["fetch"]);
    assert!(ran.success, "{}", ran.stderr);
    let kept = [paths::workspace("registry/seed/blobs"), plugins, home.join("cache/v1")];
    let before = digests(&kept);
    let ran = run(folder.path(), &["train", "task", "training/task.toml", "--quiet"]);
    assert!(ran.success, "{}", ran.stderr);
    assert!(digests(&kept) == before, "training wrote to a blob, or to another file beside it");

    let trust = Trust::read(&home.join(TRUST_FILE)).unwrap();
    let options = Options { cache: Some(Cache::new(home.join("cache"))), trust: Some(trust), ..Options::default() };
    let project = Project::open_recipe(place.join("task.toml"), options).unwrap();
    let resolved = project.resolve(LockMode::Frozen).unwrap();
    assert_eq!(resolved.adapters.len(), 2);
    let adapters = resolved.adapters.values().map(|adapter| adapter.weights.digest);
    for weights in adapters.chain([resolved.backbone.weights.digest]) {
        let found = before.values().filter(|&&digest| digest == weights).count();
        assert_eq!(found, 2, "{weights} is in the registry and in the cache");
    }
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
    // The linguistic adapter stands in for one that was trained on permuted labels.
    let recipe = fs::read_to_string(place.join("compare.toml")).unwrap();
    let (conditions, tasks) = recipe.split_once("[tasks.").unwrap();
    let shuffled = "control = \"shuffled\"\nstack = [\"linguistic\"]\nfusion = \"blocks\"\ntaps = [0, 3]\n";
    fs::write(place.join("compare.toml"), format!("{conditions}[[conditions]]\n{shuffled}\n[tasks.{tasks}")).unwrap();
    let compare = |more: &[&str]| {
        let words = [&["compare", "training/compare.toml", "--quick", "--quiet"], more].concat();
        let ran = run(folder.path(), &words);
        assert!(ran.success, "{}", ran.stderr);
        ran.stdout
    };
    let table = compare(&["--json", "report.json", "--svg", "chart.svg"]);
    for part in ["factual+linguistic", "taps ·", "random ·", "shuffled ·", "over its best part", "of the training data"]
    {
        assert!(table.contains(part), "`{part}` is missing:\n{table}");
    }
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    let rows = report["groups"][0]["rows"].as_array().unwrap();
    let controls: Vec<_> = rows.iter().filter(|row| row["control"] == true).map(|row| &row["condition"]).collect();
    assert_eq!(controls, ["none", "taps", "random", "shuffled"]);
    assert_eq!(rows.len(), 3 + controls.len());
    for row in rows {
        assert_eq!(row["scores"].as_array().unwrap().len(), 2, "{row}");
        assert_eq!(row["over_control"].is_object(), !row["control"].as_bool().unwrap(), "{row}");
    }
    // Its stand-in is never better than the control that it is, whichever control is the best.
    let row = |name: &str| rows.iter().find(|row| row["condition"] == name).unwrap();
    let (adapter, control) = (row("linguistic"), row("shuffled"));
    assert_eq!(adapter["scores"], control["scores"]);
    assert_eq!(adapter["over_control"]["p"], 1.0, "{adapter}");
    assert!(adapter["over_control"]["difference"].as_f64().unwrap() <= 0.0, "{adapter}");
    // What all others are held against is the best of the controls.
    let mean = |row: &serde_json::Value| row["mean"].as_f64().unwrap();
    let best = rows.iter().filter(|row| row["control"] == true).map(mean).fold(0.0, f64::max);
    for row in rows.iter().filter(|row| row["control"] == false) {
        let difference = row["over_control"]["difference"].as_f64().unwrap();
        assert!((difference - (mean(row) - best)).abs() < 1e-9, "the best control has {best}: {row}");
    }
    assert!(fs::read_to_string(folder.path().join("chart.svg")).unwrap().starts_with("<svg "));

    let results = place.join("compare.quick.results.jsonl");
    let whole = fs::read(&results).unwrap();
    // The runs of the stand-in are those of the adapter, so they are done once.
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
