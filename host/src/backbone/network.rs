//! The forward pass of RoBERTa (spec: post-norm BERT blocks, exact GELU), over any engine.

use super::{Batch, RobertaConfig};
use crate::tensor::HostEngine;
use kadapter_plugin_api::{Activation, Result, Segments};
use std::collections::{BTreeMap, BTreeSet};

/// A frozen RoBERTa on a device.
#[derive(Debug)]
pub struct Roberta<E: HostEngine> {
    pub(super) config: RobertaConfig,
    pub(super) embeddings: Embeddings<E::Param>,
    pub(super) layers: Vec<Layer<E::Param>>,
}

#[derive(Debug)]
pub(super) struct Embeddings<P> {
    pub(super) words: P,
    /// The position table with the first token type's row added to every row: every token is of that type.
    pub(super) positions: P,
    pub(super) norm: Norm<P>,
}

#[derive(Debug)]
pub(super) struct Layer<P> {
    /// Query, key and value in one product, `[3 · hidden, hidden]`.
    pub(super) query_key_value: Affine<P>,
    pub(super) attention_output: Affine<P>,
    pub(super) attention_norm: Norm<P>,
    pub(super) intermediate: Affine<P>,
    pub(super) output: Affine<P>,
    pub(super) output_norm: Norm<P>,
}

#[derive(Debug)]
pub(super) struct Affine<P> {
    pub(super) weight: P,
    pub(super) bias: P,
}

#[derive(Debug)]
pub(super) struct Norm<P> {
    pub(super) weight: P,
    pub(super) bias: P,
}

/// The hidden states of one pass that somebody asked for, each `[rows, hidden size]`.
#[derive(Clone, Debug)]
pub struct HiddenStates<T> {
    taps: BTreeMap<usize, T>,
    last: T,
}

impl<T> HiddenStates<T> {
    /// The hidden state at a tap, if it was kept.
    pub fn tap(&self, tap: usize) -> Option<&T> {
        self.taps.get(&tap)
    }

    /// The output of the last layer.
    pub fn last(&self) -> &T {
        &self.last
    }
}

impl<E: HostEngine> Roberta<E> {
    /// The network's sizes.
    pub fn config(&self) -> &RobertaConfig {
        &self.config
    }

    /// One pass over a batch, keeping the hidden states in `taps` (0 = embedding output, `i` = output of layer `i`) and the last.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward(&self, engine: &E, batch: &Batch, taps: &BTreeSet<usize>) -> Result<HiddenStates<E::Tensor>> {
        self.forward_from(engine, self.embed(engine, batch)?, batch.attended(), taps)
    }

    /// [`Roberta::forward`] from the embedding output `[rows, hidden size]` on.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward_from(
        &self,
        engine: &E,
        embedded: E::Tensor,
        segments: &Segments,
        taps: &BTreeSet<usize>,
    ) -> Result<HiddenStates<E::Tensor>> {
        self.through(engine, embedded, segments, taps, self.layers.len())
    }

    /// The hidden states in `taps` alone: layers behind the last of them are not computed.
    ///
    /// # Errors
    /// When the device fails.
    pub fn taps(&self, engine: &E, batch: &Batch, taps: &BTreeSet<usize>) -> Result<BTreeMap<usize, E::Tensor>> {
        let layers = taps.last().copied().unwrap_or(0).min(self.layers.len());
        Ok(self.through(engine, self.embed(engine, batch)?, batch.attended(), taps, layers)?.taps)
    }

    /// The hidden states in `taps` as far as the first `layers` layers give them; the output of these is the last one.
    fn through(
        &self,
        engine: &E,
        embedded: E::Tensor,
        segments: &Segments,
        taps: &BTreeSet<usize>,
        layers: usize,
    ) -> Result<HiddenStates<E::Tensor>> {
        let (mut kept, mut state) = (BTreeMap::new(), embedded);
        for (index, layer) in self.layers[..layers].iter().enumerate() {
            if taps.contains(&index) {
                kept.insert(index, state.clone());
            }
            state = self.layer(engine, segments, layer, &state)?;
        }
        if taps.contains(&layers) {
            kept.insert(layers, state.clone());
        }
        Ok(HiddenStates { taps: kept, last: state })
    }

    fn embed(&self, engine: &E, batch: &Batch) -> Result<E::Tensor> {
        let words = engine.embedding(&self.embeddings.words, batch.ids())?;
        let positions = engine.embedding(&self.embeddings.positions, batch.positions())?;
        self.normalise(engine, &words, &positions, &self.embeddings.norm)
    }

    fn layer(&self, engine: &E, segments: &Segments, layer: &Layer<E::Param>, input: &E::Tensor) -> Result<E::Tensor> {
        let hidden = self.config.hidden_size;
        let mixed = {
            let all = affine(engine, input, &layer.query_key_value, Activation::Identity)?;
            let [query, key, value] = [0, hidden, 2 * hidden].map(|start| engine.narrow(&all, start, hidden));
            engine.attention(&query?, &key?, &value?, self.config.heads, segments)?
        };
        let mixed = affine(engine, &mixed, &layer.attention_output, Activation::Identity)?;
        let attended = self.normalise(engine, &mixed, input, &layer.attention_norm)?;
        let wide = affine(engine, &attended, &layer.intermediate, Activation::GeluErf)?;
        let narrow = affine(engine, &wide, &layer.output, Activation::Identity)?;
        drop(wide);
        self.normalise(engine, &narrow, &attended, &layer.output_norm)
    }

    fn normalise(&self, engine: &E, x: &E::Tensor, residual: &E::Tensor, norm: &Norm<E::Param>) -> Result<E::Tensor> {
        engine.add_layer_norm(x, residual, &norm.weight, &norm.bias, self.config.layer_norm_eps)
    }
}

pub(super) fn affine<E: HostEngine>(
    engine: &E,
    x: &E::Tensor,
    layer: &Affine<E::Param>,
    activation: Activation,
) -> Result<E::Tensor> {
    engine.linear(x, &layer.weight, Some(&layer.bias), activation)
}
