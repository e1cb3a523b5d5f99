//! When a run ends and what is there then: patience, the best weights, kills, full disks, losses that are no number.

use super::bench::*;
use kadapter_host::weights::Reader;
use std::fs;

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
fn a_backbone_that_changed_under_the_training_is_told() {
    let bench = Bench::new();
    bench.factual("facts", "epochs = 150\nbatch = 8\nlearning_rate = 1e-3\nsave_every = 1\n", "");
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
