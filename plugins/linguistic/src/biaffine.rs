//! A biaffine parser (Dozat and Manning 2017, "Deep biaffine attention for neural dependency parsing", section 2.2): arcs, and their
//! labels where the data have them.
//!
//! ```text
//! d_i, h_j = relu(arc_dependent(x_i)), relu(arc_head(x_j))
//! score    = (arc_biaffine(d_i)) · h_j = d_iᵀ U h_j + u · h_j          j over <s> (the root) and the first sub-words of other words
//! label    = label_out([e_i ; g_j ; e_i ∘ g_j])                        e, g as d, h with layers of their own, j the head of i
//! loss     = mean cross-entropy of heads (+ that of labels)
//! ```
//!
//! With `markers` a pair of markers stands around a word of some sentences, as tasks put them around entities, and the opening one is
//! to find the head of its word: what an adapter is asked for at such a row downstream.

use crate::markers::Markers;
use crate::objective::{NO_GOVERNOR, NO_TOKEN, TOO_LONG, left_out, shares};
use crate::sentence::Sentence;
use kadapter_k_adapter::head::{self, HeadInput, MaxLength};
use kadapter_plugin_api::prelude::*;
use std::collections::BTreeMap;

/// The parser.
///
/// | key | meaning | default |
/// | --- | --- | --- |
/// | `arc_size` | columns that arcs are scored in | 500 |
/// | `deprels` | the labels of arcs, in the order of the classes; none scores no labels, and `deprels` of records is not read | none |
/// | `label_size` | columns that labels are scored in | 100 |
/// | `dropout` | on what is scored | 0.33 |
/// | `markers` | the share of sentences with markers around a word, `subject_marker` or `object_marker` (`@`, `#`) | 0 |
#[derive(Debug)]
pub(crate) struct Biaffine {
    max_length: MaxLength,
    input: HeadInput,
    markers: Markers,
    dropout: f32,
    dependent: Linear,
    head: Linear,
    biaffine: Linear,
    labels: Option<Labels>,
}

/// The scorer of labels.
#[derive(Debug)]
struct Labels {
    classes: BTreeMap<String, i64>,
    dependent: Linear,
    head: Linear,
    out: Linear,
}

/// Added to the score of a row that no word can have as its head: finite, as the op table's own.
const NO_HEAD: f32 = kadapter_plugin_api::NO_PARTNER;
/// What stands in an example's numbers for each place.
const WORD: f32 = 1.0;
const MARKER: f32 = 0.0;

/// Numbers of a tally: words, words right, words right with their label, markers, markers right.
const TALLY: usize = 5;

impl Biaffine {
    pub(crate) fn build(config: &Config, backbone: &Backbone, params: &Params) -> Result<Self> {
        let (size, hidden) = (config.size_or("arc_size", 500)?, backbone.hidden_size());
        let input = HeadInput::build(config, hidden, params)?;
        let columns = input.columns(hidden);
        Ok(Self {
            max_length: MaxLength::from_config(config)?,
            markers: Markers::from_config(config)?,
            dropout: head::dropout(config, 0.33)?,
            dependent: Linear::new(&params.scope("arc_dependent"), columns, size)?,
            head: Linear::new(&params.scope("arc_head"), columns, size)?,
            biaffine: Linear::new(&params.scope("arc_biaffine"), size, size)?,
            labels: Labels::build(config, columns, params)?,
            input,
        })
    }

