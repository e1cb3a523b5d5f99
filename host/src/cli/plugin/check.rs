//! `kadapter plugin check`: arguments in, outcomes printed.

use crate::cli::report::Failure;
use kadapter_host::Error;
use kadapter_host::plugin::check::{self, Outcome, Report, Status, Subject};
use kadapter_host::plugin::probe::Limits;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `kadapter plugin check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The plugin's library
    #[arg(required_unless_present = "list")]
    file: Option<PathBuf>,
    /// Only these checks; what a check needs is not run with it
    #[arg(value_name = "CHECK")]
    ids: Vec<String>,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
    /// Show only what failed or crashed
    #[arg(long)]
    only_failed: bool,
    /// List all checks
    #[arg(long)]
    list: bool,
    /// A package directory: of the plugin, to compare it with, or of an adapter, to take configuration and taps from
    #[arg(long = "package", value_name = "DIR")]
    packages: Vec<PathBuf>,
    /// A key of the adapter's configuration, as in TOML: `size=64`
    #[arg(long = "config", value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// A key of the objective's configuration, as in TOML: `labels=["base", "acid"]`
    #[arg(long = "objective", value_name = "KEY=VALUE")]
    objective: Vec<String>,
    /// A record that the objective reads, as JSON; several make a batch
    #[arg(long = "record", value_name = "JSON")]
    records: Vec<String>,
    /// Hidden states that the adapter reads, 0 the embedding output [default: 0,6,12]
    #[arg(long, value_delimiter = ',')]
    taps: Option<Vec<usize>>,
    /// Columns of the hidden states
    #[arg(long, value_name = "COLUMNS", default_value_t = 64)]
    hidden: usize,
    /// Seconds that one check may take
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = seconds)]
    time_limit: f64,
}

/// The longest time limit, a day.
const MOST_SECONDS: f64 = 86_400.0;

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= MOST_SECONDS => Ok(seconds),
        _ => Err(format!("expected more than 0 and at most {MOST_SECONDS} seconds")),
    }
}

impl Check {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Some(file) = self.file.as_ref().filter(|_| !self.list) else {
            list(self.json);
            return Ok(ExitCode::SUCCESS);
        };
        let mut subject =
            Subject::new(file).map_err(Error::from)?.with_hidden_size(self.hidden).map_err(Error::from)?;
        for package in &self.packages {
            subject = subject.with_package(package).map_err(Error::from)?;
        }
        let mut config = subject.config();
        config.extend(table("--config", &self.config, "--config size=64")?);
        let objective = table("--objective", &self.objective, "--objective 'labels=[\"base\", \"acid\"]'")?;
        let records = self.records.iter().map(|text| record(text)).collect::<Result<_, _>>()?;
        subject = subject.with_config(&config).with_objective(&objective, records);
        if let Some(taps) = self.taps.clone() {
            subject = subject.with_taps(taps).map_err(Error::from)?;
        }
        let limits = Limits { time: Duration::from_secs_f64(self.time_limit), ..Limits::default() };
        let prober = super::prober(limits)?;
        let shown = |outcome: &Outcome| !self.only_failed || outcome.status.is_bad();
        let print = |outcome: &Outcome| {
            if !self.json && shown(outcome) {
                print(outcome);
            }
        };
        let mut report = check::run(&prober, &subject, &self.ids, print).map_err(Error::from)?;
        let code = if report.is_bad() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        if self.json {
            report.checks.retain(shown);
            let json = serde_json::to_string_pretty(&report);
            println!("{}", json.map_err(|error| Failure::new(error.to_string(), "leave out `--json`"))?);
        } else {
            println!("{}", summary(&report));
            advise(&report);
        }
        Ok(code)
    }
}

/// `KEY=VALUE`s as TOML.
fn table(argument: &str, pairs: &[String], example: &str) -> Result<toml::Table, Failure> {
    let wrong = |error: toml::de::Error| Failure::new(format!("`{argument}`: {}", error.message()), example);
    pairs.join("\n").parse().map_err(wrong)
}

/// A record as JSON.
fn record(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    let wrong = |error: serde_json::Error| {
        Failure::new(
            format!("`--record`: expected a JSON object, {error}"),
            "--record '{\"text\": \"caffeine tastes bitter\"}'",
        )
    };
    serde_json::from_str(text).map_err(wrong)
}

fn list(json: bool) {
    if json {
        let checks: Vec<_> = check::checks()
            .map(|check| serde_json::json!({ "id": check.id, "description": check.description, "needs": check.needs }))
            .collect();
        println!("{:#}", serde_json::Value::from(checks));
        return;
    }
    for check in check::checks() {
        println!("{:<26} {}", check.id, check.description);
    }
}

fn print(outcome: &Outcome) {
    let color = match outcome.status {
        Status::Success => "\x1b[32m",
        Status::Warning => "\x1b[33m",
        Status::Failed | Status::Crashed => "\x1b[1;31m",
        Status::Skipped => "\x1b[2m",
    };
    let status = outcome.status.as_str();
    match &outcome.details {
        Some(details) => {
            // A plugin's words may have several lines.
            let details = details.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            anstream::println!("{:<26} {color}{status:<8}\x1b[0m {details}", outcome.id);
        }
        None => anstream::println!("{:<26} {color}{status}\x1b[0m", outcome.id),
    }
    if outcome.status.is_bad() {
        anstream::println!("{:<26} {:<8} expected: {}", "", "", lower(outcome.description));
    }
}

/// A sentence as the rest of one; names that begin with capitals stay.
fn lower(sentence: &str) -> String {
    let mut characters = sentence.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(characters).collect(),
        _ => sentence.to_owned(),
    }
}

fn summary(report: &Report) -> String {
    let counts = [Status::Success, Status::Warning, Status::Failed, Status::Crashed, Status::Skipped]
        .map(|status| format!("{} {}", report.count(status), status.as_str()));
    format!("{} checks: {}", report.checks.len(), counts.join(", "))
}

/// The cure, where the plugin seems to be sound and only was not told what it needs.
fn advise(report: &Report) {
    let refused = |outcome: &Outcome| {
        outcome.id == "build"
            && outcome.status == Status::Failed
            && outcome.details.as_deref().is_some_and(|details| details.starts_with("configuration key"))
    };
    if report.checks.iter().any(refused) {
        anstream::eprintln!(
            "  \x1b[1;36mhint\x1b[0m: say how adapters are built: `--config KEY=VALUE`, or `--package` with an adapter's package"
        );
    }
}
