//! Heads in closed form: the minimum, whichever form finds it.

use super::super::{AnswerRule, Grid, HeadSettings, Metric, Round, Solver, Tally, choose, predict, train_head};
use super::*;

fn settings() -> HeadSettings {
    HeadSettings { solver: Solver::Ridge, penalty: 0.05, ..HeadSettings::default() }
}

fn linear(kind: Kind, stack: &[&str]) -> HeadSpec {
    let mut spec = spec(kind, Fusion::Blocks, stack);
    spec.head.dense = false;
    spec
}

fn parameter<'a>(head: &'a super::super::TrainedHead, name: &str) -> &'a [f32] {
    &head.parameters.iter().find(|(declared, _)| declared.name == name).unwrap().1
}

/// Solves `A x = b` by elimination, in place, for a symmetric positive `A`.
fn eliminate(a: &mut [f64], b: &mut [f64], length: usize) {
    for pivot in 0..length {
        for row in pivot + 1..length {
            let factor = a[row * length + pivot] / a[pivot * length + pivot];
            for column in pivot..length {
                a[row * length + column] -= factor * a[pivot * length + column];
            }
            b[row] -= factor * b[pivot];
        }
    }
    for row in (0..length).rev() {
        let known: f64 = (row + 1..length).map(|column| a[row * length + column] * b[column]).sum();
        b[row] = (b[row] - known) / a[row * length + row];
    }
}

/// The weights are those of the normal equations over the standardised, gated features, found by elimination in f64, where there are
/// more records than columns and where there are fewer.
#[test]
fn weights_are_those_of_the_normal_equations() {
    let kind = Kind::SequenceClassification;
    for (count, gates) in [(40, vec![0.5]), (200, vec![0.5]), (40, vec![]), (200, vec![2.0])] {
        let set = records(kind, count, 3);
        let spec = linear(kind, &["a"]);
        let columns = 4 * HIDDEN;
        let settings = HeadSettings { gates, ..settings() };
        let head = train_head(&engine(1), &spec, &set.all(), None, &settings, 1, |_| {}).unwrap();

        let sources = [
            (Feature::Last, "fusion.states.last"),
            (Feature::Tap(0), "fusion.states.0"),
            (Feature::Tap(2), "fusion.states.2"),
            (Feature::Adapter("a".to_owned()), "fusion.a"),
        ];
        let rows: Vec<usize> = (0..count).collect();
        let mut x = vec![0.0_f64; count * columns];
        for (block, (feature, name)) in sources.iter().enumerate() {
            let mut values = Vec::new();
            set.column(feature).unwrap().gather(&rows, &mut values).unwrap();
            let (scale, shift) =
                (parameter(&head, &format!("{name}.weight")), parameter(&head, &format!("{name}.bias")));
            for (row, own) in values.chunks_exact(HIDDEN).enumerate() {
                for column in 0..HIDDEN {
                    let value = f64::from(own[column]) * f64::from(scale[column]) + f64::from(shift[column]);
                    x[row * columns + block * HIDDEN + column] = value;
                }
            }
        }
        for class in 0..CLASSES {
            let y: Vec<f64> = set
                .targets
                .iter()
                .map(|target| if *target == Target::Class(class as u32) { 1.0 } else { -1.0 })
                .collect();
            // With a column of ones for the bias, which is not penalised.
            let length = columns + 1;
            let at = |row: usize, column: usize| if column == columns { 1.0 } else { x[row * columns + column] };
            let mut a = vec![0.0; length * length];
            let mut b = vec![0.0; length];
            for (row, y) in y.iter().enumerate() {
                for i in 0..length {
                    b[i] += at(row, i) * y;
                    for j in 0..length {
                        a[i * length + j] += at(row, i) * at(row, j);
                    }
                }
            }
            for i in 0..columns {
                a[i * length + i] += settings.penalty * count as f64;
            }
            eliminate(&mut a, &mut b, length);
            let weights = &parameter(&head, "head.out.weight")[class * columns..(class + 1) * columns];
            for (found, expected) in weights.iter().zip(&b) {
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{count}: {found} {expected}");
            }
            let bias = f64::from(parameter(&head, "head.out.bias")[class]);
            assert!((bias - b[columns]).abs() < 1e-4, "{count}: {bias} {}", b[columns]);
        }
    }
}

#[test]
fn every_kind_is_learned_in_closed_form() {
    let kinds = [
        Kind::RelationClassification,
        Kind::EntityTyping,
        Kind::MultipleChoice,
        Kind::Span,
        Kind::SequenceClassification,
    ];
    for kind in kinds {
        // With fewer records than columns noise fits too, but what shows is found all the same.
        for (count, least) in [(60, 0.8), (400, 0.9)] {
            let (train, test) = (records(kind, count, 1), records(kind, 100, 2));
            let engine = engine(1);
            let spec = linear(kind, &["a", "b"]);
            let head = train_head(&engine, &spec, &train.all(), None, &settings(), 1, |_| {}).unwrap();
            let answers = predict(&engine, &head, &test.all()).unwrap().answers(kind, AnswerRule::default());
            let metric = Metric::of(kind, None, &[], None).unwrap();
            let tallies: Vec<Tally> =
                test.targets.iter().zip(&answers).map(|(gold, answer)| metric.tally(gold, answer)).collect();
            let found = metric.of_tallies(&tallies);
            assert!(found > least, "{kind}, {count}: {found}");
        }
    }
}

