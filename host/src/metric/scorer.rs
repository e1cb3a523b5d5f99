//! Metrics by name, and answers of tasks into them.

use super::{Confusion, PublishedFiger, Report, Row, Score, Sets, Spans, ratio, semeval};
use crate::data::Gold;
use crate::task::{Answer, Kind};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use thiserror::Error as ThisError;

/// The label that TACRED does not count.
const NO_RELATION: &str = "no_relation";
/// Mentions in a batch of the paper's FIGER evaluation, where nothing else is said.
const FIGER_BATCH: NonZeroUsize = NonZeroUsize::new(8).unwrap();

const MICRO: [&str; 3] = ["micro F1", "micro precision", "micro recall"];
const MACRO: [&str; 3] = ["macro F1", "macro precision", "macro recall"];

/// How answers are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The share of right answers, with macro F1 where answers are labels.
    Accuracy,
    /// TACRED's micro scores without `no_relation`.
    Tacred,
    /// SemEval-2010 task 8's macro scores.
    Semeval,
    /// OpenEntity: loose micro and macro scores.
    OpenEntity,
    /// FIGER: strict accuracy, loose macro and micro scores, each example counted once.
    Figer,
    /// FIGER as the paper's code counts it.
    FigerPublished,
    /// Exact match and F1 of spans.
    Squad,
}

/// Why answers cannot be scored.
#[derive(Debug, ThisError)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum Error {
    #[error("no metric is named `{found}`, expected one of {}", names(&Metric::ALL))]
    Unknown { found: String },
    #[error("metric `{metric}` does not fit a task of kind `{kind}`, expected {}", names(known))]
    Kind { metric: Metric, kind: Kind, known: Vec<Metric> },
    #[error("a task of kind `{kind}` has no metric: its answers are features")]
    NoMetric { kind: Kind },
    #[error("metric `{metric}` needs {needed}, which is none of the task's labels")]
    Labels { metric: Metric, needed: &'static str },
    #[error("the gold answer is {gold}, and the task's answer is {answer}")]
    Mismatch { gold: &'static str, answer: &'static str },
    #[error("found {found}, expected {expected} for a task of kind `{kind}`")]
    Gold { found: &'static str, expected: &'static str, kind: Kind },
    #[error("label `{label}` is none of the task's labels")]
    Label { label: String },
}

impl Error {
    /// What to type next, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { .. } => "leave `--metric` out for the one that the task's benchmark uses".into(),
            Self::Kind { known, .. } => match known.first() {
                Some(metric) => format!("`--metric {metric}`, or leave it out"),
                None => return None,
            },
            Self::NoMetric { .. } => "evaluate a task with a head: see `kadapter tree`".into(),
            Self::Labels { .. } => "use `--metric accuracy`".into(),
            Self::Mismatch { .. } | Self::Gold { .. } => {
                "name the format of the data with `--format`, or evaluate another task".into()
            }
            Self::Label { .. } => "compare the labels with `kadapter info NS/NAME`".into(),
        })
    }
}

fn names(metrics: &[Metric]) -> String {
    let names: Vec<_> = metrics.iter().map(|metric| format!("`{metric}`")).collect();
    names.join(", ")
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 7] =
        [Self::Accuracy, Self::Tacred, Self::Semeval, Self::OpenEntity, Self::Figer, Self::FigerPublished, Self::Squad];

    /// The word for it in `--metric`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Tacred => "tacred",
            Self::Semeval => "semeval",
            Self::OpenEntity => "openentity",
            Self::Figer => "figer",
            Self::FigerPublished => "figer-published",
            Self::Squad => "squad",
        }
    }

    /// The metrics that fit a kind of task.
    pub fn of_kind(kind: Kind) -> Vec<Self> {
        match kind {
            Kind::RelationClassification => vec![Self::Accuracy, Self::Tacred, Self::Semeval],
            Kind::EntityTyping => vec![Self::OpenEntity, Self::Figer, Self::FigerPublished],
            Kind::MultipleChoice | Kind::SequenceClassification => vec![Self::Accuracy],
            Kind::Span => vec![Self::Squad],
            Kind::Features => Vec::new(),
        }
    }

    /// The metric of the benchmark that a task's kind and labels speak of.
    pub fn usual(kind: Kind, labels: &[String]) -> Option<Self> {
        match kind {
            Kind::RelationClassification if semeval::are_labels(labels) => Some(Self::Semeval),
            Kind::RelationClassification if labels.iter().any(|label| label == NO_RELATION) => Some(Self::Tacred),
            _ => Self::of_kind(kind).first().copied(),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|metric| metric.as_str() == text);
        found.ok_or_else(|| Error::Unknown { found: text.to_owned() })
    }
}

