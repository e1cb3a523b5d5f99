//! Relation classification: how the subject and the object of a text are related (T-REx, TACRED).
//!
//! ```text
//! <s> before @ subject @ between # object # after </s>        the subject first
//! <s> before # object # between @ subject @ after </s>        the object first
//!            ^ read                ^ read                     always [subject, object]
//! ```
//!
//! Each stretch is tokenised by itself; the markers are vocabulary entries as they stand (`@`, not `Ġ@`).
//!
//! A record is a text with `<e1>subject</e1>` and `<e2>object</e2>`, an object with `text` and the spans `subject` and
//! `object` as `[start, end]` (characters, end-exclusive), or an object in the format of T-REx-rc and TACRED: the words
//! `token` with `subj_start`, `subj_end`, `obj_start`, `obj_end` (word indices, end-inclusive).
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `subject_marker`, `object_marker` | `@`, `#` | tokens of the vocabulary |
//! | `marker_overflow` | `error` | with `compat = "official"`, what becomes of a marker that was cut off: `error`; `skip`, the rule for T-REx; `minus10`, the rule for TACRED |
//! | `dense`, `activation` | `true`, `none` | the head's first layer |
//! | `pad_id` | the tokenizer's | what pads a segment |

use super::encoding::Details;
use super::input::Fields;
use super::options::Options;
use super::{Answer, Encoding, Error, Frame, HeadShape, Kind, Position, Record, RelationAnswer, Task, markup, score};
use crate::tokenizer::Tokenizer;

const KIND: Kind = Kind::RelationClassification;

/// The task, with its markers looked up.
#[derive(Debug)]
pub(super) struct Relation {
    frame: Frame,
    labels: Vec<String>,
    subject_marker: u32,
    object_marker: u32,
    marker_overflow: MarkerOverflow,
}

/// What becomes of a marker that official truncation cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MarkerOverflow {
    /// The record is refused, also where the marker's row is now `</s>`.
    Error,
    /// T-REx: a record with a marker at or past `max_length` is left out; a marker just before it reads `</s>`.
    Skip,
    /// TACRED: a marker past `max_length` is moved to `max_length - 10`; one at `max_length` is refused.
    Minus10,
}

/// A text in five stretches around two entities, in the order of the text.
struct Stretches {
    before: String,
    first: String,
    between: String,
    second: String,
    after: String,
    subject_first: bool,
}

impl Relation {
    /// The options of this kind.
    pub(super) const OPTIONS: [&str; 5] =
        ["subject_marker", "object_marker", "marker_overflow", HeadShape::OPTIONS[0], HeadShape::OPTIONS[1]];

    /// Makes the task.
    pub(super) fn new(
        frame: Frame,
        labels: Vec<String>,
        options: &Options<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, Error> {
        let marker = |option: &'static str, default: &str| {
            let marker = options.string(option)?.unwrap_or(default);
            let unknown = || Error::MarkerUnknown { option, marker: marker.to_owned() };
            tokenizer.id_of(marker).ok_or_else(unknown)
        };
        let rules =
            [("error", MarkerOverflow::Error), ("minus10", MarkerOverflow::Minus10), ("skip", MarkerOverflow::Skip)];
        Ok(Self {
            frame: frame.with_head(HeadShape::from_options(options, 2, true, labels.len())?),
            subject_marker: marker("subject_marker", "@")?,
            object_marker: marker("object_marker", "#")?,
            marker_overflow: options.one_of("marker_overflow", &rules)?.unwrap_or(MarkerOverflow::Error),
            labels,
        })
    }

