//! `kadapter plugin`: what an author does with a plugin, and how this machine got on with those it met.

mod check;
mod contacts;
mod new;

use super::report::Failure;
use clap::Subcommand;
use kadapter_host::plugin::Prober;
use kadapter_host::plugin::probe::{self, Limits};
use std::process::ExitCode;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Make a plugin crate: an adapter that runs, its tests, the SDK, a CI file
    New(new::New),
    /// Check a plugin file: each check in a process of its own
    Check(Box<check::Check>),
    /// List the plugins that this machine has met, and how that went
    Contacts(contacts::Contacts),
    /// Forget how it went with a plugin, so that it is tried out again
    Forget(contacts::Forget),
    /// The child process of checks and first contacts
    #[command(hide = true)]
    Probe,
}

impl Plugin {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::New(command) => command.run(),
            Self::Check(command) => command.run(),
            Self::Contacts(command) => command.run(),
            Self::Forget(command) => command.run(),
            Self::Probe => Ok(probe::serve()),
        }
    }
}

/// Children of this command that meet plugins.
pub(super) fn prober(limits: Limits) -> Result<Prober, Failure> {
    Ok(Prober::this_program(&["plugin", "probe"], limits)?)
}
