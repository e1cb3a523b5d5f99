//! `kadapter yank` and `unyank`: what a publisher says about a release after it was published.

use super::query::split;
use super::report::Failure;
use kadapter_registry::yank::{self, Said, Yank as Note};
use kadapter_registry::{Error, PackageId, RegistryLocation, Signer};
use std::process::ExitCode;

/// Arguments of `kadapter yank`.
#[derive(Debug, clap::Args)]
pub(crate) struct Yank {
    #[command(flatten)]
    release: Release,
    /// Why, for whoever uses it: a sentence
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Arguments of `kadapter unyank`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unyank {
    #[command(flatten)]
    release: Release,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Which release is spoken of.
#[derive(Debug, clap::Args)]
struct Release {
    /// `namespace/name@version`
    package: String,
    /// The registry that has it: a directory or address
    #[arg(long, value_name = "REGISTRY")]
    registry: RegistryLocation,
    /// Sign what is said with this key: a name from `kadapter key list`, or a file
    #[arg(long, value_name = "NAME|FILE")]
    key: Option<String>,
}

impl Yank {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (id, said) = self.release.say(true, &self.reason)?;
        match said {
            Said::Written(note) => {
                println!("{id} is yanked: who has locked it keeps it, nobody chooses it any more");
                print_signer(&note);
            }
            Said::Held(_) => println!("{id} was yanked already"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Unyank {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (id, said) = self.release.say(false, &self.reason)?;
        match said {
            Said::Written(note) => {
                println!("{id} may be chosen again");
                print_signer(&note);
            }
            Said::Held(_) => println!("{id} was not yanked"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Release {
    fn say(&self, yanked: bool, reason: &str) -> Result<(PackageId, Said), Failure> {
        let (name, version) = split(&self.package)?;
        let Some(version) = version else {
            let sentence = format!("`{}` names no version, expected one release", self.package);
            return Err(Failure::new(sentence, format!("see the versions: `kadapter versions {name}`")));
        };
        let registry = super::place::open(&self.registry)?;
        let id = PackageId::new(&name, &version);
        let Some(record) = registry.release(&name, &version)? else {
            return Err(Error::NoRelease { id: Box::new(id), location: registry.store().location() }.into());
        };
        let key = self.key.as_deref().map(super::sign::open).transpose()?;
        let signer = key.as_ref().map(|key| key as &dyn Signer);
        Ok((id, yank::say(registry.store(), &record, yanked, reason, signer)?))
    }
}

fn print_signer(note: &Note) {
    if let Some((key, _)) = &note.signature {
        println!("  signed by {key}");
    }
}
