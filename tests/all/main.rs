//! Tests that cross crates, with real plugins loaded from real files.

mod command;
mod evening;
mod faults;
mod golden;
mod heads;
mod hub;
mod invariants;
mod pack;
mod parity;
mod plugin_files;
