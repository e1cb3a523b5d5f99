//! Markers around a word of some sentences, as tasks put them around entities.

use crate::sentence::{Sentence, Tokens};
use kadapter_plugin_api::random::Random;
use kadapter_plugin_api::{Config, Error, Result, Text};

/// Which sentences get markers, and which markers.
#[derive(Debug)]
pub(crate) struct Markers {
    share: f64,
    tokens: [String; 2],
}

/// Where markers were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    /// The word, from 0.
    pub(crate) word: usize,
    /// The row of the opening marker.
    pub(crate) row: usize,
}

impl Markers {
    /// Reads `markers`, `subject_marker` and `object_marker`.
    pub(crate) fn from_config(config: &Config) -> Result<Self> {
        let share = config.number_or("markers", 0.0)?;
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::config(format!("`markers` is {share}, expected a share from 0 to 1")));
        }
        let tokens = [config.text_or("subject_marker", "@")?, config.text_or("object_marker", "#")?];
        Ok(Self { share, tokens })
    }

    /// Whether any sentence gets some.
    pub(crate) fn are_used(&self) -> bool {
        self.share > 0.0
    }

    /// Puts markers around a word, in a sentence that gets some; the same sentence always gets the same.
    pub(crate) fn insert(&self, sentence: &Sentence, tokens: &mut Tokens, text: &Text<'_>) -> Result<Option<Marked>> {
        let mut random = Random::named(0, &sentence.words.join(" "));
        if random.uniform() >= self.share {
            return Ok(None);
        }
        let below = |random: &mut Random, count: usize| ((random.uniform() * count as f64) as usize).min(count - 1);
        let word = below(&mut random, sentence.words.len());
        let marker = text.id_of(&self.tokens[below(&mut random, 2)])?;
        // The segment's closing token is behind the last word.
        let (start, end) =
            (tokens.first[word], tokens.first.get(word + 1).copied().unwrap_or(tokens.segment.len() - 1));
        tokens.segment.insert(end, marker);
        tokens.segment.insert(start, marker);
        tokens.first[word] += 1;
        for first in &mut tokens.first[word + 1..] {
            *first += 2;
        }
        Ok(Some(Marked { word, row: start }))
    }
}
