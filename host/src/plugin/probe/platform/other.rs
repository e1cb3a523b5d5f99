//! Systems without process groups, signals and limits: a child is one process and ends with a status.

use super::super::Ending;
use std::process::{Child, Command, ExitStatus};

/// Nothing to prepare.
pub(crate) fn prepare(_: &mut Command) {}

/// Tells whether a child has ended by itself.
pub(crate) fn has_ended(child: &mut Child) -> std::io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

/// Ends a child that was not waited for.
pub(crate) fn kill(child: &mut Child) {
    // It may be gone already.
    let _ = child.kill();
}

/// How it ended.
pub(crate) fn ending(status: ExitStatus) -> Ending {
    Ending::Status(status.code().unwrap_or_default())
}

/// This system has no limit to set.
pub(crate) fn confine(_: u64) {}
