//! Splits that never change, parts that do not overlap.

use super::records;
use crate::data::{Format, Options, SeenSentences, Share, Source, Split, Subset, fold, normalise};

fn keys() -> Vec<String> {
    (0..2000).map(|key| format!("Q{key}")).collect()
}

/// These numbers are a promise: a split of today is the split of next year.
#[test]
fn a_split_is_written_in_stone() {
    let split = Split::new(7, Share::new(0.1).unwrap());
    let held: Vec<_> = keys().into_iter().filter(|key| split.holds_out(key)).collect();
    assert_eq!(held.iter().take(5).map(String::as_str).collect::<Vec<_>>(), ["Q23", "Q26", "Q34", "Q38", "Q42"]);
    assert!((160..240).contains(&held.len()), "{}", held.len());
    let other = Split::new(8, Share::new(0.1).unwrap());
    assert!(held.iter().filter(|key| other.holds_out(key)).count() < 50, "seeds are independent");
}

#[test]
fn every_key_is_in_one_fold() {
    let mut counts = [0; 5];
    for key in keys() {
        counts[fold(3, &key, 5).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (330..470).contains(count)), "{counts:?}");
    assert!(fold(3, "a", 1).is_err());
}

#[test]
fn a_subset_is_exact_stratified_or_not_and_grows() {
    let keys = keys();
    let labels = |index: usize| if index.is_multiple_of(10) { "rare" } else { "common" };
    let subset = |share: f64, stratified: bool| {
        let entries =
            keys.iter().enumerate().map(|(index, key)| (key.as_str(), if stratified { labels(index) } else { "" }));
        Subset::new(1, Share::new(share).unwrap(), entries)
    };
    assert_eq!(subset(0.1, false).len(), 200);
    let (small, large) = (subset(0.1, true), subset(0.5, true));
    let rare = (0..keys.len()).filter(|&index| small.has(index) && labels(index) == "rare").count();
    assert_eq!((small.len(), rare), (200, 20));
    assert!((0..keys.len()).all(|index| !small.has(index) || large.has(index)), "a smaller part lies in a larger one");
    assert_eq!(subset(0.0001, true).len(), 2, "no label is lost");
    assert!(subset(0.0, true).is_empty());
    assert_eq!(subset(1.0, true).len(), 2000);
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert!(Share::new(wrong).is_err());
    }
}

#[test]
fn sentences_are_the_same_whatever_their_spelling() {
    assert_eq!(normalise("“Don’t”, said  ÉMILE ."), "donmilé".replace("milé", "tsaidémile"));
    let mut seen = SeenSentences::default();
    assert!(seen.add("The river Elm flows through Norvia."));
    assert!(!seen.add("the River Elm flows through Norvia ."));
    let line = "{\"token\": [\"The\", \"river\", \"Elm\", \"flows\", \"through\", \"Norvia\", \".\"], \"subj_start\": 0, \
                \"subj_end\": 0, \"obj_start\": 1, \"obj_end\": 1, \"relation\": \"r\"}";
    assert!(seen.has(&records(Format::Tacred, line)[0]));
    let line = "{\"text\": \"The river <e1>Elm</e1> flows through <e2>Norvia</e2>.\", \"label\": \"r\"}";
    assert!(seen.has(&records(Format::Json, line)[0]));
    let line = "{\"text\": \"The river <e1>Elm</e1> flows past <e2>Norvia</e2>.\", \"label\": \"r\"}";
    assert!(!seen.has(&records(Format::Json, line)[0]));
    assert!(!seen.add("-- !"), "what says nothing is not seen");
    assert_eq!(seen.len(), 1);
}

#[test]
fn a_hidden_word_is_put_back_before_sentences_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probe.jsonl");
    let line =
        "{\"masked_sentences\": [\"Ada was born in [MASK].\"], \"obj_label\": \"London\", \"sub_label\": \"Ada\"}\n";
    std::fs::write(&path, line).unwrap();
    let source = Source::new(&path, Some(Format::Lama), Options::default()).unwrap();
    let seen = SeenSentences::of(&[source]).unwrap();
    let aligned = |object: &str| {
        records(Format::TrexTable, &format!("P19\tQ1\tQ2\tAda\t{object}\tAda was born in [MASK].")).remove(0)
    };
    assert!(seen.has(&aligned("London")));
    assert!(!seen.has(&aligned("Paris")));
}
