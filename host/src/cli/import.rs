//! `kadapter import`: checkpoints of others become package directories.

#[cfg(feature = "hf")]
mod hub;
#[cfg(not(feature = "hf"))]
#[path = "import/absent.rs"]
mod hub;

use super::report::Failure;
use clap::{Args, Subcommand};
use kadapter_host::Error;
use kadapter_host::import::{self, Identity, Report, Storage, adapter, backbone, task};
use kadapter_registry::package::{AdapterNeed, BackboneNeed, Fusion, PluginNeed, TaskKind};
use kadapter_registry::{Alias, Digest, License, PackageName, Registry, RegistryLocation, Version, query};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What can be imported.
#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// A Hugging Face folder with a RoBERTa, or a BERT that is laid out as one
    Backbone(Box<BackboneArguments>),
    /// An adapter of the official K-Adapter code (`pytorch_model.bin`, old and new format, or safetensors)
    Adapter(Box<AdapterArguments>),
    /// Fusion and head of the official K-Adapter code
    Task(Box<TaskArguments>),
}

/// What every package says about itself.
#[derive(Debug, Args)]
struct PackageArguments {
    /// `namespace/name` of the package
    #[arg(long, value_name = "NS/NAME")]
    name: PackageName,
    /// The package directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Its version
    #[arg(long, default_value = "1.0.0")]
    version: Version,
    /// The licence of the weights, an SPDX expression or `LicenseRef-…`
    #[arg(long)]
    license: License,
    /// One sentence for whoever searches
    #[arg(long)]
    description: Option<String>,
    /// Sources and authors that the licence asks to name
    #[arg(long)]
    attribution: Option<String>,
    /// Type of the stored weights: keep, f32, f16 or bf16
    #[arg(long, default_value = "keep")]
    dtype: String,
}

impl PackageArguments {
    fn split(&self) -> Result<(Identity, Storage), Failure> {
        let identity = Identity {
            name: self.name.clone(),
            version: self.version.clone(),
            license: self.license.clone(),
            description: self.description.clone(),
            attribution: self.attribution.clone(),
        };
        Ok((identity, self.dtype.parse::<Storage>().map_err(Error::from)?))
    }
}

/// Arguments of `kadapter import backbone`.
#[derive(Debug, Args)]
pub(crate) struct BackboneArguments {
    /// The folder: config.json, model.safetensors or pytorch_model.bin, tokenizer.json or vocabulary files; or a model on the
    /// Hugging Face Hub, `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`
    #[arg(value_name = "FOLDER|hf:OWNER/NAME")]
    source: PathBuf,
    #[command(flatten)]
    package: PackageArguments,
    /// Keep the head of the masked language model
    #[arg(long)]
    keep_lm_head: bool,
}

/// Arguments of `kadapter import adapter`.
#[derive(Debug, Args)]
pub(crate) struct AdapterArguments {
    /// The checkpoint
    file: PathBuf,
    #[command(flatten)]
    package: PackageArguments,
    /// The plugin package that runs it
    #[arg(long, value_name = "NS/PLUGIN")]
    plugin: PackageName,
    /// Which versions of the plugin
    #[arg(long, value_name = "REQUIREMENT", default_value = "^1")]
    plugin_version: semver::VersionReq,
    /// The backbone package that it was trained beside
    #[arg(long, value_name = "NS/NAME")]
    backbone: PackageName,
    #[command(flatten)]
    weights: WeightsArguments,
    /// Hidden states that it reads, 0 the embedding output; the file does not say (published scripts: 0,11,22)
    #[arg(long, value_delimiter = ',', required = true)]
    taps: Vec<usize>,
    /// Attention heads of its transformer layers; the file does not say (published: 12)
    #[arg(long)]
    heads: usize,
    /// Added to the variance in its layer normalisations
    #[arg(long, default_value_t = 1e-5)]
    layer_norm_eps: f64,
    /// The official `adapter_skip_layers`; 0 is off
    #[arg(long, default_value_t = 0)]
    skip_layers: usize,
    /// What stands before `adapter.` in the file: `fac_adapter.` or `lin_adapter.` in downstream checkpoints
    #[arg(long, default_value = "")]
    prefix: String,
}

/// Which weights of the backbone something belongs to.
#[derive(Debug, Args)]
struct WeightsArguments {
    /// The registry that has the backbone (and a task's adapters)
    #[arg(long, value_name = "REGISTRY")]
    registry: RegistryLocation,
}

impl WeightsArguments {
    fn registry(&self) -> Result<Registry, Failure> {
        super::place::open(&self.registry)
    }

    fn backbone(&self, name: &PackageName) -> Result<Digest, Failure> {
        let found = query::info(&self.registry()?, name, None)?;
        found.latest.release.backbone_weights().ok_or_else(|| {
            Failure::new(
                format!("`{name}` is a {}, expected a backbone", found.latest.release.kind()),
                format!("kadapter search --registry {}", self.registry),
            )
        })
    }
}

