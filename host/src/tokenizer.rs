//! The backbone's tokenizer, with the conventions that K-Adapter's data code depends on.
//!
//! Everything a task does with text goes through [`Tokenizer::pieces`], the official `tokenize(text)`: special tokens
//! stay whole, each stretch between them is stripped and starts with a space, and nothing is added, cut or padded.
//! Markers that are vocabulary entries rather than text are looked up with [`Tokenizer::id_of`].

mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod special;
mod split;
mod table;
#[cfg(test)]
mod tests;

use std::ops::Range;

use tokenizers::PostProcessorWrapper;

pub use self::error::Error;
pub use self::special::{SpecialToken, SpecialTokens};
pub use self::table::TokenizerTable;

use self::special::Specials;
use self::split::{Part, Splitter, is_space};

/// The longest `tokenizer.json` that is read, in bytes. The largest of today's vocabularies (256k entries) needs 35 MB.
pub const MAX_TOKENIZER_BYTES: usize = 64 << 20;

/// Turns text into token ids of one backbone.
///
/// The truncation, padding and post-processing that a `tokenizer.json` may ask for are switched off: how long a segment
/// may be and what surrounds it is the task's decision.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    splitter: Splitter,
    specials: Specials,
    highest_id: u32,
}

/// One token with the place in the text that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The vocabulary index.
    pub id: u32,
    /// The characters (Unicode scalar values, end-exclusive) of the text that the token covers, without surrounding
    /// white space. Empty for a token that is nothing but white space.
    pub characters: Range<usize>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json` and checks that it agrees with the backbone's special tokens.
    ///
    /// # Errors
    ///
    /// When the file is too large or is not a tokenizer, and when a special token is missing or is called otherwise.
    pub fn from_bytes(json: &[u8], special: SpecialTokens) -> Result<Self, Error> {
        if json.len() > MAX_TOKENIZER_BYTES {
            return Err(Error::TooLarge { bytes: json.len(), limit: MAX_TOKENIZER_BYTES });
        }
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(|source| Error::NotATokenizer { source })?;
        inner.with_truncation(None).map_err(|source| Error::NotATokenizer { source })?;
        inner.with_padding(None);
        inner.with_post_processor(None::<PostProcessorWrapper>);

        let specials = Specials::resolve(special, &inner)?;
        let whole = inner.get_added_tokens_decoder().into_iter().filter(|(_, token)| token.special);
        let splitter = Splitter::new(whole.map(|(id, token)| (token.content, id)).chain(specials.all()));
        let highest_id = inner.get_vocab(true).into_values().max().unwrap_or(0);
        Ok(Self { inner, splitter, specials, highest_id })
    }

    /// Tokenises `text` as the official code does (§1.2 of the K-Adapter data conventions): splits on special tokens,
    /// which stay whole, strips each stretch between them and encodes it after one space. White space alone yields
    /// nothing.
    ///
    /// # Errors
    ///
    /// When the vocabulary cannot express the text (no byte fallback and no unknown token).
    pub fn pieces(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        for part in self.splitter.parts(text) {
            match part {
                Part::Special { id, .. } => ids.push(id),
                Part::Text { text, .. } => {
                    let encoding = self
                        .inner
                        .encode_fast(format!(" {text}"), false)
                        .map_err(|source| Error::Inexpressible { source })?;
                    ids.extend_from_slice(encoding.get_ids());
                }
            }
        }
        Ok(ids)
    }

    /// Tokenises `text` as [`pieces`](Self::pieces) does and keeps, for each token, the characters that it stands for.
    ///
    /// # Errors
    ///
    /// As [`pieces`](Self::pieces).
    pub fn pieces_with_offsets(&self, text: &str) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        // Byte and character position in `text` up to which characters were counted.
        let (mut byte, mut character) = (0, 0);
        for part in self.splitter.parts(text) {
            let range = part.bytes();
            let start = character + text[byte..range.start].chars().count();
            let characters: Vec<char> = text[range.clone()].chars().collect();
            (byte, character) = (range.end, start + characters.len());
            match part {
                Part::Special { id, .. } => pieces.push(Piece { id, characters: start..character }),
                Part::Text { text, .. } => {
                    let encoding = self
                        .inner
                        .encode_char_offsets(format!(" {text}"), false)
                        .map_err(|source| Error::Inexpressible { source })?;
                    let covered = encoding.get_offsets().iter().map(|&(from, to)| trimmed(&characters, from, to));
                    pieces.extend(
                        encoding
                            .get_ids()
                            .iter()
                            .zip(covered)
                            .map(|(&id, covered)| Piece { id, characters: start + covered.start..start + covered.end }),
                    );
                }
            }
        }
        Ok(pieces)
    }

    /// Looks up a token as it stands in the vocabulary (`@` is not `Ġ@`).
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Names a token as it stands in the vocabulary.
    pub fn token_of(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The highest id that a text can yield. The embedding table must have more rows than this.
    pub fn highest_id(&self) -> u32 {
        self.highest_id
    }

    /// The id that opens a segment (`<s>`, `[CLS]`).
    pub fn bos(&self) -> u32 {
        self.specials.bos.id
    }

    /// The id that closes a segment and separates its parts (`</s>`, `[SEP]`).
    pub fn eos(&self) -> u32 {
        self.specials.eos.id
    }

    /// The separator as text, for the tasks that write it into the text they tokenise.
    pub fn eos_text(&self) -> &str {
        &self.specials.eos.text
    }

    /// The id that fills a padded segment (`<pad>`, `[PAD]`).
    pub fn pad(&self) -> u32 {
        self.specials.pad.id
    }

    /// The id of what the vocabulary does not know, if it has one.
    pub fn unk(&self) -> Option<u32> {
        self.specials.unk.as_ref().map(|token| token.id)
    }

    /// The id of a masked-out token, if the vocabulary has one.
    pub fn mask(&self) -> Option<u32> {
        self.specials.mask.as_ref().map(|token| token.id)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("specials", &self.specials)
            .field("highest_id", &self.highest_id)
            .finish_non_exhaustive()
    }
}

/// Maps offsets in `" " + stretch` to the stretch and leaves out the white space on both sides.
fn trimmed(stretch: &[char], from: usize, to: usize) -> Range<usize> {
    let mut end = to.saturating_sub(1).min(stretch.len());
    let mut start = from.saturating_sub(1).min(end);
    while start < end && is_space(stretch[start]) {
        start += 1;
    }
    while end > start && is_space(stretch[end - 1]) {
        end -= 1;
    }
    start..end
}
