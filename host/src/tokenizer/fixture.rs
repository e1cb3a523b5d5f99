//! Tokenizers for tests: the tiny byte-level BPE of the official fixtures and a small WordPiece.

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer as Inner};

use super::{SpecialToken, SpecialTokens, Tokenizer};

/// Where the official fixtures lie.
pub(crate) const OFFICIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/official");

/// Reads one file of the official fixtures.
pub(crate) fn official_bytes(name: &str) -> Vec<u8> {
    std::fs::read(format!("{OFFICIAL}/{name}")).unwrap()
}

/// The fixtures' `vocab.json` and `merges.txt` as a `tokenizer.json`.
pub(crate) fn official_json() -> Vec<u8> {
    let model =
        BPE::from_file(&format!("{OFFICIAL}/tokenizer/vocab.json"), &format!("{OFFICIAL}/tokenizer/merges.txt"))
            .build()
            .unwrap();
    let mut inner = Inner::new(model);
    inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    let special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"].map(|text| AddedToken::from(text, true));
    inner.add_special_tokens(special).unwrap();
    inner.to_string(false).unwrap().into_bytes()
}

/// The official fixtures' tokenizer.
pub(crate) fn official() -> Tokenizer {
    let special = SpecialTokens::from_config(&official_bytes("config.json")).unwrap();
    Tokenizer::from_bytes(&official_json(), special).unwrap()
}

/// A lower-casing WordPiece with BERT's special tokens, and truncation and padding that must not matter.
pub(crate) fn word_piece() -> Tokenizer {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "@", "#", ".", "the", "river", "##s", "elm", "flow"];
    let vocabulary: serde_json::Map<_, _> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), serde_json::json!(id))).collect();
    let added: Vec<_> = words[..5]
        .iter()
        .enumerate()
        .map(|(id, word)| {
            serde_json::json!({"id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    let json = serde_json::json!({
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    });
    let special = SpecialTokens {
        bos: SpecialToken::new(2, "[CLS]"),
        eos: SpecialToken::new(3, "[SEP]"),
        pad: SpecialToken::new(0, "[PAD]"),
        unk: None,
        mask: None,
    };
    Tokenizer::from_bytes(json.to_string().as_bytes(), special).unwrap()
}
