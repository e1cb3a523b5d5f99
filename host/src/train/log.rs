//! The log of a training run: one JSON object a line, for each step and each evaluation.
//!
//! ```text
//! {"event":"step","step":1,"epoch":0.01,"loss":2.31,"learning_rate":1e-6,"gradient_norm":4.2,"tokens_per_second":5210.0}
//! {"event":"evaluation","step":100,"epoch":1.0,"split":"dev","metrics":{"accuracy":0.61}}
//! ```
//!
//! A run that goes on from a checkpoint first cuts the log to the checkpoint's step, so that it ends as the log of a run that was
//! never interrupted, but for `tokens_per_second`. So everything that belongs to a step is written before the checkpoint of that step.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Entry {
    /// A step of the optimiser.
    Step(StepEntry),
    /// Metrics on held-out data.
    Evaluation(EvaluationEntry),
}

/// What happened in a step. Numbers that are not finite are written as `null` and read as NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEntry {
    /// Updates of the parameters so far, this one included.
    pub step: u64,
    /// Passes over the data so far, with their fraction.
    #[serde(deserialize_with = "number")]
    pub epoch: f64,
    /// Mean loss over the records of the step.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// The rate with which this step was made.
    #[serde(deserialize_with = "number")]
    pub learning_rate: f64,
    /// Euclidean norm of all gradients before they were clipped.
    #[serde(deserialize_with = "number")]
    pub gradient_norm: f64,
    /// Tokens that went through the adapter in a second of updates, evaluations and checkpoints left out: the one number that differs
    /// between runs.
    #[serde(deserialize_with = "number")]
    pub tokens_per_second: f64,
    /// What else the objective says of its batch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "numbers")]
    pub metrics: BTreeMap<String, f64>,
}

/// Metrics on held-out data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationEntry {
    /// Updates of the parameters so far.
    pub step: u64,
    /// Passes over the data so far, with their fraction.
    #[serde(deserialize_with = "number")]
    pub epoch: f64,
    /// Which data: `dev`, `test`.
    pub split: String,
    /// The metrics by name.
    #[serde(deserialize_with = "numbers")]
    pub metrics: BTreeMap<String, f64>,
}

impl Entry {
    /// The step to which the entry belongs.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step(entry) => entry.step,
            Self::Evaluation(entry) => entry.step,
        }
    }
}

/// `null` stands for what JSON has no number for.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let values = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum LogError {
    #[error("Could not {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("Could not read line {line} of `{}` as an entry of a training log", path.display())]
    Line {
        path: PathBuf,
        line: u64,
        #[source]
        source: serde_json::Error,
    },
}

impl LogError {
    /// What to type next.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } => "choose a directory that you may write to, with room".to_owned(),
            Self::Line { path, .. } => {
                format!("move it away and start again: `mv {} {}.old`", path.display(), path.display())
            }
        }
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The file, open at its end.
#[derive(Debug)]
pub struct TrainingLog {
    file: File,
    path: PathBuf,
}

