//! The `config.json` of a BERT or RoBERTa: read, checked, and written as a RoBERTa's.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Error;
use super::tokenizer::Tokenizer;

/// Rows that a BERT's position table gets in front, so that its position 0 becomes RoBERTa's first, 2.
pub(super) const BERT_SHIFT: usize = 2;
/// Sizes above this are refused: no memory has room for such a layer.
const MAX_SIZE: usize = 1 << 20;
/// Layers above this are refused: a weights file may have 4,096 tensors, and a layer has 16.
const MAX_LAYERS: usize = 255;

/// Which layout a checkpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// RoBERTa.
    Roberta,
    /// BERT, laid out as RoBERTa by the import.
    Bert,
}

impl Family {
    /// Its name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Roberta => "RoBERTa",
            Self::Bert => "BERT",
        }
    }
}

/// The sizes of the network, checked.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) family: Family,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) vocab_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) type_vocab_size: usize,
    /// The id in the model's sense: positions start behind it.
    pub(super) pad_token_id: u32,
    /// The id that the tokenizer pads with, when the file says that it is another one.
    pub(super) tokenizer_pad_token_id: Option<u32>,
    pub(super) bos_token_id: Option<u32>,
    pub(super) eos_token_id: Option<u32>,
    layer_norm_eps: f64,
    hidden_dropout: f64,
    attention_dropout: f64,
    initializer_range: f64,
}

/// The file as it is.
#[derive(Deserialize)]
struct Fields {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "one")]
    type_vocab_size: usize,
    pad_token_id: Option<u32>,
    tokenizer_pad_token_id: Option<u32>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    embedding_size: Option<usize>,
    #[serde(default)]
    pruned_heads: serde_json::Map<String, Value>,
    layer_norm_eps: Option<f64>,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
    initializer_range: Option<f64>,
}

fn one() -> usize {
    1
}

