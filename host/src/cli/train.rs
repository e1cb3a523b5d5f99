//! `kadapter train`: adapters through the objectives of their plugins, from recipes.

mod card;
mod task;

use super::report::Failure;
use kadapter_host::Error;
use kadapter_host::backbone::{Roberta, RobertaConfig};
use kadapter_host::pipeline::{self, Settings as ModelSettings};
use kadapter_host::plugin::contact::Exercise;
use kadapter_host::tensor::cpu::{CpuConfig, CpuEngine};
use kadapter_host::tensor::derivatives::Derivatives;
use kadapter_host::tensor::device::{DeviceChoice, Dtype, Selected, select};
use kadapter_host::train::adapter::package::{self, TrainedBeside};
use kadapter_host::train::adapter::prepare::{Prepared, Surroundings};
use kadapter_host::train::adapter::run::{self, Settings};
use kadapter_host::train::communicator::{self, Communicator, Way};
use kadapter_host::train::error::TrainError;
use kadapter_host::train::recipe::Recipe;
use kadapter_registry::project::{LockMode, Options, Project, ResolvedBackbone};
use kadapter_registry::{Digest, Manifest, home};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to train.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Train {
    /// Train adapters from recipes; started again after a kill, it goes on where it was
    Adapter(TrainAdapter),
    /// Train fusion and head of a task for each stack of a recipe, on frozen backbone and adapters
    Task(Box<task::TrainTask>),
}

impl Train {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Adapter(command) => command.run(),
            Self::Task(command) => command.run(),
        }
    }
}

/// Arguments of `kadapter train adapter`.
#[derive(Debug, clap::Args)]
pub(crate) struct TrainAdapter {
    /// Recipes; several train in one process on one backbone pass
    #[arg(required = true, value_name = "RECIPE")]
    recipes: Vec<PathBuf>,
    /// The folder of checkpoints, log and package, one below it per recipe
    #[arg(long, value_name = "DIR", default_value = "runs")]
    run: PathBuf,
    /// Start over instead of going on from the last checkpoint
    #[arg(long)]
    fresh: bool,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "auto")]
    device: String,
    /// Use the recipe's lock as it is; fail where it is missing or does not fit
    #[arg(long)]
    frozen: bool,
    /// The most tokens of one backbone pass
    #[arg(long, value_name = "TOKENS", default_value_t = ModelSettings::default().max_batch_tokens.saturating_mul(4))]
    max_batch_tokens: usize,
    /// How processes that were launched together meet: auto, alone, mpi or nccl
    #[arg(long, default_value = "auto")]
    communicator: Way,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

/// A recipe's place: where it runs and what it is made beside.
struct Place {
    directory: PathBuf,
    out: PathBuf,
}

impl TrainAdapter {
    fn run(self) -> Result<ExitCode, Failure> {
        let others = communicator::join(self.communicator).map_err(Error::from)?;
        let outcome = self.train(&*others);
        if outcome.is_err() && others.size() > 1 {
            if let Err(failure) = &outcome {
                super::report::print(failure);
            }
            others.abort(1);
        }
        outcome
    }

