//! `kadapter train adapter` with real plugins: what it makes, what a kill leaves, what it refuses.

use kadapter_host::backbone::Roberta;
use kadapter_host::tensor::cpu::{CpuConfig, CpuEngine};
use kadapter_host::train::adapter::states::States;
use kadapter_host::train::cache::{CacheDtype, CacheIdentity, Stored, TapCache};
use kadapter_host::weights::Reader;
use kadapter_plugin_api::Engine as _;
use kadapter_registry::Digest;
use kadapter_tests::{World, paths};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Entities and verbs: the verb decides the relation, so that there is something to learn.
const NAMES: [&str; 6] = ["Ada", "Bela", "Cleo", "Dora", "Egon", "Fritz"];
const VERBS: [(&str, &str); 3] = [("taught", "P802"), ("married", "P26"), ("succeeded", "P155")];

struct Bench {
    world: World,
    folder: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let world = World::new();
        let folder = world.path("training");
        fs::create_dir_all(&folder).unwrap();
        world.trust_in(&folder.join("home"));
        let (mut train, mut dev, mut trees) = (String::new(), String::new(), String::new());
        for (index, (verb, relation)) in VERBS.iter().cycle().take(36).enumerate() {
            let (subject, object) = (NAMES[index % 6], NAMES[(index / 6 + 1 + index % 6) % 6]);
            let line = format!(
                "{{\"token\": [\"{subject}\", \"once\", \"{verb}\", \"{object}\", \".\"], \"subj_start\": 0, \"subj_end\": 0, \
                 \"obj_start\": 3, \"obj_end\": 3, \"relation\": \"{relation}\"}}"
            );
            let part = if index % 6 == 5 { &mut dev } else { &mut train };
            writeln!(part, "{line}").unwrap();
            let _ = write!(
                trees,
                "# text = {subject} {verb} {object} .\n1\t{subject}\t_\t_\t_\t_\t2\tnsubj\t_\t_\n2\t{verb}\t_\t_\t_\t_\t0\troot\t_\t_\n\
                 3\t{object}\t_\t_\t_\t_\t2\tobj\t_\t_\n4\t.\t_\t_\t_\t_\t2\tpunct\t_\t_\n\n"
            );
        }
        for (name, text) in [("train.jsonl", train), ("dev.jsonl", dev), ("trees.conllu", trees)] {
            fs::write(folder.join(name), text).unwrap();
        }
        Self { world, folder }
    }

    /// Writes a recipe for the factual plugin; `extra` comes at the end.
    fn factual(&self, name: &str, training: &str, extra: &str) {
        self.recipe(
            name,
            "factual",
            &format!(
                "[objective]\nlabels_from = \"label\"\nmax_length = 32\n[data]\ntrain = [{{ path = \"train.jsonl\", format = \"tacred\" }}]\n\
                 dev = [{{ path = \"dev.jsonl\", format = \"tacred\" }}]\n{extra}\n[training]\n{training}"
            ),
        );
    }

    /// Lets runs be judged on what they learn, so that their metrics move.
    fn judge_on_training_data(&self) {
        fs::copy(self.folder.join("train.jsonl"), self.folder.join("dev.jsonl")).unwrap();
    }

    /// Lets runs be judged on all sentences with each relation in turn: one of three is right, whatever is answered.
    fn judge_on_contradictions(&self) {
        let sentences =
            ["train.jsonl", "dev.jsonl"].map(|file| fs::read_to_string(self.folder.join(file)).unwrap()).concat();
        let mut dev = String::new();
        for line in sentences.lines() {
            let (sentence, _) = line.split_once("\"relation\"").unwrap();
            for (_, relation) in VERBS {
                writeln!(dev, "{sentence}\"relation\": \"{relation}\"}}").unwrap();
            }
        }
        fs::write(self.folder.join("dev.jsonl"), dev).unwrap();
    }

    fn recipe(&self, name: &str, plugin: &str, rest: &str) {
        let text = format!(
            "[adapter]\nname = \"me/{name}\"\nlicense = \"MIT\"\nplugin = \"plugins/{plugin}\"\ntaps = [0, 2, 3]\n\
             [adapter.config]\nsize = 24\nheads = 3\nffn = 40\n[registries]\nofficial = \"../registry\"\nplugins = \"../registry\"\n\
             [backbone]\npackage = \"official/tiny\"\nversion = \"^1\"\n[cache]\ndirectory = \"taps\"\n{rest}\n"
        );
        fs::write(self.folder.join(format!("{name}.toml")), text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::kadapter());
        command.args(words).current_dir(&self.folder).env("KADAPTER_HOME", self.folder.join("home"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs with a fault at the n-th step that changes a file (`tests/killer`).
    #[cfg(target_os = "linux")]
    fn faulty(&self, words: &[&str], fault: &str, n: u64) -> Output {
        self.command(words).env("LD_PRELOAD", paths::plugin("killer")).env(fault, n.to_string()).output().unwrap()
    }

    fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", said(&output));
        // Paths differ from machine to machine.
        String::from_utf8(output.stderr)
            .unwrap()
            .replace(&self.folder.display().to_string(), "FOLDER")
            .replace(&self.world.registry().display().to_string(), "REGISTRY")
    }

    fn weights(&self, run: &str) -> (Digest, Vec<(String, Vec<f32>)>) {
        let mut reader = Reader::open(&self.folder.join(run).join("package/weights.safetensors"), None).unwrap();
        let mut tensors = Vec::new();
        while let Some(tensor) = reader.next_tensor().unwrap() {
            tensors.push((tensor.info().name.clone(), tensor.read_f32().unwrap()));
        }
        (reader.finish().unwrap().0, tensors)
    }
}

fn said(output: &Output) -> String {
    format!(
        "{:?}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The log without what a clock decides.
fn log(folder: &Path, run: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(folder.join(run).join("log.jsonl")).unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("tokens_per_second");
        value
    };
    text.lines().map(line).collect()
}

/// The bits of every tensor of a file.
fn tensors(path: &Path) -> BTreeMap<String, Vec<u32>> {
    let mut reader = Reader::open(path, None).unwrap();
    let mut tensors = BTreeMap::new();
    while let Some(tensor) = reader.next_tensor().unwrap() {
        let name = tensor.info().name.clone();
        tensors.insert(name, tensor.read_f32().unwrap().into_iter().map(f32::to_bits).collect());
    }
    tensors
}

/// What of a checkpoint becomes a package: the adapter, by the names that it has there.
fn adapter_in(checkpoint: &Path) -> BTreeMap<String, Vec<u32>> {
    let tensors = tensors(checkpoint).into_iter();
    tensors.filter_map(|(name, bits)| Some((name.strip_prefix("adapter.")?.to_owned(), bits))).collect()
}

/// What a checkpoint says of its run.
fn progress(checkpoint: &Path) -> serde_json::Value {
    let reader = Reader::open(checkpoint, None).unwrap();
    serde_json::from_str(&reader.header().metadata()["progress"]).unwrap()
}

/// What every file below a folder holds.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Digest> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let digest = Digest::of(&fs::read(&path).unwrap());
            found.insert(path, digest);
        }
    }
    found
}

