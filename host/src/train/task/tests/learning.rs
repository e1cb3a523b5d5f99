//! What is learned, and that it is the same every time.

use super::super::{
    AnswerRule, Development, Error, HeadSettings, Member, Metric, Stop, Tally, View, predict, train_head,
};
use super::*;

const KINDS: [Kind; 5] =
    [Kind::RelationClassification, Kind::EntityTyping, Kind::MultipleChoice, Kind::Span, Kind::SequenceClassification];

fn settings() -> HeadSettings {
    HeadSettings { batch: 16, epochs: 30, learning_rate: 1e-2, patience: None, ..HeadSettings::default() }
}

fn metric(kind: Kind) -> Metric {
    Metric::of(kind, None, &[], None).unwrap()
}

fn score(spec: &HeadSpec, train: &FeatureSet, test: &View<'_>, settings: &HeadSettings) -> f64 {
    let engine = engine(1);
    let head = train_head(&engine, spec, &train.all(), None, settings, 1, |_| {}).unwrap();
    let answers = predict(&engine, &head, test).unwrap().answers(spec.kind, AnswerRule::default());
    let metric = metric(spec.kind);
    let gold = test.records.iter().map(|&record| &test.set.targets[record]);
    let tallies: Vec<Tally> = gold.zip(&answers).map(|(gold, answer)| metric.tally(gold, answer)).collect();
    metric.of_tallies(&tallies)
}

/// Every kind, under every fusion, finds in unseen records what its adapter's features show.
#[test]
fn every_kind_learns_what_the_features_show() {
    for kind in KINDS {
        let (train, test) = (records(kind, 300, 1), records(kind, 100, 2));
        for fusion in Fusion::ALL {
            let found = score(&spec(kind, fusion, &["a", "b"]), &train, &test.all(), &settings());
            assert!(found > 0.9, "{kind}, {fusion}: {found}");
        }
    }
}

