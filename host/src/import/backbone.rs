//! A Hugging Face folder with a RoBERTa, or with a BERT that is laid out as one, becomes a backbone package.
//!
//! ```text
//! config.json                                      config.json           sizes, special tokens
//! model.safetensors | pytorch_model.bin      →     weights.safetensors   names without a prefix
//! tokenizer.json | vocab.json + merges.txt         tokenizer.json        without truncation and padding
//!                | vocab.txt                       README.md, kadapter-package.toml
//! ```
//!
//! BERT computes what RoBERTa computes, but counts positions from 0 and adds one of two token types. As a RoBERTa its
//! position table gets two unused rows in front (RoBERTa's positions start behind the padding id 1) and the table of token
//! types keeps the row of single texts. Hidden states are the same to the last bit.

mod config;
mod names;
mod needed;
mod tokenizer;

use std::path::{Path, PathBuf};

use kadapter_registry::Package;
use kadapter_registry::package::{Backbone, Content};

use super::copy::{Rows, copy};
use super::source::{Source, read_small, record};
use super::stage::Stage;
use super::{Error, Identity, Report, Storage, card};

pub use config::Family;
pub use needed::needed;

/// Names of the package's files.
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "weights.safetensors";
const TOKENIZER: &str = "tokenizer.json";
/// Bytes of a `config.json`.
const MAX_CONFIG: u64 = 1 << 20;

/// What may be chosen about a backbone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The type of the weights in the package.
    pub storage: Storage,
    /// Keep `lm_head.*`, which no inference needs.
    pub keep_lm_head: bool,
}

/// Imports the folder `directory` as the package directory `out`.
///
/// # Errors
///
/// See [`Error`]: a file that is missing or not what it should be, sizes that this program does not compute, tensors that
/// are not those of the configuration, values that are not finite. `out` is then not there.
pub fn import(directory: &Path, identity: &Identity, out: &Path, options: Options) -> Result<Report, Error> {
    let stage = Stage::new(out)?;
    let config_path = directory.join(CONFIG);
    let config = config::Config::parse(&config_path, &read_small(&config_path, MAX_CONFIG)?)?;
    let weights_path = find_weights(directory)?;
    let mut source = Source::open(&weights_path)?;
    let (found, mut dropped) = names::sort(&source, &config, options.keep_lm_head)?;

    let tokenizer = tokenizer::read(directory, &config)?;
    stage.write(TOKENIZER, &tokenizer.json)?;
    stage.write(CONFIG, &config.to_roberta(&config_path, &tokenizer)?)?;
    let rows = |name: &str| match (name, config.family) {
        (names::POSITIONS, Family::Bert) => Rows::Prepend(config::BERT_SHIFT),
        (names::TOKEN_TYPES, _) => Rows::First(1),
        _ => Rows::Same,
    };
    let weights = copy(&mut source, &found, rows, options.storage, stage.path(), WEIGHTS)?;

    let mut sources = vec![record(&config_path)?, record(&weights_path)?];
    for path in &tokenizer.sources {
        sources.push(record(path)?);
    }
    dropped.sort();
    let facts = facts(&config, &tokenizer);
    let mut report = Report { directory: out.to_owned(), sources, weights: vec![weights], dropped, facts };
    let summary = identity.description.clone().unwrap_or_else(|| {
        format!(
            "A {} of {} layers and {} columns, frozen",
            config.family.name(),
            config.num_hidden_layers,
            config.hidden_size
        )
    });
    let package = Package {
        name: identity.name.clone(),
        version: identity.version.clone(),
        license: identity.license.clone(),
        description: summary.clone(),
        attribution: identity.attribution.clone(),
        content: Content::Backbone(Backbone {
            architecture: "roberta".to_owned(),
            config: CONFIG.parse()?,
            weights: WEIGHTS.parse()?,
            tokenizer: TOKENIZER.parse()?,
        }),
    };
    let usage = "The frozen network that adapters read from and tasks are trained on; its weights never change.";
    report.directory = stage.finish(&package, &card::render(identity, &summary, usage, &report))?;
    Ok(report)
}

/// The file with the weights.
fn find_weights(directory: &Path) -> Result<PathBuf, Error> {
    let names = ["model.safetensors", "pytorch_model.bin"];
    if let Some(path) = names.iter().map(|name| directory.join(name)).find(|path| path.is_file()) {
        return Ok(path);
    }
    let shards = names.iter().map(|name| directory.join(format!("{name}.index.json"))).find(|path| path.is_file());
    match shards {
        Some(path) => Err(Error::Sharded { path }),
        None => Err(Error::NoFile { directory: directory.to_owned(), wanted: names.map(str::to_owned).to_vec() }),
    }
}

/// What the card says about the network.
fn facts(config: &config::Config, tokenizer: &tokenizer::Tokenizer) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("Architecture", config.family.name().to_owned()),
        fact("Layers", config.num_hidden_layers.to_string()),
        fact("Columns", config.hidden_size.to_string()),
        fact("Attention heads", config.num_attention_heads.to_string()),
        fact("Columns inside the feed-forward part", config.intermediate_size.to_string()),
        fact("Vocabulary", config.vocab_size.to_string()),
        fact("Tokens at most", config.max_tokens().to_string()),
        fact("Tokenizer", tokenizer.origin.to_owned()),
    ];
    if config.family == Family::Bert {
        facts.push(fact("Layout", "BERT as RoBERTa: positions moved by 2, token type 0 kept".to_owned()));
    }
    facts
}

#[cfg(test)]
mod tests;
