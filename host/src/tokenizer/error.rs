//! What can go wrong between a `tokenizer.json`, the backbone's configuration and a text.

use std::error::Error as StdError;

/// Why a tokenizer could not be read or a text could not be tokenised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is larger than any tokenizer in use.
    #[error("Could not read the tokenizer: it has {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
        /// [`MAX_TOKENIZER_BYTES`](super::MAX_TOKENIZER_BYTES).
        limit: usize,
    },
    /// The bytes are not a `tokenizer.json`.
    #[error("Could not read the tokenizer: the file is not a `tokenizer.json`")]
    NotATokenizer {
        /// What the reader said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The backbone's configuration is not JSON, or a field of it has the wrong type.
    #[error("Could not read the special tokens from the backbone's configuration")]
    Config {
        /// What the reader said.
        #[source]
        source: serde_json::Error,
    },
    /// The configuration names an id that the vocabulary does not have.
    #[error("The tokenizer has no token with the id {id}, which the backbone's configuration names as `{role}`")]
    SpecialMissing {
        /// `bos`, `eos`, `pad`, `unk` or `mask`.
        role: &'static str,
        /// The id from the configuration.
        id: u32,
    },
    /// The configuration and the vocabulary call a special token differently.
    #[error(
        "The tokenizer calls the token {id} `{found}`, the backbone's configuration calls it `{expected}` (`{role}`)"
    )]
    SpecialMismatch {
        /// `bos`, `eos`, `pad`, `unk` or `mask`.
        role: &'static str,
        /// The id from the configuration.
        id: u32,
        /// The text from the configuration.
        expected: String,
        /// The text in the vocabulary.
        found: String,
    },
    /// The vocabulary can express neither the text nor that it does not know it.
    #[error("Could not tokenise the text with this vocabulary")]
    Inexpressible {
        /// What the tokenizer said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// Says what to do about it, if there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooLarge { .. } | Self::NotATokenizer { .. } => Some(
                "the backbone package's `tokenizer` must be a Hugging Face `tokenizer.json`; write one with \
                 `tokenizer.save_pretrained(\"DIR\")`"
                    .to_owned(),
            ),
            Self::Config { .. } => Some("compare `config.json` with the model it was taken from".to_owned()),
            Self::SpecialMissing { role, .. } | Self::SpecialMismatch { role, .. } => Some(format!(
                "`config.json` and `tokenizer.json` are of different models; take both from one model or correct \
                 `{role}_token_id`"
            )),
            Self::Inexpressible { .. } => None,
        }
    }
}