    /// Cuts `tokens` to what the task takes and finds the row that stands for the marker at each of `markers`, which
    /// count from the opening token.
    fn fit(&self, tokens: &mut Vec<u32>, markers: [(&'static str, usize); 2]) -> Result<[usize; 2], Error> {
        let limit = self.frame.max_length;
        let room = limit - 2;
        let official = self.frame.is_official();
        if tokens.len() > room && !official && !self.frame.truncate {
            return Err(Error::TooLong { tokens: tokens.len() + 2, limit });
        }
        tokens.truncate(room);
        let rule = if official { self.marker_overflow } else { MarkerOverflow::Error };
        let mut rows = [0; 2];
        for (row, (entity, position)) in rows.iter_mut().zip(markers) {
            let lost = Error::MarkerLost { entity, position, limit };
            *row = match rule {
                // Row `room` is the last that holds a token of the text.
                MarkerOverflow::Error if position > room => return Err(lost),
                MarkerOverflow::Skip if position >= limit => return Err(Error::Skipped { entity, position, limit }),
                MarkerOverflow::Minus10 if position == limit => return Err(lost),
                MarkerOverflow::Minus10 if position > limit => limit.checked_sub(10).ok_or(lost)?,
                _ => position,
            };
        }
        Ok(rows)
    }
}

impl Task for Relation {
    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn encode(&self, tokenizer: &Tokenizer, record: &Record) -> Result<Encoding, Error> {
        let stretches = Stretches::of(record)?;
        let (subject, object) = (("subject", self.subject_marker), ("object", self.object_marker));
        let (first, second) = if stretches.subject_first { (subject, object) } else { (object, subject) };
        let mut tokens = tokenizer.pieces(&stretches.before)?;
        let mut enclose = |(what, marker), text: &str, following: &str| -> Result<usize, Error> {
            let position = tokens.len() + 1;
            tokens.push(marker);
            tokens.extend(markup::tokens(tokenizer, what, text)?);
            tokens.push(marker);
            tokens.extend(tokenizer.pieces(following)?);
            Ok(position)
        };
        let first = enclose(first, &stretches.first, &stretches.between)?;
        let second = enclose(second, &stretches.second, &stretches.after)?;
        let (subject, object) = if stretches.subject_first { (first, second) } else { (second, first) };
        let rows = self.fit(&mut tokens, [("subject", subject), ("object", object)])?;

        let mut segment = Vec::with_capacity(tokens.len() + 2);
        segment.push(tokenizer.bos());
        segment.append(&mut tokens);
        segment.push(tokenizer.eos());
        let (subject, object) = stretches.into_entities();
        Ok(Encoding {
            segments: vec![segment],
            reads: vec![rows.map(Position::first).to_vec()],
            details: Details::Relation { subject, object },
        })
    }

    fn decode(&self, encoding: &Encoding, logits: &[f32]) -> Result<Answer, Error> {
        let Details::Relation { subject, object } = &encoding.details else {
            return Err(Error::ForeignEncoding { kind: KIND });
        };
        score::check(KIND, logits, 1, self.labels.len())?;
        let scores = score::ranked(&self.labels, logits, &score::softmax(logits));
        let best = scores.first().ok_or(Error::LabelsMissing { kind: KIND })?;
        Ok(Answer::Relation(RelationAnswer {
            label: best.label.clone(),
            probability: best.probability,
            subject: subject.clone(),
            object: object.clone(),
            scores,
        }))
    }
}

impl Stretches {
    fn of(record: &Record) -> Result<Self, Error> {
        let stretches = match record {
            Record::Text(text) => Self::of_markup(text),
            Record::Fields(fields) => {
                let fields = Fields::new(KIND, fields);
                if fields.has("token") {
                    Self::of_words(fields)
                } else if fields.has("subject") || fields.has("object") {
                    Self::of_spans(fields)
                } else {
                    Self::of_markup(fields.text("text")?)
                }
            }
        }?;
        let (subject, object) = stretches.entities();
        markup::not_blank(KIND, "subject", subject)?;
        markup::not_blank(KIND, "object", object)?;
        Ok(stretches)
    }

    fn of_markup(text: &str) -> Result<Self, Error> {
        let (subject, object) = (markup::find(KIND, text, "e1")?, markup::find(KIND, text, "e2")?);
        let subject_first = subject.outer.start < object.outer.start;
        let (first, second) = if subject_first { (subject, object) } else { (object, subject) };
        if first.outer.end > second.outer.start {
            return Err(Error::SpansOverlap { kind: KIND });
        }
        Ok(Self {
            before: text[..first.outer.start].to_owned(),
            first: text[first.inner].to_owned(),
            between: text[first.outer.end..second.outer.start].to_owned(),
            second: text[second.inner].to_owned(),
            after: text[second.outer.end..].to_owned(),
            subject_first,
        })
    }

    fn of_spans(fields: Fields<'_>) -> Result<Self, Error> {
        let text = fields.text("text")?;
        let subject = markup::bytes_of(KIND, "subject", text, fields.pair("subject")?)?;
        let object = markup::bytes_of(KIND, "object", text, fields.pair("object")?)?;
        let subject_first = subject.start < object.start;
        let (first, second) = if subject_first { (subject, object) } else { (object, subject) };
        if first.end > second.start {
            return Err(Error::SpansOverlap { kind: KIND });
        }
        Ok(Self {
            before: text[..first.start].to_owned(),
            first: text[first.clone()].to_owned(),
            between: text[first.end..second.start].to_owned(),
            second: text[second.clone()].to_owned(),
            after: text[second.end..].to_owned(),
            subject_first,
        })
    }

    fn of_words(fields: Fields<'_>) -> Result<Self, Error> {
        let words = fields.texts("token")?;
        let range = |what, start, end| {
            let (start, end): (usize, usize) = (fields.index(start)?, fields.index(end)?);
            match (start <= end, end < words.len()) {
                (false, _) => Err(Error::SpanReversed { kind: KIND, what, start, end }),
                (_, false) => Err(Error::SpanOutside { kind: KIND, what, end, length: words.len(), unit: "words" }),
                _ => Ok(start..end + 1),
            }
        };
        let (subject, object) = (range("subject", "subj_start", "subj_end")?, range("object", "obj_start", "obj_end")?);
        let subject_first = subject.start < object.start;
        let (first, second) = if subject_first { (subject, object) } else { (object, subject) };
        if first.end > second.start {
            return Err(Error::SpansOverlap { kind: KIND });
        }
        Ok(Self {
            before: words[..first.start].join(" "),
            first: words[first.clone()].join(" "),
            between: words[first.end..second.start].join(" "),
            second: words[second.clone()].join(" "),
            after: words[second.end..].join(" "),
            subject_first,
        })
    }

    /// The subject's and the object's text.
    fn entities(&self) -> (&str, &str) {
        match self.subject_first {
            true => (&self.first, &self.second),
            false => (&self.second, &self.first),
        }
    }

    fn into_entities(self) -> (String, String) {
        let (subject, object) = self.entities();
        (subject.trim().to_owned(), object.trim().to_owned())
    }
}
