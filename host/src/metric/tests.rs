//! Metrics against the numbers of the official code and against cases worked out by hand.

use super::*;
use crate::data::{Gold, SpanGold};
use crate::task::{Answer, ChoiceAnswer, Kind, RelationAnswer, SpanAnswer, TypingAnswer};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

/// What the official code computed (`tests/data/official/README.md`).
fn official() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/official/cases.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|number| usize::try_from(number.as_u64().unwrap()).unwrap()).collect()
}

fn sets(value: &Value) -> Vec<BTreeSet<usize>> {
    value.as_array().unwrap().iter().map(|set| numbers(set).into_iter().collect()).collect()
}

/// Rows of 0 and 1, or of logits, as the sets of places that are positive.
fn positive(value: &Value) -> Vec<BTreeSet<usize>> {
    let row = |row: &Value| {
        let row = row.as_array().unwrap().iter().enumerate();
        row.filter(|(_, number)| number.as_f64().unwrap() > 0.0).map(|(place, _)| place).collect()
    };
    value.as_array().unwrap().iter().map(row).collect()
}

fn confusion(labels: usize, case: &Value) -> Confusion {
    let mut confusion = Confusion::new(labels);
    for (gold, predicted) in numbers(&case["gold"]).into_iter().zip(numbers(&case["pred"])) {
        assert!(confusion.add(gold, predicted));
    }
    confusion
}

fn assert_prf(found: Prf, expected: &Value) {
    for (found, expected) in [found.precision, found.recall, found.f1].iter().zip(expected.as_array().unwrap()) {
        assert_near(*found, expected.as_f64().unwrap());
    }
}

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "found {found}, expected {expected}");
}

#[test]
fn tacred_is_scored_as_the_official_code_does() {
    let case = &official()["metrics"]["tacred"];
    let none = usize::try_from(case["no_relation_index"].as_u64().unwrap()).unwrap();
    assert_prf(confusion(42, case).tacred(none), &case["prf"]);
    // Nothing guessed and nothing to guess; nothing guessed and something to guess.
    let (mut empty, mut missed) = (Confusion::new(42), Confusion::new(42));
    empty.add(none, none);
    missed.add(3, none);
    assert_prf(empty.tacred(none), &case["all_no_relation_prf"]);
    assert_prf(missed.tacred(none), &case["none_guessed_prf"]);
}

#[test]
fn relations_are_scored_as_the_official_code_does() {
    let case = &official()["metrics"]["trex"];
    let confusion = confusion(6, case);
    assert_near(confusion.accuracy(), case["micro_f1"].as_f64().unwrap());
    assert_near(confusion.macro_f1(), case["macro_f1"].as_f64().unwrap());
    // A label that never occurs changes nothing.
    assert_near(self::confusion(9, case).macro_f1(), case["macro_f1"].as_f64().unwrap());
}

#[test]
fn entity_typing_is_scored_as_the_official_code_does() {
    let case = &official()["metrics"]["entity_typing"];
    let (golds, predicted) = (positive(&case["labels"]), positive(&case["logits"]));
    let mut scores = Sets::default();
    golds.iter().zip(&predicted).for_each(|(gold, predicted)| scores.add(gold, predicted));
    let expected = &case["openentity"];
    assert_near(scores.strict_accuracy() * golds.len() as f64, expected["exact_match_count"].as_f64().unwrap());
    assert_prf(scores.micro(), &expected["loose_micro_prf"]);
    assert_prf(scores.macro_average(), &expected["loose_macro_prf"]);

    let expected = &case["figer_prediction_rule"];
    let mut forced = Sets::default();
    golds.iter().zip(&sets(&expected["predicted"])).for_each(|(gold, predicted)| forced.add(gold, predicted));
    assert_near(forced.strict_accuracy() * golds.len() as f64, expected["strict_count"].as_f64().unwrap());
}

