//! `kadapter train task`: fusion and head for each stack of a recipe, as a package.

use crate::cli::compare::{Progress, folder_of};
use crate::cli::model::ModelArguments;
use crate::cli::report::{self, Failure};
use kadapter_host::Error;
use kadapter_host::pipeline::{Plan, backbone_config};
use kadapter_host::train::error::TrainError;
use kadapter_host::train::task::job::{Surroundings, TaskEvent, TaskJob};
use kadapter_host::train::task::{Extraction, KEPT_BYTES, MEMORY_BYTES, card, package};
use kadapter_registry::project::{FileRef, LockMode, Options, Project, Resolved};
use kadapter_registry::{Digest, home};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `kadapter train task`.
#[derive(Debug, clap::Args)]
pub(crate) struct TrainTask {
    /// The recipe
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// The package directory to make [default: beside the recipe, under its name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The log, one JSON object per line [default: beside the package]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Use the recipe's lock as it is; fail where it is missing or does not fit
    #[arg(long)]
    frozen: bool,
    /// Show no progress
    #[arg(long, short = 'q')]
    quiet: bool,
    #[command(flatten)]
    model: ModelArguments,
}

impl TrainTask {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let job = TaskJob::read(&self.recipe)?;
        let text = fs::read_to_string(&self.recipe).map_err(|source| Failure::io("read", &self.recipe, source))?;
        let out = self.out.clone().unwrap_or_else(|| self.recipe.with_extension("package"));
        if out.exists() {
            return Err(kadapter_host::stage::StageError::Exists { path: out }.into());
        }
        let folder = folder_of(&self.recipe);
        let project = Project::open_recipe(&self.recipe, Options::default())?;
        let mode = if self.frozen { LockMode::Frozen } else { LockMode::KeepLocked };
        let resolved = project.resolve(mode)?;
        crate::cli::passed_over::warn(&resolved.warnings);
        let mut plan = Plan::every_adapter(&resolved, &[])?;
        plan.more_taps.extend(job.variants.iter().flat_map(|variant| &variant.taps));
        let config = backbone_config(&plan.backbone)?;
        if let Some(&tap) = plan.more_taps.iter().find(|&&tap| tap > config.layers) {
            let task = job.package.name.to_string();
            return Err(Error::TaskTap { task, tap, layers: config.layers }.into());
        }
        let chosen = self.model.settings(&project, job.task.truncate)?;
        let settings = chosen.settings;
        crate::cli::contact::meet(&plan)?;
        let opened = ModelArguments::open_as(plan, chosen)?;
        let prepared = job.task.prepare(folder, &opened.tokenizer, config.max_tokens(), settings.compat)?;

        let cache = home::cache().unwrap_or_else(std::env::temp_dir).join("features");
        let with = Surroundings {
            folder,
            extraction: Extraction {
                runner: &*opened.runner,
                device: &opened.device,
                settings,
                hidden: config.hidden_size,
                folder: Some(&cache),
                memory_bytes: MEMORY_BYTES,
                kept_bytes: KEPT_BYTES,
            },
            tokenizer: &opened.tokenizer,
            max_tokens: config.max_tokens(),
        };
        let mut log = Log::create(self.log.clone().unwrap_or_else(|| out.with_extension("log.jsonl")))?;
        let progress = Progress::new(self.quiet);
        let mut data = Vec::new();
        let variants = job.train(with, &prepared, |event| {
            log.write(&event);
            match event {
                TaskEvent::Features { split, done, total } => {
                    if done <= total.min(512) {
                        progress.begin(format!("{split}: features"), total);
                    }
                    progress.at(done);
                }
                event @ TaskEvent::Data { .. } => data.push(event),
                TaskEvent::Epoch { .. } => progress.tick("training"),
                TaskEvent::Head { .. } => {}
            }
        })?;
        progress.end();
        log.finish()?;
        unchanged(&resolved)?;

        let files = card::data_files(&job, folder)?;
        let card = card::render(&job, &prepared, &resolved, &variants, &files, &data, &text);
        let directory = package::write(&out, &job.package, &job.task, &prepared, &resolved, &variants, &card)?;
        println!("trained {} {} in {}", job.package.name, job.package.version, directory.display());
        for event in &data {
            let TaskEvent::Data { split, report } = event else { continue };
            println!("  {split:<6} {} records", report.taken);
            report.losses().for_each(|loss| println!("         {loss}"));
        }
        for variant in &variants {
            let kept = variant.scores.iter().find(|(seed, ..)| *seed == variant.seed);
            let score = |name: &str, score: Option<f64>| {
                score.map_or_else(String::new, |score| format!(", {name} {:.2}", score * 100.0))
            };
            println!(
                "  {:<28} {}{}{}",
                variant.part.name(),
                prepared.metric,
                score("dev", kept.and_then(|scores| scores.1)),
                score("test", kept.and_then(|scores| scores.2))
            );
        }
        println!("publish it with: kadapter publish {} --registry DIR", directory.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// The log; what cannot be written is told at the end, so that a head is not lost to it.
struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    failure: Option<std::io::Error>,
}

impl Log {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        let file = File::create(&path).map_err(|source| Failure::io("write", &path, source))?;
        Ok(Self { path, file: BufWriter::new(file), failure: None })
    }

    fn write(&mut self, event: &TaskEvent) {
        if matches!(event, TaskEvent::Features { .. }) || self.failure.is_some() {
            return;
        }
        self.failure = writeln!(self.file, "{}", report::json(event)).and_then(|()| self.file.flush()).err();
    }

    fn finish(self) -> Result<(), Failure> {
        match self.failure {
            None => Ok(()),
            Some(source) => {
                let error = Error::Io { action: "write", path: self.path, source };
                report::print_warning(&report::sentence(&error), Some("choose another place with `--log FILE`"));
                Ok(())
            }
        }
    }
}

/// Reads the weights of backbone and adapters once more: training must not have changed a bit of them.
fn unchanged(resolved: &Resolved) -> Result<(), Failure> {
    let adapters = resolved.adapters.values().map(|adapter| &adapter.weights);
    for FileRef { path, digest, .. } in std::iter::once(&resolved.backbone.weights).chain(adapters) {
        let io = |source| Failure::io("read", path, source);
        let (found, _) = Digest::of_reader(File::open(path).map_err(io)?).map_err(io)?;
        if found != *digest {
            return Err(Error::from(TrainError::BackboneChanged { expected: *digest, found }).into());
        }
    }
    Ok(())
}
