//! Answers as data: what `--json` prints and what [`Readable`](super::Readable) puts into words.

use serde::Serialize;

/// What a task says about one record.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Answer {
    /// How two entities are related.
    #[serde(rename = "relation-classification")]
    Relation(RelationAnswer),
    /// What a mention is.
    #[serde(rename = "entity-typing")]
    Typing(TypingAnswer),
    /// Which answer is right.
    #[serde(rename = "multiple-choice")]
    Choice(ChoiceAnswer),
    /// Which stretch of the context answers the question.
    Span(SpanAnswer),
    /// What a text is.
    #[serde(rename = "sequence-classification")]
    Sequence(SequenceAnswer),
    /// The fused features of a text.
    Features(FeaturesAnswer),
}

/// A label with what the head gave it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelScore {
    /// The label.
    pub label: String,
    /// The head's number.
    pub logit: f32,
    /// From 0 to 1: softmax where one label is chosen, sigmoid where each stands for itself.
    pub probability: f32,
}

/// The relation of two entities.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelationAnswer {
    /// The most probable label.
    pub label: String,
    /// Its probability.
    pub probability: f32,
    /// The subject's text.
    pub subject: String,
    /// The object's text.
    pub object: String,
    /// Every label, the most probable first.
    pub scores: Vec<LabelScore>,
}

/// The types of a mention.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TypingAnswer {
    /// The chosen labels, in the order of the task's labels. May be empty.
    pub labels: Vec<String>,
    /// The mention's text.
    pub mention: String,
    /// Every label, the most probable first.
    pub scores: Vec<LabelScore>,
}

/// The choice among answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChoiceAnswer {
    /// The index of the most probable answer, from 0.
    pub answer: usize,
    /// Its text.
    pub text: String,
    /// Its probability.
    pub probability: f32,
    /// Every answer in the record's order, with its text as the label.
    pub scores: Vec<LabelScore>,
}

/// A stretch of the context.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanAnswer {
    /// The answer as it stands in the context.
    pub text: String,
    /// Its first character in the context (Unicode scalar values).
    pub start: usize,
    /// The character after its last.
    pub end: usize,
    /// The start logit of its first token plus the end logit of its last.
    pub score: f32,
    /// The probability of the start among all starts times that of the end among all ends.
    pub probability: f32,
}

/// The class of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SequenceAnswer {
    /// The most probable label.
    pub label: String,
    /// Its probability.
    pub probability: f32,
    /// Every label, the most probable first.
    pub scores: Vec<LabelScore>,
}

/// The fused features of a text, special tokens included.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeaturesAnswer {
    /// How many numbers each token has.
    pub width: usize,
    /// The tokens, in order.
    pub tokens: Vec<TokenFeatures>,
}

/// The fused features of one token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenFeatures {
    /// The token as it stands in the vocabulary.
    pub token: String,
    /// The first character of the text that it covers (Unicode scalar values).
    pub start: usize,
    /// The character after the last. Equal to `start` for a token that stands for no text.
    pub end: usize,
    /// The features, `width` numbers.
    pub vector: Vec<f32>,
}
