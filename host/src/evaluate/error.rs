//! Why a task cannot be evaluated, with what to type next.

use super::labels::Difference;
use crate::data::Place;
use crate::error::list;
use crate::{metric, task};
use std::path::PathBuf;
use thiserror::Error as ThisError;

/// An error of an evaluation.
#[derive(Debug, ThisError)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum Error {
    #[error("{at}: the task refused the record")]
    Refused {
        at: Place,
        #[source]
        source: Box<task::Error>,
    },
    #[error("{at}: the gold answer does not fit the task")]
    Unscorable {
        at: Place,
        #[source]
        source: metric::Error,
    },
    #[error("{}", labels(.0))]
    Labels(Box<Difference>),
    #[error(
        "backbone `{backbone}` has no head of a masked language model, expected tensors `lm_head.*` among its weights"
    )]
    NoMaskHead { backbone: String },
    #[error("the tokenizer of backbone `{backbone}` has no token for a hidden word, expected `<mask>` or `[MASK]`")]
    NoMaskToken { backbone: String },
    #[error("the vocabulary of backbone `{backbone}` has no whole word, expected words of ASCII letters")]
    NoWords { backbone: String },
    #[error("no word of `{}` is one token of the backbone's vocabulary, expected one word per line", path.display())]
    Vocabulary { path: PathBuf },
    #[error("none of {records} records could be probed: {outside} have an answer outside the vocabulary")]
    NothingProbed { records: u64, outside: u64 },
    #[error("{at}: the sentence has {tokens} tokens, the backbone takes {limit}")]
    ClozeTooLong { at: Place, tokens: usize, limit: usize },
    #[error("{at}: the sentence has {found} hidden words, expected one")]
    ClozeMasks { at: Place, found: usize },
    #[error("{at}: the record has no word for `[MASK]`, expected data of format `lama`")]
    ClozeGold { at: Place },
    #[error("task `{task}` stacks adapters, and filling in words with adapters needs a layer that was trained on them")]
    ClozeStack { task: String },
}

impl Error {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused { source, .. } => match source.hint() {
                Some(hint) => format!("{hint}; `--skip-bad` counts such records and goes on"),
                None => "`--skip-bad` counts such records and goes on".into(),
            },
            Self::Unscorable { source, .. } => return source.hint(),
            Self::Labels(_) => {
                "evaluate with the data that the head was trained for, or leave those records out with `--skip-bad`".into()
            }
            Self::NoMaskHead { .. } => {
                "import the backbone again and keep the head: `kadapter import backbone FOLDER --keep-lm-head …`".into()
            }
            Self::NoMaskToken { .. } => "choose a backbone that was trained with hidden words".into(),
            Self::NoWords { .. } => "name the words to choose from: `--vocabulary FILE`, one per line".into(),
            Self::Vocabulary { .. } | Self::NothingProbed { .. } => {
                "leave `--vocabulary` out for all whole words of the backbone's vocabulary".into()
            }
            Self::ClozeTooLong { .. } | Self::ClozeMasks { .. } => "`--skip-bad` counts such records and goes on".into(),
            Self::ClozeGold { .. } => "name the format with `--format lama`".into(),
            Self::ClozeStack { .. } => {
                "leave the task out to probe the backbone alone: `kadapter eval --lama FILE` (the paper trains a linear layer \
                 on WikiText-2 for K-Adapter's own numbers, which is not part of this command)"
                    .into()
            }
        })
    }

    /// The error and its causes in one sentence.
    pub(super) fn sentence(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

fn labels(difference: &Difference) -> String {
    let Difference { task, only_data, only_task } = difference;
    let names: Vec<String> = only_data.keys().cloned().collect();
    let place = only_data.values().next().map(|place| format!(" (the first at {place})")).unwrap_or_default();
    let count = if names.len() == 1 { "a label".to_owned() } else { format!("{} labels", names.len()) };
    let lacking = format!("the data has {count} that task `{task}` lacks: {}{place}", list(&names));
    match only_task.len() {
        0 => lacking,
        count => format!("{lacking}; the task has {count} that the data lacks: {}", list(only_task)),
    }
}
