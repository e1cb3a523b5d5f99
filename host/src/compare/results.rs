//! What is finished: one line per run, kept by a digest of all that went into it, so that an interrupted comparison goes on.

use crate::train::task::Target;
use kadapter_registry::Digest;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// One finished run: a task, a condition, a share of the training data, a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// The digest of all that went into it.
    pub key: Digest,
    /// The task's name.
    pub task: String,
    /// The condition's name.
    pub condition: String,
    /// The share of the training data.
    pub fraction: f64,
    /// The seed.
    pub seed: u64,
    /// Numbers that were trained.
    pub parameters: usize,
    /// Records that were trained on.
    pub records: usize,
    /// The development score that chose the head, the mean over rounds; none without development data.
    pub dev: Option<f64>,
    /// The test score.
    pub test: f64,
    /// What the settings' grid chose, per round, as JSON.
    pub chosen: Vec<serde_json::Value>,
    /// Seconds that it took.
    pub seconds: f64,
    /// What was answered to the test records, in their order.
    pub answers: Answers,
}

/// Answers, as short as they can be written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answers {
    /// See [`Target::Class`].
    Class(Vec<u32>),
    /// See [`Target::Classes`].
    Classes(Vec<Vec<u32>>),
    /// See [`Target::Unit`].
    Unit(Vec<u32>),
    /// See [`Target::Span`].
    Span(Vec<[u32; 2]>),
}

/// The results file.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    file: File,
    known: HashMap<Digest, RunResult>,
    /// Bytes of whole lines.
    whole: u64,
}

/// A results file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum ResultsError {
    #[error("Could not {action} the results `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("another comparison is writing the results `{}`", path.display())]
    InUse { path: PathBuf },
    #[error("line {line} of the results `{}` is none", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        #[source]
        source: serde_json::Error,
    },
}

impl ResultsError {
    /// What to type next.
    pub fn hint(&self) -> String {
        match self {
            Self::InUse { .. } => "wait for it, or choose another place: `--results FILE`".to_owned(),
            Self::Io { .. } => "choose a place that you may write to: `--results FILE`".to_owned(),
            Self::Line { path, .. } => format!("take the line out, or begin anew: `rm {}`", path.display()),
        }
    }
}

impl Results {
    /// Opens the results file, or makes it. A last line that was cut off by a crash is taken away.
    ///
    /// # Errors
    /// When it cannot be read or written, or a line of it is no result.
    pub fn open(path: &Path) -> Result<Self, ResultsError> {
        let refuse = |action| move |source| ResultsError::Io { action, path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(refuse("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ResultsError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(refuse("lock")(source)),
        }
        let mut known = HashMap::new();
        let (mut whole, mut reader, mut line) = (0_u64, BufReader::new(&file), Vec::new());
        for number in 1.. {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).map_err(refuse("read"))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let result: RunResult = serde_json::from_slice(&line).map_err(|source| ResultsError::Line {
                path: path.to_owned(),
                line: number,
                source,
            })?;
            known.insert(result.key, result);
            whole += length as u64;
        }
        file.set_len(whole).map_err(refuse("repair"))?;
        let mut results = Self { path: path.to_owned(), file, known, whole };
        results.file.seek(SeekFrom::Start(whole)).map_err(refuse("open"))?;
        Ok(results)
    }

    /// The result under a key.
    #[must_use]
    pub fn get(&self, key: &Digest) -> Option<&RunResult> {
        self.known.get(key)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Adds a result; it is on disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, result: RunResult) -> Result<(), ResultsError> {
        let refuse = |source| ResultsError::Io { action: "write", path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&result).map_err(|error| refuse(error.into()))?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // What comes next does not go behind a torn line.
            let _ = self.file.set_len(self.whole).and_then(|()| self.file.seek(SeekFrom::Start(self.whole)));
            return Err(refuse(error));
        }
        self.whole += line.len() as u64;
        self.known.insert(result.key, result);
        Ok(())
    }
}

impl Answers {
    /// Answers of one kind; `None` when they are of several.
    #[must_use]
    pub fn of(targets: &[Target]) -> Option<Self> {
        Some(match targets.first()? {
            Target::Class(_) => Self::Class(each(targets, |target| match target {
                Target::Class(class) => Some(*class),
                _ => None,
            })?),
            Target::Classes(_) => Self::Classes(each(targets, |target| match target {
                Target::Classes(classes) => Some(classes.clone()),
                _ => None,
            })?),
            Target::Unit(_) => Self::Unit(each(targets, |target| match target {
                Target::Unit(unit) => Some(*unit),
                _ => None,
            })?),
            Target::Span(..) => Self::Span(each(targets, |target| match target {
                Target::Span(first, last) => Some([*first, *last]),
                _ => None,
            })?),
            // What is right, not an answer.
            Target::Spans(_) => return None,
        })
    }

    /// The answers as targets.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        match self {
            Self::Class(classes) => classes.iter().copied().map(Target::Class).collect(),
            Self::Classes(classes) => classes.iter().cloned().map(Target::Classes).collect(),
            Self::Unit(units) => units.iter().copied().map(Target::Unit).collect(),
            Self::Span(spans) => spans.iter().map(|[first, last]| Target::Span(*first, *last)).collect(),
        }
    }
}

fn each<T>(targets: &[Target], take: impl Fn(&Target) -> Option<T>) -> Option<Vec<T>> {
    targets.iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(seed: u64) -> RunResult {
        RunResult {
            key: Digest::of(&seed.to_le_bytes()),
            task: "t".to_owned(),
            condition: "c".to_owned(),
            fraction: 0.1,
            seed,
            parameters: 3,
            records: 5,
            dev: Some(0.25),
            test: 1.0 / 3.0,
            chosen: vec![serde_json::json!({ "dropout": 0.1 })],
            seconds: 0.5,
            answers: Answers::Classes(vec![vec![], vec![1, 2]]),
        }
    }

    #[test]
    fn results_are_found_again_and_a_torn_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let mut results = Results::open(&path).unwrap();
        assert!(results.is_empty());
        results.add(result(1)).unwrap();
        results.add(result(2)).unwrap();
        drop(results);
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for cut in first..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut results = Results::open(&path).unwrap();
            assert_eq!(results.len(), 1, "cut at {cut}");
            assert_eq!(results.get(&result(1).key), Some(&result(1)));
            results.add(result(2)).unwrap();
            drop(results);
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn two_comparisons_do_not_write_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let mut first = Results::open(&path).unwrap();
        assert!(matches!(Results::open(&path), Err(ResultsError::InUse { .. })));
        first.add(result(1)).unwrap();
        drop(first);
        assert_eq!(Results::open(&path).unwrap().len(), 1);
    }

    #[test]
    fn a_line_that_is_no_result_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        Results::open(&path).unwrap().add(result(1)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"{\"key\": 1}\n");
        std::fs::write(&path, &bytes).unwrap();
        let error = Results::open(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("line 2 of the results `{}` is none", path.display()));
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing is lost");
    }

    #[test]
    fn answers_of_every_kind_are_read_back() {
        let kinds = [
            vec![Target::Class(3), Target::Class(0)],
            vec![Target::Classes(vec![]), Target::Classes(vec![1, 4])],
            vec![Target::Unit(2)],
            vec![Target::Span(1, 5)],
        ];
        for targets in kinds {
            assert_eq!(Answers::of(&targets).unwrap().targets(), targets);
        }
        assert_eq!(Answers::of(&[Target::Class(0), Target::Unit(0)]), None);
    }
}
