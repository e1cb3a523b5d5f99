//! The validator of plugins: what a host relies on, as checks that each run in a process of their own.
//!
//! ```text
//! check ids ── needs met? ── child: one check ── finding ── judged with how the child ended and what it printed ── outcome
//! ```
//! A check's outcome is data ([`Outcome`]); the command prints it. Checks stand in families, a file each:
//!
//! | family | what it is about |
//! | --- | --- |
//! | `file` | the file as bytes, before anything is opened |
//! | `life` | open, layout, build, forward, drop, end |
//! | `config` | configurations that must be refused |
//! | `output` | shape, determinism, finite numbers |
//! | `ragged` | rows of a batch and their segments |
//! | `parameters` | what is declared, read and matters |
//! | `objective` | what trains the plugin's adapters, where it brings something |
//! | `engines` | the reference engine beside the CPU's, ops that fail |
//! | `sharing` | threads |
//! | `cost` | memory and time |
//! | `effects` | what a plugin has no business to do |

mod batch;
mod bench;
mod config;
mod cost;
mod effects;
mod engines;
mod error;
mod file;
mod finding;
mod judge;
mod life;
mod objective;
mod output;
mod parameters;
mod ragged;
mod run;
mod sharing;
mod subject;
mod watch;

pub use error::CheckError;
pub use finding::Status;
pub use run::{Outcome, Report, run};
pub use subject::{Promised, Subject};

pub(super) use finding::Finding;

use super::probe::{Met, Reporter, Stage};
use bench::Bench;
use finding::Verdict;
use serde::{Deserialize, Serialize};

/// One check.
pub struct Check {
    /// Its name, in kebab case.
    pub id: &'static str,
    /// What holds when it succeeds, in one sentence.
    pub description: &'static str,
    /// The checks without which it would only say again what they say.
    pub needs: &'static [&'static str],
    run: fn(&Bench<'_>) -> Verdict,
    judge: fn(&Met, Finding) -> Finding,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Check").field("id", &self.id).finish_non_exhaustive()
    }
}

const FAMILIES: [&[Check]; 11] = [
    file::CHECKS,
    life::CHECKS,
    config::CHECKS,
    output::CHECKS,
    ragged::CHECKS,
    parameters::CHECKS,
    objective::CHECKS,
    engines::CHECKS,
    sharing::CHECKS,
    cost::CHECKS,
    effects::CHECKS,
];

/// Every check, in the order in which they run: what is needed comes before what needs it.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    FAMILIES.into_iter().flatten()
}

/// What a child is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CheckErrand {
    id: String,
    subject: Subject,
}

/// What happens in the child.
pub(super) fn carry_out(errand: &CheckErrand, reporter: &Reporter) -> Finding {
    match checks().find(|check| check.id == errand.id) {
        Some(check) => {
            let bench = Bench::new(&errand.subject, reporter);
            (check.run)(&bench).unwrap_or_else(|finding| finding)
        }
        None => Finding::failed(format!("no check is named `{}`", errand.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_in_kebab_case_and_needs_come_before() {
        let mut seen: Vec<&str> = Vec::new();
        for check in checks() {
            assert!(check.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", check.id);
            assert!(!seen.contains(&check.id), "{} twice", check.id);
            assert!(check.needs.iter().all(|need| seen.contains(need)), "{} needs {:?}", check.id, check.needs);
            assert!(!check.description.ends_with('.') && check.description.starts_with(char::is_uppercase));
            seen.push(check.id);
        }
        assert!(seen.len() >= 30, "{}", seen.len());
    }
}
