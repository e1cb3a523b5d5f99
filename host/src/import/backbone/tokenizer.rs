//! The tokenizer of a backbone folder, as one `tokenizer.json` without truncation and padding.

mod build;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::Error;
use super::super::source::read_small;
use super::config::{Config, Family};

/// Bytes of a tokenizer's file; RoBERTa's have at most 3.6 MB.
const MAX_TOKENIZER: u64 = 64 << 20;
/// Bytes of the small files beside it.
const MAX_SETTINGS: u64 = 1 << 20;
/// Files that say which special tokens play which part, when they are there.
const SETTINGS: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// A special token: its text and its id.
pub(super) type Special = (String, u32);

/// The tokens that every encoding needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpecialTokens {
    /// First of every input, `<s>` or `[CLS]`.
    pub(super) cls: Special,
    /// Last of every part, `</s>` or `[SEP]`.
    pub(super) sep: Special,
    /// Fills up.
    pub(super) pad: Special,
    /// Stands for what is not in the vocabulary.
    pub(super) unk: Special,
    /// Stands for what a language model is to guess.
    pub(super) mask: Special,
}

/// The tokenizer as the package will have it.
#[derive(Debug)]
pub(super) struct Tokenizer {
    /// The content of `tokenizer.json`.
    pub(super) json: Vec<u8>,
    pub(super) special: SpecialTokens,
    /// The files that it was made from.
    pub(super) sources: Vec<PathBuf>,
    /// The same in words.
    pub(super) origin: &'static str,
}

/// Reads or builds the tokenizer and checks it against the network's sizes.
///
/// # Errors
///
/// [`Error::NoFile`], [`Error::Json`], or [`Error::Tokenizer`] for one that does not load or does not fit.
pub(super) fn read(directory: &Path, config: &Config) -> Result<Tokenizer, Error> {
    let settings = read_settings(directory)?;
    let (mut json, sources, origin) = find(directory, config, &settings)?;
    let refuse = |problem: String| Error::Tokenizer { directory: directory.to_owned(), problem };
    let Value::Object(object) = &mut json else {
        return Err(refuse("is not a JSON object".to_owned()));
    };
    // The host cuts and fills up by itself, by the rules of each task.
    object.insert("truncation".to_owned(), Value::Null);
    object.insert("padding".to_owned(), Value::Null);
    let bytes =
        serde_json::to_vec(&json).map_err(|source| Error::Json { path: directory.join("tokenizer.json"), source })?;
    let loaded =
        tokenizers::Tokenizer::from_bytes(&bytes).map_err(|error| refuse(format!("does not load: {error}")))?;

    let largest = loaded.get_vocab(true).into_values().max().unwrap_or(0);
    if largest as usize >= config.vocab_size {
        return Err(refuse(format!("has the id {largest}, the network knows ids below {}", config.vocab_size)));
    }
    let special = special_tokens(&loaded, &settings).map_err(refuse)?;
    for (field, found, expected) in [
        ("bos_token_id", config.bos_token_id, &special.cls),
        ("eos_token_id", config.eos_token_id, &special.sep),
        ("tokenizer_pad_token_id", config.tokenizer_pad_token_id, &special.pad),
    ] {
        if let Some(found) = found
            && found != expected.1
        {
            return Err(refuse(format!("has `{}` as {}, but `{field}` is {found}", expected.0, expected.1)));
        }
    }
    if config.family == Family::Roberta
        && config.tokenizer_pad_token_id.is_none()
        && special.pad.1 != config.pad_token_id
    {
        let (token, id) = &special.pad;
        return Err(refuse(format!("has `{token}` as {id}, but `pad_token_id` is {}", config.pad_token_id)));
    }
    Ok(Tokenizer { json: bytes, special, sources, origin })
}

/// The tokenizer's JSON, the files it came from, and what they are.
fn find(directory: &Path, config: &Config, settings: &[Value]) -> Result<(Value, Vec<PathBuf>, &'static str), Error> {
    let path = |name: &str| directory.join(name);
    let read = |path: &Path| read_small(path, MAX_TOKENIZER);
    let refuse = |problem: String| Error::Tokenizer { directory: directory.to_owned(), problem };
    let tokenizer = path("tokenizer.json");
    if tokenizer.is_file() {
        let json = serde_json::from_slice(&read(&tokenizer)?)
            .map_err(|source| Error::Json { path: tokenizer.clone(), source })?;
        return Ok((json, vec![tokenizer], "tokenizer.json"));
    }
    let (vocabulary, merges, words) = (path("vocab.json"), path("merges.txt"), path("vocab.txt"));
    if vocabulary.is_file() && merges.is_file() {
        let vocab = serde_json::from_slice(&read(&vocabulary)?)
            .map_err(|source| Error::Json { path: vocabulary.clone(), source })?;
        let json = build::byte_level(&vocab, &text(&merges, read(&merges)?)?).map_err(refuse)?;
        return Ok((json, vec![vocabulary, merges], "byte-level BPE, made from vocab.json and merges.txt"));
    }
    if config.family == Family::Bert && words.is_file() {
        let json = build::word_piece(&text(&words, read(&words)?)?, settings).map_err(refuse)?;
        return Ok((json, vec![words], "WordPiece, made from vocab.txt"));
    }
    let wanted = match config.family {
        Family::Roberta => ["tokenizer.json", "vocab.json with merges.txt"],
        Family::Bert => ["tokenizer.json", "vocab.txt"],
    };
    Err(Error::NoFile { directory: directory.to_owned(), wanted: wanted.map(str::to_owned).to_vec() })
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| Error::Io {
        action: "read",
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8"),
    })
}

fn read_settings(directory: &Path) -> Result<Vec<Value>, Error> {
    let paths = SETTINGS.iter().map(|name| directory.join(name)).filter(|path| path.is_file());
    paths
        .map(|path| {
            let bytes = read_small(&path, MAX_SETTINGS)?;
            serde_json::from_slice(&bytes).map_err(|source| Error::Json { path, source })
        })
        .collect()
}

/// Finds the five tokens: as the settings name them, or by the names that everybody uses.
fn special_tokens(tokenizer: &tokenizers::Tokenizer, settings: &[Value]) -> Result<SpecialTokens, String> {
    let find = |part: &str, usual: [&str; 2]| {
        // Either a string, or an object with `content`.
        let named = settings.iter().find_map(|file| {
            let token = file.get(part)?;
            token.as_str().or_else(|| token.get("content")?.as_str())
        });
        let candidates: Vec<&str> = named.map_or_else(|| usual.to_vec(), |named| vec![named]);
        candidates
            .iter()
            .find_map(|token| Some(((*token).to_owned(), tokenizer.token_to_id(token)?)))
            .ok_or_else(|| format!("has no {part} (`{}`)", candidates.join("` or `")))
    };
    Ok(SpecialTokens {
        cls: find("cls_token", ["<s>", "[CLS]"])?,
        sep: find("sep_token", ["</s>", "[SEP]"])?,
        pad: find("pad_token", ["<pad>", "[PAD]"])?,
        unk: find("unk_token", ["<unk>", "[UNK]"])?,
        mask: find("mask_token", ["<mask>", "[MASK]"])?,
    })
}
