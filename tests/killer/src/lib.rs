//! Kills the process that it is loaded into (`LD_PRELOAD`) at its n-th step that changes a file, or at its first step towards
//! a network; the tests see what is left.
//!
//! ```text
//! KADAPTER_KILL_AT=7        SIGKILL instead of the 7th step; a write is half done first
//! KADAPTER_FULL_AT=7        the disk is full from the 7th step on: a write there is cut short, those behind fail with ENOSPC
//! KADAPTER_KILL_OFFLINE=1   SIGKILL instead of the first socket or look-up of a host
//! ```
//!
//! A step is a call of the C library that makes, writes, syncs, names, locks or removes a file. Some renames bypass the C
//! library (rustix calls the kernel itself), but each stands between two steps that do not: dying instead of the step before
//! leaves what dying before the rename would, and dying instead of the step behind leaves what dying after it would. So every
//! state that a killed process can leave is left by some n.

#[cfg(target_os = "linux")]
mod linux;
