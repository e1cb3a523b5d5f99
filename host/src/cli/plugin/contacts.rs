//! `kadapter plugin contacts` and `forget`: what this machine remembers of plugins.

use crate::cli::report::{Failure, sentence};
use kadapter_host::Error;
use kadapter_host::plugin::contact::Memory;
use kadapter_registry::Digest;
use std::process::ExitCode;

/// Arguments of `kadapter plugin contacts`.
#[derive(Debug, clap::Args)]
pub(crate) struct Contacts {}

/// Arguments of `kadapter plugin forget`.
#[derive(Debug, clap::Args)]
pub(crate) struct Forget {
    /// The digest of the plugin's file, as the refusal and `kadapter plugin contacts` show it
    #[arg(value_name = "sha256:DIGEST")]
    digest: Digest,
}

fn memory() -> Result<Memory, Failure> {
    Memory::of_user().ok_or_else(|| {
        Failure::new(
            "Could not find a folder for what is remembered: neither `KADAPTER_HOME` nor `HOME` is set to an absolute path",
            "name a folder: `export KADAPTER_HOME=/path/to/folder`",
        )
    })
}

impl Contacts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        for record in memory()?.records().map_err(Error::from)? {
            match record {
                Ok(record) => {
                    let how = record.death.as_deref().unwrap_or("clean");
                    println!("{}  {}  {}  {how}", record.digest, record.met, record.plugin);
                }
                Err(error) => println!("{}", sentence(&error)),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Forget {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if memory()?.forget(&self.digest).map_err(Error::from)? {
            println!("forgot {}: it is tried out again when it is needed next", self.digest);
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(
            format!("no plugin with digest {} was met", self.digest),
            "see those that were with `kadapter plugin contacts`",
        ))
    }
}
