//! Tests that cross crates, with real plugins loaded from real files.

mod command;
mod contact;
mod doctor;
mod evening;
mod faults;
mod golden;
mod heads;
mod hub;
mod invariants;
#[cfg(target_os = "linux")]
mod killed;
mod minisign;
mod pack;
mod parity;
mod plugin_check;
mod plugin_files;
mod publishing;
#[cfg(unix)]
mod tampered;
mod transfers;
mod trust;
mod versions;
