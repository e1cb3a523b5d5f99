//! `kadapter run`: texts in, answers out.

use super::ProjectArguments;
use super::input::{Numbered, Source};
use super::model::ModelArguments;
use super::report::{self, Failure};
use kadapter_host::Error;
use kadapter_host::pipeline::{Job, Plan, Runner, Stats};
use kadapter_host::task::{Answer, Readable};
use serde::Serialize;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Arguments of `kadapter run`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "kadapter run [OPTIONS] TASK [TEXT]\n       kadapter run [OPTIONS] --all [TEXT]")]
pub(crate) struct Run {
    /// The task's name in the manifest (not with --all), then a text; without a text, JSON lines are read
    #[arg(value_name = "TASK] [TEXT", num_args = 0..=2)]
    words: Vec<String>,
    /// Run every task of the manifest on each text, in one backbone pass
    #[arg(long)]
    all: bool,
    /// Read records from a file, one JSON object or text per line
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Write one JSON object per answer
    #[arg(long)]
    json: bool,
    /// Print what was counted and where the time went, to stderr
    #[arg(long)]
    stats: bool,
    /// Cut texts that are too long instead of refusing them
    #[arg(long)]
    truncate: bool,
    #[command(flatten)]
    project: ProjectArguments,
    #[command(flatten)]
    model: ModelArguments,
}

impl Run {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let started = Instant::now();
        let (task, text) = self.words()?;
        let (project, resolved) = self.project.resolve()?;
        let plan = match task {
            Some(task) => Plan::tasks(&resolved, &[task.to_owned()])?,
            None => Plan::all(&resolved)?,
        };
        if plan.tasks.is_empty() {
            return Err(Failure::new("the manifest has no task", "add one under `[tasks.NAME]` in kadapter.toml"));
        }
        let mut source = Source::new(text, self.input.as_deref())?;
        let opened = self.model.open(&project, plan, self.truncate)?;
        let loaded = started.elapsed();

        let mut output =
            Output { json: self.json, several: self.all, from_lines: text.is_none(), failed: false, records: 0 };
        loop {
            let records = source.next()?;
            if records.is_empty() {
                break;
            }
            let answered = answer(&*opened.runner, &records);
            source.suspend(|| output.write(&records, &answered, opened.runner.plan()))?;
        }
        if output.records == 0 {
            return Err(Failure::new(
                "the input is empty, expected at least one record",
                "give a text, or one JSON object per line: {\"text\": \"…\"}",
            ));
        }
        if self.stats {
            print_stats(&opened.runner.stats(), &opened.device, output.records, loaded.as_secs_f64() * 1e3, self.json);
        }
        Ok(if output.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn words(&self) -> Result<(Option<&str>, Option<&str>), Failure> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let (task, text) = match (self.all, words.as_slice()) {
            (true, []) => (None, None),
            (true, [text]) => (None, Some(*text)),
            (true, _) => return Err(Failure::new("`--all` takes one text and no task", "kadapter run --all TEXT")),
            (false, []) => {
                return Err(Failure::new("no task is named, expected one or `--all`", "kadapter run TASK TEXT"));
            }
            (false, [task]) => (Some(*task), None),
            (false, [task, text, ..]) => (Some(*task), Some(*text)),
        };
        if text.is_some() && self.input.is_some() {
            return Err(Failure::new("a text and `--input` are given, expected one of them", "leave one of them out"));
        }
        Ok((task, text))
    }
}

/// Per record, per task.
type Answered = Vec<Vec<Result<Answer, Error>>>;

fn answer(runner: &dyn Runner, records: &[Numbered]) -> Answered {
    let tasks = runner.plan().tasks.len();
    let jobs: Vec<_> = records
        .iter()
        .filter_map(|numbered| numbered.record.as_ref().ok())
        .flat_map(|record| (0..tasks).map(move |task| Job { record, task }))
        .collect();
    let mut answers = runner.answer(&jobs).into_iter();
    records
        .iter()
        .map(|numbered| if numbered.record.is_ok() { answers.by_ref().take(tasks).collect() } else { Vec::new() })
        .collect()
}

struct Output {
    json: bool,
    /// Whether a record has several answers, so that each says which task it is of.
    several: bool,
    /// Whether records are lines, so that each says which line it is of.
    from_lines: bool,
    failed: bool,
    records: u64,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Output {
    fn write(&mut self, records: &[Numbered], answered: &Answered, plan: &Plan) -> Result<(), Failure> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        for (numbered, answers) in records.iter().zip(answered) {
            self.records += 1;
            if let Err(error) = &numbered.record {
                self.write_one(&mut out, numbered.line, None, Err(error))?;
            }
            for (task, answer) in plan.tasks.iter().zip(answers) {
                self.write_one(&mut out, numbered.line, Some(&task.name), answer.as_ref())?;
            }
        }
        out.flush().map_err(stdout)
    }

    fn write_one(
        &mut self,
        out: &mut impl Write,
        line: u64,
        task: Option<&str>,
        answer: Result<&Answer, &Error>,
    ) -> Result<(), Failure> {
        self.failed |= answer.is_err();
        if self.json {
            let (error, hint) = (answer.err().map(|error| report::sentence(error)), answer.err().and_then(Error::hint));
            let json = serde_json::to_string(&JsonLine { line, task, answer: answer.ok(), error, hint });
            let json = json.map_err(|error| Failure::new(error.to_string(), "leave out `--json`"))?;
            return writeln!(out, "{json}").map_err(stdout);
        }
        let mut place = String::new();
        if self.from_lines {
            place = format!("line {line}");
        }
        if let Some(task) = task.filter(|_| self.several) {
            place = if place.is_empty() { task.to_owned() } else { format!("{place}, {task}") };
        }
        match answer {
            Ok(answer) if place.is_empty() => writeln!(out, "{}", Readable(answer)).map_err(stdout),
            Ok(answer) => writeln!(out, "{place}: {}", Readable(answer)).map_err(stdout),
            Err(error) => {
                out.flush().map_err(stdout)?;
                report::print_part(if place.is_empty() { task.unwrap_or("the text") } else { &place }, error);
                Ok(())
            }
        }
    }
}

fn stdout(source: std::io::Error) -> Failure {
    Failure::io("write", std::path::Path::new("the answers"), source)
}

fn print_stats(stats: &Stats, device: &str, texts: u64, loading: f64, json: bool) {
    if json {
        let value =
            serde_json::json!({ "texts": texts, "device": device, "loading_milliseconds": loading, "stats": stats });
        eprintln!("{value}");
        return;
    }
    let row = |name: &str, value: String| eprintln!("  {name:<32} {value:>12}");
    eprintln!("stats ({device})");
    row("texts", texts.to_string());
    row("distinct segments", stats.segments.to_string());
    row("tokens", stats.tokens.to_string());
    row("backbone passes", stats.backbone_passes.to_string());
    for (name, passes) in &stats.adapter_passes {
        row(&format!("adapter passes, {name}"), passes.to_string());
    }
    for (name, answers) in &stats.answers {
        row(&format!("answers, {name}"), answers.to_string());
    }
    let stages = &stats.milliseconds;
    let times = [
        ("loading", loading),
        ("encode", stages.encode),
        ("backbone", stages.backbone),
        ("adapters", stages.adapters),
        ("fusion and heads", stages.heads),
        ("decode", stages.decode),
    ];
    for (name, milliseconds) in times {
        row(&format!("{name}, ms"), format!("{milliseconds:.2}"));
    }
}
