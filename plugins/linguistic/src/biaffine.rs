//! A biaffine arc scorer (Dozat and Manning 2017, "Deep biaffine attention for neural dependency parsing", section 2.2).
//!
//! ```text
//! d_i, h_j = relu(arc_dependent(x_i)), relu(arc_head(x_j))
//! score    = (arc_biaffine(d_i)) · h_j = d_iᵀ U h_j + u · h_j          j over <s> (the root) and the first sub-words of other words
//! loss     = mean cross-entropy over words
//! ```

use crate::objective::{NO_GOVERNOR, NO_TOKEN, TOO_LONG, check_targets, left_out, shares};
use crate::sentence::Sentence;
use kadapter_k_adapter::head::{self, HeadInput, MaxLength};
use kadapter_plugin_api::prelude::*;

/// The arc scorer.
///
/// | key | meaning | default |
/// | --- | --- | --- |
/// | `arc_size` | columns that arcs are scored in | 500 |
/// | `dropout` | on what is scored | 0.33 |
#[derive(Debug)]
pub(crate) struct Biaffine {
    max_length: MaxLength,
    input: HeadInput,
    dropout: f32,
    dependent: Linear,
    head: Linear,
    biaffine: Linear,
}

/// Added to the score of a row that no word can have as its head: finite, as the op table's own.
const NO_HEAD: f32 = kadapter_plugin_api::NO_PARTNER;

/// Numbers of a tally: words, words right.
const TALLY: usize = 2;

impl Biaffine {
    pub(crate) fn build(config: &Config, backbone: &Backbone, params: &Params) -> Result<Self> {
        let (size, input) = (config.size_or("arc_size", 500)?, HeadInput::from_config(config)?);
        let columns = input.columns(backbone.hidden_size());
        Ok(Self {
            max_length: MaxLength::from_config(config)?,
            dropout: head::dropout(config, 0.33)?,
            dependent: Linear::new(&params.scope("arc_dependent"), columns, size)?,
            head: Linear::new(&params.scope("arc_head"), columns, size)?,
            biaffine: Linear::new(&params.scope("arc_biaffine"), size, size)?,
            input,
        })
    }

    pub(crate) fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
        let (longest, sentence) = (self.max_length.checked(text)?, Sentence::read(record)?);
        let Some(governors) = sentence.all_governors() else { return left_out(NO_GOVERNOR) };
        let Some(tokens) = sentence.tokens(text)? else { return left_out(NO_TOKEN) };
        if tokens.segment.len() > longest {
            return left_out(TOO_LONG);
        }
        let targets: Vec<i64> =
            governors.iter().map(|&governor| i64::try_from(tokens.row(governor)).unwrap_or(i64::MAX)).collect();
        Ok(Encoded::Example(Example::new(tokens.segment).with_rows(tokens.first).with_targets(targets)))
    }

    pub(crate) fn loss(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Loss> {
        let scores = self.scores(cx, batch, last, features)?;
        Ok(Loss { value: cx.cross_entropy(&scores, batch.targets())?, weight: batch.targets().len() as f64 })
    }

    pub(crate) fn tally(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Vec<f64>> {
        let scores = self.scores(cx, batch, last, features)?;
        let values = cx.read_f32(&scores)?;
        let right = |(choice, &target): (usize, &i64)| usize::try_from(target).is_ok_and(|target| target == choice);
        let right = head::choices(&values, scores.columns()).zip(batch.targets()).filter(|&pair| right(pair)).count();
        Ok(vec![batch.targets().len() as f64, right as f64])
    }

    /// `uas`, the share of words whose head is the best-scored one; no tree is enforced.
    pub(crate) fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        shares(tally, [("uas", 1, 0)], TALLY)
    }

    /// Per word, the scores of every row of its segment, `[words, longest segment]`.
    fn scores(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Tensor> {
        check_targets(batch)?;
        let x = self.input.read(cx, last, features)?;
        let wide = |layer: &Linear| cx.dropout(&layer.forward_activated(cx, &x, Activation::Relu)?, self.dropout);
        let (dependents, heads) = (wide(&self.dependent)?, wide(&self.head)?);
        let scores = cx.segment_matmul(&self.biaffine.forward(cx, &dependents)?, &heads)?;
        let scores = cx.gather(&scores, batch.rows())?;
        let candidates = candidates(cx, batch, scores.columns())?;
        cx.add(&scores, &candidates)
    }
}

/// Per word, 0 for the rows that can be its head and [`NO_HEAD`] for others, `[words, columns]`.
fn candidates(cx: &Context<'_>, batch: &Batch, columns: usize) -> Result<Tensor> {
    let words = batch.rows().len();
    let mut values = Vec::with_capacity(words * columns);
    let mut start = 0;
    for (length, example) in cx.segment_lengths().into_iter().zip(batch.examples()) {
        let place = |&row: &u32| usize::try_from(row).unwrap_or(usize::MAX).wrapping_sub(start);
        let mut row = vec![NO_HEAD; columns];
        for at in example.rows.iter().map(place).chain([0]) {
            if let Some(value) = row.get_mut(at) {
                *value = 0.0;
            }
        }
        for word in example.rows.iter().map(place) {
            values.extend(row.iter().enumerate().map(|(at, &value)| if at == word { NO_HEAD } else { value }));
        }
        start += length;
    }
    cx.from_f32(words, columns, &values)
}
