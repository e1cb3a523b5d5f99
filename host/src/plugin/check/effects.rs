//! What a plugin has no business to do. Its whole life, constructors included, is spent under a filter that ends the process at the
//! first forbidden system call; each check has a filter of its own, so that its id names the cause.

#[cfg(not(target_os = "linux"))]
#[path = "effects/none.rs"]
mod filter;
#[cfg(target_os = "linux")]
#[path = "effects/seccomp.rs"]
mod filter;

use super::finding::{Finding, Verdict};
use super::{Bench, Check, judge};
use filter::Filter;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "no-files-written",
        description: "The plugin opens no file for writing, and makes, moves or removes none",
        needs: &["forward", "drop"],
        run: |bench| under(bench, Filter::files()),
        judge: |met, finding| judge::filtered(met, finding, "opened a file for writing, or made, moved or removed one"),
    },
    Check {
        id: "no-threads",
        description: "The plugin starts no thread",
        needs: &["forward", "drop"],
        run: |bench| under(bench, Filter::threads()),
        judge: |met, finding| judge::filtered(met, finding, "started a thread"),
    },
    Check {
        id: "no-processes",
        description: "The plugin starts no process",
        needs: &["forward", "drop"],
        run: |bench| under(bench, Filter::processes()),
        judge: |met, finding| judge::filtered(met, finding, "started a process"),
    },
    Check {
        id: "no-network",
        description: "The plugin opens no socket",
        needs: &["forward", "drop"],
        run: |bench| under(bench, Filter::network()),
        judge: |met, finding| judge::filtered(met, finding, "opened a socket"),
    },
    Check {
        id: "no-printing",
        description: "The plugin prints nothing",
        needs: &["forward", "drop"],
        run: |bench| bench.live(),
        judge: judge::silent,
    },
];

fn under(bench: &Bench<'_>, filter: Filter) -> Verdict {
    match filter.install() {
        Ok(()) => bench.live(),
        Err(reason) => Ok(Finding::skipped(reason)),
    }
}
