//! Running checks: each in a child of its own, in order, and what came out as data.

use super::super::probe::{Answer, Errand, Prober};
use super::{Check, CheckErrand, CheckError, Finding, Status, Subject, checks};
use kadapter_registry::Digest;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What became of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The check's id.
    pub id: &'static str,
    /// The check's description.
    pub description: &'static str,
    /// Whether it holds.
    pub status: Status,
    /// What there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// How long the child lived.
    pub milliseconds: f64,
}

/// What became of all checks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The plugin file.
    pub file: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// The checks that ran, in order.
    pub checks: Vec<Outcome>,
}

impl Report {
    /// Whether any check failed or crashed.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.checks.iter().any(|outcome| outcome.status.is_bad())
    }

    /// How many checks have a status.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|outcome| outcome.status == status).count()
    }
}

/// Runs the named checks, or all where none is named; `done` sees each outcome as it comes.
///
/// # Errors
/// When a name is no check's, or no child can be started.
pub fn run(
    prober: &Prober,
    subject: &Subject,
    ids: &[String],
    mut done: impl FnMut(&Outcome),
) -> Result<Report, CheckError> {
    if let Some(found) = ids.iter().find(|id| checks().all(|check| check.id != **id)) {
        return Err(CheckError::UnknownCheck { found: found.clone(), nearest: nearest(found) });
    }
    let mut statuses: BTreeMap<&str, Status> = BTreeMap::new();
    let mut report = Report { file: subject.file.clone(), digest: subject.digest, checks: Vec::new() };
    for check in checks().filter(|check| ids.is_empty() || ids.iter().any(|id| id == check.id)) {
        let unmet = check.needs.iter().find_map(|need| {
            let status = *statuses.get(need)?;
            (!matches!(status, Status::Success | Status::Warning)).then_some((*need, status))
        });
        let outcome = match unmet {
            Some((need, status)) => {
                let state = match status {
                    Status::Skipped => "was skipped".to_owned(),
                    status => status.as_str().to_owned(),
                };
                outcome(check, Finding::skipped(format!("`{need}` {state}")), 0.0)
            }
            None => run_one(prober, subject, check)?,
        };
        statuses.insert(check.id, outcome.status);
        done(&outcome);
        report.checks.push(outcome);
    }
    Ok(report)
}

fn run_one(prober: &Prober, subject: &Subject, check: &'static Check) -> Result<Outcome, CheckError> {
    let errand = CheckErrand { id: check.id.to_owned(), subject: subject.clone() };
    let met = prober.send(Errand::Check(errand))?;
    let finding = match &met.answer {
        Some(Answer::Check(finding)) => finding.clone(),
        Some(Answer::Contact(_)) | None => Finding::crashed(met.death()),
    };
    Ok(outcome(check, (check.judge)(&met, finding), met.elapsed.as_secs_f64() * 1e3))
}

fn outcome(check: &'static Check, finding: Finding, milliseconds: f64) -> Outcome {
    let Finding { status, details } = finding;
    Outcome { id: check.id, description: check.description, status, details, milliseconds }
}

/// The check whose id shares the longest start with a misspelt one; of several the shortest.
fn nearest(found: &str) -> Option<&'static str> {
    let shared = |id: &str| id.bytes().zip(found.bytes()).take_while(|(one, other)| one == other).count();
    let best = checks().max_by_key(|check| (shared(check.id), std::cmp::Reverse(check.id.len())))?;
    (shared(best.id) >= 3).then_some(best.id)
}