impl TrainingLog {
    /// Starts a log; one that was there is emptied.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn create(path: &Path) -> Result<Self, LogError> {
        let file = File::create(path).map_err(LogError::io("make", path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Goes on with a log after the checkpoint of `step`: from the first line of a later step on, or that was not written to its end,
    /// everything is cut off. Where there is no log, a new one is started.
    ///
    /// # Errors
    /// [`LogError::Io`], and [`LogError::Line`] for a whole line that is not an entry; the file is then left as it is.
    pub fn resume(path: &Path, step: u64) -> Result<Self, LogError> {
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::create(path),
            file => file.map_err(LogError::io("open", path))?,
        };
        let mut keep = 0;
        for entry in Entries::new(&file, path) {
            let (entry, end) = entry?;
            if entry.step() > step {
                break;
            }
            keep = end;
        }
        file.set_len(keep).map_err(LogError::io("cut", path))?;
        file.seek(SeekFrom::End(0)).map_err(LogError::io("write", path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Reads a log. A last line that was not written to its end is passed over.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn read(path: &Path) -> Result<Vec<Entry>, LogError> {
        let file = File::open(path).map_err(LogError::io("open", path))?;
        Entries::new(&file, path).map(|entry| Ok(entry?.0)).collect()
    }

    /// Writes one line, which is with the operating system when this returns.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn write(&mut self, entry: &Entry) -> Result<(), LogError> {
        let mut line = serde_json::to_string(entry)
            .map_err(|error| LogError::io("write", &self.path)(std::io::Error::other(error)))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(LogError::io("write", &self.path))
    }
}

/// Entries of a log, and where each ends.
struct Entries<'a> {
    reader: BufReader<&'a File>,
    path: &'a Path,
    line: u64,
    end: u64,
    bytes: Vec<u8>,
}

impl<'a> Entries<'a> {
    fn new(file: &'a File, path: &'a Path) -> Self {
        Self { reader: BufReader::new(file), path, line: 0, end: 0, bytes: Vec::new() }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(Entry, u64), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.bytes.clear();
        self.line += 1;
        match self.reader.read_until(b'\n', &mut self.bytes) {
            Err(error) => Some(Err(LogError::io("read", self.path)(error))),
            Ok(_) if self.bytes.last() != Some(&b'\n') => None,
            Ok(count) => {
                self.end += count as u64;
                let entry = serde_json::from_slice(&self.bytes);
                let refuse = |source| LogError::Line { path: self.path.to_owned(), line: self.line, source };
                Some(entry.map(|entry| (entry, self.end)).map_err(refuse))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, EvaluationEntry, LogError, StepEntry, TrainingLog};
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::Write;

    fn step(step: u64, loss: f64) -> Entry {
        let metrics = BTreeMap::new();
        let (epoch, learning_rate, gradient_norm) = (step as f64 / 8.0, 1e-6 * step as f64, 0.5);
        Entry::Step(StepEntry { step, epoch, loss, learning_rate, gradient_norm, tokens_per_second: 5000.5, metrics })
    }

    fn evaluation(step: u64, accuracy: f64) -> Entry {
        let metrics = BTreeMap::from([("accuracy".to_owned(), accuracy)]);
        Entry::Evaluation(EvaluationEntry { step, epoch: 1.0, split: "dev".to_owned(), metrics })
    }

    /// Three steps, each with an evaluation.
    fn whole(path: &std::path::Path) -> String {
        let mut log = TrainingLog::create(path).unwrap();
        for n in 1..=3 {
            log.write(&step(n, 2.5 / n as f64)).unwrap();
            log.write(&evaluation(n, 0.25 * n as f64)).unwrap();
        }
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_are_json_objects() {
        let folder = tempfile::tempdir().unwrap();
        let text = whole(&folder.path().join("log.jsonl"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"event":"step","step":1,"epoch":0.125,"loss":2.5,"learning_rate":1e-6,"gradient_norm":0.5,"tokens_per_second":5000.5}"#
        );
        assert_eq!(
            lines[5],
            r#"{"event":"evaluation","step":3,"epoch":1.0,"split":"dev","metrics":{"accuracy":0.75}}"#
        );
    }

    #[test]
    fn what_was_interrupted_anywhere_ends_as_what_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let text = whole(&path);
        for cut in 0..=text.len() {
            for checkpoint in 0..=3 {
                // The lines of the checkpoint's step were written before it.
                let least = text.lines().take(checkpoint * 2).map(|line| line.len() + 1).sum::<usize>();
                if cut < least {
                    continue;
                }
                fs::write(&path, &text[..cut]).unwrap();
                let mut log = TrainingLog::resume(&path, checkpoint as u64).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), text[..least], "{cut} {checkpoint}");
                for n in checkpoint as u64 + 1..=3 {
                    log.write(&step(n, 2.5 / n as f64)).unwrap();
                    log.write(&evaluation(n, 0.25 * n as f64)).unwrap();
                }
                assert_eq!(fs::read_to_string(&path).unwrap(), text, "{cut} {checkpoint}");
            }
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let mut log = TrainingLog::resume(&path, 7).unwrap();
        log.write(&step(8, f64::NAN)).unwrap();
        log.write(&evaluation(8, f64::INFINITY)).unwrap();
        log.write(&step(9, 0.1)).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"event":"st"#).unwrap();
        let entries = TrainingLog::read(&path).unwrap();
        assert_eq!(entries.len(), 3);
        assert!(matches!(&entries[0], Entry::Step(entry) if entry.loss.is_nan() && entry.step == 8));
        assert!(matches!(&entries[1], Entry::Evaluation(entry) if entry.metrics["accuracy"].is_nan()));
        assert_eq!(entries[2], step(9, 0.1));
    }

    #[test]
    fn a_line_of_something_else_is_named_and_nothing_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let text = whole(&path).replace("\"loss\":1.25", "\"lost\":1.25");
        fs::write(&path, &text).unwrap();
        let error = TrainingLog::resume(&path, 2).unwrap_err();
        assert!(matches!(&error, LogError::Line { line: 3, .. }), "{error}");
        assert!(error.to_string().starts_with("Could not read line 3 of `"), "{error}");
        assert!(error.hint().contains("mv "));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let error = TrainingLog::create(folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("Could not make `"), "{error}");
    }
}
