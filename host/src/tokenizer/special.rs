//! The tokens with a meaning of their own: what the backbone's `config.json` says, checked against the vocabulary.

use serde::Deserialize;

use super::Error;

/// One special token as a configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its vocabulary index.
    pub id: u32,
    /// Its text, or `None` to take whatever the vocabulary has at `id`.
    pub text: Option<String>,
}

impl SpecialToken {
    /// Names a token by index and text.
    pub fn new(id: u32, text: &str) -> Self {
        Self { id, text: Some(text.to_owned()) }
    }
}

/// The special tokens of a backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Opens a segment.
    pub bos: SpecialToken,
    /// Closes a segment and separates its parts.
    pub eos: SpecialToken,
    /// Fills a padded segment.
    pub pad: SpecialToken,
    /// Stands for the unknown; `None` takes `<unk>` or `[UNK]` if the vocabulary has one.
    pub unk: Option<SpecialToken>,
    /// Stands for the hidden; `None` takes `<mask>` or `[MASK]` if the vocabulary has one.
    pub mask: Option<SpecialToken>,
}

impl SpecialTokens {
    /// RoBERTa's own: `<s>` 0, `<pad>` 1, `</s>` 2.
    pub fn roberta() -> Self {
        Self {
            bos: SpecialToken::new(0, "<s>"),
            eos: SpecialToken::new(2, "</s>"),
            pad: SpecialToken::new(1, "<pad>"),
            unk: None,
            mask: None,
        }
    }

    /// Reads them from a `config.json`: `bos_token_id`, `eos_token_id`, `pad_token_id`, `unk_token_id`, `mask_token_id`
    /// and the texts `bos_token` or `cls_token`, `eos_token` or `sep_token`, `pad_token`, `unk_token`, `mask_token`.
    ///
    /// `tokenizer_pad_token_id` goes before `pad_token_id`, which in a re-laid backbone only says where positions
    /// start. What is absent is RoBERTa's, as in the files of the model's first releases.
    ///
    /// # Errors
    ///
    /// When the bytes are not a JSON object or one of these fields has the wrong type.
    pub fn from_config(json: &[u8]) -> Result<Self, Error> {
        let config: Config = serde_json::from_slice(json).map_err(|source| Error::Config { source })?;
        let default = Self::roberta();
        let required = |id: Option<u32>, text: Option<String>, default: SpecialToken| match (id, text) {
            (None, None) => default,
            (None, text) => SpecialToken { id: default.id, text },
            (Some(id), text) => SpecialToken { id, text },
        };
        let optional = |id: Option<u32>, text| id.map(|id| SpecialToken { id, text });
        Ok(Self {
            bos: required(config.bos_token_id, config.bos_token.or(config.cls_token), default.bos),
            eos: required(config.eos_token_id, config.eos_token.or(config.sep_token), default.eos),
            pad: required(config.tokenizer_pad_token_id.or(config.pad_token_id), config.pad_token, default.pad),
            unk: optional(config.unk_token_id, config.unk_token),
            mask: optional(config.mask_token_id, config.mask_token),
        })
    }
}

#[derive(Deserialize)]
struct Config {
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
    pad_token_id: Option<u32>,
    tokenizer_pad_token_id: Option<u32>,
    unk_token_id: Option<u32>,
    mask_token_id: Option<u32>,
    bos_token: Option<String>,
    cls_token: Option<String>,
    eos_token: Option<String>,
    sep_token: Option<String>,
    pad_token: Option<String>,
    unk_token: Option<String>,
    mask_token: Option<String>,
}

/// A special token that the vocabulary has under this name.
#[derive(Debug)]
pub(super) struct Special {
    pub(super) id: u32,
    pub(super) text: String,
}

/// The special tokens, all of them known to the vocabulary.
#[derive(Debug)]
pub(super) struct Specials {
    pub(super) bos: Special,
    pub(super) eos: Special,
    pub(super) pad: Special,
    pub(super) unk: Option<Special>,
    pub(super) mask: Option<Special>,
}

impl Specials {
    /// Checks `tokens` against the vocabulary and completes what they leave open.
    pub(super) fn resolve(tokens: SpecialTokens, vocabulary: &tokenizers::Tokenizer) -> Result<Self, Error> {
        let check = |role: &'static str, token: SpecialToken| {
            let id = token.id;
            let found = vocabulary.id_to_token(id).ok_or(Error::SpecialMissing { role, id })?;
            match token.text {
                Some(expected) if expected != found => Err(Error::SpecialMismatch { role, id, expected, found }),
                _ => Ok(Special { id, text: found }),
            }
        };
        let complete = |role: &'static str, token: Option<SpecialToken>, usual: [&str; 2]| match token {
            Some(token) => check(role, token).map(Some),
            None => Ok(usual.iter().find_map(|text| {
                let id = vocabulary.token_to_id(text)?;
                Some(Special { id, text: (*text).to_owned() })
            })),
        };
        Ok(Self {
            bos: check("bos", tokens.bos)?,
            eos: check("eos", tokens.eos)?,
            pad: check("pad", tokens.pad)?,
            unk: complete("unk", tokens.unk, ["<unk>", "[UNK]"])?,
            mask: complete("mask", tokens.mask, ["<mask>", "[MASK]"])?,
        })
    }

    /// Lists them as text and id.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, u32)> {
        [&self.bos, &self.eos, &self.pad]
            .into_iter()
            .chain(&self.unk)
            .chain(&self.mask)
            .map(|token| (token.text.clone(), token.id))
    }
}
