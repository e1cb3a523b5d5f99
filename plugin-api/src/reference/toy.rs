//! What stands in for a backbone: a tokenizer of whole words, and hidden states made up from the tokens.

use super::Matrix;
use crate::abi::TextTable;
use crate::random::Random;
use crate::{Error, Segments, Special};
use abi_stable::std_types::{ROption, RResult, RStr, RVec};
use std::cell::RefCell;

/// A tokenizer of whole words: each word between white space is a token, numbered in the order in which it is met.
///
/// It knows `<s>`, `<pad>`, `</s>`, `<unk>` and `<mask>` as RoBERTa numbers them (0 to 4), and every single character of ASCII as a
/// marker.
#[derive(Debug)]
pub struct ToyTokenizer {
    words: RefCell<Vec<String>>,
    max_tokens: usize,
}

const SPECIAL: [(Special, &str); 5] = [
    (Special::Bos, "<s>"),
    (Special::Pad, "<pad>"),
    (Special::Eos, "</s>"),
    (Special::Unk, "<unk>"),
    (Special::Mask, "<mask>"),
];

impl ToyTokenizer {
    /// A tokenizer for segments of at most `max_tokens` tokens.
    pub fn new(max_tokens: usize) -> Self {
        Self { words: RefCell::new(SPECIAL.iter().map(|&(_, word)| word.to_owned()).collect()), max_tokens }
    }

    fn id(&self, word: &str) -> u32 {
        let mut words = self.words.borrow_mut();
        let at = words.iter().position(|known| known == word).unwrap_or_else(|| {
            words.push(word.to_owned());
            words.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

impl TextTable for ToyTokenizer {
    fn pieces(&self, text: RStr<'_>) -> RResult<RVec<u32>, Error> {
        RResult::ROk(text.as_str().split_whitespace().map(|word| self.id(word)).collect())
    }

    fn id_of(&self, token: RStr<'_>) -> ROption<u32> {
        let token = token.as_str();
        let is_known = self.words.borrow().iter().any(|word| word == token) || (token.len() == 1 && token.is_ascii());
        is_known.then(|| self.id(token)).into()
    }

    fn special(&self, special: u8) -> ROption<u32> {
        let word = Special::from_code(special).and_then(|special| SPECIAL.iter().find(|(known, _)| *known == special));
        word.map(|(_, word)| self.id(word)).into()
    }

    fn max_tokens(&self) -> u64 {
        self.max_tokens as u64
    }
}

/// A hidden state of made-up values `[tokens, columns]`: each row depends on its token and its place, and a little on its whole segment,
/// as a backbone's does. `state` numbers it.
pub(super) fn hidden_state(state: usize, tokens: &[u32], segments: &Segments, columns: usize) -> Matrix {
    let row = |name: &str| -> Vec<f32> {
        let mut random = Random::named(1, name);
        (0..columns).map(|_| random.normal() as f32).collect()
    };
    let mut values = Vec::with_capacity(tokens.len() * columns);
    for range in segments.ranges() {
        let own: Vec<Vec<f32>> = range
            .clone()
            .enumerate()
            .map(|(place, at)| {
                let (token, place) =
                    (row(&format!("{state} token {}", tokens[at])), row(&format!("{state} place {place}")));
                token.iter().zip(&place).map(|(token, place)| token + place / 2.0).collect()
            })
            .collect();
        let count = own.len() as f32;
        let mean: Vec<f32> =
            (0..columns).map(|column| own.iter().map(|row| row[column]).sum::<f32>() / count).collect();
        values.extend(own.iter().flat_map(|row| row.iter().zip(&mean).map(|(own, mean)| own + mean / 2.0)));
    }
    Matrix::new(tokens.len(), columns, values)
}
