//! The `kadapter` command.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::pipe::end_when_nobody_reads();
    cli::report::start_log();
    let outcome = cli::Arguments::parse().run();
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            cli::report::print(&failure);
            ExitCode::FAILURE
        }
    }
}
