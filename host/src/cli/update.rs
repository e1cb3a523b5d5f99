//! `kadapter update` and `outdated`: moving a project to newer releases, and what could be moved.

use super::passed_over;
use super::query::split;
use super::report::Failure;
use kadapter_registry::project::{Change, Options, Outdated as Entry, Project, Update as What, Writing};
use kadapter_registry::{PackageName, Version};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `kadapter update`.
#[derive(Debug, clap::Args)]
pub(crate) struct Update {
    /// The packages to move, `namespace/name`, or one to a version, `namespace/name@version`; none moves all
    #[arg(value_name = "PACKAGE")]
    packages: Vec<String>,
    /// The project's manifest
    #[arg(long, value_name = "FILE", default_value = "kadapter.toml")]
    manifest: PathBuf,
    /// Show what would move and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Let a package move to a lower version than the lock has
    #[arg(long)]
    allow_downgrade: bool,
}

impl Update {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let what = what(&self.packages)?;
        let options = Options { allow_downgrade: self.allow_downgrade, ..Options::default() };
        let project = Project::open_with(&self.manifest, options)?;
        let writing = if self.dry_run { Writing::Nothing } else { Writing::Lock };
        let updated = project.update(&what, writing)?;
        for change in &updated.changes {
            println!("{}", line(change));
        }
        match (updated.changes.len(), self.dry_run) {
            (0, _) => println!("nothing moves"),
            (_, true) => println!("nothing was written, since --dry-run was given"),
            (..) => {}
        }
        passed_over::print(&updated.selection.rejected);
        passed_over::warn(&updated.selection.warnings);
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads what is to be moved.
fn what(packages: &[String]) -> Result<What, Failure> {
    let mut named = std::collections::BTreeSet::new();
    for text in packages {
        match (split(text)?, packages.len()) {
            ((name, None), _) => {
                named.insert(name);
            }
            ((package, Some(version)), 1) => return Ok(What::Exactly { package, version }),
            ((name, Some(_)), _) => {
                let sentence = format!("`{text}` names a version beside other packages, expected it alone");
                return Err(Failure::new(sentence, format!("move them one by one: `kadapter update {name}`")));
            }
        }
    }
    Ok(if named.is_empty() { What::All } else { What::Packages(named) })
}

/// `k/factual 1.0.0 → 1.1.0`.
fn line(Change { name, from, to }: &Change) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("{name} {from} → {to}"),
        (Some(from), None) => format!("{name} {from} is dropped"),
        (None, Some(to)) => format!("{name} {to} is new"),
        (None, None) => name.to_string(),
    }
}

/// Arguments of `kadapter outdated`.
#[derive(Debug, clap::Args)]
pub(crate) struct Outdated {
    /// The project's manifest
    #[arg(long, value_name = "FILE", default_value = "kadapter.toml")]
    manifest: PathBuf,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// A line of `kadapter outdated --json`.
#[derive(serde::Serialize)]
struct Json<'a> {
    name: &'a PackageName,
    locked: &'a Version,
    fitting: &'a Version,
    highest: &'a Version,
    yanked: Option<&'a str>,
    reason: Option<String>,
}

impl Outdated {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let project = Project::open(&self.manifest)?;
        let report = project.outdated()?;
        passed_over::warn(&report.warnings);
        for entry in &report.packages {
            if self.json {
                let Entry { name, locked, fitting, highest, yanked, reason } = entry;
                let (yanked, reason) = (yanked.as_deref(), reason.as_ref().map(ToString::to_string));
                println!("{}", super::report::json(&Json { name, locked, fitting, highest, yanked, reason }));
            } else {
                print(entry);
            }
        }
        if report.packages.is_empty() && !self.json {
            println!("everything is up to date");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(Entry { name, locked, fitting, highest, yanked, reason }: &Entry) {
    let moves = if fitting == locked { "stays".to_owned() } else { format!("→ {fitting}") };
    println!("{:<40} {locked} {moves}", name.to_string());
    if let Some(yanked) = yanked {
        println!("  {locked} is yanked: {yanked}");
    }
    if highest > fitting {
        match reason {
            Some(reason) => println!("  {highest} {reason}"),
            None => println!("  {highest} is the highest there is"),
        }
    }
}
