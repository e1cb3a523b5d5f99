//! The adapter and its objective on the SDK's reference engine: every op in plain arithmetic, behind the same
//! boundary as in a real host. No backbone, no weights, no files.

use super::{GatedBottleneck, TextLabels};
use kadapter_plugin_api::random::{Random, initial_values};
use kadapter_plugin_api::reference::{Harness, TrainingHarness};
use kadapter_plugin_api::{Backbone, Encoded, Entry, Result};

const HIDDEN: usize = 6;
const TAPS: [usize; 2] = [0, 2];

fn harness(config: impl IntoIterator<Item = Entry>) -> Result<Harness> {
    Harness::new::<GatedBottleneck>(config, &Backbone::new(HIDDEN, 4, &TAPS))
}

/// Taps of `rows` tokens, the same for the same seed.
fn taps(rows: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random::new(seed);
    TAPS.iter()
        .map(|_| (0..rows * HIDDEN).map(|_| random.normal() as f32).collect())
        .collect()
}

#[test]
fn it_gives_one_finite_row_per_token() {
    let features = harness([]).unwrap().forward(&[2, 3], &taps(5, 1)).unwrap();
    assert_eq!(features.len(), 5 * HIDDEN);
    assert!(features.iter().all(|value| value.is_finite()));
}

/// What hosts rely on when they run many texts at once.
#[test]
fn a_text_in_a_batch_equals_the_text_alone() {
    let (harness, taps) = (harness([]).unwrap(), taps(5, 2));
    let (cut, mut alone) = (2 * HIDDEN, Vec::new());
    for (rows, part) in [(2, 0..cut), (3, cut..5 * HIDDEN)] {
        let taps: Vec<_> = taps.iter().map(|tap| tap[part.clone()].to_vec()).collect();
        alone.extend(harness.forward(&[rows], &taps).unwrap());
    }
    assert_eq!(harness.forward(&[2, 3], &taps).unwrap(), alone);
}

/// A parameter without an effect would never be trained.
#[test]
fn every_parameter_changes_the_features() {
    let (mut harness, taps) = (harness([]).unwrap(), taps(3, 3));
    let before = harness.forward(&[3], &taps).unwrap();
    for spec in harness.params().to_vec() {
        let mut values = initial_values(&spec, 0);
        values[0] += 0.5;
        harness.set(spec.name(), &values).unwrap();
        assert_ne!(
            harness.forward(&[3], &taps).unwrap(),
            before,
            "{} has no effect",
            spec.name()
        );
        harness.set(spec.name(), &initial_values(&spec, 0)).unwrap();
    }
}

/// The adapter with its objective, both small: words are tokens, and the hidden states are made up
/// from them.
fn training(labels: &[&str]) -> Result<TrainingHarness> {
    TrainingHarness::new::<GatedBottleneck, TextLabels>(
        [Entry::integer("size", 1)],
        [Entry::texts("labels", labels)],
        &Backbone::new(4, 4, &[2]),
    )
}

fn record(text: &str, label: &str) -> Vec<Entry> {
    vec![Entry::text("text", text), Entry::text("label", label)]
}

/// Gradient descent without a training host: slopes are measured by moving each value a little.
#[test]
fn it_can_be_trained() {
    let mut harness = training(&["base", "acid"]).unwrap();
    let records = [
        record("caffeine tastes bitter", "base"),
        record("vinegar tastes sour", "acid"),
        record("soap is slippery", "base"),
    ];
    let examples = harness.encode_all(&records).unwrap();
    assert_eq!(harness.idle_parameters(&examples).unwrap(), [""; 0]);
    let (before, weight) = harness.loss(&examples).unwrap();
    assert_eq!(weight, 3.0);
    harness.descend(&examples, 20, 0.5).unwrap();
    let (after, _) = harness.loss(&examples).unwrap();
    assert!(after < before / 2.0, "the loss was {before} and is {after}");
    let metrics = harness.metrics(&harness.tally(&examples).unwrap()).unwrap();
    assert_eq!((metrics[0].name(), metrics[0].value()), ("accuracy", 1.0));
}

/// Hosts compute large batches in parts, on several machines too.
#[test]
fn the_loss_of_a_batch_is_that_of_its_parts() {
    let harness = training(&["base", "acid"]).unwrap();
    let records = [
        record("one two", "base"),
        record("three", "acid"),
        record("a b c", "acid"),
    ];
    let examples = harness.encode_all(&records).unwrap();
    let (whole, weight) = harness.loss(&examples).unwrap();
    let parts = [&examples[..1], &examples[1..]].map(|part| harness.loss(part).unwrap());
    let sum: f64 = parts
        .iter()
        .map(|(loss, weight)| f64::from(*loss) * weight)
        .sum();
    assert!(
        (f64::from(whole) - sum / weight).abs() < 1e-5,
        "{whole} {parts:?}"
    );
}

#[test]
fn wrong_records_are_refused_and_useless_ones_left_out() {
    let harness = training(&["base", "acid"]).unwrap();
    let refused = |record: &[Entry]| harness.encode(record).unwrap_err().message().to_owned();
    assert_eq!(
        refused(&record("water", "salt")),
        "the label is `salt`, expected one of [\"base\", \"acid\"]"
    );
    assert_eq!(
        refused(&[Entry::text("label", "base")]),
        "the record has no field `text`, expected a text; it has [\"label\"]"
    );
    let left_out = harness.encode(&record(" ", "base")).unwrap();
    assert!(matches!(left_out, Encoded::LeftOut(reason) if reason == "the text is empty"));
    assert_eq!(
        training(&["base"]).unwrap_err().message(),
        "`labels` names 1 labels, expected at least 2"
    );
}

#[test]
fn a_wrong_configuration_is_refused_in_words() {
    for (entry, expected) in [
        (
            Entry::integer("size", 0),
            "`size` is 0, expected at least 1",
        ),
        (
            Entry::text("size", "wide"),
            "`size` is a text, expected an integer",
        ),
        (
            Entry::integer("sise", 8),
            "unknown configuration key `sise`, expected only `size`",
        ),
    ] {
        assert_eq!(harness([entry]).unwrap_err().message(), expected);
    }
}