/// Takes answers and their gold answers, one by one, and scores them.
#[derive(Debug, Clone)]
pub struct Scorer {
    metric: Metric,
    labels: Vec<String>,
    places: HashMap<String, usize>,
    counted: Counted,
}

#[derive(Debug, Clone)]
enum Counted {
    /// One label each, or right and wrong.
    One(Confusion),
    /// Whether the right answer was chosen: right, all.
    Choices(u64, u64),
    Sets(Sets),
    Published(PublishedFiger<usize>),
    Spans(Spans),
}

impl Scorer {
    /// A scorer for a task of a kind with these labels, with its usual metric or another. `figer_batch` is the batch size that
    /// [`Metric::FigerPublished`] depends on; the paper's scripts' default where it is left out.
    ///
    /// # Errors
    ///
    /// When the metric does not fit the kind or the labels.
    pub fn new(
        kind: Kind,
        labels: &[String],
        metric: Option<Metric>,
        figer_batch: Option<NonZeroUsize>,
    ) -> Result<Self, Error> {
        let metric = match metric.or_else(|| Metric::usual(kind, labels)) {
            Some(metric) if Metric::of_kind(kind).contains(&metric) => metric,
            Some(metric) if kind != Kind::Features => {
                return Err(Error::Kind { metric, kind, known: Metric::of_kind(kind) });
            }
            _ => return Err(Error::NoMetric { kind }),
        };
        let has = |name: &str| labels.iter().any(|label| label == name);
        match metric {
            Metric::Tacred if !has(NO_RELATION) => return Err(Error::Labels { metric, needed: "`no_relation`" }),
            Metric::Semeval if !semeval::are_labels(labels) => {
                return Err(Error::Labels { metric, needed: "`Other` and relations with `(e1,e2)` or `(e2,e1)`" });
            }
            _ => {}
        }
        let counted = match metric {
            Metric::Accuracy if kind == Kind::MultipleChoice => Counted::Choices(0, 0),
            Metric::Accuracy | Metric::Tacred | Metric::Semeval => Counted::One(Confusion::new(labels.len())),
            Metric::OpenEntity | Metric::Figer => Counted::Sets(Sets::default()),
            Metric::FigerPublished => Counted::Published(PublishedFiger::new(figer_batch.unwrap_or(FIGER_BATCH))),
            Metric::Squad => Counted::Spans(Spans::default()),
        };
        let places = labels.iter().cloned().zip(0..).collect();
        Ok(Self { metric, labels: labels.to_vec(), places, counted })
    }