#[test]
fn published_figer_counts_batches_again() {
    for name in ["figer_stub_evaluate", "figer"] {
        let case = &official()[name];
        let (golds, predicted) = (sets(&case["gold"]), sets(&case["predicted"]));
        let batch = NonZeroUsize::new(usize::try_from(case["eval_batch_size"].as_u64().unwrap()).unwrap()).unwrap();
        let (mut published, mut plain) = (PublishedFiger::new(batch), Sets::default());
        for (gold, predicted) in golds.into_iter().zip(predicted) {
            plain.add(&gold, &predicted);
            published.add(gold, predicted);
        }
        let (strict, recounted) = published.scores();
        let expected = &case["official_evaluate"];
        assert_near(strict, expected["ERINE_accuracy"].as_f64().unwrap());
        assert_near(plain.strict_accuracy(), case["strict_accuracy_plain"].as_f64().unwrap());
        assert_prf(recounted.macro_average(), &expected["ERINE_macro"]);
        assert_prf(recounted.micro(), &expected["ERINE_micro"]);
        assert!((plain.micro().f1 - recounted.micro().f1).abs() > 1e-3, "{name}: the quirk changes the score");
    }
}

const SEMEVAL: [&str; 5] =
    ["Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)", "Entity-Origin(e1,e2)", "Entity-Origin(e2,e1)", "Other"];

fn semeval(pairs: &[(usize, usize)]) -> (Confusion, Vec<String>) {
    let mut confusion = Confusion::new(SEMEVAL.len());
    pairs.iter().for_each(|&(gold, predicted)| assert!(confusion.add(gold, predicted)));
    (confusion, SEMEVAL.map(String::from).to_vec())
}

/// Worked out with the official scorer's rules: a wrong direction is a wrong answer that counts for its relation; `Other` is
/// averaged over by nobody, but predicting it misses a relation and predicting a relation for it costs precision.
#[test]
fn semeval_counts_directions_and_leaves_other_out() {
    let pairs = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 4), (2, 2), (2, 0), (3, 2), (4, 4), (4, 2)];
    let (confusion, labels) = semeval(&pairs);
    let official = super::semeval::official(&confusion, &labels);
    // Cause-Effect: 3 right of 5 gold and 5 predicted. Entity-Origin: 1 right of 3 gold and 3 predicted.
    assert_near(official.macro_average.precision, (3.0 / 5.0 + 1.0 / 3.0) / 2.0);
    assert_near(official.macro_average.recall, (3.0 / 5.0 + 1.0 / 3.0) / 2.0);
    assert_near(official.macro_average.f1, (3.0 / 5.0 + 1.0 / 3.0) / 2.0);
    let names: Vec<_> = official.relations.iter().map(|relation| (relation.name, relation.gold)).collect();
    assert_eq!(names, [("Cause-Effect", 5), ("Entity-Origin", 3), ("Other", 2)]);
}

/// The mean is over relations that occur, and of F1s: not the F1 of the means.
#[test]
fn semeval_averages_f1_over_relations_that_occur() {
    let (confusion, labels) = semeval(&[(0, 0), (0, 4), (0, 4), (0, 4), (4, 4)]);
    let official = super::semeval::official(&confusion, &labels);
    assert_near(official.macro_average.f1, 0.4);
    let (confusion, labels) = semeval(&[(0, 0), (0, 4), (0, 4), (0, 4), (2, 2), (4, 2), (4, 2), (4, 2)]);
    let official = super::semeval::official(&confusion, &labels);
    let Prf { precision, recall, f1 } = official.macro_average;
    assert_eq!((precision, recall), (0.625, 0.625));
    assert_near(f1, 0.4);
    // Nothing but `Other`.
    let (confusion, labels) = semeval(&[(4, 0)]);
    assert_eq!(super::semeval::official(&confusion, &labels).macro_average, Prf::default());
}

#[test]
fn answers_are_normalised_as_squad_does() {
    for (answer, expected) in [
        ("The  Quick, brown fox!", "quick brown fox"),
        ("a.b.c", "abc"),
        ("the-end", "theend"),
        ("An apple\ta day", "apple day"),
        ("theatre a the", "theatre"),
        ("“A” b", "“ ” b"),
        ("", ""),
    ] {
        assert_eq!(normalise_answer(answer), expected, "{answer}");
    }
}