/// The updates after which a run was judged, each with a metric.
fn evaluations(log: &[serde_json::Value], metric: &str) -> Vec<(u64, f64)> {
    let value = |entry: &serde_json::Value| Some((entry["step"].as_u64()?, entry["metrics"][metric].as_f64()?));
    log.iter().filter_map(value).collect()
}

/// The first of the updates that were judged best.
fn first_best(evaluations: &[(u64, f64)]) -> u64 {
    let best = evaluations.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    evaluations.iter().find(|(_, value)| *value == best).unwrap().0
}

/// The update after which `patience` evaluations in a row were not better than the best before them.
fn out_of_patience(evaluations: &[(u64, f64)], patience: usize) -> Option<u64> {
    let (mut best, mut without_better) = (f64::NEG_INFINITY, 0);
    for (step, value) in evaluations {
        without_better = if *value > best { 0 } else { without_better + 1 };
        best = best.max(*value);
        if without_better == patience {
            return Some(*step);
        }
    }
    None
}

/// Losses and metrics of two logs are the same but for rounding; there are enough of them to be curves.
fn assert_same_curves(name: &str, one: &[serde_json::Value], other: &[serde_json::Value]) {
    assert_eq!(one.len(), other.len(), "{name}");
    let (mut losses, mut metrics) = (0, 0);
    for (one, other) in one.iter().zip(other) {
        assert_eq!((&one["event"], &one["step"]), (&other["event"], &other["step"]), "{name}");
        if let Some(loss) = one["loss"].as_f64() {
            let found = other["loss"].as_f64().unwrap();
            assert!((loss - found).abs() < 1e-4, "{name}: {one} {other}");
            losses += 1;
        }
        for (metric, value) in one["metrics"].as_object().into_iter().flatten() {
            let (value, found) = (value.as_f64().unwrap(), other["metrics"][metric].as_f64().unwrap());
            assert!((value - found).abs() < 1e-4, "{name}: {one} {other}");
            metrics += 1;
        }
    }
    assert!(losses >= 10 && metrics >= 20, "{name}: {losses} losses and {metrics} metrics are no curves");
    let values = evaluations(one, "accuracy");
    assert!(values.iter().any(|(_, value)| *value != values[0].1), "{name}: the metric does not move: {values:?}");
}

