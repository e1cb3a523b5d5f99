//! The backbone's tokenizer, as objectives use it.

use crate::abi::Texts;
use crate::{Error, Result};
use abi_stable::std_types::RStr;

/// Turns text into token ids of the backbone.
pub struct Text<'a>(Texts<'a>);

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Text").finish_non_exhaustive()
    }
}

/// The tokens with a meaning of their own, by their numbers at the boundary.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Opens a segment (`<s>`, `[CLS]`).
    Bos = 0,
    /// Closes a segment and separates its parts (`</s>`, `[SEP]`).
    Eos = 1,
    /// Fills a padded segment.
    Pad = 2,
    /// Stands for what the vocabulary does not know.
    Unk = 3,
    /// Stands for a token that is hidden.
    Mask = 4,
}

impl Special {
    /// The special token with this number, if this version of the ABI knows it.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Bos, Self::Eos, Self::Pad, Self::Unk, Self::Mask].into_iter().find(|special| *special as u8 == code)
    }
}

impl<'a> Text<'a> {
    pub(crate) fn new(texts: Texts<'a>) -> Self {
        Self(texts)
    }

    /// Tokenises a stretch of text as the official code does (`tokenize(text)`): special tokens stay whole, each stretch between them
    /// starts with a space; nothing is added, cut or padded. White space alone yields nothing.
    ///
    /// # Errors
    /// When the vocabulary cannot express the text.
    pub fn pieces(&self, text: &str) -> Result<Vec<u32>> {
        self.0.pieces(RStr::from_str(text)).into_result().map(Into::into)
    }

    /// Looks up a token as it stands in the vocabulary (`@` is not `Ġ@`): markers.
    ///
    /// # Errors
    /// When the vocabulary has no such token.
    pub fn id_of(&self, token: &str) -> Result<u32> {
        self.0.id_of(RStr::from_str(token)).into_option().ok_or_else(|| {
            Error::config(format!(
                "the vocabulary has no token `{token}`, expected a token as `tokenizer.json` spells it"
            ))
        })
    }

    /// A special token's id.
    ///
    /// # Errors
    /// When the backbone has no such token.
    pub fn special(&self, special: Special) -> Result<u32> {
        self.0
            .special(special as u8)
            .into_option()
            .ok_or_else(|| Error::config(format!("the backbone has no {special:?} token, expected one")))
    }

    /// Puts `ids` between the tokens that open and close a segment.
    ///
    /// # Errors
    /// When the backbone has no such tokens.
    pub fn segment(&self, ids: &[u32]) -> Result<Vec<u32>> {
        let mut segment = Vec::with_capacity(ids.len() + 2);
        segment.push(self.special(Special::Bos)?);
        segment.extend_from_slice(ids);
        segment.push(self.special(Special::Eos)?);
        Ok(segment)
    }

    /// The most tokens that a segment may have, special tokens included.
    pub fn max_tokens(&self) -> usize {
        usize::try_from(self.0.max_tokens()).unwrap_or(usize::MAX)
    }
}
