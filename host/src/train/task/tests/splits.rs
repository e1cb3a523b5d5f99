//! Splits, folds and shares: nothing is tested that was trained on, and nothing is lost.

use super::super::{SplitName, Splits, TaskRecipe};
use super::*;
use std::collections::BTreeSet;

fn splits(folds: Option<usize>) -> Splits {
    let train = records(Kind::RelationClassification, 200, 1);
    Splits { train, dev: None, test: None, folds, negative_sample: None }
}

#[test]
fn folds_test_every_record_once_and_train_on_none_of_them() {
    let splits = splits(Some(5));
    let rounds = splits.rounds(1.0, 1).unwrap();
    assert_eq!(rounds.len(), 5);
    let mut tested = Vec::new();
    for round in &rounds {
        let set = |view: &super::super::View<'_>| view.records.iter().copied().collect::<BTreeSet<_>>();
        let (train, dev, test) = (set(&round.train), set(&round.dev), set(&round.test));
        assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
        assert_eq!(train.len() + dev.len() + test.len(), 200);
        tested.extend(test);
    }
    tested.sort_unstable();
    assert_eq!(tested, (0..200).collect::<Vec<_>>());
    // What is tested does not depend on seed and share.
    let other = splits.rounds(0.2, 9).unwrap();
    for (round, other) in rounds.iter().zip(&other) {
        assert_eq!(round.test.records, other.test.records);
        assert!(other.train.len() * 4 < round.train.len());
    }
}

#[test]
fn what_has_no_answer_is_tested_and_not_trained_on() {
    let mut train = records(Kind::Span, 50, 1);
    train.targets = (0..50).map(|record| Target::Spans(if record % 5 == 0 { vec![] } else { vec![(0, 0)] })).collect();
    for folds in [None, Some(3)] {
        let splits = Splits { train: train.clone(), dev: None, test: None, folds, negative_sample: None };
        let rounds = splits.rounds(1.0, 1).unwrap();
        assert!(rounds.iter().all(|round| round.train.records.iter().all(|record| record % 5 != 0)));
        let tested: usize = rounds.iter().map(|round| round.test.records.len()).sum();
        assert_eq!(tested, folds.map_or(0, |_| 50));
    }
}

#[test]
fn a_share_is_of_each_label_and_another_with_another_seed() {
    let splits = splits(None);
    let part = |seed| splits.rounds(0.1, seed).unwrap().remove(0).train.records;
    let first = part(1);
    assert_eq!(first, part(1));
    assert_ne!(first, part(2));
    for class in 0..CLASSES as u32 {
        let of = |records: &mut dyn Iterator<Item = usize>| {
            records.filter(|&record| splits.train.targets[record] == Target::Class(class)).count()
        };
        let (part, all) = (of(&mut first.iter().copied()), of(&mut (0..200)));
        assert_eq!(part, (all as f64 * 0.1).round() as usize, "class {class}");
    }
}

#[test]
fn what_is_held_out_is_not_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let line = |record: usize| {
        format!(
            "{{\"text\": \"<e1>a</e1> and <e2>b</e2> number {record}\", \"label\": \"l{}\", \"doc\": \"d{}\"}}\n",
            record % 3,
            record / 4
        )
    };
    std::fs::write(folder.path().join("all.jsonl"), (0..400).map(line).collect::<String>()).unwrap();
    let recipe: TaskRecipe = toml::from_str(
        "kind = \"relation-classification\"\ntrain = \"all.jsonl\"\ndev = { share = 0.2 }\ntest = { share = 0.3, by = [\"doc\"] }\n",
    )
    .unwrap();
    let texts = |split| -> BTreeSet<String> {
        let records = recipe.records(folder.path(), split).unwrap();
        records.map(|record| record.unwrap().fields["text"].as_str().unwrap().to_owned()).collect()
    };
    let (train, dev, test) = (texts(SplitName::Train), texts(SplitName::Dev), texts(SplitName::Test));
    assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
    assert_eq!(train.len() + dev.len() + test.len(), 400);
    assert!((50..110).contains(&dev.len()) && (60..140).contains(&test.len()), "{} {}", dev.len(), test.len());
    // Records of a document stay on one side of the test split.
    let number = |text: &String| text.rsplit(' ').next().unwrap().parse::<usize>().unwrap() / 4;
    let documents = |texts: &BTreeSet<String>| texts.iter().map(number).collect::<BTreeSet<_>>();
    assert!(documents(&train).is_disjoint(&documents(&test)));
}

#[test]
fn a_key_that_is_none_is_refused() {
    let error = toml::from_str::<TaskRecipe>("kind = \"span\"\ntrain = \"a\"\nfold = 5\n").unwrap_err();
    assert!(error.message().contains("unknown field `fold`"), "{error}");
}
