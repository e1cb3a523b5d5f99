//! `kadapter doctor`: tries out registries and says what to do about what does not work.

use super::report::Failure;
use kadapter_registry::doctor::{Diagnosis, Finding, Status, examine};
use kadapter_registry::index::store_at;
use kadapter_registry::{Manifest, RegistryLocation};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `kadapter doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Try this one instead of the registries of a manifest
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<RegistryLocation>,
    /// The manifest whose registries are tried
    #[arg(long, value_name = "FILE", default_value = "kadapter.toml")]
    manifest: PathBuf,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (locations, base) = match self.registry {
            Some(location) => (vec![location], PathBuf::from(".")),
            None => of_manifest(&self.manifest)?,
        };
        let diagnoses: Vec<Diagnosis> = locations.iter().map(|location| diagnose(location, &base)).collect();
        if self.json {
            let text = serde_json::to_string_pretty(&diagnoses);
            println!("{}", text.map_err(|error| Failure::new(error.to_string(), "kadapter doctor"))?);
        } else {
            diagnoses.iter().for_each(print);
        }
        let sound = diagnoses.iter().all(|diagnosis| diagnosis.worst() != Status::Failed);
        Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The registries of a manifest, each once, and the folder that relative ones start at.
fn of_manifest(path: &Path) -> Result<(Vec<RegistryLocation>, PathBuf), Failure> {
    let manifest = Manifest::read(path)?;
    let absolute = std::path::absolute(path).map_err(|source| Failure::io("find", path, source))?;
    let base = absolute.parent().unwrap_or(Path::new("/")).to_path_buf();
    let mut locations: Vec<_> = manifest.registries.into_values().collect();
    locations.sort();
    locations.dedup();
    Ok((locations, base))
}

fn diagnose(location: &RegistryLocation, base: &Path) -> Diagnosis {
    match store_at(location, base) {
        Ok(store) => examine(&*store),
        Err(error) => Diagnosis { location: location.to_string(), findings: vec![Finding::failed("open", &error)] },
    }
}

fn print(diagnosis: &Diagnosis) {
    println!("{}", diagnosis.location);
    for finding in &diagnosis.findings {
        println!("  {:<7} {:<20} {}", finding.status, finding.id, finding.found);
        if let Some(cure) = &finding.cure {
            println!("  {:<28} to do: {cure}", "");
        }
    }
}