/// A gate of 0 leaves an adapter out: what answers is what was trained without it.
#[test]
fn a_closed_gate_is_no_adapter() {
    let kind = Kind::RelationClassification;
    let (train, test) = (records(kind, 80, 1), records(kind, 30, 2));
    let engine = engine(1);
    let logits = |stack: &[&str], gates: Vec<f64>| {
        let settings = HeadSettings { gates, ..settings() };
        let head = train_head(&engine, &linear(kind, stack), &train.all(), None, &settings, 1, |_| {}).unwrap();
        predict(&engine, &head, &test.all()).unwrap().records.concat()
    };
    let without = logits(&["b"], vec![1.0]);
    for (found, expected) in logits(&["a", "b"], vec![0.0, 1.0]).iter().zip(&without) {
        assert!((found - expected).abs() < 1e-3, "{found} {expected}");
    }
    let with = logits(&["a", "b"], vec![1.0, 1.0]);
    assert!(with.iter().zip(&without).any(|(with, without)| (with - without).abs() > 0.1));
}

/// Adapter `a` has what is right, `b` is noise: chance lets `b` in now and then, evidence does not, and neither shuts `a` out.
#[test]
fn a_gate_opens_where_development_data_say_so() {
    let kind = Kind::RelationClassification;
    let metric = Metric::of(kind, None, &[], None).unwrap();
    let spec = linear(kind, &["a", "b"]);
    let open = |gate_confidence: f64, seed: u64, one_cluster: bool| {
        let (train, mut dev) = (records(kind, 40, 2 * seed), records(kind, 60, 2 * seed + 1));
        if one_cluster {
            dev.clusters = vec!["".into(); dev.targets.len()].into();
        }
        let test = records(kind, 1, 0);
        let grid = Grid { gate: vec![0.0, 1.0], ..Grid::default() };
        let base = HeadSettings { gate_confidence, ..settings() };
        let settings = grid.expand(&base, Fusion::Blocks, 2);
        let round = Round { train: train.all(), dev: dev.all(), test: test.all() };
        let rule = AnswerRule::default();
        let chosen = choose(&engine(1), &spec, &round, &metric, rule, &settings, 1, |_, _| {}).unwrap();
        [0, 1].map(|member| chosen.settings.gates[member] > 0.0)
    };
    let (chance, evidence): (Vec<_>, Vec<_>) =
        (1..=30).map(|seed| (open(0.0, seed, false), open(0.95, seed, false))).unzip();
    assert!(chance.iter().chain(&evidence).all(|[a, _]| *a), "{chance:?} {evidence:?}");
    let noise = |found: &[[bool; 2]]| found.iter().filter(|[_, b]| *b).count();
    // Development data that are all one cluster say as much as its records, not everything.
    assert!((1..=30).zip(&evidence).all(|(seed, evidence)| open(0.95, seed, true) == *evidence));
    assert!(noise(&chance) >= 2 && noise(&evidence) == 0, "{chance:?} {evidence:?}");
}

/// Fewer records than columns and next to no penalty: the matrix has no factor in f32, and conjugate gradients find the answers alone.
#[test]
fn a_matrix_without_a_factor_is_solved_all_the_same() {
    let kind = Kind::RelationClassification;
    let train = records(kind, 130, 1);
    let settings = HeadSettings { penalty: 1e-12, ..settings() };
    let head = train_head(&engine(1), &linear(kind, &["a", "b"]), &train.all(), None, &settings, 1, |_| {}).unwrap();
    let answers = predict(&engine(1), &head, &train.all()).unwrap().answers(kind, AnswerRule::default());
    assert_eq!(answers, train.targets.to_vec());
}

#[test]
fn what_is_not_linear_is_refused() {
    let kind = Kind::RelationClassification;
    let set = records(kind, 20, 1);
    let refused = |spec: &HeadSpec| {
        train_head(&engine(1), spec, &set.all(), None, &settings(), 1, |_| {}).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&spec(kind, Fusion::Concat, &["a"])),
        "setting `solver` is `ridge` with fusion `concat`, expected `adamw`, or fusion `blocks`"
    );
    assert_eq!(
        refused(&spec(kind, Fusion::Blocks, &["a"])),
        "setting `solver` is `ridge` for a head of two layers, expected `dense = false` in the task's options"
    );
}

/// A head that learned from what an adapter adds to its taps answers the same over the adapter's features themselves, for one layer and
/// for two.
#[test]
fn a_packaged_head_keeps_every_logit() {
    for (kind, dense) in [(Kind::RelationClassification, false), (Kind::EntityTyping, true)] {
        let (train, test) = (records(kind, 120, 1), records(kind, 30, 2));
        let engine = engine(1);
        let mut spec = spec(kind, Fusion::Blocks, &["b", "a"]);
        spec.head.dense = dense;
        spec.stack[1] = Member::Learned { name: "a".to_owned(), taps: vec![0, 2] };
        let solver = if dense { Solver::Adamw } else { Solver::Ridge };
        let settings = HeadSettings { solver, gates: vec![1.0, 0.5], epochs: 2, ..settings() };
        let head = train_head(&engine, &spec, &train.all(), None, &settings, 1, |_| {}).unwrap();
        let packaged = head.packaged();
        assert_eq!(packaged.spec.stack[1], Member::Adapter("a".to_owned()));
        let logits = |head| predict(&engine, head, &test.all()).unwrap().records.concat();
        for (found, expected) in logits(&packaged).iter().zip(logits(&head)) {
            assert!((found - expected).abs() < 1e-3, "{kind}: {found} {expected}");
        }
        assert_ne!(packaged.parameters, head.parameters);
    }
    let mut unread = linear(Kind::RelationClassification, &["a"]);
    unread.stack[0] = Member::Learned { name: "a".to_owned(), taps: vec![0, 5] };
    let set = records(Kind::RelationClassification, 20, 1);
    let error = train_head(&engine(1), &unread, &set.all(), None, &settings(), 1, |_| {}).unwrap_err();
    assert!(error.to_string().contains("`a`, whose taps are [0, 5]"), "{error}");
}