#[test]
fn spans_take_the_best_of_the_gold_answers() {
    assert!(exact_match("The Elm", "elm."));
    assert_near(span_f1("on the river Elm", "river Elm banks"), 2.0 * (2.0 / 3.0) * (2.0 / 3.0) / (4.0 / 3.0));
    assert_near(span_f1("elm elm", "elm"), 2.0 / 3.0);
    assert_near(span_f1("the", "a"), 1.0);
    assert_near(span_f1("the", "elm"), 0.0);
    let mut spans = Spans::default();
    spans.add(["nothing", "river Elm"], "the river elm");
    spans.add(["the river Elm"], "Elm");
    spans.add([], "Elm");
    assert_near(spans.exact_match(), 1.0 / 3.0);
    assert_near(spans.f1(), (1.0 + 2.0 / 3.0) / 3.0);
}

#[test]
fn attachment_counts_words() {
    let relations = ["nsubj", "root", "obj"].map(String::from);
    let mut attachment = Attachment::default();
    attachment.add((&[2, 0, 2], &relations), (&[2, 0, 1], &["nsubj", "obj", "obj"].map(String::from)));
    assert_near(attachment.unlabelled(), 2.0 / 3.0);
    assert_near(attachment.labelled(), 1.0 / 3.0);
    attachment.add((&[0], &[]), (&[], &[]));
    assert_near(attachment.unlabelled(), 0.5);
    assert_eq!(attachment.words(), 4);
}

#[test]
fn a_probe_is_averaged_over_relations() {
    let mut probe = Probe::default();
    for (relation, hit) in [("a", true), ("a", false), ("a", false), ("a", false), ("b", true)] {
        probe.add(relation, hit);
    }
    assert_near(probe.macro_average(), 0.625);
    assert_near(probe.micro_average(), 0.4);
    assert_near(Probe::default().macro_average(), 0.0);
}

fn relation(label: &str) -> Answer {
    let label = label.to_owned();
    Answer::Relation(RelationAnswer {
        label,
        probability: 1.0,
        subject: String::new(),
        object: String::new(),
        scores: Vec::new(),
    })
}

#[test]
fn a_scorer_takes_the_metric_of_the_benchmark() {
    let names = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
    let usual = |kind, labels: &[&str]| Metric::usual(kind, &names(labels)).map(Metric::as_str);
    assert_eq!(usual(Kind::RelationClassification, &SEMEVAL), Some("semeval"));
    assert_eq!(usual(Kind::RelationClassification, &["no_relation", "per:age"]), Some("tacred"));
    assert_eq!(usual(Kind::RelationClassification, &["P1", "P2"]), Some("accuracy"));
    assert_eq!(usual(Kind::EntityTyping, &["person"]), Some("openentity"));
    assert_eq!(usual(Kind::Span, &[]), Some("squad"));
    assert_eq!(usual(Kind::Features, &[]), None);

    let mut scorer = Scorer::new(Kind::RelationClassification, &names(&SEMEVAL), None, None).unwrap();
    scorer.add(&Gold::Label("Other".into()), &relation("Other")).unwrap();
    scorer.add(&Gold::Label(SEMEVAL[0].into()), &relation(SEMEVAL[0])).unwrap();
    scorer.add(&Gold::Label(SEMEVAL[0].into()), &relation(SEMEVAL[1])).unwrap();
    let report = scorer.report();
    assert_eq!((report.metric, report.examples), ("semeval", 3));
    assert_eq!(report.main().unwrap().name, "macro F1");
    assert_near(report.main().unwrap().value, 0.5);
    assert!(
        matches!(scorer.add(&Gold::Label("P1".into()), &relation("Other")), Err(Error::Label { label }) if label == "P1")
    );
    assert!(matches!(scorer.add(&Gold::Choice(1), &relation("Other")), Err(Error::Mismatch { .. })));
}

