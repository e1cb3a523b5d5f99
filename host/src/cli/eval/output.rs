//! How an evaluation is shown, and the file of predictions.

use kadapter_host::Error;
use kadapter_host::data::{Counts, Gold, Labelled};
use kadapter_host::evaluate::{Evaluation, Probed};
use kadapter_host::metric::{Report, Row};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Labels beyond this many are not shown in a table; JSON has all.
const MOST_ROWS: usize = 64;

/// A file of predictions that appears whole or not at all.
pub(super) struct Predictions {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

/// A prediction as it is printed: numbers as `kadapter run` prints them, so that both can be compared.
#[derive(Serialize)]
struct Line<'a, A> {
    file: String,
    line: u64,
    record: u64,
    gold: Value,
    answer: &'a A,
}

impl Predictions {
    /// Begins the file beside its place.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let io = |source| Error::Io { action: "write", path: path.to_owned(), source };
        let file = tempfile::Builder::new().prefix(".predictions-").tempfile_in(folder).map_err(io)?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Writes a record's place, its gold answer and the answer.
    pub(super) fn write(&mut self, labelled: &Labelled, answer: &impl Serialize) -> Result<(), Error> {
        let line = Line {
            file: labelled.at.path.display().to_string(),
            line: labelled.at.line,
            record: labelled.at.record,
            gold: gold(&labelled.gold),
            answer,
        };
        writeln!(self.file, "{}", crate::cli::report::json(&line)).map_err(|source| self.failed(source))
    }

    /// Puts the file in its place.
    pub(super) fn finish(self) -> Result<(), Error> {
        let path = self.path.clone();
        let io = |source| Error::Io { action: "write", path: path.clone(), source };
        let file = self.file.into_inner().map_err(|error| io(error.into_error()))?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(&path).map_err(|error| io(error.error))?;
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Io { action: "write", path: self.path.clone(), source }
    }
}

fn gold(gold: &Gold) -> Value {
    match gold {
        Gold::Label(label) => json!(label),
        Gold::Labels(labels) => json!(labels),
        Gold::Choice(index) => json!(index),
        Gold::Spans(spans) => spans.iter().map(|span| span.text.as_str()).collect(),
        Gold::Heads { heads, .. } => json!(heads),
        Gold::Filler(word) => json!(word),
    }
}

/// Prints the scores of a task and what became of every record.
pub(super) fn print_evaluation(task: &str, files: &[PathBuf], evaluation: &Evaluation, as_json: bool) {
    let Evaluation { report, counts, tally } = evaluation;
    if as_json {
        let mut value = counted(files, counts);
        let scores: serde_json::Map<String, Value> =
            report.scores.iter().map(|score| (score.name.replace(' ', "_"), json!(score.value))).collect();
        value["task"] = json!(task);
        value["metric"] = json!(report.metric);
        value["scores"] = Value::Object(scores);
        value["labels"] = json!(report.rows);
        value["scored"] = json!(tally.scored);
        value["cut"] = json!(tally.cut);
        value["skipped"] = json!(tally.skipped);
        value["refused"] = json!(tally.refused);
        value["first_refused"] = json!(tally.first_refused);
        println!("{value}");
        return;
    }
    println!("{task}: {} answers, metric `{}`", report.examples, report.metric);
    for score in &report.scores {
        println!("  {:<18} {:>7.2} %", score.name, 100.0 * score.value);
    }
    rows(report);
    let mut notes = vec![
        (tally.cut, "scored, but cut to the task's length".to_owned()),
        (tally.skipped, "left out as in the official code".to_owned()),
        (tally.refused, format!("refused by the task, the first: {}", first(tally.first_refused.as_deref()))),
    ];
    notes.extend(notes_of(counts));
    note(&notes);
}

/// Prints the score of a probe and what became of every record.
pub(super) fn print_probe(backbone: &str, files: &[PathBuf], probed: &Probed, as_json: bool) {
    let probe = &probed.probe;
    if as_json {
        let mut value = counted(files, &probed.counts);
        let relation = |(name, examples, precision): (&str, u64, f64)| json!({ "relation": name, "examples": examples, "precision_at_1": precision });
        value["backbone"] = json!(backbone);
        value["metric"] = json!("lama");
        value["words"] = json!(probed.words);
        value["scores"] = json!({
            "precision_at_1_over_relations": probe.macro_average(),
            "precision_at_1": probe.micro_average(),
        });
        value["relations"] = probe.relations().map(relation).collect();
        value["scored"] = json!(probe.examples());
        value["outside_vocabulary"] = json!(probed.outside);
        value["refused"] = json!(probed.refused);
        value["first_refused"] = json!(probed.first_refused);
        println!("{value}");
        return;
    }
    println!("{backbone}: {} hidden words, each one of {}", probe.examples(), probed.words);
    println!("  {:<18} {:>7.2} %  (mean of the relations)", "precision at 1", 100.0 * probe.macro_average());
    println!("  {:<18} {:>7.2} %  (of all records)", "", 100.0 * probe.micro_average());
    for (name, examples, precision) in probe.relations() {
        println!("    {name:<36} {examples:>6} {:>7.2} %", 100.0 * precision);
    }
    let mut notes = vec![
        (probed.outside, "left out: the answer is not one of the words".to_owned()),
        (probed.refused, format!("refused, the first: {}", first(probed.first_refused.as_deref()))),
    ];
    notes.extend(notes_of(&probed.counts));
    note(&notes);
}

fn counted(files: &[PathBuf], counts: &Counts) -> Value {
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let left_out: serde_json::Map<String, Value> =
        counts.left_out.iter().map(|(reason, count)| (reason.to_string(), json!(count))).collect();
    json!({
        "data": files,
        "read": counts.read,
        "left_out": left_out,
        "bad": counts.bad,
        "first_bad": counts.first_bad,
    })
}

fn rows(report: &Report) {
    let longest = report.rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
    if report.rows.is_empty() {
        return;
    }
    println!("  {:<longest$} {:>6} {:>7} {:>7} {:>7}", "label", "gold", "P", "R", "F1");
    let mut shown: Vec<&Row> = report.rows.iter().collect();
    shown.sort_by(|a, b| b.gold.cmp(&a.gold).then_with(|| a.label.cmp(&b.label)));
    for Row { label, gold, score } in shown.into_iter().take(MOST_ROWS) {
        let [precision, recall, f1] = [score.precision, score.recall, score.f1].map(|share| 100.0 * share);
        println!("  {label:<longest$} {gold:>6} {precision:>7.2} {recall:>7.2} {f1:>7.2}");
    }
    if report.rows.len() > MOST_ROWS {
        println!("  and {} more labels, see `--json`", report.rows.len() - MOST_ROWS);
    }
}

fn notes_of(counts: &Counts) -> Vec<(u64, String)> {
    let mut notes: Vec<_> =
        counts.left_out.iter().map(|(reason, count)| (*count, format!("left out: {reason}"))).collect();
    notes.push((counts.bad, format!("could not be read, the first: {}", first(counts.first_bad.as_deref()))));
    notes
}

fn note(notes: &[(u64, String)]) {
    for (count, what) in notes.iter().filter(|(count, _)| *count > 0) {
        let records = if *count == 1 { "record" } else { "records" };
        println!("  {count} {records} {what}");
    }
}

fn first(sentence: Option<&str>) -> &str {
    sentence.unwrap_or("unknown")
}
