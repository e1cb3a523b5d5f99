//! Sentences compared without regard to spelling, so that those of an evaluation can be kept out of training.

use super::read::MASK;
use super::{Error, Gold, Labelled, Source};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Markup of entities in texts.
const TAGS: [&str; 6] = ["<e1>", "</e1>", "<e2>", "</e2>", "<e>", "</e>"];

/// The sentence of a record's fields, without markup; several fields are joined by spaces.
pub(super) fn of(fields: &Map<String, Value>) -> String {
    for name in ["token", "words"] {
        if let Some(Value::Array(words)) = fields.get(name) {
            return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
        }
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let found = text("text").or_else(|| text("sent")).or_else(|| text("context")).unwrap_or_default();
    TAGS.iter().fold(found.to_owned(), |text, tag| text.replace(tag, ""))
}

/// A sentence's letters and digits in lower case, and nothing else: tokenisation, quotes and spaces do not count.
pub fn normalise(sentence: &str) -> String {
    sentence.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Sentences that were seen, 16 bytes for each.
#[derive(Debug, Clone, Default)]
pub struct SeenSentences {
    hashes: HashSet<u128>,
}

impl SeenSentences {
    /// The sentences of files.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub fn of(sources: &[Source]) -> Result<Self, Error> {
        let mut seen = Self::default();
        for source in sources {
            for record in source.records() {
                let record = record?;
                let sentence = record.sentence();
                // A hidden word is put back: others have the sentence whole.
                match &record.gold {
                    Gold::Filler(word) => seen.add(&sentence.replace(MASK, word)),
                    _ => seen.add(&sentence),
                };
            }
        }
        Ok(seen)
    }

    /// Adds a sentence; true if it is new. One without letters and digits says nothing and is never seen.
    pub fn add(&mut self, sentence: &str) -> bool {
        hash(sentence).is_some_and(|hash| self.hashes.insert(hash))
    }

    /// Whether a record's sentence was seen.
    pub fn has(&self, record: &Labelled) -> bool {
        hash(&record.sentence()).is_some_and(|hash| self.hashes.contains(&hash))
    }

    /// How many different sentences were seen.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

/// Two differently seeded hashes of 64 bits, so that different sentences practically never fall together.
fn hash(sentence: &str) -> Option<u128> {
    let normalised = normalise(sentence);
    let half = |seed| u128::from(super::split::hash(seed, &normalised));
    (!normalised.is_empty()).then(|| half(1) << 64 | half(2))
}
