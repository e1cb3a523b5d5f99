//! Other engines than the CPU's: the reference, which is the meaning of every op, and one whose ops fail.

use super::bench::{cpu, is_panic};
use super::finding::{Finding, Verdict};
use super::watch::{MADE_TO_FAIL, Watched};
use super::{Bench, Check, judge};
use kadapter_plugin_api::reference::Reference;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "agrees-with-reference",
        description: "The CPU engine and the reference engine of the SDK give the same features, up to rounding",
        needs: &["finite-on-random-taps"],
        run: reference,
        judge: judge::plain,
    },
    Check {
        id: "failed-ops-are-errors",
        description: "When an op of the host fails, the forward gives an error: no panic, no features",
        needs: &["output-shape"],
        run: failing_ops,
        judge: judge::plain,
    },
];

/// Against the largest feature. Both engines store f32 between ops; this is some hundred roundings.
const TOLERANCE: f32 = 1e-4;

fn reference(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let (here, there) = (bench.specimen(&plugin, &engine)?, bench.specimen(&plugin, &Reference)?);
    let mut worst = 0.0_f32;
    for seed in 0..3 {
        let batch = bench.batch(seed, &[3, 1, 6]);
        let (ours, theirs) = (here.forward(&batch)?, there.forward(&batch)?);
        let largest = theirs.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
        for (at, (one, other)) in ours.iter().zip(&theirs).enumerate() {
            let difference = (one - other).abs() / largest;
            if difference.is_nan() || difference > TOLERANCE {
                return Err(Finding::failed(format!(
                    "the feature in row {} and column {} is {one} on the CPU engine and {other} on the reference engine; does it depend \
                     on more than its input?",
                    at / batch.columns,
                    at % batch.columns
                )));
            }
            worst = worst.max(difference);
        }
    }
    Ok(Finding::told(format!("the largest difference is {worst:.0e} of the largest feature")))
}

/// The most ops that are made to fail; an adapter with more is tried at the first ones.
const MOST: usize = 300;

fn failing_ops(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, Watched::new(cpu()));
    let specimen = bench.specimen(&plugin, &engine)?;
    let batch = bench.batch(0, &[2, 1]);
    engine.start(None);
    specimen.forward(&batch)?;
    // The first ops bring the taps and the last fetches the features: they are the check's own.
    let own = batch.taps.len();
    let ops = engine.ops().saturating_sub(1);
    for failing in (own..ops).take(MOST) {
        engine.start(Some(failing));
        let number = failing - own + 1;
        match specimen.features(&batch) {
            Err(error) if is_panic(&error) => {
                return Err(Finding::failed(format!("when op {number} of a forward failed, {}", error.message())));
            }
            Err(error) if error.message().contains(MADE_TO_FAIL) => {}
            Err(error) => {
                return Ok(Finding::warning(format!(
                    "when op {number} of a forward failed, its error was lost; it said `{}`, expected what the op said",
                    error.message()
                )));
            }
            Ok(_) => {
                return Err(Finding::failed(format!(
                    "when op {number} of a forward failed, it gave features all the same"
                )));
            }
        }
    }
    Ok(Finding::told(format!("each of {} ops", ops.saturating_sub(own).min(MOST))))
}
