//! Why a head cannot be trained, with what to type next.

use crate::data::Place;
use crate::task::Kind;
use crate::{data, task};
use kadapter_registry::package::Fusion;
use std::path::PathBuf;

/// An error of the training of tasks.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum Error {
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error("{at}: Could not encode the record")]
    Encode {
        at: Place,
        #[source]
        source: Box<task::Error>,
    },
    #[error("{at}: label `{label}` is not among the task's {} labels", known.len())]
    LabelUnknown { at: Place, label: String, known: Vec<String> },
    #[error("{at}: the mention has {found} labels, expected one, since labels exclude one another")]
    NotOneLabel { at: Place, found: usize },
    #[error("{at}: answer {answer} is right, expected one of {answers} answers, counted from 0")]
    AnswerOutside { at: Place, answer: usize, answers: usize },
    #[error("{at}: answer `{answer}` does not stand at character {start} of the context, where `answer_start` says")]
    AnswerElsewhere { at: Place, answer: String, start: usize },
    #[error("{at}: the gold answer is {found}, which tasks of kind `{kind}` do not learn from")]
    OtherGold { at: Place, kind: Kind, found: &'static str },
    #[error("{what} has no record, expected at least one")]
    NoRecords { what: String },
    #[error("tasks of kind `{kind}` have no head to train")]
    NoHead { kind: Kind },
    #[error("features of `{feature}` are needed, but were not extracted")]
    NoFeatures { feature: String },
    #[error("setting `{name}` is {found}, expected {expected}")]
    Setting { name: &'static str, found: String, expected: &'static str },
    #[error("fusion `{fusion}` reads no hidden state but the last, but taps {taps:?} were given")]
    UnreadTaps { fusion: Fusion, taps: Vec<usize> },
    #[error(
        "the loss is {loss} at step {step} (epoch {epoch}), before any head was good enough to keep; its batch has {records}"
    )]
    Diverged { loss: f32, step: u64, epoch: usize, records: String },
    #[error("Could not compute")]
    Compute {
        #[source]
        source: kadapter_plugin_api::Error,
    },
    #[error("Could not {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("metric `{metric}` does not judge tasks of kind `{kind}`, expected {expected}")]
    OtherMetric { metric: String, kind: Kind, expected: &'static str },
    #[error("label `{label}`, which metric `{metric}` leaves out, is not among the task's labels")]
    IgnoredLabel { metric: String, label: String },
    #[error(transparent)]
    Host(Box<crate::Error>),
}

impl From<kadapter_plugin_api::Error> for Error {
    fn from(source: kadapter_plugin_api::Error) -> Self {
        Self::Compute { source }
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Host(Box::new(error))
    }
}

impl Error {
    /// What to type next, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Data(error) => return error.hint(),
            Self::Host(error) => return error.hint(),
            Self::Encode { source, .. } => {
                return source.hint().or_else(|| Some("leave such records out with `skip_bad = true`".into()));
            }
            Self::LabelUnknown { known, .. } => {
                format!(
                    "the labels are {}; leave `labels` out of the recipe to take those of the training data",
                    crate::error::list(known)
                )
            }
            Self::AnswerOutside { .. } => "correct the record; answers are counted from 0".into(),
            Self::AnswerElsewhere { .. } => {
                "count characters, not bytes, or leave `answer_start` out: the first place of the answer is taken then"
                    .into()
            }
            Self::NotOneLabel { .. } => "leave `exclusive` out of the task's options".into(),
            Self::OtherGold { .. } => "choose another `kind`, or another `format` of the data".into(),
            Self::NoRecords { .. } => "name a file that has records, or hold out another share".into(),
            Self::NoHead { .. } => "choose a kind with a head, such as `relation-classification`".into(),
            Self::NoFeatures { .. } => "name every adapter that a stack uses in `[adapters]`".into(),
            Self::Setting { name, .. } => format!("set `{name}` in the recipe"),
            Self::UnreadTaps { .. } => "leave `taps` out, or use `fusion = \"gated\"`".into(),
            Self::Diverged { .. } => "use a smaller `learning_rate`, or a longer `warmup`".into(),
            Self::Compute { .. } => "use a smaller `batch`".into(),
            Self::OtherMetric { expected, .. } => format!("use `metric = {expected}`, or leave it out"),
            Self::IgnoredLabel { .. } => "correct `no_relation`, or leave it out".into(),
            Self::Io { .. } => return None,
        })
    }
}
