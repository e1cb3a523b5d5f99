//! Features: the fused rows of every token, without a head.
//!
//! ```text
//! <s> text </s>
//! ^^^^^^^^^^^^^ read, one unit per token
//! ```
//!
//! A record is a text, or an object with `text`. A longer text is refused; where it may be cut, its end is left out.
//! The one option is `pad_id`.

use super::encoding::Details;
use super::input::Fields;
use super::{Answer, Encoding, Error, FeaturesAnswer, Frame, Kind, Position, Record, Task, TokenFeatures, score};
use crate::tokenizer::Tokenizer;

const KIND: Kind = Kind::Features;

/// The task.
#[derive(Debug)]
pub(super) struct Features {
    frame: Frame,
}

impl Features {
    /// Makes the task.
    pub(super) fn new(frame: Frame) -> Self {
        Self { frame }
    }
}

impl Task for Features {
    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn encode(&self, tokenizer: &Tokenizer, record: &Record) -> Result<Encoding, Error> {
        let text = match record {
            Record::Text(text) => text,
            Record::Fields(fields) => Fields::new(KIND, fields).text("text")?,
        };
        let pieces = tokenizer.pieces_with_offsets(text)?;
        if pieces.is_empty() {
            return Err(Error::NoTokens { what: "text" });
        }
        let ids = pieces.iter().map(|piece| piece.id).collect();
        let segment = self.frame.enclose(tokenizer.bos(), ids, tokenizer.eos())?;

        let end = text.chars().count();
        let covered = pieces.into_iter().take(segment.len() - 2).map(|piece| piece.characters);
        let characters = std::iter::once(0..0).chain(covered).chain(std::iter::once(end..end));
        let names = segment.iter().map(|&id| tokenizer.token_of(id).unwrap_or_default());
        let tokens = names.zip(characters).collect();
        let reads = (0..segment.len()).map(|row| vec![Position::first(row)]).collect();
        Ok(Encoding { segments: vec![segment], reads, details: Details::Features { tokens } })
    }

    /// Cuts `logits`, the fused rows `[tokens, width]`, into one vector per token.
    fn decode(&self, encoding: &Encoding, logits: &[f32]) -> Result<Answer, Error> {
        let Details::Features { tokens } = &encoding.details else {
            return Err(Error::ForeignEncoding { kind: KIND });
        };
        let width = (logits.len() / tokens.len().max(1)).max(1);
        score::check(KIND, logits, tokens.len(), width)?;
        let tokens = tokens
            .iter()
            .zip(logits.chunks_exact(width))
            .map(|((token, characters), vector)| TokenFeatures {
                token: token.clone(),
                start: characters.start,
                end: characters.end,
                vector: vector.to_vec(),
            })
            .collect();
        Ok(Answer::Features(FeaturesAnswer { width, tokens }))
    }
}
