//! What a package or a manifest says about a task, and the task made from it.

use std::fmt;
use std::str::FromStr;

use super::choice::Choice;
use super::features::Features;
use super::options::Options;
use super::relation::Relation;
use super::sequence::Sequence;
use super::span::Span;
use super::typing::Typing;
use super::{Error, Frame, Task};
use crate::tokenizer::Tokenizer;

/// The shortest useful segment: two special tokens, a separator and one token.
const MIN_MAX_LENGTH: usize = 4;

/// The kinds of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// How two marked entities are related: one label.
    RelationClassification,
    /// What a marked mention is: any number of labels.
    EntityTyping,
    /// Which of several answers is right.
    MultipleChoice,
    /// Which stretch of a context answers a question.
    Span,
    /// What a text is: one label.
    SequenceClassification,
    /// The fused features themselves, without a head.
    Features,
}

impl Kind {
    /// Every kind, in the order in which they are documented.
    pub const ALL: [Self; 6] = [
        Self::RelationClassification,
        Self::EntityTyping,
        Self::MultipleChoice,
        Self::Span,
        Self::SequenceClassification,
        Self::Features,
    ];

    /// The word for it in packages and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RelationClassification => "relation-classification",
            Self::EntityTyping => "entity-typing",
            Self::MultipleChoice => "multiple-choice",
            Self::Span => "span",
            Self::SequenceClassification => "sequence-classification",
            Self::Features => "features",
        }
    }

    /// Whether its head reads every token of a text.
    pub fn reads_every_token(self) -> bool {
        matches!(self, Self::Span | Self::Features)
    }

    /// Whether its head reads the first token of each segment and nothing else.
    pub fn reads_first_token(self) -> bool {
        matches!(self, Self::MultipleChoice | Self::SequenceClassification)
    }

    /// Whether its answers are labels.
    pub fn has_labels(self) -> bool {
        matches!(self, Self::RelationClassification | Self::EntityTyping | Self::SequenceClassification)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| Error::KindUnknown { found: text.to_owned() })
    }
}

/// Whether the quirks of the paper's code are reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// No padding; a text that is too long is an error unless it may be cut.
    #[default]
    Masked,
    /// What the official code does, padding to `max_length` and silent cutting included.
    Official,
}

/// A task as a package or a manifest describes it.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// Which kind of task.
    pub kind: Kind,
    /// The labels, in the order of the head's outputs. Empty for kinds without labels.
    pub labels: Vec<String>,
    /// The most tokens a segment has, special tokens included; `None` for as many as the backbone takes.
    pub max_length: Option<usize>,
    /// The kind's options, as documented at its module.
    pub options: toml::Table,
    /// Whether the quirks of the paper's code are reproduced.
    pub compat: Compat,
    /// Whether a text that is too long is cut rather than refused.
    pub truncate: bool,
}

impl TaskSpec {
    /// A task without a package: the fused features of a text.
    pub fn features(compat: Compat, truncate: bool) -> Self {
        let (labels, options) = (Vec::new(), toml::Table::new());
        Self { kind: Kind::Features, labels, max_length: None, options, compat, truncate }
    }

    /// The same task, except that it refuses records that this one cuts; `None` where this one cuts none.
    #[must_use]
    pub fn uncut(&self) -> Option<Self> {
        let cuts = self.truncate || self.compat == Compat::Official;
        cuts.then(|| Self { compat: Compat::Masked, truncate: false, ..self.clone() })
    }

    /// Checks the description and makes the task. `backbone_limit` is the most tokens that the backbone's position
    /// table has room for, `max_position_embeddings - 2` in RoBERTa.
    ///
    /// A longer `max_length` is lowered to the backbone's limit, except with [`Compat::Official`], where the padded
    /// length is part of the result.
    ///
    /// # Errors
    ///
    /// When labels are missing, repeated or out of place, when an option is unknown or has a wrong value, when a marker
    /// is not in the vocabulary, and when `max_length` cannot be met.
    pub fn build(&self, tokenizer: &Tokenizer, backbone_limit: usize) -> Result<Box<dyn Task>, Error> {
        self.check_labels()?;
        let asked = self.max_length.unwrap_or(backbone_limit);
        if asked > backbone_limit && self.compat == Compat::Official {
            return Err(Error::MaxLengthOverBackbone { asked, limit: backbone_limit });
        }
        let max_length = asked.min(backbone_limit);
        if max_length < MIN_MAX_LENGTH {
            return Err(Error::MaxLengthTooSmall { found: max_length, least: MIN_MAX_LENGTH });
        }

        let mut known: Vec<&'static str> = Frame::OPTIONS.to_vec();
        known.extend_from_slice(match self.kind {
            Kind::RelationClassification => &Relation::OPTIONS,
            Kind::EntityTyping => &Typing::OPTIONS,
            Kind::MultipleChoice => &Choice::OPTIONS,
            Kind::Span => &Span::OPTIONS,
            Kind::SequenceClassification => &Sequence::OPTIONS,
            Kind::Features => &[],
        });
        let options = Options::new(self.kind, &self.options, &known)?;
        let pad_id = options.integer("pad_id", 0, tokenizer.highest_id())?.unwrap_or_else(|| tokenizer.pad());
        let (kind, compat, truncate) = (self.kind, self.compat, self.truncate);
        let frame = Frame { kind, head: None, max_length, pad_id, compat, truncate };
        let labels = || self.labels.clone();
        Ok(match self.kind {
            Kind::RelationClassification => Box::new(Relation::new(frame, labels(), &options, tokenizer)?),
            Kind::EntityTyping => Box::new(Typing::new(frame, labels(), &options, tokenizer)?),
            Kind::MultipleChoice => Box::new(Choice::new(frame, &options)?),
            Kind::Span => Box::new(Span::new(frame, &options)?),
            Kind::SequenceClassification => Box::new(Sequence::new(frame, labels(), &options)?),
            Kind::Features => Box::new(Features::new(frame)),
        })
    }

    fn check_labels(&self) -> Result<(), Error> {
        let (kind, found) = (self.kind, self.labels.len());
        match (kind.has_labels(), found) {
            (true, 0) => Err(Error::LabelsMissing { kind }),
            (false, 1..) => Err(Error::LabelsUnexpected { kind, found }),
            _ => {
                let mut seen = std::collections::HashSet::new();
                match self.labels.iter().find(|label| !seen.insert(label.as_str())) {
                    Some(label) => Err(Error::LabelRepeated { label: label.clone() }),
                    None => Ok(()),
                }
            }
        }
    }
}
