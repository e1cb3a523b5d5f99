//! Relation classification on text that is aligned with triples, as `fac-adapter.py` trains it; and, with the same head, the kinds of
//! marked mentions.
//!
//! ```text
//! <s> before @ subject @ between # object # after </s>
//!            ^ s                 ^ o                     the rows that are read
//! com    = com_dense([last ; features])
//! logits = out_proj(dropout(dense([com[s] ; com[o]])))   no activation anywhere
//! loss   = mean cross-entropy
//! ```

use crate::entities::{Entities, text_of};
use crate::labels::Labels;
use kadapter_k_adapter::head::{self, HeadInput, MaxLength};
use kadapter_plugin_api::entities::{Marker, MarkerLost, MarkerOverflow, Stretch};
use kadapter_plugin_api::prelude::*;
use kadapter_plugin_api::random::Random;

/// The objective: configuration keys, record fields and parameter names.
///
/// | key | meaning | default |
/// | --- | --- | --- |
/// | `labels` | the relations, in the order of the classes | required |
/// | `unknown_label` | a record with another relation is an `error`, or left out (`skip`) | `error` |
/// | `max_length` | tokens of a segment; longer texts are cut at the end | 64 |
/// | `subject_marker`, `object_marker` | tokens of the vocabulary, as they stand there | `@`, `#` |
/// | `marker_overflow` | what becomes of a record whose marker was cut off: `skip` (the official rule), `error`, `minus10` | `skip` |
/// | `typed_markers` | whether entity types stand in the markers (Zhou and Chen 2022): `@ * person * Ada @` | false |
/// | `blank` | the share of entities whose words are replaced by one mask token (Baldini Soares et al. 2019), so that a relation is read from its sentence and not from names; the same record is always blanked the same way | 0 |
/// | `inputs` | what the head reads: `both` (last hidden state and features), `features` or `normalized` (features, each row normalised) | `both` |
/// | `dropout` | before the last layer | 0.1 |
///
/// A record has its relation as `label` or `relation`, and one of: `token`, `subj_start`, `subj_end`, `obj_start`, `obj_end` (T-REx-rc, TACRED: word indices,
/// end-inclusive); `text`, `subject`, `object` (characters `[start, end]`, end-exclusive); `text` with `<e1>…</e1>` and `<e2>…</e2>`.
/// Typed markers read `subj_type` and `obj_type`.
///
/// A record with `start` and `end` (characters, end-exclusive) in its `text` or `sent` has one entity, and `label` is its kind: it is marked
/// like a subject, and the head reads its marker twice. With lists instead, `starts`, `ends` and `labels`, it has several that do not
/// overlap; all are marked, and all are read.
#[derive(Debug)]
pub(crate) struct RelationClassification {
    labels: Labels,
    max_length: MaxLength,
    markers: [String; 2],
    overflow: MarkerOverflow,
    typed: bool,
    blank: f64,
    input: HeadInput,
    dropout: f32,
    com_dense: Linear,
    dense: Linear,
    out_proj: Linear,
}

/// What encloses an entity's type in a typed marker, for subject and object.
const TYPE_MARKERS: [&str; 2] = ["*", "^"];

