//! Metrics of hand-made answers.

use super::super::{Metric, Target};
use crate::task::Kind;

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn score(metric: &Metric, pairs: &[(Target, Target)]) -> f64 {
    let tallies: Vec<_> = pairs.iter().map(|(gold, answer)| metric.tally(gold, answer)).collect();
    metric.of_tallies(&tallies)
}

fn classes(pairs: &[(u32, u32)]) -> Vec<(Target, Target)> {
    pairs.iter().map(|&(gold, answer)| (Target::Class(gold), Target::Class(answer))).collect()
}

#[test]
fn micro_f1_leaves_out_the_label_for_none() {
    let names = labels(&["no_relation", "a", "b"]);
    let metric = Metric::of(Kind::RelationClassification, None, &names, Some("no_relation")).unwrap();
    // Of 3 answered, 1 is right; of 2 that should be, 1 is found: P = 1/3, R = 1/2.
    let pairs = classes(&[(0, 0), (0, 1), (1, 1), (2, 1)]);
    assert!((score(&metric, &pairs) - 0.4).abs() < 1e-12);
    assert_eq!(score(&metric, &classes(&[(0, 0), (1, 0)])), 0.0);
    assert_eq!(score(&metric, &[]), 0.0);
}

/// The official scorer takes both directions of a relation together, and a wrong direction is an error in both.
#[test]
fn directed_macro_f1_is_that_of_the_official_scorer() {
    let names = labels(&["Other", "X(e1,e2)", "X(e2,e1)", "Y(e1,e2)", "Y(e2,e1)"]);
    let metric = Metric::of(Kind::RelationClassification, Some("directed-macro-f1"), &names, None).unwrap();
    let Metric::DirectedMacroF1 { relations } = &metric else { panic!("{metric}") };
    assert_eq!(relations, &[None, Some(0), Some(0), Some(1), Some(1)]);
    // X: 3 gold, 3 answered, 1 right (one in the wrong direction, one false alarm). Y: 1 gold, 1 answered, 1 right.
    let pairs = classes(&[(1, 1), (1, 2), (2, 0), (0, 1), (3, 3), (0, 0)]);
    assert!((score(&metric, &pairs) - (1.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
}

#[test]
fn loose_micro_f1_is_over_all_labels_of_all_records() {
    let metric = Metric::of(Kind::EntityTyping, None, &[], None).unwrap();
    let pair = |gold: &[u32], answer: &[u32]| (Target::Classes(gold.to_vec()), Target::Classes(answer.to_vec()));
    let pairs = [pair(&[0, 1], &[0]), pair(&[2], &[1, 2]), pair(&[], &[])];
    // 2 right of 3 answered and 3 gold.
    assert!((score(&metric, &pairs) - 2.0 / 3.0).abs() < 1e-12);
}

#[test]
fn token_f1_is_the_mean_over_records() {
    let metric = Metric::of(Kind::Span, None, &[], None).unwrap();
    let pair = |gold: (u32, u32), answer: (u32, u32)| (Target::Spans(vec![gold]), Target::Span(answer.0, answer.1));
    // Equal: 1. Two of three and of three: 2/3. Apart: 0.
    let pairs = [pair((1, 2), (1, 2)), pair((0, 2), (1, 3)), pair((0, 0), (4, 5))];
    assert!((score(&metric, &pairs) - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
    // Of several that are right the best counts; where none is, every answer is wrong.
    let several = |gold: &[(u32, u32)]| [(Target::Spans(gold.to_vec()), Target::Span(1, 3))];
    assert!((score(&metric, &several(&[(4, 5), (0, 2)])) - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(score(&metric, &several(&[])), 0.0);
    let accuracy = Metric::of(Kind::Span, Some("accuracy"), &[], None).unwrap();
    assert_eq!(score(&accuracy, &several(&[(4, 5), (1, 3)])), 1.0);
    assert_eq!(score(&accuracy, &several(&[(4, 5), (1, 2)])), 0.0);
}

#[test]
fn a_metric_that_does_not_judge_the_kind_is_refused() {
    let error = Metric::of(Kind::Span, Some("micro-f1"), &[], None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "metric `micro-f1` does not judge tasks of kind `span`, expected `token-f1` or `accuracy`"
    );
    let error = Metric::of(Kind::RelationClassification, None, &labels(&["a"]), Some("no_relation")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "label `no_relation`, which metric `micro-f1` leaves out, is not among the task's labels"
    );
}
