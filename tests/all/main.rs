//! Tests that cross crates, with real plugins loaded from real files.

mod command;
mod faults;
mod golden;
mod heads;
mod invariants;
#[cfg(target_os = "linux")]
mod killed;
mod parity;
mod plugin_files;
#[cfg(unix)]
mod tampered;
mod transfers;
