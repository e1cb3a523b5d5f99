//! The sizes of a RoBERTa, as its `config.json` states them.

use super::BackboneError;
use serde::Deserialize;

/// The longest `config.json` that is read, in bytes; real ones have about 600.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Sizes above this are refused: no memory has room for such a layer.
const MAX_SIZE: usize = 1 << 20;

/// The network's sizes. All are at least 1 and fit together.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Fields")]
pub struct RobertaConfig {
    /// Columns of every hidden state.
    pub hidden_size: usize,
    /// Transformer layers; hidden states are numbered from 0, the embedding output, to this.
    pub layers: usize,
    /// Attention heads, dividing `hidden_size`.
    pub heads: usize,
    /// Columns inside the feed-forward part.
    pub feed_forward: usize,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// The id whose tokens take no position of their own; positions start one behind it.
    pub pad_token_id: u32,
    /// Rows of the token type table; only the first is used.
    pub token_types: usize,
    /// Added to the variance in every layer normalisation.
    pub layer_norm_eps: f32,
    hidden_act: String,
}

#[derive(Deserialize)]
struct Fields {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "one")]
    pad_token_id: u32,
    #[serde(default = "one_size")]
    type_vocab_size: usize,
    #[serde(default = "epsilon")]
    layer_norm_eps: f32,
    #[serde(default = "gelu")]
    hidden_act: String,
}

fn one() -> u32 {
    1
}

fn one_size() -> usize {
    1
}

fn epsilon() -> f32 {
    1e-5
}

fn gelu() -> String {
    "gelu".into()
}

impl From<Fields> for RobertaConfig {
    fn from(fields: Fields) -> Self {
        Self {
            hidden_size: fields.hidden_size,
            layers: fields.num_hidden_layers,
            heads: fields.num_attention_heads,
            feed_forward: fields.intermediate_size,
            vocabulary: fields.vocab_size,
            positions: fields.max_position_embeddings,
            pad_token_id: fields.pad_token_id,
            token_types: fields.type_vocab_size,
            layer_norm_eps: fields.layer_norm_eps,
            hidden_act: fields.hidden_act,
        }
    }
}

impl RobertaConfig {
    /// Reads a `config.json` in Hugging Face's form.
    ///
    /// # Errors
    /// When it is not one, or its sizes do not fit together.
    pub fn from_json(json: &[u8]) -> Result<Self, BackboneError> {
        let config: Self = serde_json::from_slice(json).map_err(|source| BackboneError::ConfigSyntax { source })?;
        config.check()?;
        Ok(config)
    }

    /// The most tokens a segment can have: positions start behind the pad id.
    pub fn max_tokens(&self) -> usize {
        self.positions - self.pad_token_id as usize - 1
    }

    fn check(&self) -> Result<(), BackboneError> {
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("intermediate_size", self.feed_forward),
            ("vocab_size", self.vocabulary),
            ("max_position_embeddings", self.positions),
            ("type_vocab_size", self.token_types),
        ];
        let refuse = |field, found: String, expected: String| Err(BackboneError::Config { field, found, expected });
        if let Some((field, found)) = sizes.into_iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
            return refuse(field, found.to_string(), format!("1 to {MAX_SIZE}"));
        }
        if !self.hidden_size.is_multiple_of(self.heads) {
            return refuse(
                "num_attention_heads",
                self.heads.to_string(),
                format!("a divisor of hidden_size {}", self.hidden_size),
            );
        }
        if self.pad_token_id as usize + 1 >= self.positions {
            return refuse(
                "pad_token_id",
                self.pad_token_id.to_string(),
                format!("less than max_position_embeddings {} - 1", self.positions),
            );
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps.is_finite()) {
            return refuse("layer_norm_eps", self.layer_norm_eps.to_string(), "a finite number above 0".into());
        }
        if self.hidden_act != "gelu" {
            return refuse("hidden_act", format!("`{}`", self.hidden_act), "`gelu`, the exact one".into());
        }
        Ok(())
    }
}
