//! One adapter on several processes over MPI: `cargo xtask test --ranks`.

use super::bench::*;
use std::process::{Command, Stdio};

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