    fn train(&self, others: &dyn Communicator) -> Result<ExitCode, Failure> {
        let recipes =
            self.recipes.iter().map(|path| Recipe::read(path)).collect::<Result<Vec<_>, _>>().map_err(Error::from)?;
        Recipe::round_alike(&recipes).map_err(Error::from)?;
        let backbone = self.backbone(&recipes)?;
        let (config, tokenizer) = pipeline::backbone_and_tokenizer(&backbone).map_err(Failure::from)?;
        let mut prepared = Vec::with_capacity(recipes.len());
        let mut places = Vec::with_capacity(recipes.len());
        for recipe in recipes {
            let place = self.place(&recipe, others)?;
            let plugin = open_plugin(&recipe, &config)?;
            let around = Surroundings {
                tokenizer: &tokenizer,
                weights: backbone.weights.digest,
                hidden_size: config.hidden_size,
                layers: config.layers,
                max_tokens: config.max_tokens(),
                scratch: &place.directory,
            };
            let ready = Prepared::new(recipe, plugin, around)?;
            if others.is_first() {
                say(&ready);
            }
            prepared.push((ready, place.directory.clone()));
            places.push(place);
        }
        let device = DeviceChoice::parse(&self.device).map_err(Error::from)?;
        match select(device, Dtype::F32).map_err(Error::from)? {
            Selected::Cpu => {
                let engine = CpuEngine::new(CpuConfig::default());
                self.on(&engine, "cpu", config, &backbone, prepared, &places, others)
            }
            Selected::Candle(engine) => {
                let name = engine.name().to_owned();
                self.on(&engine, &name, config, &backbone, prepared, &places, others)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "called twice, once per kind of engine")]
    fn on<E: Derivatives>(
        &self,
        engine: &E,
        device: &str,
        config: RobertaConfig,
        resolved: &ResolvedBackbone,
        prepared: Vec<(Prepared, PathBuf)>,
        places: &[Place],
        others: &dyn Communicator,
    ) -> Result<ExitCode, Failure> {
        let backbone = Roberta::load(engine, config, &resolved.weights)?;
        let cache = home::cache().unwrap_or_else(std::env::temp_dir).join("taps");
        let settings = Settings {
            fresh: self.fresh,
            quiet: self.quiet,
            cache,
            backbone: resolved.weights.digest,
            budget: self.max_batch_tokens,
            device: device.to_owned(),
        };
        let trained = run::train(engine, &backbone, prepared, &settings, others)?;
        unchanged(resolved)?;
        if !others.is_first() {
            return Ok(ExitCode::SUCCESS);
        }
        println!("{} backbone passes, {} texts from the cache", trained.backbone_passes, trained.cached);
        let beside = TrainedBeside { id: resolved.id.clone(), weights: resolved.weights.digest };
        for (job, place) in trained.jobs.iter().zip(places) {
            // The package of an earlier run is there until this one's is whole.
            let fresh = place.directory.join("package.new");
            remove(&fresh)?;
            let mut packed = package::write(engine, job, &beside, &fresh, |packed| {
                card::render(job, &beside, packed, device, others.size())
            })?;
            remove(&place.out)?;
            fs::rename(&fresh, &place.out).map_err(|source| Failure::io("make", &place.out, source))?;
            packed.directory.clone_from(&place.out);
            let recipe = &job.prepared.recipe;
            println!("trained {} {} in {}", recipe.adapter.name, recipe.adapter.version, packed.directory.display());
            if let Some(best) = &job.progress.best {
                let evaluation = job.progress.evaluations.iter().find(|evaluation| evaluation.step == best.step);
                for (name, value) in evaluation.iter().flat_map(|evaluation| &evaluation.metrics) {
                    println!("  dev {name:<16} {value:.4}");
                }
                println!("  after update     {} of {}", best.step, job.progress.step);
            }
            println!("  weights          {} values, {}", packed.values, packed.weights);
            println!("publish it with: kadapter publish {} --registry DIR", packed.directory.display());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The one backbone of all recipes.
    fn backbone(&self, recipes: &[Recipe]) -> Result<ResolvedBackbone, Failure> {
        let mut found: Option<ResolvedBackbone> = None;
        for recipe in recipes {
            let file = recipe.path.display().to_string();
            let manifest = Manifest::from_toml(&file, &recipe.manifest())?;
            let project = Project::with_manifest(recipe.path.clone(), manifest, Options::default())?;
            let mode = if self.frozen { LockMode::Frozen } else { LockMode::KeepLocked };
            let backbone = project.resolve(mode)?.backbone;
            if let Some(first) = &found
                && first.weights.digest != backbone.weights.digest
            {
                let (first, second) = (first.id.to_string(), backbone.id.to_string());
                return Err(Error::from(TrainError::TwoBackbones { first, second }).into());
            }
            found.get_or_insert(backbone);
        }
        found.ok_or_else(|| Failure::new("no recipe is given, expected at least one", "kadapter train adapter RECIPE"))
    }

    fn place(&self, recipe: &Recipe, others: &dyn Communicator) -> Result<Place, Failure> {
        let stem = recipe.path.file_stem().unwrap_or(recipe.path.as_os_str());
        let directory = self.run.join(stem);
        if others.is_first() {
            fs::create_dir_all(&directory).map_err(|source| Failure::io("make", &directory, source))?;
        }
        others.barrier().map_err(Error::from)?;
        Ok(Place { out: directory.join("package"), directory })
    }
}

fn open_plugin(
    recipe: &Recipe,
    config: &RobertaConfig,
) -> Result<(kadapter_host::plugin::Plugin, kadapter_registry::PackageId, Digest), Failure> {
    let adapter = &recipe.adapter;
    if let Some(&tap) = adapter.taps.iter().find(|&&tap| tap > config.layers) {
        return Err(Error::Tap { adapter: adapter.name.to_string(), tap, layers: config.layers }.into());
    }
    let exercise = Exercise {
        config: adapter.config.clone(),
        hidden_size: config.hidden_size,
        layers: config.layers,
        taps: adapter.taps.clone(),
    };
    let file = recipe.path.display().to_string();
    let manifest = Manifest::from_toml(&file, &recipe.manifest())?;
    let project = Project::with_manifest(recipe.path.clone(), manifest, Options::default())?;
    let registry = project.registry_of(&adapter.plugin)?;
    let opened = super::architecture::open(&registry, &adapter.plugin, &adapter.plugin_version, exercise)?;
    Ok((opened.plugin, opened.id, opened.library))
}

/// Tells what the data came to: nothing is left out silently.
fn say(prepared: &Prepared) {
    println!("{}", prepared.recipe.adapter.name);
    for (part, counted) in [("train", prepared.train_counted.total()), ("dev", prepared.dev_counted.total())] {
        println!("  {part:<6} {} examples of {} records", counted.examples, counted.records);
        for (reason, count) in &counted.left_out {
            println!("         {count} left out: {reason}");
        }
        for (reason, count) in &counted.cut {
            println!("         {count} cut: {reason}");
        }
        if counted.bad > 0 {
            println!("         {} could not be read", counted.bad);
        }
    }
}

/// Reads the backbone's weights once more: training must not have changed a bit of them.
fn unchanged(backbone: &ResolvedBackbone) -> Result<(), Failure> {
    let path: &Path = &backbone.weights.path;
    let io = |source| Failure::io("read", path, source);
    let (found, _) = Digest::of_reader(fs::File::open(path).map_err(io)?).map_err(io)?;
    let expected = backbone.weights.digest;
    if found == expected { Ok(()) } else { Err(Error::from(TrainError::BackboneChanged { expected, found }).into()) }
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Failure::io("remove", folder, source)),
        _ => Ok(()),
    }
}