/// What is not in the features is not learned: a stack without the adapter that knows is no better than chance, under the same fusion
/// and with a mix of hidden states in its place.
#[test]
fn without_the_adapter_that_knows_there_is_nothing_to_learn() {
    let kind = Kind::RelationClassification;
    let (train, test) = (records(kind, 300, 1), records(kind, 200, 2));
    let mut mixed = spec(kind, Fusion::Concat, &["a"]);
    let knowing = mixed.size();
    mixed.stack = vec![Member::TapMix { name: "a".to_owned(), taps: vec![0, 2] }];
    assert_eq!(mixed.size(), knowing + 2);
    let none = spec(kind, Fusion::Concat, &[]);
    let other = spec(kind, Fusion::Gated, &["b"]);
    for spec in [mixed, none, other] {
        let found = score(&spec, &train, &test.all(), &settings());
        assert!(found < 0.5, "{spec:?}: {found}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_whatever_the_number_of_threads() {
    let kind = Kind::RelationClassification;
    let set = records(kind, 60, 3);
    let spec = spec(kind, Fusion::Gated, &["a", "b"]);
    let settings = HeadSettings { epochs: 3, fusion_dropout: 0.2, ..settings() };
    let train = |threads, seed| {
        train_head(&engine(threads), &spec, &set.all(), None, &settings, seed, |_| {}).unwrap().parameters
    };
    let first = train(1, 7);
    assert_eq!(first, train(1, 7));
    assert_eq!(first, train(2, 7));
    assert_ne!(first, train(1, 8));
}

#[test]
fn the_best_epoch_is_kept_and_patience_ends_the_run() {
    let kind = Kind::SequenceClassification;
    let (train, dev) = (records(kind, 100, 1), records(kind, 60, 2));
    let (metric, engine) = (metric(kind), engine(1));
    let development = Development { view: dev.all(), metric: &metric, rule: AnswerRule::default() };
    let settings = HeadSettings { epochs: 60, patience: Some(3), ..settings() };
    let spec = spec(kind, Fusion::Concat, &["a"]);
    let mut reports = Vec::new();
    let head =
        train_head(&engine, &spec, &train.all(), Some(&development), &settings, 1, |report| reports.push(*report))
            .unwrap();
    assert_eq!(reports, head.epochs);
    let best = head.epochs.iter().map(|report| report.dev.unwrap()).fold(0.0, f64::max);
    assert_eq!(head.dev(), Some(best));
    let first = head.epochs.iter().find(|report| report.dev == Some(best)).unwrap();
    assert_eq!(head.best, first.epoch);
    assert_eq!(head.stop, Stop::Patience);
    assert_eq!(head.epochs.len(), head.best + 3);
    // What was kept is what answers: the score is found again by the engine for inference.
    let answers = predict(&engine, &head, &dev.all()).unwrap().answers(kind, AnswerRule::default());
    let tallies: Vec<Tally> =
        dev.targets.iter().zip(&answers).map(|(gold, answer)| metric.tally(gold, answer)).collect();
    assert_eq!(metric.of_tallies(&tallies), best);
}

#[test]
fn a_loss_that_is_no_number_stops_and_the_last_good_head_is_kept() {
    let kind = Kind::RelationClassification;
    let spec = spec(kind, Fusion::Concat, &["a"]);
    let good = records(kind, 64, 1);
    // Far too large a rate: the first epoch ends, a later one does not.
    let wild = HeadSettings { learning_rate: 1e18, warmup: 0.0, clip: None, epochs: 40, batch: 64, ..settings() };
    let head = train_head(&engine(1), &spec, &good.all(), None, &wild, 1, |_| {}).unwrap();
    assert_eq!(head.stop, Stop::Diverged);
    assert!(head.best >= 1 && head.epochs.len() < 40, "{:?}", head.epochs);
    assert!(head.parameters.iter().flat_map(|(_, values)| values).all(|value| value.is_finite()));

    let mut bad = good.clone();
    let column = Column::in_memory(HIDDEN, vec![f32::INFINITY; 64 * 2 * HIDDEN]);
    bad.columns.insert(Feature::Last, Arc::new(column));
    let error = train_head(&engine(1), &spec, &bad.all(), None, &settings(), 1, |_| {}).unwrap_err();
    assert!(matches!(error, Error::Diverged { step: 1, epoch: 1, .. }), "{error}");
    assert!(error.hint().unwrap().contains("learning_rate"));
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let kind = Kind::RelationClassification;
    let set = records(kind, 10, 1);
    let train = |spec: &HeadSpec, view: &View<'_>, settings: &HeadSettings| {
        train_head(&engine(1), spec, view, None, settings, 1, |_| {}).unwrap_err().to_string()
    };
    let plain = spec(kind, Fusion::Concat, &["a"]);
    assert_eq!(
        train(&plain, &set.only(Vec::new()), &settings()),
        "the training data has no record, expected at least one"
    );
    assert_eq!(
        train(&spec(kind, Fusion::Concat, &["c"]), &set.all(), &settings()),
        "features of `adapter c` are needed, but were not extracted"
    );
    let unread = HeadSpec { taps: vec![0], ..plain.clone() };
    assert_eq!(
        train(&unread, &set.all(), &settings()),
        "fusion `concat` reads no hidden state but the last, but taps [0] were given"
    );
    for (bad, message) in [
        (HeadSettings { batch: 0, ..settings() }, "setting `batch` is 0, expected at least 1"),
        (
            HeadSettings { learning_rate: f64::NAN, ..settings() },
            "setting `learning_rate` is NaN, expected a number above 0",
        ),
        (
            HeadSettings { dropout: 1.0, ..settings() },
            "setting `dropout` is 1, expected a probability from 0 to below 1",
        ),
    ] {
        assert_eq!(train(&plain, &set.all(), &bad), message);
    }
}

/// The official counter goes down before it is looked at: one less is kept.
#[test]
fn a_negative_sample_keeps_the_first_but_one() {
    let set = records(Kind::RelationClassification, 50, 4);
    let negatives = |view: &View<'_>| -> Vec<usize> {
        view.records.iter().copied().filter(|&record| set.targets[record] == Target::Class(0)).collect()
    };
    let all = negatives(&set.all());
    let sampled = set.all().negative_sample(0, 4);
    assert_eq!(negatives(&sampled), all[..3]);
    assert_eq!(sampled.len(), 50 - all.len() + 3);
}