/// The last weights are packed, so that every update counts: no evaluation is better than the first here.
const TRAINING: &str =
    "epochs = 4\nbatch = 8\nlearning_rate = 1e-3\nwarmup_steps = 2\nsave_every = 3\nkeep_last = true\n";
/// Long enough for eleven losses in the log, which has one of every tenth update.
const CURVE: &str =
    "epochs = 25\nbatch = 8\nlearning_rate = 1e-3\nwarmup_steps = 2\nsave_every = 3\nkeep_last = true\n";
/// Judged often, and best long before its end at update 160.
const PEAK: &str =
    "epochs = 40\nbatch = 8\nlearning_rate = 2e-3\nwarmup_fraction = 0.05\nschedule_index = \"k-1\"\nsave_every = 0\n";
/// The rest of a recipe for the linguistic plugin.
const TREES: &str = "[objective]\nmax_length = 32\narc_size = 16\n[data]\ntrain = [\"trees.conllu\"]\nhold_out = { fraction = 0.2 }\n\
                     [training]\nepochs = 2\nbatch = 4\nlearning_rate = 1e-3\nkeep_last = true\n";

#[test]
fn a_trained_adapter_is_published_and_stacked() {
    let mut bench = Bench::new();
    bench.factual("facts", "epochs = 12\nbatch = 8\nlearning_rate = 2e-3\n", "");
    let blobs = bench.world.registry().join("blobs");
    let before = contents(&blobs);
    let backbone = |digest: &&Digest| **digest == bench.world.backbone;
    assert_eq!(before.values().filter(backbone).count(), 1, "the backbone's weights lie there");
    let said = bench.run(&["train", "adapter", "facts.toml"]);
    assert!(said.contains("30 examples of 30 records"), "{said}");
    assert!(said.contains("trained me/facts 1.0.0"), "{said}");
    let accuracy = |entry: &serde_json::Value| entry["metrics"]["accuracy"].as_f64();
    let best = log(&bench.folder, "runs/facts").iter().filter_map(accuracy).fold(0.0, f64::max);
    assert!(best > 0.8, "the verb decides the relation, and accuracy is {best}");
    assert_eq!(contents(&blobs), before, "training changes nothing that it reads");
    let card = fs::read_to_string(bench.folder.join("runs/facts/package/README.md")).unwrap();
    for part in ["me/facts", "official/tiny", "train.jsonl", "learning_rate = 2e-3", "accuracy"] {
        assert!(card.contains(part), "the card lacks `{part}`:\n{card}");
    }
    bench.world.publish(&bench.folder.join("runs/facts/package"));
    let project = bench.folder.join("kadapter.toml");
    fs::write(
        &project,
        "[registries]\nofficial = \"../registry\"\nplugins = \"../registry\"\nme = \"../registry\"\n[backbone]\npackage = \"official/tiny\"\n\
         version = \"^1\"\n[adapters]\nfacts = { package = \"me/facts\", version = \"^1\" }\n[tasks.features]\nkind = \"features\"\nstack = [\"facts\"]\n",
    )
    .unwrap();
    assert!(bench.run(&["run", "features", "Ada once taught Bela ."]).contains("64 features"));
}

#[test]
fn several_recipes_in_one_process_are_each_what_they_are_alone() {
    let bench = Bench::new();
    bench.factual("facts", TRAINING, "");
    bench.recipe("trees", "linguistic", TREES);
    bench.run(&["train", "adapter", "facts.toml", "--run", "alone"]);
    bench.run(&["train", "adapter", "trees.toml", "--run", "alone"]);
    bench.run(&["train", "adapter", "facts.toml", "trees.toml", "--run", "together"]);
    for name in ["facts", "trees"] {
        assert_eq!(bench.weights(&format!("alone/{name}")).0, bench.weights(&format!("together/{name}")).0, "{name}");
        assert_eq!(
            log(&bench.folder, &format!("alone/{name}")),
            log(&bench.folder, &format!("together/{name}")),
            "{name}"
        );
    }
}

#[test]
fn several_processes_at_the_same_time_train_what_each_does_alone() {
    let bench = Bench::new();
    bench.factual("facts", TRAINING, "");
    // Of the same sentences, so that it wants the same hidden states.
    bench.factual("twin", &format!("{TRAINING}seed = 7\n"), "");
    bench.recipe("trees", "linguistic", TREES);
    let names = ["facts", "twin", "trees"];
    let file = |name: &str| format!("{name}.toml");
    // At first they find home and cache as they were before anybody trained, then a cache that all read.
    for run in ["cold", "warm"] {
        let processes = names.map(|name| {
            let child = bench.command(&["train", "adapter", &file(name), "--run", run]).spawn().unwrap();
            (name, child)
        });
        for (name, child) in processes {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{run}/{name}: {}", said(&output));
        }
    }
    for name in names {
        fs::remove_dir_all(bench.folder.join("taps")).unwrap();
        bench.run(&["train", "adapter", &file(name), "--run", "alone"]);
        let alone = format!("alone/{name}");
        for beside in [format!("cold/{name}"), format!("warm/{name}")] {
            assert_eq!(bench.weights(&alone).0, bench.weights(&beside).0, "{beside}");
            assert_eq!(log(&bench.folder, &alone), log(&bench.folder, &beside), "{beside}");
        }
    }
    assert_ne!(bench.weights("alone/facts").0, bench.weights("alone/twin").0);
}

