//! The head of the masked language model, where a package has kept it: a word for a hidden state.
//!
//! `logits = LayerNorm(gelu(dense(h))) · Wᵀ + bias`, with `W` the word table of the embeddings (RoBERTa ties them).

use super::RobertaConfig;
use super::load::WORDS;
use super::network::{Affine, Norm, affine};
use crate::error::Error;
use crate::parameters::{self, Declared, ParametersError};
use crate::tensor::HostEngine;
use crate::weights;
use kadapter_plugin_api::{Activation, Result as EngineResult, Role};
use kadapter_registry::project::FileRef;
use std::collections::BTreeMap;

/// What stands before the names of its tensors.
const PREFIX: &str = "lm_head.";
const BIAS: &str = "lm_head.bias";

/// The head over a part of the vocabulary.
#[derive(Debug)]
pub struct MaskHead<E: HostEngine> {
    dense: Affine<E::Param>,
    norm: Norm<E::Param>,
    decoder: Affine<E::Param>,
    epsilon: f32,
}

impl<E: HostEngine> MaskHead<E> {
    /// Reads the head from a backbone's weights file, for the words at these places of the vocabulary, at least one; `None` where
    /// the file has no head.
    ///
    /// # Errors
    /// When the file is not the promised one, or the head is not whole or of another shape.
    pub fn load(engine: &E, config: &RobertaConfig, file: &FileRef, words: &[u32]) -> Result<Option<Self>, Error> {
        let expected = weights::Expected { digest: file.digest, size: file.size };
        let mut reader = weights::Reader::open(&file.path, Some(expected))?;
        let tensors = reader.header().tensors();
        if !tensors.iter().any(|tensor| tensor.name.starts_with(PREFIX)) {
            return Ok(None);
        }
        let is_foreign = |name: &str| name != WORDS && !name.starts_with(PREFIX);
        parameters::check(WHAT, tensors, &declared(config), is_foreign)?;
        let mut values = BTreeMap::new();
        while let Some(tensor) = reader.next_tensor()? {
            let name = tensor.info().name.clone();
            if is_foreign(&name) {
                continue;
            }
            let mut read = tensor.read_f32()?;
            if name == WORDS {
                read = picked(&read, config.hidden_size, words);
            } else if name == BIAS {
                read = picked(&read, 1, words);
            }
            values.insert(name, read);
        }
        reader.finish()?;
        let mut take = |name: &str| {
            let missing = || ParametersError::Missing { what: WHAT.into(), declared: 1, names: vec![name.to_owned()] };
            values.remove(name).ok_or_else(missing)
        };
        let hidden = config.hidden_size;
        let [dense, dense_bias] = [take("lm_head.dense.weight")?, take("lm_head.dense.bias")?];
        let [norm, norm_bias] = [take("lm_head.layer_norm.weight")?, take("lm_head.layer_norm.bias")?];
        let [decoder, decoder_bias] = [take(WORDS)?, take(BIAS)?];
        let upload = || -> EngineResult<Self> {
            Ok(Self {
                dense: Affine {
                    weight: engine.upload_linear(hidden, hidden, dense)?,
                    bias: engine.upload_vector(dense_bias)?,
                },
                norm: Norm { weight: engine.upload_vector(norm)?, bias: engine.upload_vector(norm_bias)? },
                decoder: Affine {
                    weight: engine.upload_linear(words.len(), hidden, decoder)?,
                    bias: engine.upload_vector(decoder_bias)?,
                },
                epsilon: config.layer_norm_eps,
            })
        };
        upload().map(Some).map_err(Error::compute)
    }

    /// The logits `[rows, words]` of last hidden states `[rows, hidden size]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward(&self, engine: &E, states: &E::Tensor) -> EngineResult<E::Tensor> {
        let dense = affine(engine, states, &self.dense, Activation::GeluErf)?;
        let normed = engine.layer_norm(&dense, &self.norm.weight, &self.norm.bias, self.epsilon)?;
        affine(engine, &normed, &self.decoder, Activation::Identity)
    }
}

/// What errors call it.
const WHAT: &str = "the backbone's masked language model";

fn declared(config: &RobertaConfig) -> Vec<Declared> {
    let (hidden, vocabulary) = (config.hidden_size, config.vocabulary);
    let tensor = |name: &str, shape: &[usize]| {
        let role = if shape.len() == 2 { Role::LinearWeight } else { Role::Vector };
        Declared { name: name.to_owned(), shape: shape.to_vec(), role }
    };
    vec![
        tensor(WORDS, &[vocabulary, hidden]),
        tensor("lm_head.dense.weight", &[hidden, hidden]),
        tensor("lm_head.dense.bias", &[hidden]),
        tensor("lm_head.layer_norm.weight", &[hidden]),
        tensor("lm_head.layer_norm.bias", &[hidden]),
        tensor(BIAS, &[vocabulary]),
    ]
}

/// Some rows of `width` values; those that are not there are zero.
fn picked(values: &[f32], width: usize, rows: &[u32]) -> Vec<f32> {
    let mut picked = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        let start = row as usize * width;
        match values.get(start..start + width) {
            Some(row) => picked.extend_from_slice(row),
            None => picked.resize(picked.len() + width, 0.0),
        }
    }
    picked
}
