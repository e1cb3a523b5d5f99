//! Tests that cross crates, with real plugins loaded from real files.

mod command;
mod contact;
mod faults;
mod golden;
mod heads;
mod invariants;
mod parity;
mod plugin_check;
mod plugin_files;
