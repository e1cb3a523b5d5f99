//! What the parent makes of a finding, knowing how the child ended and what it printed.

use super::super::probe::{Ending, Met};
use super::{Finding, Stage, Status};

/// The finding as it is. How the process ended afterwards is for `process-end` to say.
pub(super) fn plain(_: &Met, finding: Finding) -> Finding {
    finding
}

/// A panic in `drop` has nobody to go to: the SDK catches it and prints this.
const DROP_PANIC: &str = "the adapter panicked in `drop`";

/// As [`plain`], with an eye on what the SDK printed about panics in `drop`.
pub(super) fn dropping(met: &Met, finding: Finding) -> Finding {
    let said = met.printed.lines().find_map(|line| line.find(DROP_PANIC).map(|at| line[at..].to_owned()));
    match said {
        Some(said) if finding.status == Status::Success => Finding::failed(said),
        _ => finding,
    }
}

/// The process has to end by itself, well.
pub(super) fn ending(met: &Met, finding: Finding) -> Finding {
    match met.ending {
        _ if finding.status != Status::Success => finding,
        Ending::Status(0) => finding,
        Ending::Status(status) => {
            Finding::crashed(format!("{}, the process ended with status {status}, expected 0", Stage::End))
        }
        _ => Finding::crashed(met.death()),
    }
}

/// Nothing may have been printed.
pub(super) fn silent(met: &Met, finding: Finding) -> Finding {
    match met.said() {
        Some(said) if finding.status == Status::Success => Finding::warning(format!(
            "it printed `{said}`; what the command prints is for whoever reads its answers, so give an error instead"
        )),
        _ => finding,
    }
}

/// A forbidden system call is what the check looks for; `what` says what it was.
pub(super) fn filtered(met: &Met, finding: Finding, what: &str) -> Finding {
    if met.ending.is_forbidden_call() { Finding::failed(format!("{}, it {what}", met.stage)) } else { finding }
}
