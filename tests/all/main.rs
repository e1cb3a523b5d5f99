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
mod scaling;
#[cfg(unix)]
mod tampered;
mod training;
mod transfers;
mod trust;
mod versions;
