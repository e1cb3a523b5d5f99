//! `kadapter search` and `info`: what registries have.

use super::report::Failure;
use kadapter_registry::query::{self, Found};
use kadapter_registry::release::{Needs, Role};
use kadapter_registry::trust::{self, Standing};
use kadapter_registry::{Error, Manifest, PackageName, Registry, RegistryLocation, Trust, Version};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which registries a question goes to.
#[derive(Debug, clap::Args)]
pub(super) struct Registries {
    /// Ask this one instead of the registries of a manifest
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<RegistryLocation>,
    /// The manifest whose registries are asked
    #[arg(long, value_name = "FILE", default_value = "kadapter.toml")]
    manifest: PathBuf,
}

impl Registries {
    /// Every registry, once; for one package only the one of its namespace.
    pub(super) fn open(&self, package: Option<&PackageName>) -> Result<Vec<Registry>, Failure> {
        if let Some(location) = &self.registry {
            return Ok(vec![super::place::open(location)?]);
        }
        let manifest = Manifest::read(&self.manifest)?;
        let absolute =
            std::path::absolute(&self.manifest).map_err(|source| Failure::io("find", &self.manifest, source))?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        if let Some(package) = package {
            let location = manifest.registry_of(package).map_err(|problem| {
                Failure::from(Error::Manifest { file: self.manifest.display().to_string(), problem: Box::new(problem) })
            })?;
            return Ok(vec![Registry::open(location, base)?]);
        }
        let mut locations: Vec<_> = manifest.registries.values().collect();
        locations.sort();
        locations.dedup();
        Ok(locations.into_iter().map(|location| Registry::open(location, base)).collect::<Result<_, _>>()?)
    }
}

/// Arguments of `kadapter search`.
#[derive(Debug, clap::Args)]
pub(crate) struct Search {
    /// Words that name, description or kind must have; none finds everything
    words: Vec<String>,
    #[command(flatten)]
    registries: Registries,
}

impl Search {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        for registry in self.registries.open(None)? {
            let search = query::search(&registry, &words)?;
            found.extend(search.found);
            for (id, error) in search.unreadable {
                super::report::print_part(&format!("passed over {id}"), &error.into());
            }
        }
        found.sort_by(|a, b| a.latest.release.name.cmp(&b.latest.release.name));
        for Found { latest, standing, .. } in &found {
            let release = &latest.release;
            let yanked = standing.yanked().map(|reason| format!("  (yanked: {reason})")).unwrap_or_default();
            let (id, kind) = (release.id().to_string(), release.kind().to_string());
            println!("{id:<40} {kind:<8} {}{yanked}", release.description);
        }
        if found.is_empty() {
            return Err(Failure::new("no package has these words", "kadapter search"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Arguments of `kadapter info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// `namespace/name`, or `namespace/name@version`
    package: String,
    #[command(flatten)]
    registries: Registries,
}

impl Info {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (name, version) = split(&self.package)?;
        let trust = Trust::of_user()?;
        for registry in self.registries.open(Some(&name))? {
            let found = query::info(&registry, &name, version.as_ref())?;
            print(&found, &trust::signatures(&registry, &found.latest, &trust)?);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads `namespace/name` or `namespace/name@version`.
pub(super) fn split(text: &str) -> Result<(PackageName, Option<Version>), Failure> {
    Ok(match text.split_once('@') {
        Some((name, version)) => (name.parse()?, Some(version.parse()?)),
        None => (text.parse()?, None),
    })
}

fn print(found: &Found, signatures: &[Standing]) {
    let release = &found.latest.release;
    let row = |name: &str, value: String| println!("  {name:<12} {value}");
    println!("{} ({})", release.id(), release.kind());
    if let Some(reason) = found.standing.yanked() {
        row("yanked", reason.to_owned());
    }
    row("description", release.description.clone());
    row("license", release.license.to_string());
    if let Some(attribution) = &release.attribution {
        row("attribution", attribution.clone());
    }
    row("release", found.latest.digest.to_string());
    for Standing { key, name, trusted, problem } in signatures {
        let name = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let state = match problem {
            Some(problem) => problem.to_string(),
            None if *trusted => "trusted".to_owned(),
            None => format!("not trusted for `{}`", release.name.namespace()),
        };
        row("signed by", format!("{key}{name}, {state}"));
    }
    if signatures.is_empty() {
        row("signed by", "nobody".to_owned());
    }
    if let Some(weights) = release.backbone_weights() {
        row("weights", weights.to_string());
    }
    match &release.needs {
        Needs::Backbone => {}
        Needs::Plugin { abi } => row("abi", abi.to_string()),
        Needs::Adapter { plugin, backbone, .. } => {
            row("plugin", format!("{} {}", plugin.package, plugin.version));
            row("backbone", format!("{} {}", backbone.package, backbone.weights));
        }
        Needs::Task { backbone, adapters, .. } => {
            row("backbone", format!("{} {}", backbone.package, backbone.weights));
            for (name, adapter) in adapters {
                row("adapter", format!("{name} = {} {}", adapter.package, adapter.release));
            }
        }
    }
    for file in &release.files {
        let target = file.target.as_ref().map(|target| format!(" for {target}")).unwrap_or_default();
        row("file", format!("{} {} bytes{target} {}", file.path, file.size, file.sha256));
        if file.role == Role::Weights
            && let Some(tensors) = release.tensors.get(&file.path)
        {
            row("", format!("{} tensors", tensors.len()));
        }
    }
    let versions: Vec<_> = found.versions.iter().map(ToString::to_string).collect();
    row("versions", versions.join(", "));
}
