//! The words that may stand for a hidden one.

use super::EvaluateError;
use crate::data;
use crate::error::Error;
use crate::tokenizer::Tokenizer;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// Bytes of a file of words: LAMA's common vocabulary has 21 thousand, a whole vocabulary of RoBERTa 400 KiB.
const MAX_BYTES: u64 = 16 << 20;
/// What stands before a token that begins a word, in byte-level vocabularies.
const WORD_START: char = 'Ġ';

/// Words of one token each.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    ids: Vec<u32>,
    words: Vec<String>,
    places: HashMap<u32, usize>,
}

impl Vocabulary {
    /// Every token that is a word of ASCII letters and digits on its own.
    ///
    /// # Errors
    ///
    /// When the tokenizer fails.
    pub fn of_tokenizer(tokenizer: &Tokenizer) -> Result<Self, Error> {
        let mut vocabulary = Self::default();
        for id in 0..=tokenizer.highest_id() {
            let Some(token) = tokenizer.token_of(id) else { continue };
            let word = token.strip_prefix(WORD_START).unwrap_or(&token);
            if !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && tokenizer.pieces(word)? == [id]
            {
                vocabulary.add(id, word);
            }
        }
        Ok(vocabulary)
    }

    /// The words of a file, one per line, that are one token; others are left out.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or has no such word.
    pub fn read(path: &Path, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let io = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let (mut text, mut vocabulary) = (String::new(), Self::default());
        data::open_bytes(path)?.take(MAX_BYTES).read_to_string(&mut text).map_err(io)?;
        for word in text.lines().map(str::trim).filter(|word| !word.is_empty()) {
            if let [id] = tokenizer.pieces(word)?.as_slice()
                && Some(*id) != tokenizer.unk()
            {
                vocabulary.add(*id, word);
            }
        }
        match vocabulary.ids.is_empty() {
            true => Err(EvaluateError::Vocabulary { path: path.to_owned() }.into()),
            false => Ok(vocabulary),
        }
    }

    fn add(&mut self, id: u32, word: &str) {
        if let std::collections::hash_map::Entry::Vacant(place) = self.places.entry(id) {
            place.insert(self.ids.len());
            self.ids.push(id);
            self.words.push(word.to_owned());
        }
    }

    /// The words' places in the backbone's vocabulary.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The word at a place.
    pub fn word(&self, place: usize) -> &str {
        self.words.get(place).map_or("", String::as_str)
    }

    /// The place of a word, as the tokenizer reads it: capitals count where they count to it.
    pub fn place_of(&self, word: &str, tokenizer: &Tokenizer) -> Option<usize> {
        match tokenizer.pieces(word).ok()?.as_slice() {
            [id] => self.places.get(id).copied(),
            _ => None,
        }
    }
}
