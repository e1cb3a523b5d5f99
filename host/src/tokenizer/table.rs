//! The tokenizer as plugins see it: what their objectives turn records into token ids with.

use super::Tokenizer;
use abi_stable::std_types::{ROption, RResult, RStr, RVec};
use kadapter_plugin_api::abi::TextTable;
use kadapter_plugin_api::{Error, Special};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A tokenizer and the longest segment that it is used for.
#[derive(Clone, Copy, Debug)]
pub struct TokenizerTable<'a> {
    tokenizer: &'a Tokenizer,
    max_tokens: usize,
}

impl<'a> TokenizerTable<'a> {
    /// `max_tokens` counts special tokens too.
    pub fn new(tokenizer: &'a Tokenizer, max_tokens: usize) -> Self {
        Self { tokenizer, max_tokens }
    }
}

impl TextTable for TokenizerTable<'_> {
    fn pieces(&self, text: RStr<'_>) -> RResult<RVec<u32>, Error> {
        // A panic must not cross the boundary.
        let pieces = catch_unwind(AssertUnwindSafe(|| self.tokenizer.pieces(text.as_str())));
        match pieces {
            Ok(pieces) => pieces.map(RVec::from).map_err(|error| Error::new(error.to_string())).into(),
            Err(_) => RResult::RErr(Error::device("the host failed inside `pieces`; its log has more")),
        }
    }

    fn id_of(&self, token: RStr<'_>) -> ROption<u32> {
        self.tokenizer.id_of(token.as_str()).into()
    }

    fn special(&self, special: u8) -> ROption<u32> {
        match Special::from_code(special) {
            Some(Special::Bos) => Some(self.tokenizer.bos()),
            Some(Special::Eos) => Some(self.tokenizer.eos()),
            Some(Special::Pad) => Some(self.tokenizer.pad()),
            Some(Special::Unk) => self.tokenizer.unk(),
            Some(Special::Mask) => self.tokenizer.mask(),
            None => None,
        }
        .into()
    }

    fn max_tokens(&self) -> u64 {
        self.max_tokens as u64
    }
}