    pub(crate) fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
        let (longest, sentence) = (self.max_length.checked(text)?, Sentence::read(record)?);
        let Some(governors) = sentence.all_governors() else { return left_out(NO_GOVERNOR) };
        let Some(mut tokens) = sentence.tokens(text)? else { return left_out(NO_TOKEN) };
        let marked = self.markers.insert(&sentence, &mut tokens, text)?;
        if tokens.segment.len() > longest {
            return left_out(TOO_LONG);
        }
        let head = |word: usize| i64::try_from(tokens.row(governors[word])).unwrap_or(i64::MAX);
        let words = 0..governors.len();
        let mut targets: Vec<i64> = words.clone().map(head).collect();
        targets.extend(marked.map(|marked| head(marked.word)));
        if let Some(labels) = &self.labels {
            let classes = labels.classes(record, governors.len())?;
            targets.extend(words.map(|word| classes[word]));
            targets.extend(marked.map(|marked| classes[marked.word]));
        }
        let numbers = governors.iter().map(|_| WORD).chain(marked.map(|_| MARKER));
        let rows: Vec<usize> = tokens.first.iter().copied().chain(marked.map(|marked| marked.row)).collect();
        Ok(Encoded::Example(Example::new(tokens.segment).with_rows(rows).with_targets(targets).with_numbers(numbers)))
    }

    pub(crate) fn loss(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Loss> {
        let x = self.input.read(cx, last, features)?;
        let targets = self.targets(batch)?;
        let mut value = cx.cross_entropy(&self.scores(cx, batch, &x)?, &targets.heads)?;
        if let Some(labels) = &self.labels {
            let rows = head_rows(cx, batch, targets.heads.iter().copied());
            let logits = labels.logits(cx, batch, &x, &rows, self.dropout)?;
            value = cx.add(&value, &cx.cross_entropy(&logits, &targets.labels)?)?;
        }
        Ok(Loss { value, weight: targets.heads.len() as f64 })
    }

    pub(crate) fn tally(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Vec<f64>> {
        let x = self.input.read(cx, last, features)?;
        let (targets, scores) = (self.targets(batch)?, self.scores(cx, batch, &x)?);
        let heads: Vec<usize> = head::choices(&cx.read_f32(&scores)?, scores.columns()).collect();
        let chosen = heads.iter().map(|&head| i64::try_from(head).unwrap_or(i64::MAX));
        let labels = match &self.labels {
            None => vec![usize::MAX; heads.len()],
            Some(labels) => {
                let rows = head_rows(cx, batch, chosen.clone());
                let logits = labels.logits(cx, batch, &x, &rows, 0.0)?;
                head::choices(&cx.read_f32(&logits)?, logits.columns()).collect()
            }
        };
        let mut tally = [0.0; TALLY];
        for (place, (head, &target)) in chosen.zip(&targets.heads).enumerate() {
            let right = head == target;
            let label = targets.labels.get(place).is_some_and(|&label| usize::try_from(label) == Ok(labels[place]));
            let counted = if batch.numbers()[place] == WORD {
                [true, right, right && label, false, false]
            } else {
                [false, false, false, true, right]
            };
            for (sum, counts) in tally.iter_mut().zip(counted) {
                *sum += f64::from(u8::from(counts));
            }
        }
        Ok(tally.to_vec())
    }

    /// See [`kadapter_plugin_api::Objective::reads_last`].
    pub(crate) fn reads_last(&self) -> bool {
        self.input.reads_last()
    }

    /// `uas`, the share of words whose head is the best-scored one (no tree is enforced); `las`, with the right label too, where labels
    /// are scored; `marker_uas` where markers are put in.
    pub(crate) fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        let [uas, las, markers] = shares(tally, [("uas", 1, 0), ("las", 2, 0), ("marker_uas", 4, 3)], TALLY)?;
        let mut metrics = vec![uas];
        metrics.extend(self.labels.is_some().then_some(las));
        metrics.extend(self.markers.are_used().then_some(markers));
        Ok(metrics)
    }

    /// Per place, the scores of every row of its segment, `[places, longest segment]`.
    fn scores(&self, cx: &Context<'_>, batch: &Batch, x: &Tensor) -> Result<Tensor> {
        let (dependents, heads) = (wide(cx, &self.dependent, x, self.dropout)?, wide(cx, &self.head, x, self.dropout)?);
        let scores = cx.segment_matmul(&self.biaffine.forward(cx, &dependents)?, &heads)?;
        let scores = cx.gather(&scores, batch.rows())?;
        let candidates = candidates(cx, batch, scores.columns())?;
        cx.add(&scores, &candidates)
    }

    /// The heads and labels of all places, in their order.
    fn targets(&self, batch: &Batch) -> Result<Targets> {
        let parts = 1 + usize::from(self.labels.is_some());
        let mut targets = Targets::default();
        for example in batch.examples() {
            let places = example.rows.len();
            if example.targets.len() != parts * places || example.numbers.len() != places {
                return Err(Error::shape(format!(
                    "an example has {places} places, {} targets and {} numbers, expected {parts} and 1 for each place",
                    example.targets.len(),
                    example.numbers.len()
                )));
            }
            targets.heads.extend_from_slice(&example.targets[..places]);
            targets.labels.extend_from_slice(&example.targets[places..]);
        }
        Ok(targets)
    }
}