#[test]
fn the_cache_changes_no_bit_and_serves_later_epochs() {
    let bench = Bench::new();
    let all = bench.folder.join("all.toml");
    bench.factual("facts", TRAINING, "");
    bench.run(&["train", "adapter", "facts.toml", "--run", "cold"]);
    let said = bench.run(&["train", "adapter", "facts.toml", "--run", "warm"]);
    assert!(said.contains("0 backbone passes"), "a second run finds every state in the cache: {said}");
    let text = fs::read_to_string(bench.folder.join("facts.toml")).unwrap();
    fs::write(&all, text.replace("[cache]\n", "[cache]\nenabled = false\n")).unwrap();
    bench.run(&["train", "adapter", "all.toml", "--run", "without"]);
    assert_eq!(bench.weights("cold/facts").0, bench.weights("warm/facts").0);
    assert_eq!(bench.weights("cold/facts").0, bench.weights("without/all").0);
}

#[test]
fn hidden_states_that_another_process_adds_later_are_found() {
    let world = World::new();
    let resolved = world.resolve(&world.manifest("cache", &[], ""));
    let (config, _) = kadapter_host::pipeline::backbone_and_tokenizer(&resolved.backbone).unwrap();
    let engine = CpuEngine::new(CpuConfig::default());
    let backbone = Roberta::load(&engine, config, &resolved.backbone.weights).unwrap();
    let identity = CacheIdentity {
        backbone: world.backbone,
        taps: vec![0],
        hidden: backbone.config().hidden_size,
        dtype: CacheDtype::F32,
        variant: "cpu".to_owned(),
    };
    let open = || TapCache::open(&world.path("taps"), &identity, 1 << 20).unwrap();
    let (writing, reading) = (open(), open());
    assert!(writing.is_writer() && !reading.is_writer());
    let mut states = States::new(&engine, &backbone, &BTreeSet::from([0]), Some(reading), CacheDtype::F32, 100);
    // No backbone gives these.
    let kept = vec![7.0; 3 * backbone.config().hidden_size];
    assert_eq!(writing.put(&[0, 3, 2], &[&kept]), Stored::Kept);
    for id in 4..40 {
        states.of(&[vec![&[0, id, 2]]]).unwrap();
    }
    let passes = states.passes();
    let found = states.of(&[vec![&[0, 3, 2]]]).unwrap();
    assert_eq!(states.passes(), passes, "it was computed though it is kept");
    assert_eq!(engine.read_f32(&found[0][0]).unwrap(), kept);
}

#[test]
fn hidden_states_that_nobody_reads_are_not_kept_and_change_no_bit() {
    let bench = Bench::new();
    let kept = || -> BTreeSet<String> {
        let [version] = &fs::read_dir(bench.folder.join("taps")).unwrap().collect::<Vec<_>>()[..] else { panic!() };
        let folders = fs::read_dir(version.as_ref().unwrap().path()).unwrap().map(|folder| folder.unwrap().path());
        // A lock stands beside the folders.
        let identities = folders.filter_map(|folder| fs::read_to_string(folder.join("identity.toml")).ok());
        identities
            .map(|identity| identity.lines().find(|line| line.starts_with("taps = ")).unwrap().to_owned())
            .collect()
    };
    for name in ["both", "features"] {
        bench.factual(name, TRAINING, "");
        let path = bench.folder.join(format!("{name}.toml"));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("[objective]\n", &format!("[objective]\ninputs = \"{name}\"\n"))).unwrap();
    }
    bench.run(&["train", "adapter", "features.toml", "--run", "alone"]);
    assert_eq!(kept(), BTreeSet::from(["taps = [0, 2, 3]".to_owned()]));
    // Beside one that reads the last hidden state it is trained to the same bits.
    bench.run(&["train", "adapter", "features.toml", "both.toml", "--run", "beside"]);
    assert_eq!(kept(), BTreeSet::from(["taps = [0, 2, 3]".to_owned(), "taps = [0, 2, 3, 4]".to_owned()]));
    assert_eq!(bench.weights("alone/features").0, bench.weights("beside/features").0);
    assert_ne!(bench.weights("beside/both").0, bench.weights("beside/features").0);
}