impl Config {
    /// Reads the file's bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], or [`Error::Setting`] for what is not computed here.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let fields: Fields =
            serde_json::from_slice(bytes).map_err(|source| Error::Json { path: path.to_owned(), source })?;
        let refuse = |field, found: String, expected: &str| {
            Err(Error::Setting { path: path.to_owned(), field, found, expected: expected.to_owned() })
        };
        let family = match (fields.model_type.as_deref(), fields.architectures.as_deref().unwrap_or_default()) {
            (Some("roberta"), _) => Family::Roberta,
            (Some("bert"), _) => Family::Bert,
            (None, [name, ..]) if name.starts_with("Roberta") => Family::Roberta,
            (None, [name, ..]) if name.starts_with("Bert") => Family::Bert,
            (found, _) => {
                return refuse("model_type", format!("`{}`", found.unwrap_or("missing")), "`roberta` or `bert`");
            }
        };
        if let Some(act) = fields.hidden_act.as_deref().filter(|act| *act != "gelu") {
            return refuse("hidden_act", format!("`{act}`"), "`gelu`, the one with the error function");
        }
        if let Some(kind) = fields.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return refuse("position_embedding_type", format!("`{kind}`"), "`absolute`");
        }
        if fields.is_decoder {
            return refuse("is_decoder", "true".to_owned(), "false: every token sees every other");
        }
        if !fields.pruned_heads.is_empty() {
            return refuse("pruned_heads", Value::from(fields.pruned_heads).to_string(), "none");
        }
        if let Some(size) = fields.embedding_size.filter(|size| *size != fields.hidden_size) {
            return refuse("embedding_size", size.to_string(), "the hidden size");
        }
        for (field, size) in [
            ("hidden_size", fields.hidden_size),
            ("num_hidden_layers", fields.num_hidden_layers),
            ("num_attention_heads", fields.num_attention_heads),
            ("intermediate_size", fields.intermediate_size),
            ("vocab_size", fields.vocab_size),
            ("max_position_embeddings", fields.max_position_embeddings),
            ("type_vocab_size", fields.type_vocab_size),
        ] {
            if !(1..=MAX_SIZE).contains(&size) {
                return refuse(field, size.to_string(), &format!("1 to {MAX_SIZE}"));
            }
        }
        if fields.num_hidden_layers > MAX_LAYERS {
            let expected = format!("at most {MAX_LAYERS}");
            return refuse("num_hidden_layers", fields.num_hidden_layers.to_string(), &expected);
        }
        if !fields.hidden_size.is_multiple_of(fields.num_attention_heads) {
            let expected = format!("a divisor of the hidden size {}", fields.hidden_size);
            return refuse("num_attention_heads", fields.num_attention_heads.to_string(), &expected);
        }
        let layer_norm_eps = fields.layer_norm_eps.unwrap_or(match family {
            Family::Roberta => 1e-5,
            Family::Bert => 1e-12,
        });
        if !(layer_norm_eps > 0.0 && layer_norm_eps < 1.0) {
            return refuse("layer_norm_eps", layer_norm_eps.to_string(), "a small number above 0");
        }
        let pad_token_id = match family {
            Family::Roberta => fields.pad_token_id.unwrap_or(1),
            Family::Bert => 1,
        };
        if family == Family::Roberta && pad_token_id as usize + 1 >= fields.max_position_embeddings {
            let expected = "an id with positions behind it: RoBERTa's first position is one behind the padding id";
            return refuse("pad_token_id", pad_token_id.to_string(), expected);
        }
        Ok(Self {
            family,
            hidden_size: fields.hidden_size,
            num_hidden_layers: fields.num_hidden_layers,
            num_attention_heads: fields.num_attention_heads,
            intermediate_size: fields.intermediate_size,
            vocab_size: fields.vocab_size,
            max_position_embeddings: fields.max_position_embeddings,
            type_vocab_size: fields.type_vocab_size,
            pad_token_id,
            tokenizer_pad_token_id: match family {
                Family::Roberta => fields.tokenizer_pad_token_id,
                Family::Bert => fields.pad_token_id.or(fields.tokenizer_pad_token_id),
            },
            bos_token_id: fields.bos_token_id,
            eos_token_id: fields.eos_token_id,
            layer_norm_eps,
            hidden_dropout: fields.hidden_dropout_prob.unwrap_or(0.1),
            attention_dropout: fields.attention_probs_dropout_prob.unwrap_or(0.1),
            initializer_range: fields.initializer_range.unwrap_or(0.02),
        })
    }

    /// Rows of the position table in the package.
    fn positions(&self) -> usize {
        match self.family {
            Family::Roberta => self.max_position_embeddings,
            Family::Bert => self.max_position_embeddings + BERT_SHIFT,
        }
    }

    /// The longest input, special tokens included.
    pub(super) fn max_tokens(&self) -> usize {
        self.positions() - self.pad_token_id as usize - 1
    }

    /// The package's `config.json`: a RoBERTa's, with the special tokens as the tokenizer has them.
    pub(super) fn to_roberta(&self, path: &Path, tokenizer: &Tokenizer) -> Result<Vec<u8>, Error> {
        let special = &tokenizer.special;
        let config = json!({
            "architectures": ["RobertaModel"],
            "model_type": "roberta",
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": self.intermediate_size,
            "hidden_act": "gelu",
            "layer_norm_eps": self.layer_norm_eps,
            "max_position_embeddings": self.positions(),
            "type_vocab_size": 1,
            "vocab_size": self.vocab_size,
            "hidden_dropout_prob": self.hidden_dropout,
            "attention_probs_dropout_prob": self.attention_dropout,
            "initializer_range": self.initializer_range,
            "pad_token_id": self.pad_token_id,
            "position_offset": self.pad_token_id + 1,
            "bos_token_id": special.cls.1,
            "eos_token_id": special.sep.1,
            "tokenizer_pad_token_id": special.pad.1,
            "unk_token_id": special.unk.1,
            "mask_token_id": special.mask.1,
            "cls_token": special.cls.0,
            "sep_token": special.sep.0,
            "pad_token": special.pad.0,
            "unk_token": special.unk.0,
            "mask_token": special.mask.0,
        });
        let mut bytes =
            serde_json::to_vec_pretty(&config).map_err(|source| Error::Json { path: path.to_owned(), source })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
