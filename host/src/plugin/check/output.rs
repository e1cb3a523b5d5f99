//! What an adapter yields: rows of the promised shape, the same each time, finite.

use super::batch::{Batch, first_difference};
use super::bench::{Bed, Specimen, cpu};
use super::finding::{Finding, Verdict};
use super::{Bench, Check, judge};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "output-shape",
        description: "An adapter yields one feature row of the hidden size per token, and nothing else",
        needs: &["forward"],
        run: shape,
        judge: judge::plain,
    },
    Check {
        id: "deterministic",
        description: "The same input gives the same bits: again, after other input, from another instance",
        needs: &["output-shape"],
        run: deterministic,
        judge: judge::plain,
    },
    Check {
        id: "finite-on-random-taps",
        description: "Hidden states as a backbone gives them lead to finite features",
        needs: &["output-shape"],
        run: finite_on_random,
        judge: judge::plain,
    },
    Check {
        id: "finite-on-extreme-taps",
        description: "Zeros, large, tiny and constant hidden states, and segments of one token, lead to finite features",
        needs: &["output-shape"],
        run: finite_on_extreme,
        judge: judge::plain,
    },
];

fn shape(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let specimen = bench.specimen(&plugin, &engine)?;
    for (seed, lengths) in [&[1][..], &[3, 1, 5], &[17], &[1, 1, 1, 1]].into_iter().enumerate() {
        specimen.forward(&bench.batch(seed as u64, lengths))?;
    }
    Ok(Finding::success())
}

fn deterministic(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let (one, other) = (bench.specimen(&plugin, &engine)?, bench.specimen(&plugin, &engine)?);
    if one.specs != other.specs {
        return Err(Finding::failed("two adapters of one configuration declare different parameters"));
    }
    let (batch, between) = (bench.batch(0, &[3, 1, 5]), bench.batch(1, &[2, 8]));
    let first = one.forward(&batch)?;
    let same = |what: &str, again: Vec<f32>| match first_difference(&first, &again) {
        None => Ok(()),
        Some(at) => Err(Finding::failed(format!("{what}, feature {at} is {}, before it was {}", again[at], first[at]))),
    };
    for _ in 0..3 {
        same("in a second forward", one.forward(&batch)?)?;
    }
    one.forward(&between)?;
    same("after other input", one.forward(&batch)?)?;
    same("from a second instance", other.forward(&batch)?)?;
    Ok(Finding::success())
}

fn all_finite<E: Bed>(specimen: &Specimen<'_, E>, what: &str, batch: &Batch) -> Result<(), Finding> {
    let features = specimen.forward(batch)?;
    match features.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (row, column) = (at / batch.columns, at % batch.columns);
            Err(Finding::failed(format!("on {what}, the feature in row {row} and column {column} is {}", features[at])))
        }
    }
}

fn finite_on_random(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let specimen = bench.specimen(&plugin, &engine)?;
    for seed in 0..8 {
        all_finite(&specimen, "random hidden states", &bench.batch(seed, &[4, 1, 9, 2]))?;
    }
    Ok(Finding::success())
}

/// The largest magnitude that is tried: outliers of real backbones stay below 1,000.
const LARGE: f32 = 1e4;
/// A value below the smallest normal one.
const DENORMAL: f32 = 1e-40;

/// What a batch is made of, and how, from a random one.
type Kind = (&'static str, fn(f32) -> f32);

fn finite_on_extreme(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let specimen = bench.specimen(&plugin, &engine)?;
    let values: [Kind; 6] = [
        ("zeros", |_| 0.0),
        ("hidden states of 10000 everywhere", |_| LARGE),
        ("hidden states of -10000 everywhere", |_| -LARGE),
        ("hidden states of 10000 and -10000", |value| LARGE.copysign(value)),
        ("denormal hidden states", |value| DENORMAL.copysign(value)),
        ("random hidden states", |value| value),
    ];
    for (what, value) in values {
        for lengths in [&[3, 1, 5][..], &[1], &[1, 1, 1]] {
            all_finite(&specimen, what, &bench.batch(0, lengths).map(value))?;
        }
    }
    Ok(Finding::success())
}
