//! `tokenizer.json` out of the older files: `vocab.json` with `merges.txt`, and `vocab.txt`.

use serde_json::{Map, Value, json};

/// RoBERTa's special tokens; their ids stand in the vocabulary.
const ROBERTA: [&str; 5] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];
/// BERT's.
const BERT: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// Characters of a word beyond which WordPiece gives up, as in BERT.
const LONGEST_WORD: usize = 100;

/// RoBERTa's byte-level BPE.
///
/// # Errors
///
/// One clause on what is wrong, to go behind "the tokenizer".
pub(super) fn byte_level(vocabulary: &Value, merges: &str) -> Result<Value, String> {
    let vocabulary = vocabulary.as_object().ok_or("has a `vocab.json` that is not an object of tokens and ids")?;
    let id = |token: &str| {
        vocabulary.get(token).and_then(Value::as_u64).ok_or_else(|| format!("has no `{token}` in `vocab.json`"))
    };
    let merges = merges
        .lines()
        // The first line is `#version: 0.2`; `# #` further down is a merge.
        .enumerate()
        .filter(|(index, line)| !(line.is_empty() || *index == 0 && line.starts_with("#version")))
        .map(|(index, line)| match line.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
                Ok(json!([left, right]))
            }
            _ => Err(format!("has a line {} in `merges.txt` that is not two tokens", index + 1)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut added = Vec::new();
    for token in ROBERTA {
        added.push(added_token(id(token)?, token, token == "<mask>"));
    }
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["</s>", id("</s>")?],
            "cls": ["<s>", id("<s>")?],
            "trim_offsets": true,
            "add_prefix_space": false,
        },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges,
        },
    }))
}

/// BERT's WordPiece; `settings` may say `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`.
///
/// # Errors
///
/// One clause on what is wrong, to go behind "the tokenizer".
pub(super) fn word_piece(words: &str, settings: &[Value]) -> Result<Value, String> {
    let mut vocabulary = Map::new();
    for (id, word) in words.lines().enumerate() {
        if vocabulary.insert(word.trim_end_matches('\r').to_owned(), json!(id)).is_some() {
            return Err(format!("has `{word}` twice in `vocab.txt`"));
        }
    }
    let id = |token: &str| {
        vocabulary.get(token).and_then(Value::as_u64).ok_or_else(|| format!("has no `{token}` in `vocab.txt`"))
    };
    let mut added = Vec::new();
    for token in BERT {
        added.push(added_token(id(token)?, token, false));
    }
    let setting = |name: &str| settings.iter().find_map(|file| file.get(name)?.as_bool());
    let (cls, sep) = (id("[CLS]")?, id("[SEP]")?);
    let special = |token: &str, type_id: u8| json!({ "SpecialToken": { "id": token, "type_id": type_id } });
    let sequence = |name: &str, type_id: u8| json!({ "Sequence": { "id": name, "type_id": type_id } });
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": setting("tokenize_chinese_chars").unwrap_or(true),
            "strip_accents": setting("strip_accents"),
            "lowercase": setting("do_lower_case").unwrap_or(true),
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)],
            "pair": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1), special("[SEP]", 1)],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [cls], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [sep], "tokens": ["[SEP]"] },
            },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": LONGEST_WORD,
            "vocab": vocabulary,
        },
    }))
}

fn added_token(id: u64, content: &str, lstrip: bool) -> Value {
    json!({
        "id": id,
        "content": content,
        "single_word": false,
        "lstrip": lstrip,
        "rstrip": false,
        "normalized": false,
        "special": true,
    })
}
