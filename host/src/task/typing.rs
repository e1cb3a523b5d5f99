//! Entity typing: which of the labels, none or several, fit a mention (OpenEntity, FIGER).
//!
//! ```text
//! <s> before Ġ@ mention Ġ@ after </s>
//!            ^ read
//! ```
//!
//! The stretches and the markers are tokenised by themselves, so a marker is what `@` becomes as a text (`Ġ@`).
//!
//! A record is a text with `<e>mention</e>`, or an object with `text` or `sent` and the mention's `start` and `end`
//! (characters, end-exclusive). A longer text is refused, by the official code too; where it may be cut, a window
//! around the mention is kept.
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `marker` | `@` | the text that stands before and after the mention |
//! | `force_top` | `false` | whether the greatest logit counts even when it is not positive: `false` for OpenEntity, `true` for FIGER |
//! | `exclusive` | `false` | whether labels exclude one another: the greatest logit is the answer, scores are a softmax |
//! | `dense`, `activation` | `true`, `none` | the head's first layer |
//! | `pad_id` | the tokenizer's | what pads a segment |

use super::encoding::Details;
use super::input::Fields;
use super::options::Options;
use super::{Answer, Encoding, Error, Frame, HeadShape, Kind, Position, Record, Task, TypingAnswer, markup, score};
use crate::tokenizer::Tokenizer;
use kadapter_plugin_api::entities::Mention;

const KIND: Kind = Kind::EntityTyping;
/// The option of labels of which a mention has exactly one.
pub(crate) const EXCLUSIVE: &str = "exclusive";

/// The task, with its marker tokenised.
#[derive(Debug)]
pub(super) struct Typing {
    frame: Frame,
    labels: Vec<String>,
    marker: Vec<u32>,
    force_top: bool,
    exclusive: bool,
}

impl Typing {
    /// The options of this kind.
    pub(super) const OPTIONS: [&str; 5] =
        ["marker", "force_top", EXCLUSIVE, HeadShape::OPTIONS[0], HeadShape::OPTIONS[1]];

    /// Makes the task.
    pub(super) fn new(
        frame: Frame,
        labels: Vec<String>,
        options: &Options<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, Error> {
        let marker_text = options.string("marker")?.unwrap_or("@");
        let marker = tokenizer.pieces(marker_text)?;
        if marker.is_empty() || tokenizer.unk().is_some_and(|unknown| marker.contains(&unknown)) {
            return Err(Error::MarkerUnknown { option: "marker", marker: marker_text.to_owned() });
        }
        Ok(Self {
            frame: frame.with_head(HeadShape::from_options(options, 1, true, labels.len())?),
            labels,
            marker,
            force_top: options.boolean("force_top")?.unwrap_or(false),
            exclusive: options.boolean(EXCLUSIVE)?.unwrap_or(false),
        })
    }

    /// Cuts what stands before and after the mention, farthest first, so that `room` tokens are left for both. Each
    /// side may have half, and what the other does not need.
    fn window(before: &mut Vec<u32>, after: &mut Vec<u32>, room: usize) {
        let left = before.len().min((room / 2).max(room.saturating_sub(after.len())));
        before.drain(..before.len() - left);
        after.truncate(room - left);
    }
}

impl Task for Typing {
    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn encode(&self, tokenizer: &Tokenizer, record: &Record) -> Result<Encoding, Error> {
        let Mention { before, text: mention, after } = mention(record)?;
        let mut inside = self.marker.clone();
        inside.extend(markup::tokens(tokenizer, "mention", mention)?);
        inside.extend_from_slice(&self.marker);
        let (mut before, mut after) = (tokenizer.pieces(before)?, tokenizer.pieces(after)?);

        let (limit, tokens) = (self.frame.max_length, before.len() + inside.len() + after.len() + 2);
        if tokens > limit {
            if !self.frame.truncate {
                return Err(Error::TooLong { tokens, limit });
            }
            let alone = inside.len() + 2;
            let too_long = Error::PartTooLong { what: "mention", tokens: alone, limit };
            Self::window(&mut before, &mut after, limit.checked_sub(alone).ok_or(too_long)?);
        }

        let start = 1 + before.len();
        let mut segment = vec![tokenizer.bos()];
        segment.append(&mut before);
        segment.append(&mut inside);
        segment.append(&mut after);
        segment.push(tokenizer.eos());
        Ok(Encoding {
            segments: vec![segment],
            reads: vec![vec![Position::first(start)]],
            details: Details::Typing { mention: mention.trim().to_owned() },
        })
    }

    fn decode(&self, encoding: &Encoding, logits: &[f32]) -> Result<Answer, Error> {
        let Details::Typing { mention } = &encoding.details else {
            return Err(Error::ForeignEncoding { kind: KIND });
        };
        score::check(KIND, logits, 1, self.labels.len())?;
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // `top` is one of these very numbers; the official rule keeps all that equal it.
        let chosen = |logit: f32| logit > 0.0 || (self.force_top && logit == top);
        let (labels, probabilities): (Vec<_>, Vec<f32>) = if self.exclusive {
            let top = score::argmax(logits).and_then(|top| self.labels.get(top));
            (top.into_iter().cloned().collect(), score::softmax(logits))
        } else {
            let labels = self.labels.iter().zip(logits).filter(|(_, logit)| chosen(**logit));
            (labels.map(|(label, _)| label.clone()).collect(), logits.iter().copied().map(score::sigmoid).collect())
        };
        Ok(Answer::Typing(TypingAnswer {
            labels,
            mention: mention.clone(),
            scores: score::ranked(&self.labels, logits, &probabilities),
        }))
    }
}

/// The mention of a record.
fn mention(record: &Record) -> Result<Mention<'_>, Error> {
    let mention = match record {
        Record::Text(text) => Mention::of_markup(text),
        Record::Fields(fields) => {
            let fields = Fields::new(KIND, fields);
            let text = fields.text_of(["text", "sent"])?;
            if fields.has("start") || fields.has("end") {
                Mention::of_span(text, (fields.index("start")?, fields.index("end")?))
            } else {
                Mention::of_markup(text)
            }
        }
    };
    mention.map_err(|error| markup::wrong(KIND, error))
}
