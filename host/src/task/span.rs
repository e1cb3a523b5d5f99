//! Span extraction: which stretch of a context answers a question (SearchQA, Quasar-T).
//!
//! ```text
//! <s> question </s> context </s>
//!                   ^^^^^^^ read, one unit per token; the head gives a start and an end logit for each
//! ```
//!
//! The answer is the stretch with the greatest start logit plus end logit that ends where it begins or later and has at
//! most `max_answer_tokens` tokens. It is sliced from the context as it was given.
//!
//! A record is a text `question ||| context`, or an object with `question` and `context`. A longer text is refused;
//! where it may be cut, the end of the context is left out. (The paper's code for this kind was not published, so
//! `compat = "official"` changes nothing here but the padding.)
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `max_answer_tokens` | 30 | the longest answer |
//! | `dense`, `activation` | `false`, `none` | the head's first layer |
//! | `pad_id` | the tokenizer's | what pads a segment |

use std::ops::Range;

use super::encoding::Details;
use super::input::Fields;
use super::options::Options;
use super::{Answer, Encoding, Error, Frame, HeadShape, Kind, Position, Record, SpanAnswer, Task, markup, score};
use crate::tokenizer::Tokenizer;

const KIND: Kind = Kind::Span;

/// What other extractive question answerers use.
pub(crate) const DEFAULT_MAX_ANSWER_TOKENS: u32 = 30;

/// The longest answer that may be asked for; no backbone takes as many tokens.
const MAX_MAX_ANSWER_TOKENS: u32 = 1 << 16;

/// The task.
#[derive(Debug)]
pub(super) struct Span {
    frame: Frame,
    max_answer_tokens: u32,
}

impl Span {
    /// The options of this kind.
    pub(super) const OPTIONS: [&str; 3] = ["max_answer_tokens", HeadShape::OPTIONS[0], HeadShape::OPTIONS[1]];

    /// Makes the task.
    pub(super) fn new(frame: Frame, options: &Options<'_>) -> Result<Self, Error> {
        let max_answer_tokens = options.integer("max_answer_tokens", 1, MAX_MAX_ANSWER_TOKENS)?;
        Ok(Self {
            frame: frame.with_head(HeadShape::from_options(options, 1, false, 2)?),
            max_answer_tokens: max_answer_tokens.unwrap_or(DEFAULT_MAX_ANSWER_TOKENS),
        })
    }

    /// The first and last token of the best stretch. Tokens that stand for no text neither begin nor end an answer.
    fn best(&self, tokens: &[Range<usize>], starts: &[f32], ends: &[f32]) -> Option<(usize, usize)> {
        let mut best: Option<(f32, (usize, usize))> = None;
        for first in (0..tokens.len()).filter(|&first| !tokens[first].is_empty()) {
            let lasts = (first..tokens.len()).take(self.max_answer_tokens as usize);
            for last in lasts.filter(|&last| !tokens[last].is_empty()) {
                let total = starts[first] + ends[last];
                if best.is_none_or(|(most, _)| total > most) {
                    best = Some((total, (first, last)));
                }
            }
        }
        best.map(|(_, span)| span)
    }
}

impl Task for Span {
    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn encode(&self, tokenizer: &Tokenizer, record: &Record) -> Result<Encoding, Error> {
        let (question, context) = question_and_context(record)?;
        let mut question = tokenizer.pieces(question)?;
        let mut pieces = tokenizer.pieces_with_offsets(context)?;

        let (limit, alone) = (self.frame.max_length, question.len() + 3);
        let tokens = alone + pieces.len();
        if tokens > limit {
            if !self.frame.truncate {
                return Err(Error::TooLong { tokens, limit });
            }
            let room = limit.checked_sub(alone).filter(|&room| room > 0);
            // One token of the context must fit too.
            let too_long = Error::PartTooLong { what: "question", tokens: alone + 1, limit };
            pieces.truncate(room.ok_or(too_long)?);
        }
        if pieces.iter().all(|piece| piece.characters.is_empty()) {
            return Err(Error::NoTokens { what: "context" });
        }

        let mut segment = vec![tokenizer.bos()];
        segment.append(&mut question);
        segment.push(tokenizer.eos());
        let reads = (segment.len()..).take(pieces.len()).map(|row| vec![Position::first(row)]).collect();
        segment.extend(pieces.iter().map(|piece| piece.id));
        segment.push(tokenizer.eos());
        let tokens = pieces.into_iter().map(|piece| piece.characters).collect();
        Ok(Encoding { segments: vec![segment], reads, details: Details::Span { context: context.to_owned(), tokens } })
    }

    fn decode(&self, encoding: &Encoding, logits: &[f32]) -> Result<Answer, Error> {
        let Details::Span { context, tokens } = &encoding.details else {
            return Err(Error::ForeignEncoding { kind: KIND });
        };
        score::check(KIND, logits, tokens.len(), 2)?;
        let starts: Vec<f32> = logits.iter().copied().step_by(2).collect();
        let ends: Vec<f32> = logits.iter().copied().skip(1).step_by(2).collect();
        let (first, last) = self.best(tokens, &starts, &ends).ok_or(Error::NoTokens { what: "context" })?;
        // A normaliser may reorder characters, so a later token need not end after an earlier one begins.
        let start = tokens[first].start;
        let end = tokens[last].end.max(start);
        Ok(Answer::Span(SpanAnswer {
            text: context.chars().skip(start).take(end - start).collect(),
            start,
            end,
            score: starts[first] + ends[last],
            probability: score::softmax(&starts)[first] * score::softmax(&ends)[last],
        }))
    }
}

fn question_and_context(record: &Record) -> Result<(&str, &str), Error> {
    let (question, context) = match record {
        Record::Text(text) => {
            let parts: Vec<&str> = text.split("|||").collect();
            let &[question, context] = parts.as_slice() else {
                return Err(Error::Parts { kind: KIND, separator: "|||", expected: "2", found: parts.len() });
            };
            (question, context.trim())
        }
        Record::Fields(fields) => {
            let fields = Fields::new(KIND, fields);
            (fields.text("question")?, fields.text("context")?)
        }
    };
    markup::not_blank(KIND, "question", question)?;
    markup::not_blank(KIND, "context", context)?;
    Ok((question, context))
}
