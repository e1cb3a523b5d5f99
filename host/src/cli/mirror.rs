//! `kadapter mirror`: releases go from one registry to another.

use super::progress::ProgressArguments;
use super::report::{Failure, print_part};
use kadapter_registry::RegistryLocation;
use kadapter_registry::mirror::{Mirrored, Outcome, Wanted, mirror};
use std::process::ExitCode;

/// Arguments of `kadapter mirror`.
#[derive(Debug, clap::Args)]
pub(crate) struct Mirror {
    /// The packages, `namespace/name` or `namespace/name@^1`; everything when none is named
    packages: Vec<Wanted>,
    /// The registry that releases are read from
    #[arg(long, value_name = "REGISTRY")]
    from: RegistryLocation,
    /// The registry that they are copied to, made if it is not there
    #[arg(long, value_name = "REGISTRY")]
    to: RegistryLocation,
    /// Say what would be copied and copy nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    progress: ProgressArguments,
}

impl Mirror {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let from = super::place::open(&self.from)?;
        let to = super::place::store(&self.to)?;
        let observer = self.progress.observer();
        let report = mirror(&from, &*to, &self.packages, self.dry_run, &observer, print)?;
        let count = |chosen: fn(&Outcome) -> bool| report.iter().filter(|done| chosen(&done.outcome)).count();
        let copied = count(|outcome| matches!(outcome, Outcome::Copied { .. } | Outcome::Missing { .. }));
        let present = count(|outcome| matches!(outcome, Outcome::Present));
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let notes: usize = report.iter().map(|done| done.notes).sum();
        let would = if self.dry_run { "to copy" } else { "copied" };
        println!("{copied} releases and {notes} notes {would}, {present} releases there already, {failed} failed");
        if failed > 0 {
            for Mirrored { id, outcome, .. } in report {
                if let Outcome::Failed(error) = outcome {
                    print_part(&id.to_string(), &error.into());
                }
            }
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Tells of a release as soon as it is done; what failed is told at the end, together.
fn print(mirrored: &Mirrored) {
    match &mirrored.outcome {
        Outcome::Copied { uploaded } => println!("{} copied ({uploaded} bytes)", mirrored.id),
        Outcome::Missing { size } => println!("{} is missing ({size} bytes)", mirrored.id),
        Outcome::Present => println!("{} was there already", mirrored.id),
        Outcome::Failed(_) => println!("{} failed", mirrored.id),
    }
}
