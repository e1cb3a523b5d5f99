//! `kadapter eval`: a task scored over labelled data, or a backbone probed for facts.

mod output;

use super::ProjectArguments;
use super::model::ModelArguments;
use super::report::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use kadapter_host::Error;
use kadapter_host::data::{Format, Labels, Options, Source};
use kadapter_host::evaluate::{self, Cloze, ClozeOptions, EvaluateError, Words};
use kadapter_host::metric::Metric;
use kadapter_host::pipeline::Plan;
use output::{Predictions, print_evaluation, print_probe};
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Arguments of `kadapter eval`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "kadapter eval [OPTIONS] TASK --data FILE...\n       kadapter eval [OPTIONS] --lama FILE..."
)]
pub(crate) struct Eval {
    /// The task's name in the manifest
    task: Option<String>,
    /// Labelled data; several files are one data set. `.xz` and `.gz` are read as they are
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "lama")]
    data: Vec<PathBuf>,
    /// The files' format: json, tacred, semeval, fewrel, openentity, cosmosqa, squad, conllu, conllu-words, lin-adapter, trex-table,
    /// wordnet-table, wordnet-defined or lama; without it the files tell
    #[arg(long)]
    format: Option<String>,
    /// Probe the backbone for facts with LAMA's files: it fills in hidden words
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["data", "metric", "figer_batch"])]
    lama: Vec<PathBuf>,
    /// The words to choose from in a probe, one per line, such as LAMA's common vocabulary; without it every whole word
    #[arg(long, value_name = "FILE", requires = "lama")]
    vocabulary: Option<PathBuf>,
    /// LAMA's file of relations, whose templates are filled in instead of the sentences that records bring
    #[arg(long, value_name = "FILE", requires = "lama")]
    templates: Option<PathBuf>,
    /// How answers are scored: accuracy, tacred, semeval, openentity, figer, figer-published or squad; without it as the task's
    /// benchmark does
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// The batch size that `figer-published` depends on
    #[arg(long, value_name = "N", default_value = "8")]
    figer_batch: NonZeroUsize,
    /// Score this many records at most
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Count records that cannot be read or answered and go on, instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Cut texts that are too long instead of refusing them; how many is counted
    #[arg(long)]
    truncate: bool,
    /// Write each record's place, gold answer and answer to a file, one JSON object per line
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Print the scores as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    project: ProjectArguments,
    #[command(flatten)]
    model: ModelArguments,
}

impl Eval {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.lama.is_empty() { self.evaluate() } else { self.probe() }
    }

    fn evaluate(self) -> Result<ExitCode, Failure> {
        let metric = self.metric.as_deref().map(str::parse::<Metric>).transpose()?;
        let Some(name) = &self.task else {
            return Err(Failure::new(
                "no task is named, expected one of the manifest",
                "kadapter eval TASK --data FILE",
            ));
        };
        let (project, resolved) = self.project.resolve()?;
        let plan = Plan::tasks(&resolved, std::slice::from_ref(name))?;
        let Some(task) = plan.tasks.first() else {
            return Err(Failure::new(format!("task `{name}` was not planned"), "kadapter tree"));
        };
        // What does not fit is said before a model is loaded.
        kadapter_host::metric::Scorer::new(task.kind(), task.labels(), metric, Some(self.figer_batch))?;
        let mut sources = self.sources(&self.data)?;
        if !self.skip_bad {
            evaluate::check(task, &sources)?;
        } else if task.kind().has_labels() {
            let labels = Arc::new(Labels::new(task.labels().iter().cloned()));
            for source in &mut sources {
                source.options.labels = Some(Arc::clone(&labels));
            }
        }
        let mut predictions = self.predictions.as_deref().map(Predictions::create).transpose()?;
        let opened = self.model.open(&project, plan, self.truncate)?;
        let options = evaluate::Options {
            metric,
            figer_batch: Some(self.figer_batch),
            skip_bad: self.skip_bad,
            limit: self.limit,
        };
        let progress = progress();
        let evaluation = evaluate::evaluate(&*opened.runner, 0, &sources, options, |labelled, answer| {
            progress.inc(1);
            predictions.as_mut().map_or(Ok(()), |predictions| predictions.write(labelled, answer))
        });
        progress.finish_and_clear();
        let evaluation = evaluation?;
        if evaluation.tally.scored == 0 {
            return Err(Failure::new(
                "no record could be scored",
                match evaluation.tally.first_refused.or(evaluation.counts.first_bad) {
                    Some(first) => format!("see the first that could not: {first}"),
                    None => "see what was left out by evaluating another file".to_owned(),
                },
            ));
        }
        if let Some(predictions) = predictions {
            predictions.finish()?;
        }
        print_evaluation(name, &self.data, &evaluation, self.json);
        Ok(ExitCode::SUCCESS)
    }

    fn probe(self) -> Result<ExitCode, Failure> {
        let (project, resolved) = self.project.resolve()?;
        if let Some(task) = &self.task {
            return Err(Error::from(EvaluateError::ClozeStack { task: task.clone() }).into());
        }
        let sources = self.sources(&self.lama)?;
        let mut predictions = self.predictions.as_deref().map(Predictions::create).transpose()?;
        let settings = self.model.settings(&project, self.truncate)?;
        let words = Words { vocabulary: self.vocabulary.as_deref(), templates: self.templates.as_deref() };
        let cloze = Cloze::open(&resolved.backbone, settings.device, settings.dtype, words)?;
        let options = ClozeOptions {
            max_batch_tokens: settings.settings.max_batch_tokens,
            skip_bad: self.skip_bad,
            limit: self.limit,
        };
        let progress = progress();
        let probed = cloze.probe(&sources, options, |labelled, filled| {
            progress.inc(1);
            predictions.as_mut().map_or(Ok(()), |predictions| predictions.write(labelled, filled))
        });
        progress.finish_and_clear();
        let probed = probed?;
        if let Some(predictions) = predictions {
            predictions.finish()?;
        }
        print_probe(&resolved.backbone.id.to_string(), &self.lama, &probed, self.json);
        Ok(ExitCode::SUCCESS)
    }

    fn sources(&self, files: &[PathBuf]) -> Result<Vec<Source>, Failure> {
        let format = match &self.format {
            Some(format) => Some(format.parse::<Format>()?),
            None if !self.lama.is_empty() => Some(Format::Lama),
            None => None,
        };
        let options = || Options { skip_bad: self.skip_bad, limit: self.limit, ..Options::default() };
        let source = |path: &PathBuf| Source::new(path as &Path, format, options());
        Ok(files.iter().map(source).collect::<Result<_, _>>()?)
    }
}

/// How many records were scored, for whoever watches.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} records {elapsed} ({per_sec})");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