impl Objective for RelationClassification {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let (labels, hidden) = (Labels::from_config(config)?, backbone.hidden_size());
        let overflow = config.text_or("marker_overflow", "skip")?;
        let overflow =
            MarkerOverflow::NAMES.iter().find(|(name, _)| *name == overflow).map(|&(_, rule)| rule).ok_or_else(
                || Error::config(format!("`marker_overflow` is `{overflow}`, expected `skip`, `error` or `minus10`")),
            )?;
        let input = HeadInput::build(config, hidden, params)?;
        Ok(Self {
            max_length: MaxLength::from_config(config)?,
            markers: [config.text_or("subject_marker", "@")?, config.text_or("object_marker", "#")?],
            overflow,
            typed: config.boolean_or("typed_markers", false)?,
            blank: share(config, "blank")?,
            dropout: head::dropout(config, 0.1)?,
            com_dense: Linear::new(&params.scope("com_dense"), input.columns(hidden), hidden)?,
            dense: Linear::new(&params.scope("dense"), 2 * hidden, hidden)?,
            out_proj: Linear::new(&params.scope("out_proj"), hidden, labels.len())?,
            input,
            labels,
        })
    }

    fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
        let longest = self.max_length.checked(text)?;
        let left_out = |reason: &str| Ok(Encoded::LeftOut(reason.to_owned()));
        let labels = match ["label", "relation"].into_iter().find(|field| record.has(field)) {
            Some(field) => vec![record.text(field)?],
            None if record.has("labels") => record.texts("labels")?,
            None => vec![record.text("relation")?],
        };
        let classes: Option<Vec<i64>> = labels.iter().map(|label| self.labels.class(label)).collect::<Result<_>>()?;
        let Some(classes) = classes else {
            return left_out("the relation is not among the labels");
        };
        let entities = Entities::of(record)?;
        if classes.len() != entities.targets() {
            return Err(Error::new(format!(
                "the record has {} labels, expected {}: one for each mention, or that of two entities",
                classes.len(),
                entities.targets()
            )));
        }
        if self.typed && !entities.are_related() {
            return Err(Error::new(
                "the record marks mentions, which have no types yet; expected two entities where `typed_markers` is true",
            ));
        }
        let subject = self.marker(0, "subj_type", record, text)?;
        let object = if entities.are_related() { self.marker(1, "obj_type", record, text)? } else { subject.clone() };
        let mut says_nothing = false;
        let mut random = Random::named(0, &sentence(record)?);
        let mut marked = entities.tokens(&[subject, object], |stretch, part| {
            if stretch != Stretch::Text && random.uniform() < self.blank {
                return Ok(vec![text.special(Special::Mask)?]);
            }
            let pieces = text.pieces(part)?;
            says_nothing |= stretch != Stretch::Text && pieces.is_empty();
            Ok::<_, Error>(pieces)
        })?;
        if says_nothing {
            return left_out("an entity has no token in the backbone's vocabulary");
        }
        let cut = marked.tokens.len() > longest - 2;
        marked.tokens.truncate(longest - 2);
        let mut moved = false;
        let mut rows = Vec::with_capacity(2 * classes.len());
        for (&marker, entity) in marked.rows.iter().flatten().zip(["subject", "object"].into_iter().cycle()) {
            rows.push(match self.overflow.row(marker, longest) {
                Ok(row) => {
                    // The closing token, or what a rule names, is read instead.
                    moved |= marker + 2 > longest;
                    row
                }
                Err(MarkerLost::Skipped) => return left_out("a marker is past the longest segment"),
                Err(MarkerLost::Refused) => {
                    return Err(Error::new(format!(
                        "the marker of the {entity} is token {marker}, expected it among the first {} of `max_length` {longest}",
                        longest - 1
                    )));
                }
            });
        }
        let segment = text.segment(&marked.tokens)?;
        // A row that a rule made up may be behind a short text.
        if rows.iter().any(|&row| row >= segment.len()) {
            return left_out("a marker is past the longest segment");
        }
        let example = Example::new(segment).with_rows(rows).with_targets(classes);
        Ok(match (moved, cut) {
            (true, _) => {
                Encoded::Cut(example, "a marker is past the longest segment, another token is read for it".into())
            }
            (false, true) => Encoded::Cut(example, "the end of the text is past the longest segment".into()),
            (false, false) => Encoded::Example(example),
        })
    }

    fn loss(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Loss> {
        let logits = self.logits(cx, batch, last, features)?;
        Ok(Loss { value: cx.cross_entropy(&logits, batch.targets())?, weight: batch.targets().len() as f64 })
    }

    /// `[targets, right, then per label: right, chosen, true]`.
    fn tally(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Vec<f64>> {
        let logits = cx.read_f32(&self.logits(cx, batch, last, features)?)?;
        let mut tally = vec![0.0; 2 + 3 * self.labels.len()];
        for (choice, &target) in head::choices(&logits, self.labels.len()).zip(batch.targets()) {
            let target = usize::try_from(target).ok().filter(|&target| target < self.labels.len());
            let target = target.ok_or_else(|| Error::shape("a target is no class, expected one of `labels`"))?;
            tally[0] += 1.0;
            tally[2 + 3 * choice + 1] += 1.0;
            tally[2 + 3 * target + 2] += 1.0;
            if choice == target {
                tally[1] += 1.0;
                tally[2 + 3 * choice] += 1.0;
            }
        }
        Ok(tally)
    }

    /// `accuracy`, which is micro-F1 where each target is one class, and `macro_f1` over the labels that occur.
    fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        let expected = 2 + 3 * self.labels.len();
        let [targets, right, labels @ ..] = tally else { return Err(not_a_tally(tally.len(), expected)) };
        if tally.len() != expected {
            return Err(not_a_tally(tally.len(), expected));
        }
        let (mut sum, mut occur) = (0.0, 0.0);
        for label in labels.chunks_exact(3).filter(|label| label[1] + label[2] > 0.0) {
            sum += 2.0 * label[0] / (label[1] + label[2]);
            occur += 1.0;
        }
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Ok(vec![Metric::new("accuracy", share(*right, *targets)), Metric::new("macro_f1", share(sum, occur))])
    }

    fn reads_last(&self) -> bool {
        self.input.reads_last()
    }
}

