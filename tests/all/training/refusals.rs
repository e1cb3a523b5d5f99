//! What is refused, and what is left out and counted.

use super::bench::*;
use kadapter_tests::paths;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

#[test]
fn a_plugin_that_brings_no_objective_is_refused() {
    let mut bench = Bench::new();
    bench.world.publish_plugin("shift", &paths::plugin("shift"));
    bench.factual("facts", TRAINING, "");
    let text = fs::read_to_string(bench.folder.join("facts.toml")).unwrap();
    let text = text.replace("plugins/factual", "plugins/shift").replace("size = 24\nheads = 3\nffn = 40\n", "");
    fs::write(bench.folder.join("facts.toml"), text).unwrap();
    insta::assert_snapshot!(bench.refused(&["train", "adapter", "facts.toml", "--quiet"]), @r"
    error: plugin `plugins/shift 2.0.0` brings no objective, expected one that trains its adapters
      hint: choose a plugin that brings one, or write it: `docs/writing-a-plugin.md`, section Training
    ");
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let bench = Bench::new();
    let cases: BTreeMap<&str, (&str, String)> = BTreeMap::from([
        ("plugin", ("plugin = \"plugins/factual\"", "plugin = \"plugins/faulty\"".into())),
        ("config", ("heads = 3", "heads = 5".into())),
        ("tap", ("taps = [0, 2, 3]", "taps = [0, 9]".into())),
        ("objective", ("max_length = 32", "max_lenght = 32".into())),
        ("labels", ("labels_from = \"label\"", "labels_from = \"class\"".into())),
        ("file", ("path = \"train.jsonl\"", "path = \"absent.jsonl\"".into())),
        ("format", ("format = \"tacred\"", "format = \"tacret\"".into())),
        ("version", ("plugin = \"plugins/factual\"", "plugin = \"plugins/factual\"\nplugin_version = \"^7\"".into())),
        ("metric", ("epochs = 4", "metric = \"bleu\"\nepochs = 4".into())),
    ]);
    bench.factual("facts", TRAINING, "");
    let text = fs::read_to_string(bench.folder.join("facts.toml")).unwrap();
    let mut all = String::new();
    for (name, (from, to)) in cases {
        assert!(text.contains(from), "{name}");
        fs::write(bench.folder.join(format!("{name}.toml")), text.replacen(from, &to, 1)).unwrap();
        let said = bench.refused(&["train", "adapter", &format!("{name}.toml"), "--quiet"]);
        write!(all, "== {name}\n{said}\n").unwrap();
        assert!(!bench.folder.join("runs").join(name).join("package").exists(), "{name}");
    }
    insta::assert_snapshot!("training_refusals", all);
}

#[test]
fn bad_records_are_told_by_file_and_line_and_can_be_counted() {
    let bench = Bench::new();
    let good = fs::read_to_string(bench.folder.join("train.jsonl")).unwrap();
    let cases: [(&str, Vec<u8>); 5] = [
        ("malformed", format!("{good}{{\"token\": [\n").into_bytes()),
        ("empty", Vec::new()),
        ("latin1", [good.as_bytes(), b"{\"token\": [\"caf\xe9\"]}\n"].concat()),
        (
            "reversed",
            format!("{good}{}", good.lines().next().unwrap().replace("\"obj_end\": 3", "\"obj_end\": 1")).into_bytes(),
        ),
        ("missing", format!("{good}{}", good.lines().next().unwrap().replace("\"subj_start\": 0, ", "")).into_bytes()),
    ];
    bench.factual("facts", TRAINING, "");
    let recipe = fs::read_to_string(bench.folder.join("facts.toml")).unwrap();
    let mut all = String::new();
    for (name, bytes) in cases {
        fs::write(bench.folder.join(format!("{name}.jsonl")), bytes).unwrap();
        let recipe = recipe.replace("path = \"train.jsonl\"", &format!("path = \"{name}.jsonl\""));
        fs::write(bench.folder.join("bad.toml"), &recipe).unwrap();
        let said = bench.refused(&["train", "adapter", "bad.toml", "--quiet"]);
        write!(all, "== {name}\n{said}\n").unwrap();
        if name != "empty" {
            fs::write(bench.folder.join("bad.toml"), recipe.replace("[data]\n", "[data]\nskip_bad = true\n")).unwrap();
            let said = bench.run(&["train", "adapter", "bad.toml", "--fresh"]);
            assert!(said.contains("30 examples"), "{name}: {said}");
        }
    }
    insta::assert_snapshot!("training_bad_records", all);
}

#[test]
fn records_whose_marker_was_cut_off_are_counted_by_run_and_card() {
    let bench = Bench::new();
    for (file, long) in [("train.jsonl", 3), ("dev.jsonl", 2)] {
        let path = bench.folder.join(file);
        let mut text = fs::read_to_string(&path).unwrap();
        for name in &NAMES[..long] {
            let filler = "\"once\", ".repeat(40);
            writeln!(
                text,
                "{{\"token\": [\"{name}\", {filler}\"taught\", \"Bela\", \".\"], \"subj_start\": 0, \"subj_end\": 0, \
                 \"obj_start\": 42, \"obj_end\": 42, \"relation\": \"P802\"}}"
            )
            .unwrap();
        }
        fs::write(&path, text).unwrap();
    }
    bench.factual("facts", TRAINING, "");
    let recipe = fs::read_to_string(bench.folder.join("facts.toml")).unwrap();
    let with_rule =
        |rule: &str| recipe.replace("max_length = 32\n", &format!("max_length = 32\nmarker_overflow = \"{rule}\"\n"));
    fs::write(bench.folder.join("skip.toml"), with_rule("skip")).unwrap();
    let said = bench.run(&["train", "adapter", "skip.toml", "--quiet"]);
    for part in [
        "  train  30 examples of 33 records\n         3 left out: a marker is past the longest segment\n",
        "  dev    6 examples of 8 records\n         2 left out: a marker is past the longest segment\n",
    ] {
        assert!(said.contains(part), "`{part}` is not in\n{said}");
    }
    let card = fs::read_to_string(bench.folder.join("runs/skip/package/README.md")).unwrap();
    for (role, file, used, left_out) in [("train", "train.jsonl", 30, 3), ("dev", "dev.jsonl", 6, 2)] {
        let row = card.lines().find(|line| line.starts_with(&format!("| {role} | {file} | ")));
        let row = row.unwrap_or_else(|| panic!("the card has no row of {file}:\n{card}"));
        assert!(row.ends_with(&format!(" | {used} | {left_out} | MIT |")), "{row}");
        let reason = format!("- a marker is past the longest segment ({file}): {left_out}\n");
        assert!(card.contains(&reason), "`{reason}` is not in\n{card}");
    }
    // TACRED's rule reads another token: the records are used, and what they lost is told.
    fs::write(bench.folder.join("minus10.toml"), with_rule("minus10")).unwrap();
    let said = bench.run(&["train", "adapter", "minus10.toml", "--quiet"]);
    let lost = "a marker is past the longest segment, another token is read for it";
    assert!(said.contains(&format!("  train  33 examples of 33 records\n         3 cut: {lost}\n")), "{said}");
    let card = fs::read_to_string(bench.folder.join("runs/minus10/package/README.md")).unwrap();
    assert!(card.contains(&format!("- {lost} (train.jsonl): 3\n- {lost} (dev.jsonl): 2\n")), "{card}");
    fs::write(bench.folder.join("error.toml"), with_rule("error")).unwrap();
    let said = bench.refused(&["train", "adapter", "error.toml", "--quiet"]);
    assert!(said.contains("FOLDER/train.jsonl:31: ") && said.contains("the marker of the object is token "), "{said}");
    assert!(!bench.folder.join("runs/error/package").exists());
}

#[test]
fn recipes_that_round_hidden_states_differently_do_not_train_in_one_process() {
    let bench = Bench::new();
    bench.factual("facts", TRAINING, "");
    bench.recipe("trees", "linguistic", TREES);
    let trees = fs::read_to_string(bench.folder.join("trees.toml")).unwrap();
    fs::write(bench.folder.join("trees.toml"), trees.replace("[cache]\n", "[cache]\ndtype = \"f16\"\n")).unwrap();
    let said = bench.refused(&["train", "adapter", "facts.toml", "trees.toml"]);
    assert!(said.contains("`FOLDER/facts.toml` and `FOLDER/trees.toml` differ in `cache.dtype`"), "{said}");
    assert!(said.contains("hint") && !bench.folder.join("runs").exists(), "{said}");
}

#[test]
fn another_recipe_does_not_go_on_from_this_ones_checkpoint() {
    let bench = Bench::new();
    bench.factual("facts", TRAINING, "");
    bench.run(&["train", "adapter", "facts.toml"]);
    bench.factual("facts", &TRAINING.replace("1e-3", "2e-3"), "");
    let said = bench.refused(&["train", "adapter", "facts.toml"]);
    assert!(said.contains("another run") && said.contains("--fresh"), "{said}");
    bench.run(&["train", "adapter", "facts.toml", "--fresh"]);
}
