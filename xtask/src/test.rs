//! Every test: those of the crates, those that cross crates (with real plugins), and the documentation's.
//!
//! Everything is built as for release: numbers are unusable without optimisation, and one build then serves the demo and the tests.

use crate::shell::{ALL_STORES, Outcome, cargo, root, run as run_program};

/// Runs the tests of stores over real servers, which a script starts and stops, and those of training beside programs of others,
/// which another script installs.
pub(crate) fn services(filters: &[&str]) -> Outcome {
    stores(filters)?;
    training(filters)
}

/// Those that need MPI and TensorBoard: of the host, and of the command in several ranks.
fn training(filters: &[&str]) -> Outcome {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let installed =
        |words: &[&str]| run_program(root().join("tests/services/training.sh"), [&[program.as_str()], words].concat());
    let mpi = [&ALL_STORES[..], &["--features", "kadapter-host/mpi"]].concat();
    let host = ["test", "--release", "--package", "kadapter-host", "--test", "services"];
    installed(&[&host[..], &mpi, &["--"], filters].concat())?;
    // The command that the next test finds; `cargo xtask test` builds its own anew.
    build(&mpi, installed)?;
    let ranks = ["test", "--release", "--package", "kadapter-tests", "--test", "all"];
    let only = ["--", "--ignored", "ranks_have"];
    installed(&[&ranks[..], &ALL_STORES, &only, filters].concat())
}

/// Those of the registry that need all servers.
fn stores(filters: &[&str]) -> Outcome {
    // Light crates only: the profile that builds fastest.
    let build = ["test", "--package", "kadapter-registry", "--features", "s3,oci,hf", "--test", "services"];
    // Built before the servers start, so that they do not wait for a compiler.
    cargo(&[&build[..], &["--no-run"]].concat())?;
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    run_program(root().join("tests/services/run.sh"), [&[program.as_str()], &build[..], &["--"], filters].concat())
}

/// Builds what tests open and run from real files, which a test build does not make by itself.
fn build(features: &[&str], cargo: impl Fn(&[&str]) -> Outcome) -> Outcome {
    let mut words = vec!["build", "--release"];
    for package in [
        "kadapter-factual",
        "kadapter-linguistic",
        "kadapter-bottleneck",
        "kadapter-faulty",
        "kadapter-killer",
        "kadapter-bad",
        "kadapter-shift",
        "kadapter-frozen",
        "kadapter-host",
    ] {
        words.extend(["--package", package]);
    }
    words.extend(features);
    cargo(&words)
}

/// Runs all tests, or those that the filters name.
pub(crate) fn run(filters: &[&str]) -> Outcome {
    build(&ALL_STORES, cargo)?;
    let nextest = std::process::Command::new("cargo").args(["nextest", "--version"]).output();
    let has_nextest = nextest.is_ok_and(|output| output.status.success());
    let mut words = if has_nextest {
        vec!["nextest", "run", "--workspace", "--release", "-E", "not binary(services)"]
    } else {
        vec!["test", "--workspace", "--release", "--lib", "--bins", "--tests"]
    };
    words.extend(ALL_STORES);
    words.extend(filters);
    if !has_nextest {
        words.extend(["--", "--skip", "services::"]);
    }
    cargo(&words)?;
    if filters.is_empty() {
        cargo(&[&["test", "--workspace", "--release", "--doc"], &ALL_STORES[..]].concat())
    } else {
        Ok(())
    }
}