impl RelationClassification {
    /// The tokens around the subject (0) or the object (1).
    fn marker(&self, which: usize, field: &str, record: &Record<'_>, text: &Text<'_>) -> Result<Marker> {
        let mut marker = Marker::of(text.id_of(&self.markers[which])?);
        if self.typed {
            let (of_type, name) = (text.id_of(TYPE_MARKERS[which])?, record.text(field)?);
            marker.open.push(of_type);
            marker.open.extend(text.pieces(&name.replace('_', " ").to_lowercase())?);
            marker.open.push(of_type);
        }
        Ok(marker)
    }

    /// `[targets, labels]`.
    fn logits(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Tensor> {
        let count = batch.targets().len();
        if batch.rows().len() != 2 * count || count < batch.len() {
            return Err(Error::shape(format!(
                "{} examples have {} rows and {count} targets, expected a target or more each, and two rows for every target",
                batch.len(),
                batch.rows().len()
            )));
        }
        // All subjects, then all objects.
        let of = |which: usize| batch.rows().iter().copied().skip(which).step_by(2);
        let rows: Vec<u32> = of(0).chain(of(1)).collect();
        let com = self.com_dense.forward(cx, &self.input.read_rows(cx, last, features, &rows)?)?;
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let subjects: Vec<u32> = (0..count).map(number).collect();
        let objects: Vec<u32> = (count..2 * count).map(number).collect();
        let entities = cx.concat(&[&cx.gather(&com, &subjects)?, &cx.gather(&com, &objects)?])?;
        let dense = cx.dropout(&self.dense.forward(cx, &entities)?, self.dropout)?;
        self.out_proj.forward(cx, &dense)
    }
}

/// What a record says, to draw from.
fn sentence(record: &Record<'_>) -> Result<String> {
    if record.has("token") { Ok(record.texts("token")?.join(" ")) } else { text_of(record).map(str::to_owned) }
}

/// A share, 0 where the key is missing.
fn share(config: &Config, key: &str) -> Result<f64> {
    let share = config.number_or(key, 0.0)?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(Error::config(format!("`{key}` is {share}, expected a share from 0 to 1")))
    }
}

fn not_a_tally(found: usize, expected: usize) -> Error {
    Error::shape(format!("the tally has {found} numbers, expected {expected}"))
}
