//! Every test: those of the crates, those that cross crates (with real plugins), and the documentation's.
//!
//! Everything is built as for release: numbers are unusable without optimisation, and one build then serves the demo and the tests.

use crate::shell::{ALL_STORES, Outcome, cargo, root, run as run_program};

/// The tests of the registry over real servers.
const OF_STORES: &str = "services";
/// What of the tests that cross crates needs the servers, or what they come with: the document about publishing, whose every
/// command is run, and the real `minisign`.
const ACROSS: [&str; 2] = ["publishing::", "minisign::"];

/// Runs the tests of training that need MPI and TensorBoard, which a script installs: of the host, and of the command in several ranks.
pub(crate) fn ranks(filters: &[&str]) -> Outcome {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let installed =
        |words: &[&str]| run_program(root().join("tests/services/training.sh"), [&[program.as_str()], words].concat());
    let mpi = [&ALL_STORES[..], &["--features", "kadapter-host/mpi"]].concat();
    let host = ["test", "--release", "--package", "kadapter-host", "--test", "ranks"];
    installed(&[&host[..], &mpi, &["--"], filters].concat())?;
    // The command that the next test finds; `cargo xtask test` builds its own anew.
    build(&mpi, installed)?;
    let ranks = ["test", "--release", "--package", "kadapter-tests", "--test", "all"];
    let only = ["--", "--ignored", "ranks_have"];
    installed(&[&ranks[..], &ALL_STORES, &only, filters].concat())
}

/// Runs the tests of stores over real servers, which a script starts and stops.
pub(crate) fn services(filters: &[&str]) -> Outcome {
    // Built before the servers start, so that they do not wait for a compiler.
    build(&ALL_STORES, cargo)?;
    cargo(&tests_of(&[OF_STORES, "all"], &["--no-run"]))?;
    let this = std::env::current_exe().map_err(|error| format!("Could not find this program: {error}"))?;
    let this = this.display().to_string();
    run_program(root().join("tests/services/run.sh"), [&[this.as_str(), "test", "--served"], filters].concat())
}

/// The part of [`services`] that finds the servers in its environment.
pub(crate) fn served(filters: &[&str]) -> Outcome {
    cargo(&tests_of(&[OF_STORES], &[&["--"], filters].concat()))?;
    let wanted =
        |name: &&str| filters.is_empty() || filters.iter().any(|filter| filter.contains(name.trim_end_matches(':')));
    let across: Vec<&str> = ACROSS.into_iter().filter(wanted).collect();
    if across.is_empty() { Ok(()) } else { cargo(&tests_of(&["all"], &[&["--"], &across[..]].concat())) }
}

/// The words that make cargo run some test programs, built as [`run`] builds them.
fn tests_of<'a>(programs: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let programs = programs.iter().flat_map(|program| ["--test", program]);
    ["test", "--workspace", "--release"]
        .into_iter()
        .chain(ALL_STORES)
        .chain(programs)
        .chain(more.iter().copied())
        .collect()
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
        vec!["nextest", "run", "--workspace", "--release", "-E", "not (binary(services) | binary(ranks))"]
    } else {
        vec!["test", "--workspace", "--release", "--lib", "--bins", "--tests"]
    };
    words.extend(ALL_STORES);
    // `cargo test` itself takes one filter, the programs that it runs take many.
    if !has_nextest {
        words.push("--");
    }
    words.extend(filters);
    if !has_nextest {
        words.extend(["--skip", "services::", "--skip", "ranks::"]);
    }
    cargo(&words)?;
    if filters.is_empty() {
        cargo(&[&["test", "--workspace", "--release", "--doc"], &ALL_STORES[..]].concat())
    } else {
        Ok(())
    }
}
