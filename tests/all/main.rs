//! Tests that cross crates, with real plugins loaded from real files.

mod command;
mod faults;
mod golden;
mod heads;
mod invariants;
mod parity;
mod plugin_files;
mod versions;
