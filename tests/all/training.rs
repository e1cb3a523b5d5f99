//! `kadapter train adapter` with real plugins: what it makes, what a kill leaves, what it refuses.

use kadapter_host::weights::Reader;
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

const TRAINING: &str = "epochs = 4\nbatch = 8\nlearning_rate = 1e-3\nwarmup_steps = 2\nsave_every = 3\n";

#[test]
fn a_trained_adapter_is_published_and_stacked() {
    let mut bench = Bench::new();
    bench.factual("facts", "epochs = 12\nbatch = 8\nlearning_rate = 2e-3\n", "");
    let before = bench.world.backbone;
    let said = bench.run(&["train", "adapter", "facts.toml"]);
    assert!(said.contains("30 examples of 30 records"), "{said}");
    assert!(said.contains("trained me/facts 1.0.0"), "{said}");
    let accuracy = |entry: &serde_json::Value| entry["metrics"]["accuracy"].as_f64();
    let best = log(&bench.folder, "runs/facts").iter().filter_map(accuracy).fold(0.0, f64::max);
    assert!(best > 0.8, "the verb decides the relation, and accuracy is {best}");
    assert_eq!(bench.world.backbone, before);
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
    bench.recipe(
        "trees",
        "linguistic",
        "[objective]\nmax_length = 32\narc_size = 16\n[data]\ntrain = [\"trees.conllu\"]\nhold_out = { fraction = 0.2 }\n\
         [training]\nepochs = 2\nbatch = 4\nlearning_rate = 1e-3\n",
    );
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
    bench.factual("whole", TRAINING, "");
    bench.factual("parts", &format!("{TRAINING}accumulate = 3\n"), "");
    bench.run(&["train", "adapter", "whole.toml"]);
    bench.run(&["train", "adapter", "parts.toml"]);
    let losses =
        |run: &str| -> Vec<f64> { log(&bench.folder, run).iter().filter_map(|entry| entry["loss"].as_f64()).collect() };
    let (whole, parts) = (losses("runs/whole"), losses("runs/parts"));
    assert!(!whole.is_empty() && whole.len() == parts.len());
    for (whole, parts) in whole.iter().zip(&parts) {
        assert!((whole - parts).abs() < 1e-4, "{whole} {parts}");
    }
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

#[cfg(target_os = "linux")]
#[test]
fn killed_at_any_step_it_ends_with_the_same_bits() {
    let bench = Bench::new();
    bench.factual("facts", TRAINING, "");
    bench.run(&["train", "adapter", "facts.toml", "--run", "whole"]);
    let (expected, lines) = (bench.weights("whole/facts").0, log(&bench.folder, "whole/facts"));
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
    bench.factual("facts", "epochs = 40\nbatch = 8\nlearning_rate = 1e30\nclip = 0.0\nsave_every = 1\n", "");
    let said = bench.refused(&["train", "adapter", "facts.toml"]);
    assert!(said.contains("NaN") || said.contains("inf"), "{said}");
    assert!(said.contains("train.jsonl:") && said.contains("--fresh"), "{said}");
    let checkpoint = bench.folder.join("runs/facts/checkpoint.safetensors");
    let reader = Reader::open(&checkpoint, None).unwrap();
    assert!(reader.header().metadata().contains_key("progress"));
    assert!(!bench.folder.join("runs/facts/package").exists());
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
fn another_recipe_does_not_go_on_from_this_ones_checkpoint() {
    let bench = Bench::new();
    bench.factual("facts", TRAINING, "");
    bench.run(&["train", "adapter", "facts.toml"]);
    bench.factual("facts", &TRAINING.replace("1e-3", "2e-3"), "");
    let said = bench.refused(&["train", "adapter", "facts.toml"]);
    assert!(said.contains("another run") && said.contains("--fresh"), "{said}");
    bench.run(&["train", "adapter", "facts.toml", "--fresh"]);
}

/// Runs the command in several ranks on this machine.
fn in_ranks(bench: &Bench, ranks: &str, words: &[&str]) {
    let command = bench.command(words);
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["-n", ranks, "--allow-run-as-root", "--oversubscribe"]).arg(command.get_program());
    mpirun.args(command.get_args()).current_dir(&bench.folder).env("KADAPTER_HOME", bench.folder.join("home"));
    let output = mpirun.output().expect("Open MPI is installed by tests/services/training.sh");
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout.matches("trained me/").count(), 1, "one rank speaks: {}", said(&output));
}

#[test]
#[ignore = "needs Open MPI and a command that was built with it: cargo xtask test --ranks"]
fn ranks_have_the_loss_curve_of_one_process() {
    let bench = Bench::new();
    for name in ["alone", "ranks", "again", "three"] {
        bench.factual(name, TRAINING, "");
    }
    bench.run(&["train", "adapter", "alone.toml"]);
    for (name, ranks) in [("ranks", "2"), ("again", "2"), ("three", "3")] {
        in_ranks(&bench, ranks, &["train", "adapter", &format!("{name}.toml"), "--communicator", "mpi"]);
        let (one, several) = (log(&bench.folder, "runs/alone"), log(&bench.folder, &format!("runs/{name}")));
        assert_eq!(one.len(), several.len());
        let mut losses = 0;
        for (one, several) in one.iter().zip(&several) {
            assert_eq!((&one["event"], &one["step"]), (&several["event"], &several["step"]));
            if let Some(loss) = one["loss"].as_f64() {
                let found = several["loss"].as_f64().unwrap();
                assert!((loss - found).abs() < 1e-4, "{name}: {one} {several}");
                losses += 1;
            }
        }
        assert!(losses >= 2, "{one:?}");
        let weights = bench.weights(&format!("runs/{name}"));
        for ((tensor, one), (_, several)) in bench.weights("runs/alone").1.iter().zip(&weights.1) {
            assert!(one.iter().zip(several).all(|(one, several)| (one - several).abs() < 1e-3), "{name}: {tensor}");
        }
    }
    assert_eq!(bench.weights("runs/ranks").0, bench.weights("runs/again").0, "the same ranks give the same bits");
}
