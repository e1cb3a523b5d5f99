//! What one child may use.

use std::time::Duration;

/// Bytes that a child may print: more is a fault of its own, and must not fill the disk.
pub(super) const MAX_PRINTED: u64 = 16 << 20;

/// What one child may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From its start to its end.
    pub time: Duration,
    /// Bytes of address space, where the system can limit that: allocation without end becomes a report before it becomes the
    /// machine's death.
    pub memory: u64,
}

impl Default for Limits {
    /// 20 seconds: hundreds of times what a check of a small adapter takes, little enough to wait for an endless loop. 2 GiB: the
    /// command itself maps some ten MiB, and the largest adapter that is checked takes less than one.
    fn default() -> Self {
        Self { time: Duration::from_secs(20), memory: 2 << 30 }
    }
}
