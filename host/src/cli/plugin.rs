//! `kadapter plugin`: what an author does with a plugin.

mod new;

use super::report::Failure;
use clap::Subcommand;
use std::process::ExitCode;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Make a plugin crate: an adapter that runs, its tests, the SDK, a CI file
    New(new::New),
}

impl Plugin {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::New(command) => command.run(),
        }
    }
}
