//! The head of `lin-adapter.py`, quirks included.
//!
//! ```text
//! com    = com_dense([last ; features])                              every row
//! c      = LayerNorm(com + dropout(dense(attention(com))))           one head, pads hidden
//! logits = out_proj(dropout(dense(c)))                               one class per slot of a padded segment
//! loss   = mean cross-entropy over the slots that count
//! ```
//!
//! The class of a word is the place of its governor's first sub-word, counted from 1 (`<s>`, which stands for the root too).

use crate::objective::{NO_GOVERNOR, NO_TOKEN, TOO_LONG, check_targets, left_out, shares};
use crate::sentence::Sentence;
use kadapter_k_adapter::head::{self, HeadInput, MaxLength};
use kadapter_plugin_api::prelude::*;

/// The official head.
///
/// | key | meaning | default, as published | instead |
/// | --- | --- | --- | --- |
/// | `label_slots` | where a word's class stands: at the slot of its number, though sub-words shift the tokens, or at its first sub-word | `word_slot` | `first_subword` |
/// | `last_word` | what becomes of a sentence whose last word governs another | `drop` | `keep` |
/// | `loss_slots` | which slots count: all of the text, those without a word with class 0, or words alone | `mask` | `words` |
/// | `dropout` | on attention probabilities, its output and before the last layer | 0.1 | |
#[derive(Debug)]
pub(crate) struct Official {
    max_length: MaxLength,
    input: HeadInput,
    at_first_subword: bool,
    keeps_last_word: bool,
    words_alone: bool,
    dropout: f32,
    self_attention: SelfAttention,
    com_dense: Linear,
    dense: Linear,
    out_proj: Linear,
}

/// BERT's attention block with one head.
#[derive(Debug)]
struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    norm: LayerNorm,
}

const EPSILON: f32 = 1e-5;
/// The class of a slot without a word.
const NO_WORD: i64 = 0;
/// What cross-entropy ignores.
const IGNORED: i64 = -1;

/// Numbers of a tally: words, words right, slots, slots right, slots right by attention.
const TALLY: usize = 5;

impl Official {
    pub(crate) fn build(config: &Config, backbone: &Backbone, params: &Params) -> Result<Self> {
        let (hidden, max_length) = (backbone.hidden_size(), MaxLength::from_config(config)?);
        let input = HeadInput::build(config, hidden, params)?;
        let attention = params.scope("self_attention");
        let linear = |name: &str| Linear::new(&attention.scope(name), hidden, hidden);
        Ok(Self {
            at_first_subword: switch(config, "label_slots", ["word_slot", "first_subword"])?,
            keeps_last_word: switch(config, "last_word", ["drop", "keep"])?,
            words_alone: switch(config, "loss_slots", ["mask", "words"])?,
            dropout: head::dropout(config, 0.1)?,
            self_attention: SelfAttention {
                query: linear("self.query")?,
                key: linear("self.key")?,
                value: linear("self.value")?,
                dense: linear("output.dense")?,
                norm: LayerNorm::new(&attention.scope("output.LayerNorm"), hidden, EPSILON)?,
            },
            com_dense: Linear::new(&params.scope("com_dense"), input.columns(hidden), hidden)?,
            dense: Linear::new(&params.scope("dense"), hidden, hidden)?,
            out_proj: Linear::new(&params.scope("out_proj"), hidden, max_length.get())?,
            max_length,
            input,
        })
    }