#[test]
fn parts_of_a_batch_have_the_loss_of_the_whole() {
    let bench = Bench::new();
    bench.judge_on_training_data();
    bench.factual("whole", CURVE, "");
    bench.factual("parts", &format!("{CURVE}accumulate = 3\n"), "");
    bench.run(&["train", "adapter", "whole.toml"]);
    bench.run(&["train", "adapter", "parts.toml"]);
    assert_same_curves("parts", &log(&bench.folder, "runs/whole"), &log(&bench.folder, "runs/parts"));
    assert_ne!(bench.weights("runs/whole").0, bench.weights("runs/parts").0, "parts are added up, with other rounding");
}

#[test]
fn torn_targets_are_another_run() {
    let bench = Bench::new();
    bench.factual("facts", TRAINING, "");
    bench.factual("torn", TRAINING, "permute_targets = \"examples\"");
    bench.run(&["train", "adapter", "facts.toml"]);
    bench.run(&["train", "adapter", "torn.toml"]);
    assert_ne!(bench.weights("runs/facts").0, bench.weights("runs/torn").0);
}

#[test]
fn it_stops_when_no_evaluation_was_better_for_as_long_as_patience_says() {
    let bench = Bench::new();
    bench.judge_on_training_data();
    let peak = format!("{PEAK}evaluate_every = 2\n");
    bench.factual("whole", &peak, "");
    bench.run(&["train", "adapter", "whole.toml"]);
    let whole = log(&bench.folder, "runs/whole");
    let judged = evaluations(&whole, "accuracy");
    assert!(judged.iter().map(|(step, _)| *step).eq((2..=160).step_by(2)), "{judged:?}");
    for (name, patience) in [("hasty", 1), ("patient", 15)] {
        bench.factual(name, &format!("{peak}patience = {patience}\n"), "");
        bench.run(&["train", "adapter", &format!("{name}.toml")]);
        let run = bench.folder.join("runs").join(name);
        let stop = out_of_patience(&judged, patience).unwrap();
        assert!(stop < 160, "{name} stops before the end");
        // Until then it is the run that never stops early.
        let expected: Vec<_> =
            whole.iter().filter(|entry| entry["step"].as_u64().is_some_and(|step| step <= stop)).cloned().collect();
        assert_eq!(log(&bench.folder, &format!("runs/{name}")), expected, "{name}");
        let last = progress(&run.join("checkpoint.safetensors"));
        assert_eq!((last["step"].as_u64(), last["done"].as_bool()), (Some(stop), Some(true)), "{name}");
        // The best is packed, and not where it stopped.
        let best = stop - 2 * patience as u64;
        assert_eq!(first_best(&evaluations(&expected, "accuracy")), best, "{name}");
        assert_eq!(progress(&run.join("best.safetensors"))["step"], best, "{name}");
        let packed = tensors(&run.join("package/weights.safetensors"));
        assert!(packed == adapter_in(&run.join("best.safetensors")), "{name}");
        assert!(packed != adapter_in(&run.join("checkpoint.safetensors")), "{name}");
        let card = fs::read_to_string(run.join("package/README.md")).unwrap();
        assert!(card.contains(&format!("The package has the weights of step {best}.")), "{name}:\n{card}");
    }
}

#[test]
fn the_weights_of_the_best_update_are_packed_or_those_of_the_last() {
    let bench = Bench::new();
    bench.judge_on_training_data();
    bench.factual("peak", &format!("{PEAK}evaluate_every = 2\npatience = 15\n"), "");
    bench.run(&["train", "adapter", "peak.toml"]);
    let judged = evaluations(&log(&bench.folder, "runs/peak"), "accuracy");
    let best = first_best(&judged);
    assert!(best > 2 && best < judged.last().unwrap().0, "it rises and falls or stays: {judged:?}");
    // Where no evaluation is better than the first, patience ends the same updates right there.
    bench.judge_on_contradictions();
    bench.factual("last", &format!("{PEAK}evaluate_every = 1\npatience = {}\nkeep_last = true\n", best - 1), "");
    bench.run(&["train", "adapter", "last.toml"]);
    let judged = evaluations(&log(&bench.folder, "runs/last"), "accuracy");
    assert!(judged.iter().map(|(step, _)| *step).eq(1..=best), "{judged:?}");
    assert!(judged.iter().all(|(_, value)| *value == judged[0].1), "{judged:?}");
    let run = bench.folder.join("runs/last");
    let packed = tensors(&run.join("package/weights.safetensors"));
    assert!(packed == adapter_in(&run.join("checkpoint.safetensors")), "`keep_last` packs the last");
    assert!(packed != adapter_in(&run.join("best.safetensors")), "the best is of update 1");
    assert_eq!(progress(&run.join("best.safetensors"))["step"], 1);
    assert_eq!(
        bench.weights("runs/peak").0,
        bench.weights("runs/last").0,
        "the best weights are those of update {best}"
    );
    let card = fs::read_to_string(run.join("package/README.md")).unwrap();
    assert!(card.contains(&format!("The package has the weights of step {best}.")), "{card}");
}

