//! Chores of the workspace.
//!
//! ```text
//! cargo xtask demo              build everything, publish the plugins, answer real sentences with every example
//! cargo xtask test [FILTER…]    every test and every doctest
//! cargo xtask test --services [FILTER…]   stores over real servers on loopback (see tests/services/run.sh)
//! cargo xtask test --ranks [FILTER…]      training over MPI and beside TensorBoard (see tests/services/training.sh)
//! cargo xtask plugins           build the plugins, sign them, and publish them into registry/local
//! cargo xtask seed BACKBONE     make registry/seed anew from a model's folder and recipes/ (see seed.rs)
//! ```
//! What `kadapter` keeps for a user (keys, trust, cache), these chores keep in `target/home`.
#![forbid(unsafe_code)]

mod demo;
mod plugins;
mod seed;
mod shell;
mod test;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["demo"] => demo::run(),
        ["test", "--services", filters @ ..] => test::services(filters),
        ["test", "--ranks", filters @ ..] => test::ranks(filters),
        // Called by the script that has started the servers.
        ["test", "--served", filters @ ..] => test::served(filters),
        ["test", filters @ ..] => test::run(filters),
        ["plugins"] => plugins::publish().map(|()| shell::print_home()),
        ["seed", backbone] => seed::run(backbone.as_ref()),
        _ => Err(
            "expected `demo`, `test [--services | --ranks] [FILTER…]`, `plugins` or `seed BACKBONE`: cargo xtask demo"
                .into(),
        ),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
