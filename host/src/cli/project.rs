//! `kadapter lock`, `fetch`, `verify` and `tree`: what a project wants, gets and is made of.

use super::ProjectArguments;
use super::progress::ProgressArguments;
use super::report::{Failure, sentence};
use kadapter_registry::project::{LockMode, Options, Project};
use kadapter_registry::verify::Outcome;
use kadapter_registry::{PackageId, PackageName, Resolved, query};
use std::process::ExitCode;

/// Arguments of `kadapter lock`.
#[derive(Debug, clap::Args)]
pub(crate) struct Lock {
    #[command(flatten)]
    project: ProjectArguments,
    /// Choose the highest versions that fit instead of keeping what is locked
    #[arg(long, conflicts_with = "frozen")]
    update: bool,
    /// Let a package move to a lower version than the lock has
    #[arg(long)]
    allow_downgrade: bool,
    /// Let this package's signer be another than the lock has
    #[arg(long, value_name = "NS/NAME", conflicts_with = "frozen")]
    accept_signer: Vec<PackageName>,
}

impl Lock {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let accept_signers = self.accept_signer.into_iter().collect();
        let options = Options { allow_downgrade: self.allow_downgrade, accept_signers, ..Options::default() };
        let project = Project::open_with(&self.project.manifest, options)?;
        let mode = match (self.update, self.project.frozen) {
            (true, _) => LockMode::Update,
            (_, true) => LockMode::Frozen,
            _ => LockMode::KeepLocked,
        };
        let (selection, lock) = project.select(mode)?;
        for package in lock.packages() {
            println!("{:<40} {:<8} {}", package.id().to_string(), package.kind.to_string(), package.release);
        }
        super::passed_over::print(&selection.rejected);
        super::passed_over::warn(&selection.warnings);
        super::passed_over::warn(&project.yank_warnings(&selection));
        Ok(ExitCode::SUCCESS)
    }
}

/// Arguments of `kadapter fetch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Fetch {
    #[command(flatten)]
    project: ProjectArguments,
    #[command(flatten)]
    progress: ProgressArguments,
}

impl Fetch {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let project = Project::open(&self.project.manifest)?;
        let mode = if self.project.frozen { LockMode::Frozen } else { LockMode::KeepLocked };
        let report = project.fetch_observed(mode, &self.progress.observer())?;
        let copied = report.files.iter().filter(|file| file.copied).count();
        println!("{copied} of {} files copied to the cache ({} bytes)", report.files.len(), report.copied_bytes());
        Ok(ExitCode::SUCCESS)
    }
}

/// Arguments of `kadapter verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    project: ProjectArguments,
}

impl Verify {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let project = Project::open(&self.project.manifest)?;
        let verified = project.verify()?;
        let mut failed = 0;
        for file in &verified {
            let outcome = match &file.outcome {
                Outcome::Whole => "whole".to_owned(),
                Outcome::Altered(difference) => difference.to_string(),
                Outcome::Unreadable(error) => sentence(error),
            };
            failed += usize::from(!file.is_whole());
            println!("{}@{} {}: {outcome}", file.name, file.version, file.path);
        }
        if failed == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(
            format!("{failed} of {} files are not what their releases promise", verified.len()),
            "fetch them anew with `kadapter fetch`",
        ))
    }
}

/// Arguments of `kadapter tree`.
#[derive(Debug, clap::Args)]
pub(crate) struct Tree {
    #[command(flatten)]
    project: ProjectArguments,
}

impl Tree {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (_, resolved) = self.project.resolve()?;
        let tree = query::tree(&resolved);
        let signed = |id: &PackageId| signed(&resolved, id);
        println!("backbone {}  {}{}", tree.backbone, resolved.backbone.license, signed(&tree.backbone));
        for task in &tree.tasks {
            match (&task.package, resolved.tasks.get(&task.name).and_then(|task| task.head.as_ref())) {
                (Some(package), Some(head)) => {
                    println!("task {}  {package}  {}{}", task.name, head.license, signed(package));
                }
                _ => println!("task {}  features", task.name),
            }
            for adapter in &task.stack {
                print_adapter(&resolved, "  ", &adapter.name, &adapter.package, &adapter.plugin);
            }
        }
        for adapter in &tree.unused {
            print_adapter(&resolved, "unused ", &adapter.name, &adapter.package, &adapter.plugin);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_adapter(resolved: &Resolved, indent: &str, name: &str, package: &PackageId, plugin: &PackageId) {
    let license = resolved.adapters.get(name).map(|adapter| adapter.license.to_string()).unwrap_or_default();
    let plugin_license = resolved.plugins.get(plugin).map(|plugin| plugin.license.to_string()).unwrap_or_default();
    println!("{indent}adapter {name}  {package}  {license}{}", signed(resolved, package));
    println!("{indent}  plugin {plugin}  {plugin_license}{}", signed(resolved, plugin));
}

/// Whose signature of a release was verified, if one was.
fn signed(resolved: &Resolved, id: &PackageId) -> String {
    resolved.signers.get(id).map(|key| format!("  signed by {key}")).unwrap_or_default()
}
