//! What depends on the system: groups of processes, signals, limits.

#[cfg(not(unix))]
#[path = "platform/other.rs"]
mod system;
#[cfg(unix)]
#[path = "platform/unix.rs"]
mod system;

pub(super) use system::{confine, ending, has_ended, kill, prepare};