#[test]
fn a_scorer_takes_every_kind_of_answer() {
    let labels = ["a", "b"].map(String::from);
    let typing = |labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Answer::Typing(TypingAnswer { labels, mention: String::new(), scores: Vec::new() })
    };
    let first = |scorer: &Scorer| scorer.report().main().unwrap().value;
    for (metric, expected) in [(Metric::OpenEntity, 0.8), (Metric::Figer, 0.5), (Metric::FigerPublished, 0.5)] {
        let mut scorer = Scorer::new(Kind::EntityTyping, &labels, Some(metric), NonZeroUsize::new(1)).unwrap();
        scorer.add(&Gold::Labels(vec!["a".into(), "b".into()]), &typing(&["a"])).unwrap();
        scorer.add(&Gold::Labels(vec!["b".into()]), &typing(&["b"])).unwrap();
        assert_near(first(&scorer), expected);
    }
    let mut choices = Scorer::new(Kind::MultipleChoice, &[], None, None).unwrap();
    let answer = Answer::Choice(ChoiceAnswer { answer: 2, text: String::new(), probability: 1.0, scores: Vec::new() });
    choices.add(&Gold::Choice(2), &answer).unwrap();
    choices.add(&Gold::Choice(0), &answer).unwrap();
    assert_near(first(&choices), 0.5);
    let mut spans = Scorer::new(Kind::Span, &[], None, None).unwrap();
    let answer = Answer::Span(SpanAnswer { text: "the elm".into(), start: 0, end: 7, score: 0.0, probability: 1.0 });
    spans.add(&Gold::Spans(vec![SpanGold { text: "Elm".into(), start: None }]), &answer).unwrap();
    assert_near(first(&spans), 1.0);
}

#[test]
fn a_metric_that_does_not_fit_is_refused() {
    let said = |kind, metric: &str| {
        let error = Scorer::new(kind, &[], Some(metric.parse().unwrap()), None).unwrap_err();
        format!("{error}\n  hint: {}", error.hint().unwrap_or_default())
    };
    insta::assert_snapshot!(said(Kind::Span, "tacred"), @r"
    metric `tacred` does not fit a task of kind `span`, expected `squad`
      hint: `--metric squad`, or leave it out
    ");
    insta::assert_snapshot!(said(Kind::RelationClassification, "tacred"), @r"
    metric `tacred` needs `no_relation`, which is none of the task's labels
      hint: use `--metric accuracy`
    ");
    insta::assert_snapshot!(said(Kind::RelationClassification, "semeval"), @r"
    metric `semeval` needs `Other` and relations with `(e1,e2)` or `(e2,e1)`, which is none of the task's labels
      hint: use `--metric accuracy`
    ");
    insta::assert_snapshot!(said(Kind::Features, "accuracy"), @r"
    a task of kind `features` has no metric: its answers are features
      hint: evaluate a task with a head: see `kadapter tree`
    ");
    insta::assert_snapshot!("bleu".parse::<Metric>().unwrap_err(), @"no metric is named `bleu`, expected one of `accuracy`, `tacred`, `semeval`, `openentity`, `figer`, `figer-published`, `squad`");
}

proptest! {
    /// Scores are shares, and right answers score 1, whatever is counted.
    #[test]
    fn scores_are_shares(pairs in prop::collection::vec((0..5_usize, 0..5_usize), 1..40)) {
        let (confusion, labels) = semeval(&pairs);
        let official = super::semeval::official(&confusion, &labels).macro_average;
        for score in [confusion.accuracy(), confusion.macro_f1(), confusion.tacred(4).f1, official.f1] {
            prop_assert!((0.0..=1.0).contains(&score));
        }
        let right: Vec<_> = pairs.iter().map(|&(gold, _)| (gold, gold)).collect();
        let (confusion, labels) = semeval(&right);
        prop_assert_eq!(confusion.macro_f1(), 1.0);
        if right.iter().any(|&(gold, _)| gold != 4) {
            prop_assert_eq!(super::semeval::official(&confusion, &labels).macro_average.f1, 1.0);
            prop_assert_eq!(confusion.tacred(4).f1, 1.0);
        }
    }
}