/// Arguments of `kadapter import task`.
#[derive(Debug, Args)]
pub(crate) struct TaskArguments {
    /// The checkpoint with `task_dense*`, `dense`, `out_proj` or `classifier`
    file: PathBuf,
    #[command(flatten)]
    package: PackageArguments,
    /// relation-classification, entity-typing, multiple-choice, span or sequence-classification
    #[arg(long, value_parser = parse_kind)]
    kind: TaskKind,
    /// A JSON file with the list of labels, in the order of the head's outputs
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The longest input in tokens
    #[arg(long)]
    max_length: usize,
    /// The backbone package that it was trained on
    #[arg(long, value_name = "NS/NAME")]
    backbone: PackageName,
    #[command(flatten)]
    weights: WeightsArguments,
    /// An adapter of the stack, in order: `SLOT:NAME=NS/PACKAGE`, SLOT being `fac` or `lin` as the file names it
    #[arg(long = "adapter", value_name = "SLOT:NAME=NS/PACKAGE")]
    adapters: Vec<String>,
    /// concat or add
    #[arg(long, default_value = "concat", value_parser = ["concat", "add"])]
    fusion: String,
    /// An option of the task kind, as in TOML: `marker_overflow="minus10"`
    #[arg(long = "option", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// What stands before every name in the file
    #[arg(long, default_value = "")]
    prefix: String,
}

fn parse_kind(text: &str) -> Result<TaskKind, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| {
        "expected relation-classification, entity-typing, multiple-choice, span or sequence-classification".to_owned()
    })
}

impl Import {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (report, name) = match self {
            Self::Backbone(arguments) => arguments.run()?,
            Self::Adapter(arguments) => arguments.run()?,
            Self::Task(arguments) => arguments.run()?,
        };
        print(&report, &name);
        Ok(ExitCode::SUCCESS)
    }
}

impl BackboneArguments {
    fn run(self) -> Result<(Report, PackageName), Failure> {
        let (mut identity, storage) = self.package.split()?;
        let options = backbone::Options { storage, keep_lm_head: self.keep_lm_head };
        let directory = match self.source.to_str().filter(|source| source.starts_with("hf:")) {
            Some(address) => hub::fetch(address, &mut identity)?,
            None => self.source,
        };
        let report = backbone::import(&directory, &identity, &self.package.out, options).map_err(Error::from)?;
        Ok((report, identity.name))
    }
}

impl AdapterArguments {
    fn run(self) -> Result<(Report, PackageName), Failure> {
        let (identity, storage) = self.package.split()?;
        let plugin = PluginNeed { package: self.plugin, version: self.plugin_version };
        let weights = self.weights.backbone(&self.backbone)?;
        let options = adapter::Options {
            prefix: self.prefix,
            taps: self.taps,
            heads: self.heads,
            layer_norm_eps: self.layer_norm_eps,
            skip: self.skip_layers,
            storage,
            ..adapter::Options::official(plugin, self.backbone, weights)
        };
        let report = adapter::import(&self.file, &identity, &self.package.out, &options).map_err(Error::from)?;
        Ok((report, identity.name))
    }
}

impl TaskArguments {
    fn run(self) -> Result<(Report, PackageName), Failure> {
        let (identity, storage) = self.package.split()?;
        let registry = self.weights.registry()?;
        let (mut adapters, mut slots, mut stack) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for text in &self.adapters {
            let (slot, name, package) = split_adapter(text)?;
            let release = query::info(&registry, &package, None)?.latest.digest;
            adapters.insert(name.clone(), AdapterNeed { package, release });
            slots.insert(slot, name.clone());
            stack.push(name);
        }
        let variant = task::VariantSource {
            file: self.file.clone(),
            prefix: self.prefix,
            stack,
            fusion: if self.fusion == "add" { Fusion::Add } else { Fusion::Concat },
        };
        let options = task::Options {
            kind: self.kind,
            labels: self.labels.as_deref().map(read_labels).transpose()?.unwrap_or_default(),
            max_length: self.max_length,
            options: parse_options(&self.options)?,
            backbone: BackboneNeed { weights: self.weights.backbone(&self.backbone)?, package: self.backbone },
            adapters,
            slots,
            variants: vec![variant],
            storage,
        };
        let report = task::import(&identity, &self.package.out, &options).map_err(Error::from)?;
        Ok((report, identity.name))
    }
}

fn split_adapter(text: &str) -> Result<(String, Alias, PackageName), Failure> {
    let parts =
        text.split_once(':').and_then(|(slot, rest)| rest.split_once('=').map(|(name, package)| (slot, name, package)));
    let Some((slot, name, package)) = parts else {
        return Err(Failure::new(
            format!("`--adapter {text}`: expected `SLOT:NAME=NS/PACKAGE`"),
            "--adapter fac:factual=kadapter/factual --adapter lin:linguistic=kadapter/linguistic",
        ));
    };
    Ok((slot.to_owned(), name.parse()?, package.parse()?))
}

fn read_labels(path: &Path) -> Result<Vec<String>, Failure> {
    let json = std::fs::read(path).map_err(|source| Failure::io("read", path, source))?;
    serde_json::from_slice(&json).map_err(|error| {
        Failure::new(
            format!("`{}` is no JSON list of labels: {error}", path.display()),
            "write [\"first label\", \"second label\"]",
        )
    })
}

fn parse_options(options: &[String]) -> Result<toml::Table, Failure> {
    options.join("\n").parse().map_err(|error: toml::de::Error| {
        Failure::new(format!("`--option`: {}", error.message()), "--option 'marker_overflow=\"minus10\"'")
    })
}

pub(super) fn print(report: &import::Report, name: &PackageName) {
    println!("made {name} in {}", report.directory.display());
    for (fact, value) in &report.facts {
        println!("  {fact:<20} {value}");
    }
    for file in &report.weights {
        println!("  {:<20} {} tensors, {} bytes, {}", file.path, file.tensors, file.size, file.digest);
    }
    if !report.dropped.is_empty() {
        println!("  dropped, not needed to run ({}):", report.dropped.len());
        for name in &report.dropped {
            println!("    {name}");
        }
    }
    println!("publish it with: kadapter publish {} --registry DIR", report.directory.display());
}
