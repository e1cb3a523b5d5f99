//! The registry of a fresh clone against golden outputs of an independent implementation (`tests/data/golden.jsonl`).

use kadapter_host::pipeline::{Job, Plan, Settings};
use kadapter_host::plugin::Promise;
use kadapter_host::task::{Answer, Record};
use kadapter_registry::project::{LockMode, Options, Project};
use kadapter_registry::trust::TRUST_FILE;
use kadapter_registry::{Cache, Trust};
use kadapter_tests::{Publisher, official::promise, paths, world::open_plan};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A copy of an example whose plugins come from this test's build.
pub(crate) fn example(name: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let text = fs::read_to_string(paths::workspace("examples").join(name).join("kadapter.toml")).unwrap();
    let seed = paths::workspace("registry/seed");
    let plugins = folder.path().join("plugins");
    let text = text
        .replace("../../registry/seed", seed.to_str().unwrap())
        .replace("../../registry/local", plugins.to_str().unwrap());
    let manifest = folder.path().join("kadapter.toml");
    fs::write(&manifest, text).unwrap();
    // Where the command looks for whom to trust, and the options of this test.
    let publisher = Publisher::new();
    publisher.trust_in(&folder.path().join("home"), &["kadapter-plugins"]);
    for plugin in ["factual", "linguistic", "bottleneck"] {
        let directory = folder.path().join(plugin);
        write_plugin(&directory, plugin);
        publisher.publish(&directory, &plugins);
    }
    (folder, manifest)
}

/// What a project of [`example`] is opened with.
fn options(folder: &Path) -> Options {
    let trust = Trust::read(&folder.join("home").join(TRUST_FILE)).unwrap();
    Options { cache: Some(Cache::new(folder.join("cache"))), trust: Some(trust), ..Options::default() }
}

/// Writes the package directory of a plugin as cargo built it.
pub(crate) fn write_plugin(directory: &Path, name: &str) {
    let target = kadapter_registry::Target::host();
    fs::create_dir_all(directory).unwrap();
    fs::copy(paths::plugin(name), directory.join("library.so")).unwrap();
    let Promise { version, abi, .. } = promise(&paths::plugin(name));
    let manifest = format!(
        "schema = 1\n[package]\nname = \"kadapter-plugins/{name}\"\nversion = \"{version}\"\nkind = \"plugin\"\nlicense = \"MIT\"\n\
         description = \"A plugin\"\n[plugin]\nabi = \"{abi}\"\n[plugin.libraries]\n\"{target}\" = \"library.so\"\n"
    );
    fs::write(directory.join("kadapter-package.toml"), manifest).unwrap();
    fs::write(directory.join("README.md"), "A plugin.\n").unwrap();
}

/// What golden lines call a task, and what an example calls it.
type Names = &'static [(&'static str, &'static str)];

/// Examples, the tasks of each that have golden lines, and how many.
const EXAMPLES: [(&str, Names, usize); 2] =
    [("several", &[("semeval", "nominals"), ("fewrel", "wikidata")], 40), ("typing", &[("gum", "entities")], 20)];

/// The golden lines of some tasks.
fn lines_of(tasks: Names) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(paths::data("golden.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| tasks.iter().any(|(golden, _)| line["task"] == *golden)).collect()
}

#[test]
fn the_seed_reproduces_the_golden_logits() {
    for (name, tasks, count) in EXAMPLES {
        let (folder, manifest) = example(name);
        let resolved =
            Project::open_with(&manifest, options(folder.path())).unwrap().resolve(LockMode::KeepLocked).unwrap();
        let opened = open_plan(Plan::all(&resolved).unwrap(), Settings::default());
        let plan = opened.runner.plan();

        let lines = lines_of(tasks);
        assert_eq!(lines.len(), count);
        let task = |line: &serde_json::Value| {
            let (_, name) = tasks.iter().find(|(golden, _)| line["task"] == *golden).unwrap();
            plan.tasks.iter().position(|task| task.name == *name).unwrap()
        };
        let records: Vec<_> =
            lines.iter().map(|line| Record::from_text(line["text"].as_str().unwrap()).unwrap()).collect();
        let jobs: Vec<_> = lines.iter().zip(&records).map(|(line, record)| Job { record, task: task(line) }).collect();
        for (line, answer) in lines.iter().zip(opened.runner.answer(&jobs)) {
            let (label, scores) = match answer.unwrap() {
                Answer::Relation(answer) => (answer.label, answer.scores),
                Answer::Typing(answer) => (answer.labels.concat(), answer.scores),
                other => panic!("a relation or the kind of a mention is expected: {other:?}"),
            };
            assert_eq!(label, line["predicted"].as_str().unwrap(), "{}", line["text"]);
            let labels = &plan.tasks[task(line)].head.as_ref().unwrap().labels;
            for (label, expected) in labels.iter().zip(line["logits"].as_array().unwrap()) {
                let found = scores.iter().find(|score| score.label == *label).unwrap().logit;
                let difference = (f64::from(found) - expected.as_f64().unwrap()).abs();
                assert!(difference <= 1e-3, "{label} of {}: found {found}, expected {expected}", line["text"]);
            }
        }
    }
}

#[test]
fn the_seed_reproduces_the_golden_states() {
    use kadapter_host::backbone::Positions;
    use kadapter_host::pipeline::RawInput;
    let mut compared = 0;
    for (name, tasks, _) in EXAMPLES {
        let (folder, manifest) = example(name);
        let resolved =
            Project::open_with(&manifest, options(folder.path())).unwrap().resolve(LockMode::KeepLocked).unwrap();
        let opened = open_plan(Plan::every_adapter(&resolved, &[]).unwrap(), Settings::default());
        for line in lines_of(tasks) {
            let Some(states) = line.get("first_8") else { continue };
            let ids: Vec<u32> =
                line["input_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            let first = line["positions"].get("subject").or_else(|| line["positions"].get("mention"));
            let slot = first.and_then(serde_json::Value::as_u64).unwrap() as usize;
            let mask = vec![true; ids.len()];
            let input =
                RawInput { batch: 1, length: ids.len(), ids, mask, positions_rule: Positions::Tokens, positions: None };
            let output = opened.runner.forward(&input, None).unwrap();
            let mut compare = |name: &str, values: &[f32]| {
                for (found, expected) in values[slot * 384..].iter().zip(states[name].as_array().unwrap()) {
                    let difference = (f64::from(*found) - expected.as_f64().unwrap()).abs();
                    assert!(difference <= 1e-3, "{name}: {found} {expected}");
                    compared += 1;
                }
            };
            compare("x", output.hidden.last().unwrap());
            for (name, features) in &output.adapters {
                compare(name, features);
            }
        }
    }
    // Two tasks with two adapters and one with one, each beside the backbone, eight values of each.
    assert_eq!(compared, (2 * 3 + 2) * 8);
}
