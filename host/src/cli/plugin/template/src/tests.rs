//! The adapter on the SDK's reference engine: every op in plain arithmetic, behind the same
//! boundary as in a real host. No backbone, no weights, no files.

use super::GatedBottleneck;
use kadapter_plugin_api::random::{Random, initial_values};
use kadapter_plugin_api::reference::Harness;
use kadapter_plugin_api::{Backbone, Entry, Result};

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

/// Gradient descent without a training host: slopes are measured by moving each value a little.
/// The adapter learns to do what another one with other weights does.
#[test]
fn it_can_be_trained() {
    const STEP: f32 = 0.01;
    const RATE: f32 = 0.2;
    let taps = taps(8, 4);
    let mut student = harness([Entry::integer("size", 2)]).unwrap();
    let mut teacher = harness([Entry::integer("size", 2)]).unwrap();
    for spec in teacher.params().to_vec() {
        teacher
            .set(
                spec.name(),
                &initial_values(&spec, 7)
                    .iter()
                    .map(|value| value * 2.0)
                    .collect::<Vec<_>>(),
            )
            .unwrap();
    }
    let target = teacher.forward(&[8], &taps).unwrap();
    let loss = |student: &Harness| -> f32 {
        let features = student.forward(&[8], &taps).unwrap();
        features
            .iter()
            .zip(&target)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f32>()
            / target.len() as f32
    };

    let specs = student.params().to_vec();
    let mut values: Vec<_> = specs.iter().map(|spec| initial_values(spec, 0)).collect();
    let before = loss(&student);
    for _ in 0..20 {
        let mut next = values.clone();
        for (index, spec) in specs.iter().enumerate() {
            for place in 0..values[index].len() {
                let mut moved = values[index].clone();
                moved[place] += STEP;
                student.set(spec.name(), &moved).unwrap();
                let above = loss(&student);
                moved[place] -= 2.0 * STEP;
                student.set(spec.name(), &moved).unwrap();
                next[index][place] -= RATE * (above - loss(&student)) / (2.0 * STEP);
            }
            student.set(spec.name(), &values[index]).unwrap();
        }
        values = next;
        for (spec, values) in specs.iter().zip(&values) {
            student.set(spec.name(), values).unwrap();
        }
    }
    let after = loss(&student);
    assert!(after < before / 4.0, "the loss was {before} and is {after}");
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
