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
use kadapter_plugin_api::entities::{EntityPair, Marker, MarkerLost, MarkerOverflow, Stretch};

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
        Ok(Self {
            frame: frame.with_head(HeadShape::from_options(options, 2, true, labels.len())?),
            subject_marker: marker("subject_marker", "@")?,
            object_marker: marker("object_marker", "#")?,
            marker_overflow: options
                .one_of("marker_overflow", &MarkerOverflow::NAMES)?
                .unwrap_or(MarkerOverflow::Error),
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
            *row = rule.row(position, limit).map_err(|lost| match lost {
                MarkerLost::Refused => Error::MarkerLost { entity, position, limit },
                MarkerLost::Skipped => Error::Skipped { entity, position, limit },
            })?;
        }
        Ok(rows)
    }
}

impl Task for Relation {
    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn encode(&self, tokenizer: &Tokenizer, record: &Record) -> Result<Encoding, Error> {
        let pair = read(record)?;
        let (subject, object) = (Marker::of(self.subject_marker), Marker::of(self.object_marker));
        let marked = pair.tokens(&subject, &object, |stretch, text| match stretch {
            Stretch::Text => Ok(tokenizer.pieces(text)?),
            Stretch::Subject => markup::tokens(tokenizer, "subject", text),
            Stretch::Object => markup::tokens(tokenizer, "object", text),
        })?;
        let mut tokens = marked.tokens;
        let rows = self.fit(&mut tokens, [("subject", marked.subject), ("object", marked.object)])?;

        let mut segment = Vec::with_capacity(tokens.len() + 2);
        segment.push(tokenizer.bos());
        segment.append(&mut tokens);
        segment.push(tokenizer.eos());
        let (subject, object) = (pair.subject().trim().to_owned(), pair.object().trim().to_owned());
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

/// The entities of a record, in any of the formats above.
fn read(record: &Record) -> Result<EntityPair, Error> {
    let pair = match record {
        Record::Text(text) => EntityPair::of_markup(text),
        Record::Fields(fields) => {
            let fields = Fields::new(KIND, fields);
            if fields.has("token") {
                let words = fields.texts("token")?;
                let span = |start, end| Ok::<_, Error>((fields.index(start)?, fields.index(end)?));
                EntityPair::of_words(&words, span("subj_start", "subj_end")?, span("obj_start", "obj_end")?)
            } else if fields.has("subject") || fields.has("object") {
                EntityPair::of_spans(fields.text("text")?, fields.pair("subject")?, fields.pair("object")?)
            } else {
                EntityPair::of_markup(fields.text("text")?)
            }
        }
    };
    pair.map_err(|error| markup::wrong(KIND, error))
}
