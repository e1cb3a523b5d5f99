//! What can be wrong with a task's description, a record or the numbers of a head.

use super::Kind;
use crate::tokenizer;

/// Why a task could not be made, a record not encoded or logits not decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are named in the message of their variant")]
pub enum Error {
    /// The text could not be tokenised.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),

    // The description of a task.
    /// No kind of task has this name.
    #[error("There is no kind of task called `{found}`")]
    KindUnknown { found: String },
    /// A kind that answers with labels was given none.
    #[error("A task of kind `{kind}` needs labels and has none")]
    LabelsMissing { kind: Kind },
    /// A kind without labels was given some.
    #[error("A task of kind `{kind}` has no labels and was given {found}")]
    LabelsUnexpected { kind: Kind, found: usize },
    /// Two outputs of the head have the same label.
    #[error("The label `{label}` stands twice in the task's labels")]
    LabelRepeated { label: String },
    /// The longest segment is too short for any text.
    #[error("The task's `max_length` is {found}, at least {least} tokens are needed")]
    MaxLengthTooSmall { found: usize, least: usize },
    /// The padded length does not fit the backbone.
    #[error("The task pads to `max_length` = {asked} tokens, the backbone takes {limit}")]
    MaxLengthOverBackbone { asked: usize, limit: usize },
    /// The kind has no such option.
    #[error("A task of kind `{kind}` has no option `{option}`")]
    OptionUnknown { kind: Kind, option: String, known: Vec<&'static str> },
    /// An option has the wrong type.
    #[error("The option `{option}` of a task of kind `{kind}` must be {expected}, found {found}")]
    OptionType { kind: Kind, option: &'static str, expected: &'static str, found: &'static str },
    /// An option has a value that means nothing.
    #[error("The option `{option}` of a task of kind `{kind}` must be {expected}, found `{found}`")]
    OptionValue { kind: Kind, option: &'static str, expected: String, found: String },
    /// There is nothing for the activation to be applied to.
    #[error("A task of kind `{kind}` has an `activation` but no dense layer before it")]
    ActivationWithoutDense { kind: Kind },
    /// A marker cannot be written with this vocabulary.
    #[error("The marker `{marker}` (`{option}`) is not in the backbone's vocabulary")]
    MarkerUnknown { option: &'static str, marker: String },

    // A record.
    /// The record is larger than anything a backbone reads.
    #[error("The record has {bytes} bytes, at most {limit} are read")]
    RecordTooLarge { bytes: usize, limit: usize },
    /// The record begins like JSON and is none.
    #[error("Could not read the record as JSON")]
    RecordNotJson {
        #[source]
        source: serde_json::Error,
    },
    /// The record is JSON, but neither an object nor a text.
    #[error("The record must be a JSON object or a text, found {found}")]
    RecordType { found: &'static str },
    /// The record says nothing.
    #[error("The {what} is empty")]
    Empty { kind: Option<Kind>, what: &'static str },
    /// The record has no such field.
    #[error("The record has no `{field}`")]
    FieldMissing { kind: Kind, field: String },
    /// A field has the wrong type.
    #[error("The field `{field}` must be {expected}, found {found}")]
    FieldType { kind: Kind, field: String, expected: &'static str, found: String },
    /// A tag of the markup is absent.
    #[error("The text has no `{tag}`")]
    TagMissing { kind: Kind, tag: String },
    /// A tag of the markup is there more than once.
    #[error("The text has `{tag}` {found} times, expected once")]
    TagRepeated { kind: Kind, tag: String, found: usize },
    /// A closing tag stands before its opening tag.
    #[error("`</{name}>` stands before `<{name}>`")]
    TagOrder { kind: Kind, name: &'static str },
    /// A span ends before it begins, or where it begins.
    #[error("The {what} must begin before it ends, found {start} to {end}")]
    SpanReversed { kind: Kind, what: &'static str, start: usize, end: usize },
    /// A span leaves the text.
    #[error("The {what} ends at {end}, the text has {length} {unit}")]
    SpanOutside { kind: Kind, what: &'static str, end: usize, length: usize, unit: &'static str },
    /// Subject and object share a part of the text.
    #[error("The subject and the object overlap")]
    SpansOverlap { kind: Kind },
    /// A text argument does not have the parts that the kind needs.
    #[error("The text has {found} parts between `{separator}`, expected {expected}")]
    Parts { kind: Kind, separator: &'static str, expected: &'static str, found: usize },
    /// There is no choice, or far too many.
    #[error("The record has {found} answers, expected {least} to {most}")]
    AnswerCount { found: usize, least: usize, most: usize },
    /// The text has no token in this vocabulary.
    #[error("The {what} has no token in the backbone's vocabulary")]
    NoTokens { what: &'static str },

    // Length.
    /// The text is longer than the task or its backbone takes.
    #[error("The text is longer than the backbone takes: {tokens} tokens, at most {limit} are read")]
    TooLong { tokens: usize, limit: usize },
    /// Even cut to the mention, or to the question and one token of the context, it is too long.
    #[error("The {what} alone is longer than the backbone takes: {tokens} tokens, at most {limit} are read")]
    PartTooLong { what: &'static str, tokens: usize, limit: usize },
    /// Cutting the text would cut an entity's marker, which is what the head reads.
    #[error("Could not cut the text to {limit} tokens: the marker of the {entity} is token {position}")]
    MarkerLost { entity: &'static str, position: usize, limit: usize },
    /// The official code leaves this record out, and so does the task.
    #[error(
        "The record is skipped, as in the official code: the marker of the {entity} is token {position} of {limit}"
    )]
    Skipped { entity: &'static str, position: usize, limit: usize },
    /// Cutting the text would cut all of an answer.
    #[error("Could not cut the text to {limit} tokens: nothing would be left of answer {answer}")]
    AnswerLost { answer: usize, limit: usize },

    // The head's numbers.
    /// There are too few or too many numbers.
    #[error("The head of a task of kind `{kind}` gave {found} numbers, expected {expected}")]
    LogitsCount { kind: Kind, expected: usize, found: usize },
    /// A number is infinite or not a number.
    #[error("The head of a task of kind `{kind}` gave a number that is not finite (number {index})")]
    LogitsNotFinite { kind: Kind, index: usize },
    /// The encoding was made by a task of another kind.
    #[error("The encoding is not of a task of kind `{kind}`")]
    ForeignEncoding { kind: Kind },
}

impl Error {
    /// Whether the official code leaves such a record out silently, so that an evaluation may go on.
    pub fn is_skip(&self) -> bool {
        matches!(self, Self::Skipped { .. })
    }

    /// Says what to do about it, ending in something to type, if there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Tokenizer(error) => return error.hint(),
            Self::KindUnknown { .. } => {
                let kinds: Vec<_> = Kind::ALL.iter().map(|kind| format!("`{kind}`")).collect();
                format!("the kinds are {}", kinds.join(", "))
            }
            Self::LabelsMissing { .. } => {
                "name the head's outputs in order: `labels = [\"first\", \"second\"]`".to_owned()
            }
            Self::LabelsUnexpected { .. } => "leave them out: `labels = []`".to_owned(),
            Self::LabelRepeated { .. } => "give every output of the head a name of its own in `labels`".to_owned(),
            Self::MaxLengthTooSmall { .. } => {
                "use what the task was trained with, for example `max_length = 128`".to_owned()
            }
            Self::MaxLengthOverBackbone { limit, .. } => {
                format!("pad to what the backbone takes, `max_length = {limit}`, or use `compat = \"masked\"`")
            }
            Self::OptionUnknown { known, .. } => {
                let known: Vec<_> = known.iter().map(|option| format!("`{option}`")).collect();
                format!("its options are {}", known.join(", "))
            }
            Self::ActivationWithoutDense { .. } => "use `dense = true` or `activation = \"none\"`".to_owned(),
            Self::MarkerUnknown { option, .. } => {
                format!("take a token of the vocabulary as it stands there, for example `{option} = \"@\"`")
            }
            Self::RecordNotJson { .. } => {
                "a record that begins with `{` or `\"` is read as JSON; a text that does so is written as \
                 `{\"text\": \"{…\"}`"
                    .to_owned()
            }
            Self::FieldMissing { kind, .. }
            | Self::FieldType { kind, .. }
            | Self::TagMissing { kind, .. }
            | Self::TagRepeated { kind, .. }
            | Self::TagOrder { kind, .. }
            | Self::SpanReversed { kind, .. }
            | Self::SpanOutside { kind, .. }
            | Self::SpansOverlap { kind }
            | Self::Parts { kind, .. }
            | Self::Empty { kind: Some(kind), .. } => format!("a record of kind `{kind}`: {}", example(*kind)),
            Self::Empty { kind: None, .. } => "give a text, or `{\"text\": \"…\"}`".to_owned(),
            Self::RecordType { .. } => "write an object, for example `{\"text\": \"…\"}`".to_owned(),
            Self::TooLong { .. } => "shorten the text or have it cut with `--truncate`".to_owned(),
            Self::MarkerLost { .. } => "shorten what stands before the entity".to_owned(),
            Self::RecordTooLarge { .. } | Self::PartTooLong { .. } | Self::AnswerLost { .. } => "shorten it".to_owned(),
            Self::OptionType { .. }
            | Self::OptionValue { .. }
            | Self::AnswerCount { .. }
            | Self::NoTokens { .. }
            | Self::Skipped { .. }
            | Self::LogitsCount { .. }
            | Self::LogitsNotFinite { .. }
            | Self::ForeignEncoding { .. } => return None,
        })
    }
}

/// A record of each kind, short enough for a hint.
fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::RelationClassification => {
            "`<e1>Ada</e1> was born in <e2>London</e2>.` or `{\"text\": \"Ada was born in London.\", \
             \"subject\": [0, 3], \"object\": [16, 22]}`"
        }
        Kind::EntityTyping => "`<e>Ada</e> wrote it.` or `{\"text\": \"Ada wrote it.\", \"start\": 0, \"end\": 3}`",
        Kind::MultipleChoice => {
            "`It rained. ||| Why is it wet? ||| The rain. || The sun.` or `{\"context\": \"It rained.\", \
             \"question\": \"Why is it wet?\", \"answers\": [\"The rain.\", \"The sun.\"]}`"
        }
        Kind::Span => {
            "`Who wrote it? ||| Ada wrote it.` or `{\"question\": \"Who wrote it?\", \"context\": \"Ada wrote it.\"}`"
        }
        Kind::SequenceClassification | Kind::Features => "`Ada wrote it.` or `{\"text\": \"Ada wrote it.\"}`",
    }
}
