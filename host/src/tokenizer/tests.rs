//! The tokenizer against the official fixtures, and its offsets against arbitrary text.

use proptest::prelude::*;
use serde_json::Value;

use super::fixture::{official, official_bytes, official_json, word_piece};
use super::{Error, SpecialToken, SpecialTokens, Tokenizer};

#[test]
fn pieces_equal_the_official_tokenize() {
    let tokenizer = official();
    let features: Value = serde_json::from_slice(&official_bytes("data/features.json")).unwrap();
    let cases = features["tokenize"].as_array().unwrap();
    assert_eq!(cases.len(), 18);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(tokenizer.pieces(text).unwrap(), expected, "{text:?}");
        let names: Vec<String> = expected.iter().map(|&id| tokenizer.token_of(id).unwrap()).collect();
        assert_eq!(Value::from(names), case["tokens"], "{text:?}");
    }
}

#[test]
fn special_ids_are_the_fixtures() {
    let tokenizer = official();
    let ids = (tokenizer.bos(), tokenizer.pad(), tokenizer.eos(), tokenizer.unk(), tokenizer.mask());
    assert_eq!(ids, (0, 1, 2, Some(3), Some(4)));
    assert_eq!(tokenizer.eos_text(), "</s>");
    assert_eq!(tokenizer.highest_id(), 512);
    // Raw markers and the markers of entity typing are different entries.
    assert_eq!((tokenizer.id_of("@"), tokenizer.id_of("#")), (Some(36), Some(7)));
    assert_eq!((tokenizer.id_of("Ġ@"), tokenizer.id_of("Ġ#")), (Some(393), Some(392)));
    assert_eq!(tokenizer.id_of("no such token"), None);
}

#[test]
fn white_space_yields_nothing() {
    let tokenizer = official();
    for text in ["", " ", "\n\t \u{3000}", "\u{1c}\u{1f}"] {
        assert_eq!(tokenizer.pieces(text).unwrap(), [0; 0], "{text:?}");
        assert_eq!(tokenizer.pieces_with_offsets(text).unwrap(), [], "{text:?}");
    }
    assert_eq!(tokenizer.pieces("  </s> ").unwrap(), [2]);
}

#[test]
fn a_prefix_space_in_the_file_changes_nothing() {
    let with =
        String::from_utf8(official_json()).unwrap().replace("\"add_prefix_space\":false", "\"add_prefix_space\":true");
    assert!(with.contains("\"add_prefix_space\":true"));
    let with = Tokenizer::from_bytes(with.as_bytes(), SpecialTokens::roberta()).unwrap();
    for text in ["river", " the  Elm\n", "a</s>b", "n't"] {
        assert_eq!(with.pieces(text).unwrap(), official().pieces(text).unwrap(), "{text:?}");
    }
}

#[test]
fn word_piece_ignores_the_space_and_the_files_truncation() {
    let tokenizer = word_piece();
    assert_eq!(tokenizer.pieces("The Rivers flow the Elm river.").unwrap(), [8, 9, 10, 12, 8, 11, 9, 7]);
    assert_eq!(tokenizer.pieces("the [SEP] elm").unwrap(), [8, 3, 11]);
    assert_eq!((tokenizer.unk(), tokenizer.mask()), (Some(1), Some(4)));
}

#[test]
fn offsets_point_into_the_original_text() {
    let text = "  The café </s>\u{3000}Rivers ";
    let characters: Vec<char> = text.chars().collect();
    let covered = |tokenizer: &Tokenizer| -> Vec<String> {
        let pieces = tokenizer.pieces_with_offsets(text).unwrap();
        pieces.iter().map(|piece| characters[piece.characters.clone()].iter().collect()).collect()
    };
    assert_eq!(covered(&word_piece()), ["The", "café", "<", "/", "s", ">", "River", "s"]);
    let covered = covered(&official());
    assert_eq!(covered[0], "The");
    assert!(covered.contains(&"</s>".to_owned()), "{covered:?}");
    // Both bytes of `é` stand for the whole character.
    assert_eq!(covered.iter().filter(|text| *text == "é").count(), 2, "{covered:?}");
}

#[test]
fn config_names_special_tokens() {
    let minilm = br#"{"pad_token_id": 1, "bos_token_id": 101, "eos_token_id": 102, "tokenizer_pad_token_id": 0,
        "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "hidden_size": 384}"#;
    let special = SpecialTokens::from_config(minilm).unwrap();
    assert_eq!(special.bos, SpecialToken::new(101, "[CLS]"));
    assert_eq!(special.eos, SpecialToken::new(102, "[SEP]"));
    assert_eq!(special.pad, SpecialToken::new(0, "[PAD]"));
    assert_eq!(SpecialTokens::from_config(b"{}").unwrap(), SpecialTokens::roberta());
    assert!(matches!(SpecialTokens::from_config(b"{\"bos_token_id\": -1}"), Err(Error::Config { .. })));
}

#[test]
fn disagreeing_files_are_refused() {
    let json = official_json();
    let with_bos = |bos| Tokenizer::from_bytes(&json, SpecialTokens { bos, ..SpecialTokens::roberta() });
    let missing = with_bos(SpecialToken::new(9999, "<s>")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "The tokenizer has no token with the id 9999, which the backbone's configuration names as `bos`"
    );
    let other = with_bos(SpecialToken::new(0, "[CLS]")).unwrap_err();
    assert_eq!(
        other.to_string(),
        "The tokenizer calls the token 0 `<s>`, the backbone's configuration calls it `[CLS]` (`bos`)"
    );
    assert!(other.hint().unwrap().ends_with("`bos_token_id`"));
    let broken = Tokenizer::from_bytes(&json[..100], SpecialTokens::roberta()).unwrap_err();
    assert_eq!(broken.to_string(), "Could not read the tokenizer: the file is not a `tokenizer.json`");
}

fn text() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        Just("</s>".to_owned()),
        Just("<mask>".to_owned()),
        Just("[SEP]".to_owned()),
        Just(" \u{a0}\u{1c}".to_owned()),
        Just("İ ﬁ e\u{301} 👩‍👩‍👧 \u{200d}\u{0}".to_owned()),
        "[a-z ]{0,8}",
        any::<String>(),
    ];
    prop::collection::vec(fragment, 0..6).prop_map(|fragments| fragments.concat())
}

proptest! {
    #[test]
    fn offsets_are_valid_and_ordered(text in text()) {
        let length = text.chars().count();
        for tokenizer in [official(), word_piece()] {
            let pieces = tokenizer.pieces_with_offsets(&text).unwrap();
            let ids: Vec<u32> = pieces.iter().map(|piece| piece.id).collect();
            prop_assert_eq!(ids, tokenizer.pieces(&text).unwrap());
            let mut last = 0;
            for piece in pieces {
                prop_assert!(piece.characters.start <= piece.characters.end);
                prop_assert!(piece.characters.end <= length);
                prop_assert!(piece.characters.end >= last || piece.characters.is_empty(), "{:?}", piece);
                last = last.max(piece.characters.end);
            }
        }
    }
}
