//! Kinds of task: how a record becomes token segments, which feature rows the head reads, and what its numbers mean.
//!
//! A task sees no tensor. The pipeline computes fused features for the rows in [`Encoding::reads`], runs the head that
//! [`Task::head`] describes and hands the numbers back to [`Task::decode`]:
//!
//! ```text
//! Record --encode--> Encoding { segments, reads } --pipeline--> logits [units, outputs] --decode--> Answer
//! ```
//!
//! | kind | units | rows a unit reads | answer |
//! | --- | --- | --- | --- |
//! | [`relation`] | 1 | the first markers of subject and object | one label |
//! | [`typing`] | 1 | the first marker of the mention | any number of labels |
//! | [`choice`] | one per answer, each a segment of its own | row 0 of its segment | the index of an answer |
//! | [`span`] | one per context token | that token | a stretch of the context |
//! | [`sequence`] | 1 | row 0 | one label |
//! | [`features`] | one per token | that token | the fused features themselves |

mod answer;
pub mod choice;
mod encoding;
mod error;
pub mod features;
mod frame;
mod head;
mod input;
mod markup;
mod options;
pub mod relation;
mod render;
mod score;
pub mod sequence;
pub mod span;
mod spec;
#[cfg(test)]
mod tests;
pub mod typing;

pub use self::answer::{
    Answer, ChoiceAnswer, FeaturesAnswer, LabelScore, RelationAnswer, SequenceAnswer, SpanAnswer, TokenFeatures,
    TypingAnswer,
};
pub use self::encoding::{Encoding, Position};
pub use self::error::Error;
pub use self::frame::Frame;
pub use self::head::{Activation, HeadShape};
pub use self::input::{MAX_RECORD_BYTES, Record};
pub use self::render::Readable;
pub use self::spec::{Compat, Kind, TaskSpec};

use crate::tokenizer::Tokenizer;

/// One task, ready to encode records and decode logits. Make one with [`TaskSpec::build`].
pub trait Task: Send + Sync + std::fmt::Debug {
    /// What is the same for every kind.
    fn frame(&self) -> &Frame;

    /// Which kind of task this is.
    fn kind(&self) -> Kind {
        self.frame().kind
    }

    /// The head that turns fused rows into logits, or `None` where the fused rows are the answer ([`Kind::Features`]).
    fn head(&self) -> Option<HeadShape> {
        self.frame().head
    }

    /// The most tokens a segment has, special tokens included. With [`Compat::Official`] every segment is padded to it.
    fn max_length(&self) -> usize {
        self.frame().max_length
    }

    /// The id that fills a padded segment.
    fn pad_id(&self) -> u32 {
        self.frame().pad_id
    }

    /// Turns a record into segments of token ids and the rows that the head reads. `tokenizer` is the one that the task
    /// was built with.
    ///
    /// # Errors
    ///
    /// When the record lacks something, contradicts itself or is longer than the task takes.
    fn encode(&self, tokenizer: &Tokenizer, record: &Record) -> Result<Encoding, Error>;

    /// Whether this task refuses a record for its length, so that another one of the kind would cut it.
    fn is_too_long(&self, tokenizer: &Tokenizer, record: &Record) -> bool {
        matches!(
            self.encode(tokenizer, record),
            Err(Error::TooLong { .. }
                | Error::PartTooLong { .. }
                | Error::MarkerLost { .. }
                | Error::AnswerLost { .. })
        )
    }

    /// Turns the head's numbers, `[units, outputs]` row after row, into an answer. `encoding` is the one that
    /// [`encode`](Self::encode) made for the record.
    ///
    /// # Errors
    ///
    /// When there are not `units * outputs` numbers, when one is not finite, and when `encoding` is of another kind.
    fn decode(&self, encoding: &Encoding, logits: &[f32]) -> Result<Answer, Error>;
}
