//! Tasks scored over labelled data: records in batches through the model, answers into a [`Scorer`].
//!
//! Nothing is dropped without a word: what the reader left out or could not read, what the task refused and what it had to cut is
//! counted in the [`Evaluation`].

mod cloze;
mod error;
mod labels;

pub use cloze::{Cloze, ClozeOptions, Filled, Probed, Vocabulary, Words};
pub use error::Error as EvaluateError;
pub use labels::Difference;

use crate::data::{Counts, Labelled, Source};
use crate::error::Error;
use crate::metric::{Metric, Report, Scorer, check_gold};
use crate::pipeline::{Job, PlannedTask, Runner};
use crate::task::{self, Answer, Record};
use std::num::NonZeroUsize;

/// Records that are answered together: enough for full passes of the backbone, few enough to hold their answers.
const AT_ONCE: usize = 256;

/// What may be chosen about an evaluation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The metric; that of the task's benchmark where none is named.
    pub metric: Option<Metric>,
    /// The batch size that FIGER's published numbers depend on.
    pub figer_batch: Option<NonZeroUsize>,
    /// Whether records that the task refuses are counted and passed over, instead of ending the evaluation.
    pub skip_bad: bool,
    /// The most records that are scored.
    pub limit: Option<u64>,
}

/// How a task did.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The scores.
    pub report: Report,
    /// What became of the records of all files.
    pub counts: Counts,
    /// What became of those that were read.
    pub tally: Tally,
}

/// What became of the records that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records whose answers were scored.
    pub scored: u64,
    /// Those among them that were longer than the task takes and were cut.
    pub cut: u64,
    /// Records that the official code leaves out, and so does the task (`marker_overflow = "skip"`).
    pub skipped: u64,
    /// Records that the task refused.
    pub refused: u64,
    /// Why it refused the first of them, with its place.
    pub first_refused: Option<String>,
}

/// Scores the task at a place of the model's plan over the records of files, which are one data set. `seen` is shown every record
/// with its answer.
///
/// # Errors
///
/// When a file cannot be read, its labels are not the task's, the metric does not fit the task, or the model fails; unless
/// [`Options::skip_bad`], also when a record is refused.
pub fn evaluate(
    runner: &dyn Runner,
    task: usize,
    sources: &[Source],
    options: Options,
    mut seen: impl FnMut(&Labelled, &Answer) -> Result<(), Error>,
) -> Result<Evaluation, Error> {
    let planned = runner.plan().tasks.get(task).ok_or_else(|| Error::UnknownTask {
        found: task.to_string(),
        known: runner.plan().tasks.iter().map(|task| task.name.clone()).collect(),
    })?;
    let mut scorer = Scorer::new(planned.kind(), planned.labels(), options.metric, options.figer_batch)?;
    let (mut counts, mut tally) = (Counts::default(), Tally::default());
    for source in sources {
        let mut records = source.records();
        loop {
            let room =
                options.limit.map_or(u64::MAX, |limit| limit.saturating_sub(counts.read + records.counts().read));
            let batch: Vec<Labelled> = records
                .by_ref()
                .take(AT_ONCE.min(usize::try_from(room).unwrap_or(AT_ONCE)))
                .collect::<Result<_, _>>()?;
            if batch.is_empty() {
                break;
            }
            answer(runner, task, batch, options.skip_bad, &mut scorer, &mut tally, &mut seen)?;
        }
        counts.add(records.counts());
    }
    Ok(Evaluation { report: scorer.report(), counts, tally })
}

/// Answers a batch and scores the answers.
fn answer(
    runner: &dyn Runner,
    task: usize,
    batch: Vec<Labelled>,
    skip_bad: bool,
    scorer: &mut Scorer,
    tally: &mut Tally,
    seen: &mut impl FnMut(&Labelled, &Answer) -> Result<(), Error>,
) -> Result<(), Error> {
    // A record is either the fields, which the task reads, or its gold answer: the fields are lent to the task and taken back.
    let (mut golds, mut records) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for mut labelled in batch {
        records.push(Record::Fields(std::mem::take(&mut labelled.fields)));
        golds.push(labelled);
    }
    let kind = runner.plan().tasks.get(task).map_or(task::Kind::Features, crate::pipeline::PlannedTask::kind);
    let jobs: Vec<_> = records.iter().map(|record| Job { record, task }).collect();
    let answers = runner.answer(&jobs);
    let cut: Vec<bool> = jobs.iter().map(|job| runner.is_cut(job)).collect();
    drop(jobs);
    for (((mut labelled, record), answer), cut) in golds.into_iter().zip(records).zip(answers).zip(cut) {
        if let Record::Fields(fields) = record {
            labelled.fields = fields;
        }
        let fits = check_gold(kind, &labelled.gold);
        if let Err(source) = fits {
            refuse(EvaluateError::Unscorable { at: labelled.at.clone(), source }, skip_bad, tally)?;
            continue;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(Error::Task(error)) if matches!(*error, task::Error::Skipped { .. }) => {
                tally.skipped += 1;
                continue;
            }
            Err(Error::Task(error)) => {
                refuse(EvaluateError::Refused { at: labelled.at.clone(), source: error }, skip_bad, tally)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        scorer
            .add(&labelled.gold, &answer)
            .map_err(|source| EvaluateError::Unscorable { at: labelled.at.clone(), source })?;
        tally.scored += 1;
        tally.cut += u64::from(cut);
        seen(&labelled, &answer)?;
    }
    Ok(())
}

/// Counts a refused record, or ends the evaluation.
fn refuse(error: EvaluateError, skip_bad: bool, tally: &mut Tally) -> Result<(), Error> {
    if !skip_bad {
        return Err(error.into());
    }
    tally.refused += 1;
    tally.first_refused.get_or_insert_with(|| error.sentence());
    Ok(())
}

/// Reads data once and compares its gold answers and labels with what a task answers, so that a mismatch is found before anything
/// is computed.
///
/// # Errors
///
/// When a file cannot be read, a gold answer is not one to the task's kind, or a label is one that the task lacks.
pub fn check(task: &PlannedTask, sources: &[Source]) -> Result<(), Error> {
    let difference = Difference::of(&task.name, task.kind(), task.labels(), sources)?;
    if difference.only_data.is_empty() { Ok(()) } else { Err(EvaluateError::Labels(Box::new(difference)).into()) }
}
