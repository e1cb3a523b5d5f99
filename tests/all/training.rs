//! `kadapter train adapter` with real plugins: what it makes, alone, beside others and from kept hidden states.

mod bench;
mod ranks;
mod refusals;
mod stopping;

use self::bench::*;
use kadapter_host::backbone::Roberta;
use kadapter_host::tensor::cpu::{CpuConfig, CpuEngine};
use kadapter_host::train::adapter::states::States;
use kadapter_host::train::cache::{CacheDtype, CacheIdentity, Stored, TapCache};
use kadapter_plugin_api::Engine as _;
use kadapter_registry::Digest;
use kadapter_tests::World;
use std::collections::BTreeSet;
use std::fs;

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
