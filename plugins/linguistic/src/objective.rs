//! Dependency heads: which word governs each word of a sentence.

use crate::biaffine::Biaffine;
use crate::official::Official;
use kadapter_plugin_api::prelude::*;

/// The objective, with one of two heads.
///
/// | key | meaning | default |
/// | --- | --- | --- |
/// | `head` | `biaffine` (Dozat and Manning 2017) or `official` (`lin-adapter.py`) | `biaffine` |
/// | `max_length` | tokens of a segment; longer sentences are left out | 64 |
/// | `inputs` | what the head reads: `both` (last hidden state and features), `features` or `normalized` (features, each row normalised) | `both` |
///
/// The further keys of each head stand there. A record is a sentence: `words` and `heads` (numbered from 1, 0 the root), or the
/// official `sent`, `tokens` and `pairs`.
#[derive(Debug)]
pub(crate) enum DependencyHeads {
    Biaffine(Biaffine),
    Official(Official),
}

impl Objective for DependencyHeads {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        match config.text_or("head", "biaffine")?.as_str() {
            "biaffine" => Biaffine::build(config, backbone, params).map(Self::Biaffine),
            "official" => Official::build(config, backbone, params).map(Self::Official),
            other => Err(Error::config(format!("`head` is `{other}`, expected `biaffine` or `official`"))),
        }
    }

    fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
        match self {
            Self::Biaffine(head) => head.encode(record, text),
            Self::Official(head) => head.encode(record, text),
        }
    }

    fn loss(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Loss> {
        match self {
            Self::Biaffine(head) => head.loss(cx, batch, last, features),
            Self::Official(head) => head.loss(cx, batch, last, features),
        }
    }

    fn tally(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Vec<f64>> {
        match self {
            Self::Biaffine(head) => head.tally(cx, batch, last, features),
            Self::Official(head) => head.tally(cx, batch, last, features),
        }
    }

    fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        match self {
            Self::Biaffine(head) => head.metrics(tally),
            Self::Official(head) => head.metrics(tally),
        }
    }

    fn reads_last(&self) -> bool {
        match self {
            Self::Biaffine(head) => head.reads_last(),
            Self::Official(head) => head.reads_last(),
        }
    }
}

/// Why a sentence is left out.
pub(crate) const TOO_LONG: &str = "the sentence is longer than `max_length`";
/// Likewise.
pub(crate) const NO_GOVERNOR: &str = "a word has no head";
/// Likewise.
pub(crate) const NO_TOKEN: &str = "a word has no token in the backbone's vocabulary";

pub(crate) fn left_out(reason: &str) -> Result<Encoded> {
    Ok(Encoded::LeftOut(reason.to_owned()))
}

/// Shares of a tally of `length` numbers: each a name, what is right and of what.
pub(crate) fn shares<const N: usize>(
    tally: &[f64],
    named: [(&str, usize, usize); N],
    length: usize,
) -> Result<[Metric; N]> {
    if tally.len() != length {
        return Err(Error::shape(format!("the tally has {} numbers, expected {length}", tally.len())));
    }
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    Ok(named.map(|(name, right, of)| Metric::new(name, share(tally[right], tally[of]))))
}

/// Every example needs as many targets as places.
pub(crate) fn check_targets(batch: &Batch) -> Result<()> {
    match batch.examples().find(|example| example.rows.len() != example.targets.len()) {
        None => Ok(()),
        Some(example) => Err(Error::shape(format!(
            "an example has {} places and {} targets, expected as many",
            example.rows.len(),
            example.targets.len()
        ))),
    }
}
