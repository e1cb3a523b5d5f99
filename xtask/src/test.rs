//! Every test: those of the crates, those that cross crates (with real plugins), and the documentation's.

use crate::shell::{Outcome, cargo};

/// Runs all tests, or those that the filters name.
pub(crate) fn run(filters: &[&str]) -> Outcome {
    // Tests open plugins from real files, which a test build of the workspace does not make by itself.
    let mut words = vec!["build"];
    for package in ["kadapter-factual", "kadapter-linguistic", "kadapter-bottleneck", "kadapter-faulty", "kadapter-host"] {
        words.extend(["--package", package]);
    }
    cargo(&words)?;
    let has_nextest = std::process::Command::new("cargo").args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    let mut words = if has_nextest { vec!["nextest", "run", "--workspace"] } else { vec!["test", "--workspace", "--lib", "--bins", "--tests"] };
    words.extend(filters);
    cargo(&words)?;
    if filters.is_empty() { cargo(&["test", "--workspace", "--doc"]) } else { Ok(()) }
}