#[test]
fn the_metric_that_the_recipe_names_chooses_the_best() {
    let bench = Bench::new();
    // Accuracy stays, and macro-F1 rises as answers spread over the labels.
    bench.judge_on_contradictions();
    let training = "epochs = 10\nbatch = 8\nlearning_rate = 2e-3\nwarmup_steps = 2\nevaluate_every = 2\n";
    bench.factual("first", training, "");
    bench.factual("named", &format!("{training}metric = \"macro_f1\"\n"), "");
    bench.run(&["train", "adapter", "first.toml", "named.toml"]);
    let found = |run: &str| progress(&bench.folder.join(run).join("best.safetensors"))["step"].as_u64();
    let log = log(&bench.folder, "runs/named");
    let (accuracy, macro_f1) = (evaluations(&log, "accuracy"), evaluations(&log, "macro_f1"));
    let best = first_best(&macro_f1);
    assert!(first_best(&accuracy) == 2 && best > 2, "{accuracy:?} {macro_f1:?}");
    assert_eq!((found("runs/first"), found("runs/named")), (Some(2), Some(best)));
    assert_ne!(bench.weights("runs/first").0, bench.weights("runs/named").0);
}

#[test]
fn a_run_ends_and_is_judged_after_the_updates_that_the_recipe_says() {
    let bench = Bench::new();
    // An epoch has four updates.
    let cases: [(&str, &str, Vec<u64>); 4] = [
        ("epochs", "epochs = 2\n", vec![4, 8]),
        ("short", "epochs = 2\nmax_steps = 3\n", vec![3]),
        ("long", "epochs = 1\nmax_steps = 10\nevaluate_every = 4\n", vec![4, 8, 10]),
        ("previous", "epochs = 1\nmax_steps = 10\nevaluate_every = 4\nschedule_index = \"k-1\"\n", vec![4, 8, 10]),
    ];
    for (name, training, steps) in cases {
        bench.factual(name, &format!("{training}batch = 8\nlearning_rate = 1e-3\nwarmup_fraction = 0.4\n"), "");
        bench.run(&["train", "adapter", &format!("{name}.toml")]);
        let judged = evaluations(&log(&bench.folder, &format!("runs/{name}")), "accuracy");
        assert_eq!(judged.iter().map(|(step, _)| *step).collect::<Vec<_>>(), steps, "{name}");
        let last = progress(&bench.folder.join("runs").join(name).join("checkpoint.safetensors"));
        assert_eq!((last["step"].as_u64(), last["done"].as_bool()), (steps.last().copied(), Some(true)), "{name}");
    }
    // Four updates of warm-up and six of decay; the k-th takes step k of the schedule, or k - 1.
    for (run, first, tenth) in [("runs/long", 0.25e-3, 0.0), ("runs/previous", 0.0, 1e-3 / 6.0)] {
        let rate = |entry: &serde_json::Value| Some((entry["step"].as_u64()?, entry["learning_rate"].as_f64()?));
        let rates: Vec<_> = log(&bench.folder, run).iter().filter_map(rate).collect();
        let [(1, found_first), (10, found_tenth)] = rates[..] else { panic!("{run}: {rates:?}") };
        assert!((found_first - first).abs() < 1e-12 && (found_tenth - tenth).abs() < 1e-12, "{run}: {rates:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn killed_at_any_step_it_ends_with_the_same_bits() {
    let bench = Bench::new();
    bench.factual("facts", TRAINING, "");
    bench.run(&["train", "adapter", "facts.toml", "--run", "whole"]);
    let (expected, lines) = (bench.weights("whole/facts").0, log(&bench.folder, "whole/facts"));
    let best = |run: &str| tensors(&bench.folder.join(run).join("facts/best.safetensors"));
    let expected_best = best("whole");
    let (mut killed, mut ended) = (0, false);
    // Every step of a first run in turn would take minutes; primes apart, all kinds of steps are met.
    for n in (1_u64..).step_by(7) {
        let _ = fs::remove_dir_all(bench.folder.join("killed"));
        let words = ["train", "adapter", "facts.toml", "--run", "killed"];
        let output = bench.faulty(&words, "KADAPTER_KILL_AT", n);
        ended = output.status.success();
        killed += u32::from(!ended);
        if !ended {
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(9), "{}", said(&output));
            // Once more in the middle of going on, then to the end.
            let _ = bench.faulty(&words, "KADAPTER_KILL_AT", n / 2 + 5);
            bench.run(&words);
        }
        assert_eq!(bench.weights("killed/facts").0, expected, "killed at step {n}");
        assert!(best("killed") == expected_best, "killed at step {n}");
        assert_eq!(log(&bench.folder, "killed/facts"), lines, "killed at step {n}");
        if ended {
            break;
        }
    }
    assert!(ended && killed > 5, "{killed}");
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_it_says_so_and_loses_nothing() {
    let bench = Bench::new();
    bench.factual("facts", TRAINING, "");
    bench.run(&["train", "adapter", "facts.toml", "--run", "whole"]);
    let (expected, lines) = (bench.weights("whole/facts").0, log(&bench.folder, "whole/facts"));
    let (mut refused, mut kept, mut ended) = (0, 0, false);
    for n in (1_u64..).step_by(9) {
        let _ = fs::remove_dir_all(bench.folder.join("full"));
        let words = ["train", "adapter", "facts.toml", "--run", "full"];
        let output = bench.faulty(&words, "KADAPTER_FULL_AT", n);
        ended = output.status.success();
        if !ended {
            assert_eq!(output.status.code(), Some(1), "{}", said(&output));
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(told.contains("No space left on device"), "full at step {n}: {told}");
            assert!(!bench.folder.join("full/facts/package").exists(), "full at step {n}");
            let checkpoint = bench.folder.join("full/facts/checkpoint.safetensors");
            if checkpoint.exists() {
                Reader::open(&checkpoint, None).unwrap_or_else(|error| panic!("full at step {n}: {error}"));
                kept += 1;
            }
            refused += 1;
            // With room again it ends as if nothing had been.
            bench.run(&words);
        }
        assert_eq!(bench.weights("full/facts").0, expected, "full at step {n}");
        assert_eq!(log(&bench.folder, "full/facts"), lines, "full at step {n}");
        if ended {
            break;
        }
    }
    assert!(ended && refused > 5 && kept > 0, "{refused} {kept}");
}

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
fn a_loss_that_is_no_number_stops_it_and_leaves_the_last_checkpoint() {
    let bench = Bench::new();
    // The first update has rate 0, the second one that breaks any network.
    let training = "epochs = 40\nbatch = 8\nlearning_rate = 1e30\nclip = 0.0\nsave_every = 1\nwarmup_steps = 2\n\
                    schedule_index = \"k-1\"\n";
    bench.factual("facts", training, "");
    let said = bench.refused(&["train", "adapter", "facts.toml"]);
    assert!(said.contains("NaN") || said.contains("inf"), "{said}");
    assert!(said.contains("train.jsonl:") && said.contains("--fresh"), "{said}");
    let (_, failed) = said.split_once(", update ").unwrap();
    let failed: u64 = failed.split_once(';').unwrap().0.parse().unwrap();
    let checkpoint = bench.folder.join("runs/facts/checkpoint.safetensors");
    let kept = progress(&checkpoint);
    assert_eq!((kept["step"].as_u64(), kept["done"].as_bool()), (Some(failed - 1), Some(false)), "{said}");
    let found = tensors(&checkpoint);
    assert!(found.values().flatten().all(|bits| f32::from_bits(*bits).is_finite()));
    assert!(!bench.folder.join("runs/facts/package").exists());
    // No evaluation of a twin is better than the first, so that patience ends it just before the update that fails.
    assert!(failed >= 3, "{said}");
    bench.judge_on_contradictions();
    bench.factual("twin", &format!("{training}evaluate_every = 1\npatience = {}\n", failed - 2), "");
    bench.run(&["train", "adapter", "twin.toml"]);
    let twin = bench.folder.join("runs/twin/checkpoint.safetensors");
    assert_eq!(progress(&twin)["step"], failed - 1);
    assert!(tensors(&twin) == found, "the update that failed changed nothing");
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
fn it_starts_from_the_weights_of_a_package_and_other_weights_are_another_run() {
    let bench = Bench::new();
    bench.factual("first", TRAINING, "");
    bench.run(&["train", "adapter", "first.toml"]);
    bench.factual("second", TRAINING, "");
    let recipe = fs::read_to_string(bench.folder.join("second.toml")).unwrap();
    let start = "license = \"MIT\"\nstart_from = \"start\"";
    fs::write(bench.folder.join("second.toml"), recipe.replacen("license = \"MIT\"", start, 1)).unwrap();
    let absent = bench.refused(&["train", "adapter", "second.toml"]);
    assert!(absent.contains("FOLDER/start"), "{absent}");
    fs::rename(bench.folder.join("runs/first/package"), bench.folder.join("start")).unwrap();
    bench.run(&["train", "adapter", "second.toml"]);
    bench.factual("plain", TRAINING, "");
    bench.run(&["train", "adapter", "plain.toml"]);
    assert_ne!(bench.weights("runs/second").0, bench.weights("runs/plain").0, "it started elsewhere");
    // The same place with other weights.
    fs::remove_dir_all(bench.folder.join("start")).unwrap();
    fs::rename(bench.folder.join("runs/second/package"), bench.folder.join("start")).unwrap();
    let said = bench.refused(&["train", "adapter", "second.toml"]);
    assert!(said.contains("was made by another run") && said.contains("--fresh"), "{said}");
}

#[test]
fn a_backbone_that_changed_under_the_training_is_told() {
    let bench = Bench::new();
    bench.factual("facts", "epochs = 60\nbatch = 8\nlearning_rate = 1e-3\nsave_every = 1\n", "");
    let blobs = bench.world.registry().join("blobs");
    let weights = contents(&blobs).into_iter().find(|(_, digest)| *digest == bench.world.backbone).unwrap().0;
    let mut training = bench.command(&["train", "adapter", "facts.toml"]).spawn().unwrap();
    while !bench.folder.join("runs/facts/checkpoint.safetensors").exists() {
        assert_eq!(training.try_wait().unwrap(), None, "it ends without a checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // The training has read its weights long before.
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let changed = bench.folder.join("changed");
    fs::write(&changed, bytes).unwrap();
    fs::rename(&changed, &weights).unwrap();
    let output = training.wait_with_output().unwrap();
    assert!(
        !output.status.success() && said(&output).contains("the backbone's weights have digest"),
        "{}",
        said(&output)
    );
    assert!(!bench.folder.join("runs/facts/package").exists());
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

/// The command in several ranks on this machine.
fn ranks(bench: &Bench, ranks: &str, words: &[&str]) -> Command {
    let command = bench.command(words);
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["-n", ranks, "--allow-run-as-root", "--oversubscribe"]).arg(command.get_program());
    mpirun.args(command.get_args()).current_dir(&bench.folder).env("KADAPTER_HOME", bench.folder.join("home"));
    mpirun.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    mpirun
}

/// Runs it, and gives what it says.
fn in_ranks(bench: &Bench, count: &str, words: &[&str]) -> String {
    let output = ranks(bench, count, words).output().expect("Open MPI is installed by tests/services/training.sh");
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout.matches("trained me/").count(), 1, "one rank speaks: {}", said(&output));
    said(&output)
}

#[test]
#[ignore = "needs Open MPI and a command that was built with it: cargo xtask test --ranks"]
fn ranks_have_the_loss_curve_of_one_process() {
    let bench = Bench::new();
    bench.judge_on_training_data();
    for name in ["alone", "ranks", "again", "three"] {
        bench.factual(name, CURVE, "");
    }
    bench.run(&["train", "adapter", "alone.toml"]);
    for (name, count) in [("ranks", "2"), ("again", "2"), ("three", "3")] {
        in_ranks(&bench, count, &["train", "adapter", &format!("{name}.toml"), "--communicator", "mpi"]);
        let (one, several) = (log(&bench.folder, "runs/alone"), log(&bench.folder, &format!("runs/{name}")));
        assert_same_curves(name, &one, &several);
        let weights = bench.weights(&format!("runs/{name}"));
        for ((tensor, one), (_, several)) in bench.weights("runs/alone").1.iter().zip(&weights.1) {
            assert!(one.iter().zip(several).all(|(one, several)| (one - several).abs() < 1e-3), "{name}: {tensor}");
        }
    }
    assert_eq!(bench.weights("runs/ranks").0, bench.weights("runs/again").0, "the same ranks give the same bits");
}

#[cfg(unix)]
#[test]
#[ignore = "needs Open MPI and a command that was built with it: cargo xtask test --ranks"]
fn ranks_have_the_same_bits_after_a_kill() {
    let bench = Bench::new();
    // So many updates that it is far from its end when the first checkpoint is seen.
    bench.factual("facts", "epochs = 100\nbatch = 8\nlearning_rate = 1e-3\nsave_every = 1\nkeep_last = true\n", "");
    let words = |run| ["train", "adapter", "facts.toml", "--communicator", "mpi", "--run", run];
    in_ranks(&bench, "2", &words("whole"));
    let mut launched = ranks(&bench, "2", &words("killed")).spawn().unwrap();
    while !bench.folder.join("killed/facts/checkpoint.safetensors").exists() {
        assert_eq!(launched.try_wait().unwrap(), None, "it ends without a checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // `mpirun` takes its ranks with it.
    assert!(Command::new("kill").arg(launched.id().to_string()).status().unwrap().success());
    let output = launched.wait_with_output().unwrap();
    assert!(!output.status.success() && !bench.folder.join("killed/facts/package").exists(), "{}", said(&output));
    let said = in_ranks(&bench, "2", &words("killed"));
    assert!(said.contains("goes on after update "), "{said}");
    assert_eq!(bench.weights("whole/facts").0, bench.weights("killed/facts").0);
    assert_eq!(log(&bench.folder, "whole/facts"), log(&bench.folder, "killed/facts"));
}
