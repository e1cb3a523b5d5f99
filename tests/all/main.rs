//! Tests that cross crates, with real plugins loaded from real files.

mod command;
mod contact;
mod doctor;
mod eval;
mod evening;
mod faults;
#[cfg(unix)]
mod frozen;
mod golden;
mod gradients;
mod heads;
mod hub;
mod invariants;
#[cfg(target_os = "linux")]
mod killed;
mod labelled;
mod minisign;
mod objectives;
mod pack;
mod parity;
mod plugin_check;
mod plugin_files;
mod publishing;
mod scaling;
#[cfg(unix)]
mod tampered;
mod task_kinds;
mod task_losses;
mod task_training;
mod training;
mod transfers;
mod trust;
mod versions;
