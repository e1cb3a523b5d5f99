//! Sequence classification: what a text as a whole is.
//!
//! ```text
//! <s> text </s>
//! ^ read
//! ```
//!
//! A record is a text, or an object with `text`. A longer text is refused; where it may be cut, its end is left out.
//! (The paper has no such task, so `compat = "official"` changes nothing here but the padding.)
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `dense`, `activation` | `true`, `none` | the head's first layer; RoBERTa's own classification head is `true`, `tanh` |
//! | `pad_id` | the tokenizer's | what pads a segment |

use super::encoding::Details;
use super::input::Fields;
use super::options::Options;
use super::{Answer, Encoding, Error, Frame, HeadShape, Kind, Position, Record, SequenceAnswer, Task, markup, score};
use crate::tokenizer::Tokenizer;

const KIND: Kind = Kind::SequenceClassification;

/// The task.
#[derive(Debug)]
pub(super) struct Sequence {
    frame: Frame,
    labels: Vec<String>,
}

impl Sequence {
    /// The options of this kind.
    pub(super) const OPTIONS: [&str; 2] = HeadShape::OPTIONS;

    /// Makes the task.
    pub(super) fn new(frame: Frame, labels: Vec<String>, options: &Options<'_>) -> Result<Self, Error> {
        Ok(Self { frame: frame.with_head(HeadShape::from_options(options, 1, true, labels.len())?), labels })
    }
}

impl Task for Sequence {
    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn encode(&self, tokenizer: &Tokenizer, record: &Record) -> Result<Encoding, Error> {
        let text = match record {
            Record::Text(text) => text,
            Record::Fields(fields) => Fields::new(KIND, fields).text("text")?,
        };
        let tokens = markup::tokens(tokenizer, "text", text)?;
        let segment = self.frame.enclose(tokenizer.bos(), tokens, tokenizer.eos())?;
        Ok(Encoding { segments: vec![segment], reads: vec![vec![Position::first(0)]], details: Details::Sequence })
    }

    fn decode(&self, encoding: &Encoding, logits: &[f32]) -> Result<Answer, Error> {
        let Details::Sequence = &encoding.details else {
            return Err(Error::ForeignEncoding { kind: KIND });
        };
        score::check(KIND, logits, 1, self.labels.len())?;
        let scores = score::ranked(&self.labels, logits, &score::softmax(logits));
        let best = scores.first().ok_or(Error::LabelsMissing { kind: KIND })?;
        Ok(Answer::Sequence(SequenceAnswer { label: best.label.clone(), probability: best.probability, scores }))
    }
}
