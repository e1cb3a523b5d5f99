//! Tests that cross crates, with real plugins loaded from real files.

mod command;
mod faults;
mod golden;
mod heads;
mod hub;
mod invariants;
mod parity;
mod plugin_files;
