//! A sentence with its dependency tree, in either format, and its tokens.

use kadapter_plugin_api::{Error, Record, Result, Text};
use std::collections::BTreeMap;

/// The words of a sentence and what governs each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) words: Vec<String>,
    /// Per word its governor: 0 the root, else a word counted from 1. None where the record does not say.
    pub(crate) governors: Vec<Option<usize>>,
}

/// A sentence's tokens, `<s>` and `</s>` included.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) segment: Vec<u32>,
    /// The row of each word's first sub-word.
    pub(crate) first: Vec<usize>,
}

impl Sentence {
    /// Reads a record: `words` and `heads`, or the official `sent`, `tokens` and `pairs`.
    pub(crate) fn read(record: &Record<'_>) -> Result<Self> {
        let sentence = if record.has("words") { Self::of_words(record) } else { Self::of_offsets(record) }?;
        let count = sentence.words.len();
        if count == 0 {
            return Err(Error::new("the sentence has no words, expected at least one"));
        }
        for (word, governor) in (1..).zip(&sentence.governors) {
            match governor {
                Some(governor) if *governor > count => {
                    return Err(Error::new(format!(
                        "the head of word {word} is {governor}, expected 0 (the root) to {count}"
                    )));
                }
                Some(governor) if *governor == word => {
                    return Err(Error::new(format!("the head of word {word} is the word itself, expected another")));
                }
                _ => {}
            }
        }
        Ok(sentence)
    }

    fn of_words(record: &Record<'_>) -> Result<Self> {
        let words: Vec<String> = record.texts("words")?.into_iter().map(str::to_owned).collect();
        let heads = record.integers("heads")?;
        if heads.len() != words.len() {
            return Err(Error::new(format!(
                "`heads` has {} numbers, expected one for each of {} words",
                heads.len(),
                words.len()
            )));
        }
        let governors = heads.iter().map(|&head| index("heads", head).map(Some)).collect::<Result<_>>()?;
        Ok(Self { words, governors })
    }

    /// `tokens` is a list of `{"1": {"start", "end"}}`, `{"2": …}`, characters, end-exclusive; `pairs` one of `dependent_index` and
    /// `governor_index`.
    fn of_offsets(record: &Record<'_>) -> Result<Self> {
        let text: Vec<char> = record.text("sent")?.chars().collect();
        let (mut words, mut number) = (Vec::new(), 1);
        while record.has(&format!("tokens.{number}.start")) {
            let offset = |what: &str| single(record, &format!("tokens.{number}.{what}"));
            let (start, end) = (offset("start")?, offset("end")?);
            let word = text.get(start..end).filter(|word| !word.is_empty()).ok_or_else(|| {
                Error::new(format!(
                    "word {number} is characters {start} to {end}, expected a stretch of the sentence's {}",
                    text.len()
                ))
            })?;
            words.push(word.iter().collect());
            number += 1;
        }
        let (dependents, governors) =
            (record.integers("pairs.dependent_index")?, record.integers("pairs.governor_index")?);
        if dependents.len() != governors.len() {
            return Err(Error::new(format!(
                "`pairs` has {} dependents and {} governors, expected as many",
                dependents.len(),
                governors.len()
            )));
        }
        // Of two pairs of one word the later counts, as in the official code.
        let mut of: BTreeMap<usize, usize> = BTreeMap::new();
        for (&dependent, &governor) in dependents.iter().zip(governors) {
            of.insert(index("pairs.dependent_index", dependent)?, index("pairs.governor_index", governor)?);
        }
        let governors = (1..=words.len()).map(|word| of.get(&word).copied()).collect();
        Ok(Self { words, governors })
    }

    /// Tokenises each word by itself, as the official code does; none where a word has no token.
    pub(crate) fn tokens(&self, text: &Text<'_>) -> Result<Option<Tokens>> {
        let (mut ids, mut first) = (Vec::new(), Vec::with_capacity(self.words.len()));
        for word in &self.words {
            let pieces = text.pieces(word)?;
            if pieces.is_empty() {
                return Ok(None);
            }
            // The segment's opening token is row 0.
            first.push(ids.len() + 1);
            ids.extend(pieces);
        }
        Ok(Some(Tokens { segment: text.segment(&ids)?, first }))
    }

    /// Each word's governor; none where one has none.
    pub(crate) fn all_governors(&self) -> Option<Vec<usize>> {
        self.governors.iter().copied().collect()
    }
}

impl Tokens {
    /// The row that stands for a governor: `<s>` for the root, else the word's first sub-word.
    pub(crate) fn row(&self, governor: usize) -> usize {
        governor.checked_sub(1).map_or(0, |word| self.first[word])
    }
}

fn index(field: &str, value: i64) -> Result<usize> {
    usize::try_from(value)
        .map_err(|_| Error::new(format!("field `{field}` has {value}, expected numbers of at least 0")))
}

/// An integer, or a list of one: what a list of objects with one key each is flattened to.
fn single(record: &Record<'_>, field: &str) -> Result<usize> {
    match record.integers(field) {
        Ok(&[value]) => index(field, value),
        Ok(values) => Err(Error::new(format!("field `{field}` has {} numbers, expected one", values.len()))),
        Err(_) => record.index(field),
    }
}