    pub(crate) fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
        let (longest, sentence) = (self.max_length.checked(text)?, Sentence::read(record)?);
        let Some(governors) = sentence.all_governors() else { return left_out(NO_GOVERNOR) };
        if !self.keeps_last_word && governors.contains(&governors.len()) {
            return left_out("the last word governs another, which the official code leaves out");
        }
        let Some(tokens) = sentence.tokens(text)? else { return left_out(NO_TOKEN) };
        // At `max_length` too, and the last class is never used.
        if tokens.segment.len() >= longest {
            return left_out(TOO_LONG);
        }
        let rows = tokens.segment.len();
        let mut targets = vec![if self.words_alone { IGNORED } else { NO_WORD }; rows];
        for (word, &governor) in governors.iter().enumerate() {
            let slot = if self.at_first_subword { tokens.first[word] } else { word + 1 };
            targets[slot] = i64::try_from(tokens.row(governor) + 1).unwrap_or(i64::MAX);
        }
        Ok(Encoded::Example(Example::new(tokens.segment).with_rows(0..rows).with_targets(targets)))
    }

    pub(crate) fn loss(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Loss> {
        check_targets(batch)?;
        let logits = self.logits(cx, batch, &self.com(cx, last, features)?)?;
        let counting = batch.targets().iter().filter(|&&target| target >= 0).count();
        Ok(Loss { value: cx.cross_entropy(&logits, batch.targets())?, weight: counting as f64 })
    }

    pub(crate) fn tally(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Vec<f64>> {
        check_targets(batch)?;
        let com = self.com(cx, last, features)?;
        let logits = cx.read_f32(&self.logits(cx, batch, &com)?)?;
        let attended = self.attended(cx, batch, &com)?;
        let mut tally = [0.0; TALLY];
        let choices = head::choices(&logits, self.max_length.get());
        for ((choice, attended), &target) in choices.zip(attended).zip(batch.targets()) {
            let right = usize::try_from(target).is_ok_and(|target| target == choice);
            if target > NO_WORD {
                tally[0] += 1.0;
                tally[1] += f64::from(u8::from(right));
            }
            if target >= NO_WORD {
                tally[2] += 1.0;
                tally[3] += f64::from(u8::from(right));
                tally[4] += f64::from(u8::from(usize::try_from(target).is_ok_and(|target| target == attended)));
            }
        }
        Ok(tally.to_vec())
    }

    /// See [`kadapter_plugin_api::Objective::reads_last`].
    pub(crate) fn reads_last(&self) -> bool {
        self.input.reads_last()
    }

    /// `uas` over words, and the official `accuracy` and `attention_accuracy` over the slots that count (the official code takes the mean
    /// over batches instead).
    pub(crate) fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        shares(tally, [("uas", 1, 0), ("accuracy", 3, 2), ("attention_accuracy", 4, 2)], TALLY).map(Into::into)
    }

    /// `com_dense` of every row.
    fn com(&self, cx: &Context<'_>, last: &Tensor, features: &Tensor) -> Result<Tensor> {
        self.com_dense.forward(cx, &self.input.read(cx, last, features)?)
    }

    /// `[slots of the text, max_length]`.
    fn logits(&self, cx: &Context<'_>, batch: &Batch, com: &Tensor) -> Result<Tensor> {
        let attended = self.self_attention.forward(cx, com, self.dropout)?;
        let dense = self.dense.forward(cx, &cx.gather(&attended, batch.rows())?)?;
        self.out_proj.forward(cx, &cx.dropout(&dense, self.dropout)?)
    }

    /// Per slot of the text, the row of its segment that looks at it most: the official code takes the maximum over queries, and
    /// compares the row, which counts from 0, with a class, which counts from 1.
    fn attended(&self, cx: &Context<'_>, batch: &Batch, com: &Tensor) -> Result<Vec<usize>> {
        let scores = cx.read_f32(&self.self_attention.scores(cx, com)?)?;
        let lengths = cx.segment_lengths();
        let columns = scores.len() / lengths.iter().sum::<usize>().max(1);
        let (mut attended, mut start) = (Vec::with_capacity(batch.rows().len()), 0);
        for (length, example) in lengths.into_iter().zip(batch.examples()) {
            // The slots behind the text are pads: queries, but no keys.
            let keys = example.rows.len().min(columns);
            let mut best = vec![(f32::NEG_INFINITY, 0); keys];
            for query in 0..length {
                let row = &scores[(start + query) * columns..][..keys];
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = row.iter().map(|score| (score - largest).exp()).sum();
                for (best, score) in best.iter_mut().zip(row) {
                    let probability = (score - largest).exp() / sum;
                    if probability > best.0 {
                        *best = (probability, query);
                    }
                }
            }
            attended.extend(best.into_iter().map(|(_, query)| query));
            start += length;
        }
        Ok(attended)
    }
}

impl SelfAttention {
    fn forward(&self, cx: &Context<'_>, x: &Tensor, dropout: f32) -> Result<Tensor> {
        let (query, key, value) = (self.query.forward(cx, x)?, self.key.forward(cx, x)?, self.value.forward(cx, x)?);
        let mixed = self.dense.forward(cx, &cx.attention_dropout(&query, &key, &value, 1, dropout)?)?;
        self.norm.forward_residual(cx, &cx.dropout(&mixed, dropout)?, x)
    }

    /// What the softmax of the attention is over, `[rows, longest segment]`.
    fn scores(&self, cx: &Context<'_>, x: &Tensor) -> Result<Tensor> {
        let query = self.query.forward(cx, x)?;
        let query = cx.scale(&query, 1.0 / (x.columns() as f32).sqrt())?;
        cx.segment_matmul(&query, &self.key.forward(cx, x)?)
    }
}

/// Whether a key has the second of two words; the first is the default.
fn switch(config: &Config, key: &str, [official, other]: [&str; 2]) -> Result<bool> {
    match config.text_or(key, official)? {
        word if word == official => Ok(false),
        word if word == other => Ok(true),
        word => Err(Error::config(format!("`{key}` is `{word}`, expected `{official}` or `{other}`"))),
    }
}