#[derive(Default)]
struct Targets {
    heads: Vec<i64>,
    labels: Vec<i64>,
}

impl Labels {
    fn build(config: &Config, columns: usize, params: &Params) -> Result<Option<Self>> {
        let (names, size) = (config.texts("deprels")?, config.size_or("label_size", 100)?);
        let mut classes = BTreeMap::new();
        for (class, name) in (0..).zip(&names) {
            if classes.insert(name.clone(), class).is_some() {
                return Err(Error::config(format!("`deprels` names `{name}` twice, expected each label once")));
            }
        }
        if names.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            classes,
            dependent: Linear::new(&params.scope("label_dependent"), columns, size)?,
            head: Linear::new(&params.scope("label_head"), columns, size)?,
            out: Linear::new(&params.scope("label_out"), 3 * size, names.len())?,
        }))
    }

    /// The class of every word's label.
    fn classes(&self, record: &Record<'_>, words: usize) -> Result<Vec<i64>> {
        let names = record.texts("deprels")?;
        if names.len() != words {
            return Err(Error::new(format!(
                "`deprels` has {} labels, expected one for each of {words} words",
                names.len()
            )));
        }
        let class = |name: &&str| {
            self.classes.get(*name).copied().ok_or_else(|| {
                Error::new(format!(
                    "the label is `{name}`, expected one of the {} in `deprels` of the configuration",
                    self.classes.len()
                ))
            })
        };
        names.iter().map(class).collect()
    }

    /// `[places, labels]`, for the head of each place in `heads`, rows of the batch.
    fn logits(&self, cx: &Context<'_>, batch: &Batch, x: &Tensor, heads: &[u32], dropout: f32) -> Result<Tensor> {
        let dependents = wide(cx, &self.dependent, &cx.gather(x, batch.rows())?, dropout)?;
        let heads = wide(cx, &self.head, &cx.gather(x, heads)?, dropout)?;
        let both = cx.mul(&dependents, &heads)?;
        self.out.forward(cx, &cx.concat(&[&dependents, &heads, &both])?)
    }
}

fn wide(cx: &Context<'_>, layer: &Linear, x: &Tensor, dropout: f32) -> Result<Tensor> {
    cx.dropout(&layer.forward_activated(cx, x, Activation::Relu)?, dropout)
}

/// Rows of segments as rows of the batch: one for each place.
fn head_rows(cx: &Context<'_>, batch: &Batch, heads: impl Iterator<Item = i64>) -> Vec<u32> {
    let (mut start, mut starts) = (0, Vec::with_capacity(batch.rows().len()));
    for (length, example) in cx.segment_lengths().into_iter().zip(batch.examples()) {
        starts.extend(example.rows.iter().map(|_| start));
        start += length;
    }
    let row = |(head, start): (i64, usize)| {
        u32::try_from(start.saturating_add(usize::try_from(head).unwrap_or(usize::MAX))).unwrap_or(u32::MAX)
    };
    heads.zip(starts).map(row).collect()
}

/// Per place, 0 for the rows of its text that can be a head (words, and the token that opens it, for the root) and [`NO_HEAD`] for
/// others, `[places, columns]`. A word may find itself: no tree has that, but a control whose heads are permuted does.
fn candidates(cx: &Context<'_>, batch: &Batch, columns: usize) -> Result<Tensor> {
    let places = batch.rows().len();
    let mut values = Vec::with_capacity(places * columns);
    let mut start = 0;
    for (length, example) in cx.segment_lengths().into_iter().zip(batch.examples()) {
        let mut row = vec![NO_HEAD; columns];
        let words = example.rows.iter().zip(example.numbers).filter(|(_, kind)| **kind == WORD);
        for at in words.map(|(&row, _)| usize::try_from(row).unwrap_or(usize::MAX).wrapping_sub(start)).chain([0]) {
            if let Some(value) = row.get_mut(at) {
                *value = 0.0;
            }
        }
        example.rows.iter().for_each(|_| values.extend_from_slice(&row));
        start += length;
    }
    cx.from_f32(places, columns, &values)
}
