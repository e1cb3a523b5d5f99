//! `kadapter init`: an untrained adapter of a plugin, to try a plugin out or as a control.

use super::report::Failure;
use kadapter_host::Error;
use kadapter_host::backbone::{MAX_CONFIG_BYTES, RobertaConfig};
use kadapter_host::import::{Identity, untrained};
use kadapter_host::plugin::contact::Exercise;
use kadapter_registry::package::{Adapter, BackboneNeed, PluginNeed};
use kadapter_registry::release::{Needs, Role};
use kadapter_registry::{License, PackageName, RegistryLocation, Version, query};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `kadapter init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// `namespace/name` of the adapter package
    #[arg(long, value_name = "NS/NAME")]
    name: PackageName,
    /// The package directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Its version
    #[arg(long, default_value = "1.0.0")]
    version: Version,
    /// The licence of the weights
    #[arg(long, default_value = "CC0-1.0")]
    license: License,
    /// The plugin package that makes it
    #[arg(long, value_name = "NS/PLUGIN")]
    plugin: PackageName,
    /// The registry that has the plugin
    #[arg(long, value_name = "REGISTRY")]
    plugin_registry: RegistryLocation,
    /// The backbone package that it is for
    #[arg(long, value_name = "NS/NAME")]
    backbone: PackageName,
    /// The registry that has the backbone
    #[arg(long, value_name = "REGISTRY")]
    backbone_registry: RegistryLocation,
    /// Hidden states that it reads, 0 the embedding output
    #[arg(long, value_delimiter = ',', required = true)]
    taps: Vec<usize>,
    /// A key of its configuration, as in TOML: `size=64`
    #[arg(long = "config", value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Seed of the random values
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Init {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let config: toml::Table = self.config.join("\n").parse().map_err(|error: toml::de::Error| {
            Failure::new(format!("`--config`: {}", error.message()), "--config size=64")
        })?;
        let (backbone, weights) = self.backbone()?;
        if let Some(&tap) = self.taps.iter().find(|&&tap| tap > backbone.layers) {
            return Err(Error::Tap { adapter: self.name.to_string(), tap, layers: backbone.layers }.into());
        }
        let exercise = Exercise {
            config: config.clone(),
            hidden_size: backbone.hidden_size,
            layers: backbone.layers,
            taps: self.taps.clone(),
        };
        let registry = super::place::open(&self.plugin_registry)?;
        let opened = super::architecture::open(&registry, &self.plugin, &semver::VersionReq::STAR, exercise)?;
        let about = kadapter_plugin_api::Backbone::new(backbone.hidden_size, backbone.layers, &self.taps);
        let (_, specs) = opened.plugin.build(&config, about).map_err(|source| Error::Build {
            adapter: self.name.to_string(),
            plugin: self.plugin.to_string(),
            source,
        })?;
        let major = opened.id.version.as_semver().major;
        let needs = Adapter {
            weights: untrained::weights_path()?,
            taps: self.taps,
            plugin: PluginNeed {
                package: self.plugin,
                version: format!("^{major}").parse().unwrap_or(semver::VersionReq::STAR),
            },
            backbone: BackboneNeed { package: self.backbone, weights },
            config,
        };
        let identity = Identity {
            name: self.name,
            version: self.version,
            license: self.license,
            description: None,
            attribution: None,
        };
        let report = untrained::make(&identity, &self.out, needs, &specs, self.seed).map_err(Error::from)?;
        super::import::print(&report, &identity.name);
        Ok(ExitCode::SUCCESS)
    }

    fn backbone(&self) -> Result<(RobertaConfig, kadapter_registry::Digest), Failure> {
        let registry = super::place::open(&self.backbone_registry)?;
        let release = query::info(&registry, &self.backbone, None)?.latest.release;
        let not_backbone = || {
            Failure::new(
                format!("`{}` is a {}, expected a backbone", self.backbone, release.kind()),
                format!("kadapter search --registry {}", self.backbone_registry),
            )
        };
        let weights =
            release.backbone_weights().filter(|_| matches!(release.needs, Needs::Backbone)).ok_or_else(not_backbone)?;
        let config = release.files_of(Role::Config).next().ok_or_else(not_backbone)?;
        let json = registry.read(&release.id(), config, MAX_CONFIG_BYTES as u64)?;
        Ok((RobertaConfig::from_json(&json).map_err(Error::from)?, weights))
    }
}
