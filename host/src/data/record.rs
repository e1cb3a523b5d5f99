//! A record with its gold answer and its place.

use super::sentence;
use serde_json::{Map, Value};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A record, what is right about it, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// What a task encodes ([`Record::Fields`](crate::task::Record::Fields)), and what the file says beside it (ids,
    /// documents). Flat: texts, numbers, and lists of them. The gold answer is not among them.
    pub fields: Map<String, Value>,
    /// What is right.
    pub gold: Gold,
    /// Where it stands.
    pub at: Place,
}

/// The right answer to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gold {
    /// One label: relation and sequence classification.
    Label(String),
    /// Any number of labels: entity typing.
    Labels(Vec<String>),
    /// The index of the right answer, from 0: multiple choice.
    Choice(usize),
    /// The answers that count as right, perhaps none: spans.
    Spans(Vec<SpanGold>),
    /// A dependency tree over the field `words`.
    Heads {
        /// The governor of each word, counted from 1; 0 for the root.
        heads: Vec<usize>,
        /// The relation of each word to its governor; empty where the file does not say.
        relations: Vec<String>,
    },
    /// The word that stands for `[MASK]` in the field `text`.
    Filler(String),
}

/// A right answer to a question about a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanGold {
    /// The answer's text.
    pub text: String,
    /// Its first character in the context (Unicode scalar values), where the file says so.
    pub start: Option<usize>,
}

/// Where a record stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: Arc<Path>,
    /// The line on which the record begins, from 1, counted in the decompressed text.
    pub line: u64,
    /// Which record of the file it is, from 1.
    pub record: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.path.display(), self.line)?;
        // A file whose records are not its lines is searched by their number.
        if self.record > self.line { write!(formatter, " (record {})", self.record) } else { Ok(()) }
    }
}

impl Labelled {
    /// The fields with the gold answer beside them, flat: `label` (also as `relation`, between
    /// marked entities), `labels`, `answer` (an index), `answers` with
    /// `answer_starts` (-1 where it is not known), `heads` with `deprels`, or `filler`.
    pub fn flat(&self) -> Map<String, Value> {
        let mut flat = self.fields.clone();
        let mut put = |name: &str, value: Value| flat.insert(name.to_owned(), value);
        match &self.gold {
            Gold::Label(label) => {
                put("label", label.as_str().into());
                if self.has_entities() {
                    put("relation", label.as_str().into());
                }
            }
            Gold::Labels(labels) => drop(put("labels", labels.clone().into())),
            Gold::Choice(index) => drop(put("answer", (*index).into())),
            Gold::Spans(spans) => {
                let start = |span: &SpanGold| span.start.and_then(|start| i64::try_from(start).ok()).unwrap_or(-1);
                put("answers", spans.iter().map(|span| span.text.as_str()).collect());
                put("answer_starts", spans.iter().map(start).collect());
            }
            Gold::Heads { heads, relations } => {
                put("heads", heads.clone().into());
                if !relations.is_empty() {
                    put("deprels", relations.clone().into());
                }
            }
            Gold::Filler(word) => drop(put("filler", word.as_str().into())),
        }
        flat
    }

    /// Whether a subject and an object are marked.
    fn has_entities(&self) -> bool {
        let has = |name: &str| self.fields.contains_key(name);
        let marked = || self.fields.get("text").and_then(Value::as_str).is_some_and(|text| text.contains("<e1>"));
        has("subj_start") || has("subject") || marked()
    }

    /// The labels of the gold answer, none for kinds without.
    pub fn labels(&self) -> &[String] {
        match &self.gold {
            Gold::Label(label) => std::slice::from_ref(label),
            Gold::Labels(labels) => labels,
            Gold::Choice(_) | Gold::Spans(_) | Gold::Heads { .. } | Gold::Filler(_) => &[],
        }
    }

    /// The text of a field, or several fields' joined by a tab: the key by which records are kept together in a split.
    /// A field that the record lacks counts as empty.
    pub fn key(&self, names: &[&str]) -> String {
        let text = |name: &&str| match self.fields.get(*name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        names.iter().map(text).collect::<Vec<_>>().join("\t")
    }

    /// As [`Labelled::key`]; the sentence where no field is named.
    pub fn key_by(&self, names: &[String]) -> String {
        match names {
            [] => self.sentence(),
            names => self.key(&names.iter().map(String::as_str).collect::<Vec<_>>()),
        }
    }

    /// The record's sentence without markup: words joined by spaces, else the text, the sentence or the context.
    pub fn sentence(&self) -> String {
        sentence::of(&self.fields)
    }
}
