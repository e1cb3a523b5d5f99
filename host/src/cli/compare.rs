//! `kadapter compare`: which stack helps which task, against controls.

use super::model::ModelArguments;
use super::report::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kadapter_host::Error;
use kadapter_host::compare::recipe::Recipe;
use kadapter_host::compare::results::Results;
use kadapter_host::compare::run::{self, Comparison, Event};
use kadapter_host::compare::{chart, condition, text};
use kadapter_host::pipeline::{Plan, backbone_config};
use kadapter_host::train::task::{Extraction, KEPT_BYTES, MEMORY_BYTES};
use kadapter_registry::home;
use kadapter_registry::project::{LockMode, Options, Project};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Arguments of `kadapter compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// What is compared on which data
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// Run a small part: few records, seeds and epochs, as `[quick]` of the recipe says
    #[arg(long)]
    quick: bool,
    /// Where finished runs are kept; an interrupted comparison goes on from there [default: beside the recipe]
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Also write what was found as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw a chart
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Use the recipe's lock as it is; fail where it is missing or does not fit
    #[arg(long)]
    frozen: bool,
    /// Show no progress
    #[arg(long, short = 'q')]
    quiet: bool,
    #[command(flatten)]
    model: ModelArguments,
}

impl Compare {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let recipe = Recipe::read(&self.recipe)?;
        let recipe = if self.quick { recipe.quick() } else { recipe };
        let results_path = self.results.clone().unwrap_or_else(|| self.beside("results.jsonl"));
        let mut results = Results::open(&results_path)
            .map_err(|error| Error::from(kadapter_host::compare::run::CompareError::from(error)))?;

        let project = Project::open_recipe(&self.recipe, Options::default())?;
        let mode = if self.frozen { LockMode::Frozen } else { LockMode::KeepLocked };
        let resolved = project.resolve(mode)?;
        super::passed_over::warn(&resolved.warnings);
        let mut plan = Plan::every_adapter(&resolved, &[])?;
        let config = backbone_config(&plan.backbone)?;
        let cache = home::cache().unwrap_or_else(std::env::temp_dir).join("features");
        super::contact::meet(&plan)?;
        condition::complete(&mut plan, &recipe, config.hidden_size, config.layers, &cache)?;
        let chosen = self.model.settings(&project, false)?;
        let settings = chosen.settings;
        let opened = ModelArguments::open_as(plan, chosen)?;

        let comparison = Comparison {
            recipe: &recipe,
            folder: folder_of(&self.recipe),
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
            quick: self.quick,
        };
        let progress = Progress::new(self.quiet);
        let report = run::run(comparison, &mut results, |event| progress.show(event))?;
        progress.end();

        print!("{}", text::Table(&report));
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
            write(path, &json)?;
        }
        if let Some(path) = &self.svg {
            write(path, &chart::svg(&report))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// `study.results.jsonl` for `study.toml`.
    fn beside(&self, ending: &str) -> PathBuf {
        let ending = if self.quick { format!("quick.{ending}") } else { ending.to_owned() };
        self.recipe.with_extension(ending)
    }
}

/// The folder that a recipe's files are relative to.
pub(super) fn folder_of(recipe: &Path) -> &Path {
    recipe.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| Failure::io("write", path, source))
}

/// What is under way, on stderr, and how many runs the task under way has.
pub(super) struct Progress(ProgressBar, AtomicUsize);

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let hidden = quiet || !std::io::stderr().is_terminal();
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} (left {eta})");
        let bar = ProgressBar::with_draw_target(None, target);
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())), AtomicUsize::new(0))
    }

    /// A stretch of work of so many steps begins.
    pub(super) fn begin(&self, what: String, steps: usize) {
        self.0.set_prefix(what);
        self.0.set_message("");
        self.0.set_length(steps as u64);
        self.0.set_position(0);
        self.0.reset_eta();
    }

    /// So many steps are done.
    pub(super) fn at(&self, done: usize) {
        self.0.set_position(done as u64);
    }

    /// One step more of something whose end is not known.
    pub(super) fn tick(&self, what: &'static str) {
        self.0.set_prefix(what);
        self.0.inc_length(1);
        self.0.inc(1);
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }

    fn show(&self, event: Event<'_>) {
        match event {
            Event::Features { task, done, total } => {
                let what = format!("{task}: features");
                if self.0.prefix() != what || self.0.length() != Some(total as u64) {
                    self.begin(what, total);
                }
                self.at(done);
            }
            Event::Data { task, split, report } => self.0.suspend(|| {
                report.losses().for_each(|loss| anstream::eprintln!("{task}, {split}: {loss}"));
            }),
            Event::Task { task, kept, missing } => {
                tracing::info!(task, kept, missing, "runs");
                self.1.store(missing, Ordering::Relaxed);
            }
            Event::Run(result) => {
                let what = format!("{}: heads", result.task);
                if self.0.prefix() != what {
                    self.begin(what, self.1.load(Ordering::Relaxed));
                }
                self.0.set_message(format!(
                    "{} {} seed {}: {:.2}",
                    result.condition,
                    kadapter_host::compare::report::percent(result.fraction),
                    result.seed,
                    result.test * 100.0
                ));
                self.0.inc(1);
            }
        }
    }
}