    /// The metric.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    fn place(&self, label: &str) -> Result<usize, Error> {
        self.places.get(label).copied().ok_or_else(|| Error::Label { label: label.to_owned() })
    }

    fn places(&self, labels: &[String]) -> Result<BTreeSet<usize>, Error> {
        labels.iter().map(|label| self.place(label)).collect()
    }

    /// Counts an answer.
    ///
    /// # Errors
    ///
    /// When gold answer and answer are not of one kind, or a label is not one of the task's.
    pub fn add(&mut self, gold: &Gold, answer: &Answer) -> Result<(), Error> {
        let mismatch = || Error::Mismatch { gold: name_of_gold(gold), answer: name_of_answer(answer) };
        match (gold, answer) {
            (Gold::Label(gold), Answer::Relation(_) | Answer::Sequence(_)) => {
                let predicted = match answer {
                    Answer::Relation(answer) => &answer.label,
                    Answer::Sequence(answer) => &answer.label,
                    _ => return Err(mismatch()),
                };
                let (gold, predicted) = (self.place(gold)?, self.place(predicted)?);
                match &mut self.counted {
                    Counted::One(confusion) => drop(confusion.add(gold, predicted)),
                    _ => return Err(mismatch()),
                }
            }
            (Gold::Labels(gold), Answer::Typing(answer)) => {
                let (gold, predicted) = (self.places(gold)?, self.places(&answer.labels)?);
                match &mut self.counted {
                    Counted::Sets(sets) => sets.add(&gold, &predicted),
                    Counted::Published(published) => published.add(gold, predicted),
                    _ => return Err(mismatch()),
                }
            }
            (Gold::Choice(gold), Answer::Choice(answer)) => match &mut self.counted {
                Counted::Choices(right, all) => {
                    *right += u64::from(answer.answer == *gold);
                    *all += 1;
                }
                _ => return Err(mismatch()),
            },
            (Gold::Spans(golds), Answer::Span(answer)) => match &mut self.counted {
                Counted::Spans(spans) => spans.add(golds.iter().map(|gold| gold.text.as_str()), &answer.text),
                _ => return Err(mismatch()),
            },
            _ => return Err(mismatch()),
        }
        Ok(())
    }

    /// The scores until now.
    pub fn report(&self) -> Report {
        let (examples, scores, rows) = match &self.counted {
            Counted::One(confusion) => (confusion.total(), self.label_scores(confusion), self.rows(confusion)),
            Counted::Choices(right, all) => (*all, vec![Score::new("accuracy", ratio(*right, *all))], Vec::new()),
            Counted::Sets(sets) if self.metric == Metric::Figer => {
                (sets.examples(), figer_scores(sets.strict_accuracy(), sets), Vec::new())
            }
            Counted::Sets(sets) => {
                let mut scores = Score::triple(MICRO, sets.micro()).to_vec();
                scores.extend(Score::triple(MACRO, sets.macro_average()));
                scores.push(Score::new("strict accuracy", sets.strict_accuracy()));
                (sets.examples(), scores, Vec::new())
            }
            Counted::Published(published) => {
                let (strict, sets) = published.scores();
                (published.examples(), figer_scores(strict, &sets), Vec::new())
            }
            Counted::Spans(spans) => {
                let scores = [Score::new("exact match", spans.exact_match()), Score::new("F1", spans.f1())];
                (spans.questions(), scores.to_vec(), Vec::new())
            }
        };
        Report { metric: self.metric.as_str(), examples, scores, rows }
    }

    fn label_scores(&self, confusion: &Confusion) -> Vec<Score> {
        let accuracy = Score::new("accuracy", confusion.accuracy());
        let mut scores = match self.metric {
            Metric::Tacred => {
                let no_relation = self.places.get(NO_RELATION).copied().unwrap_or(usize::MAX);
                Score::triple(MICRO, confusion.tacred(no_relation)).to_vec()
            }
            Metric::Semeval => Score::triple(MACRO, semeval::official(confusion, &self.labels).macro_average).to_vec(),
            _ => return vec![accuracy, Score::new("macro F1", confusion.macro_f1())],
        };
        scores.push(accuracy);
        scores
    }

    fn rows(&self, confusion: &Confusion) -> Vec<Row> {
        if self.metric == Metric::Semeval {
            let row = |relation: semeval::Relation<'_>| Row {
                label: relation.name.to_owned(),
                gold: relation.gold,
                score: relation.score,
            };
            return semeval::official(confusion, &self.labels).relations.into_iter().map(row).collect();
        }
        let occurs = |&(label, _): &(usize, &String)| confusion.gold(label) + confusion.predicted(label) > 0;
        let row = |(label, name): (usize, &String)| Row {
            label: name.clone(),
            gold: confusion.gold(label),
            score: confusion.of(label),
        };
        self.labels.iter().enumerate().filter(occurs).map(row).collect()
    }
}

/// FIGER's three scores in the order in which papers print them.
fn figer_scores(strict: f64, sets: &Sets) -> Vec<Score> {
    let mut scores = vec![Score::new("strict accuracy", strict)];
    scores.extend(Score::triple(MACRO, sets.macro_average()));
    scores.extend(Score::triple(MICRO, sets.micro()));
    scores
}

/// Checks that a gold answer is one to a task of a kind.
///
/// # Errors
///
/// When it is of another kind.
pub fn check_gold(kind: Kind, gold: &Gold) -> Result<(), Error> {
    let (fits, expected) = match kind {
        Kind::RelationClassification | Kind::SequenceClassification => (matches!(gold, Gold::Label(_)), "a label"),
        Kind::EntityTyping => (matches!(gold, Gold::Labels(_)), "a list of labels"),
        Kind::MultipleChoice => (matches!(gold, Gold::Choice(_)), "the index of an answer"),
        Kind::Span => (matches!(gold, Gold::Spans(_)), "a list of answers"),
        Kind::Features => (false, "none"),
    };
    if fits { Ok(()) } else { Err(Error::Gold { found: name_of_gold(gold), expected, kind }) }
}

fn name_of_gold(gold: &Gold) -> &'static str {
    match gold {
        Gold::Label(_) => "a label",
        Gold::Labels(_) => "a list of labels",
        Gold::Choice(_) => "the index of an answer",
        Gold::Spans(_) => "a list of answers",
        Gold::Heads { .. } => "a dependency tree",
        Gold::Filler(_) => "a word for `[MASK]`",
    }
}

fn name_of_answer(answer: &Answer) -> &'static str {
    match answer {
        Answer::Relation(_) | Answer::Sequence(_) => "a label",
        Answer::Typing(_) => "a list of labels",
        Answer::Choice(_) => "the index of an answer",
        Answer::Span(_) => "a stretch of the context",
        Answer::Features(_) => "features",
    }
}
