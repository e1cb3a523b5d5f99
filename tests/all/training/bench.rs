//! Recipes, data and runs for the tests of `kadapter train adapter`, and what its files say.

use kadapter_host::weights::Reader;
use kadapter_registry::Digest;
use kadapter_tests::{World, paths};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Entities and verbs: the verb decides the relation, so that there is something to learn.
pub(super) const NAMES: [&str; 6] = ["Ada", "Bela", "Cleo", "Dora", "Egon", "Fritz"];
pub(super) const VERBS: [(&str, &str); 3] = [("taught", "P802"), ("married", "P26"), ("succeeded", "P155")];

pub(super) struct Bench {
    pub(super) world: World,
    pub(super) folder: PathBuf,
}

impl Bench {
    pub(super) fn new() -> Self {
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
    pub(super) fn factual(&self, name: &str, training: &str, extra: &str) {
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
    pub(super) fn judge_on_training_data(&self) {
        fs::copy(self.folder.join("train.jsonl"), self.folder.join("dev.jsonl")).unwrap();
    }

    /// Lets runs be judged on all sentences with each relation in turn: one of three is right, whatever is answered.
    pub(super) fn judge_on_contradictions(&self) {
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

    pub(super) fn recipe(&self, name: &str, plugin: &str, rest: &str) {
        let text = format!(
            "[adapter]\nname = \"me/{name}\"\nlicense = \"MIT\"\nplugin = \"plugins/{plugin}\"\ntaps = [0, 2, 3]\n\
             [adapter.config]\nsize = 24\nheads = 3\nffn = 40\n[registries]\nofficial = \"../registry\"\nplugins = \"../registry\"\n\
             [backbone]\npackage = \"official/tiny\"\nversion = \"^1\"\n[cache]\ndirectory = \"taps\"\n{rest}\n"
        );
        fs::write(self.folder.join(format!("{name}.toml")), text).unwrap();
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::kadapter());
        command.args(words).current_dir(&self.folder).env("KADAPTER_HOME", self.folder.join("home"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs with a fault at the n-th step that changes a file (`tests/killer`).
    #[cfg(target_os = "linux")]
    pub(super) fn faulty(&self, words: &[&str], fault: &str, n: u64) -> Output {
        self.command(words).env("LD_PRELOAD", paths::plugin("killer")).env(fault, n.to_string()).output().unwrap()
    }

    pub(super) fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn refused(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", said(&output));
        // Paths differ from machine to machine.
        String::from_utf8(output.stderr)
            .unwrap()
            .replace(&self.folder.display().to_string(), "FOLDER")
            .replace(&self.world.registry().display().to_string(), "REGISTRY")
    }

    pub(super) fn weights(&self, run: &str) -> (Digest, Vec<(String, Vec<f32>)>) {
        let mut reader = Reader::open(&self.folder.join(run).join("package/weights.safetensors"), None).unwrap();
        let mut tensors = Vec::new();
        while let Some(tensor) = reader.next_tensor().unwrap() {
            tensors.push((tensor.info().name.clone(), tensor.read_f32().unwrap()));
        }
        (reader.finish().unwrap().0, tensors)
    }
}

pub(super) fn said(output: &Output) -> String {
    format!(
        "{:?}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The log without what a clock decides.
pub(super) fn log(folder: &Path, run: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(folder.join(run).join("log.jsonl")).unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("tokens_per_second");
        value
    };
    text.lines().map(line).collect()
}

/// The bits of every tensor of a file.
pub(super) fn tensors(path: &Path) -> BTreeMap<String, Vec<u32>> {
    let mut reader = Reader::open(path, None).unwrap();
    let mut tensors = BTreeMap::new();
    while let Some(tensor) = reader.next_tensor().unwrap() {
        let name = tensor.info().name.clone();
        tensors.insert(name, tensor.read_f32().unwrap().into_iter().map(f32::to_bits).collect());
    }
    tensors
}

/// What of a checkpoint becomes a package: the adapter, by the names that it has there.
pub(super) fn adapter_in(checkpoint: &Path) -> BTreeMap<String, Vec<u32>> {
    let tensors = tensors(checkpoint).into_iter();
    tensors.filter_map(|(name, bits)| Some((name.strip_prefix("adapter.")?.to_owned(), bits))).collect()
}

/// What a checkpoint says of its run.
pub(super) fn progress(checkpoint: &Path) -> serde_json::Value {
    let reader = Reader::open(checkpoint, None).unwrap();
    serde_json::from_str(&reader.header().metadata()["progress"]).unwrap()
}

/// What every file below a folder holds.
pub(super) fn contents(folder: &Path) -> BTreeMap<PathBuf, Digest> {
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
pub(super) fn evaluations(log: &[serde_json::Value], metric: &str) -> Vec<(u64, f64)> {
    let value = |entry: &serde_json::Value| Some((entry["step"].as_u64()?, entry["metrics"][metric].as_f64()?));
    log.iter().filter_map(value).collect()
}

/// The first of the updates that were judged best.
pub(super) fn first_best(evaluations: &[(u64, f64)]) -> u64 {
    let best = evaluations.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    evaluations.iter().find(|(_, value)| *value == best).unwrap().0
}

/// The update after which `patience` evaluations in a row were not better than the best before them.
pub(super) fn out_of_patience(evaluations: &[(u64, f64)], patience: usize) -> Option<u64> {
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
pub(super) fn assert_same_curves(name: &str, one: &[serde_json::Value], other: &[serde_json::Value]) {
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
pub(super) const TRAINING: &str =
    "epochs = 4\nbatch = 8\nlearning_rate = 1e-3\nwarmup_steps = 2\nsave_every = 3\nkeep_last = true\n";
/// Long enough for eleven losses in the log, which has one of every tenth update.
pub(super) const CURVE: &str =
    "epochs = 25\nbatch = 8\nlearning_rate = 1e-3\nwarmup_steps = 2\nsave_every = 3\nkeep_last = true\n";
/// Judged often, and best long before its end at update 160.
pub(super) const PEAK: &str =
    "epochs = 40\nbatch = 8\nlearning_rate = 2e-3\nwarmup_fraction = 0.05\nschedule_index = \"k-1\"\nsave_every = 0\n";
/// The rest of a recipe for the linguistic plugin.
pub(super) const TREES: &str = "[objective]\nmax_length = 32\narc_size = 16\n[data]\ntrain = [\"trees.conllu\"]\nhold_out = { fraction = 0.2 }\n\
                     [training]\nepochs = 2\nbatch = 4\nlearning_rate = 1e-3\nkeep_last = true\n";
