//! Unix: a child is a group of processes of its own, ends by signals, and has limits.

use super::super::Ending;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, setrlimit};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

/// Gives the child a group of its own, so that what it starts can be ended with it.
pub(crate) fn prepare(command: &mut Command) {
    command.process_group(0);
}

/// Tells whether a child has ended by itself. It is not waited for: until then its number, which is its group's, is nobody else's.
pub(crate) fn has_ended(child: &mut Child) -> std::io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some())
}

/// Ends a child that was not waited for, and what it started.
pub(crate) fn kill(child: &mut Child) {
    if kill_process_group(Pid::from_child(child), Signal::KILL).is_err() {
        // It is gone already, or it left its group.
        let _ = child.kill();
    }
}

/// How it ended.
pub(crate) fn ending(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Status(code),
        (None, signal) => Ending::Signal(signal.unwrap_or_default()),
    }
}

/// Limits this process: its memory, no core files, and no life after its parent's. What the system refuses is left as it is.
pub(crate) fn confine(memory: u64) {
    for (resource, wanted) in [(Resource::As, memory), (Resource::Core, 0)] {
        let most = getrlimit(resource).maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    }
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}
