//! Threads: an instance serves many at once, and instances do not disturb each other.

use super::batch::{Batch, first_difference};
use super::bench::{Specimen, cpu};
use super::finding::{Finding, Verdict};
use super::{Bench, Check, judge};
use crate::tensor::cpu::CpuEngine;
use std::sync::Barrier;

pub(super) const CHECKS: &[Check] = &[Check {
    id: "thread-safety",
    description: "Two instances in two threads, and one instance in two, give the bits of one instance in one",
    needs: &["deterministic"],
    run: threads,
    judge: judge::plain,
}];

/// Forwards of each thread: with two of them, enough that they meet.
const FORWARDS: usize = 100;

fn threads(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let (one, other) = (bench.specimen(&plugin, &engine)?, bench.specimen(&plugin, &engine)?);
    let batches = [bench.batch(0, &[3, 1, 5]), bench.batch(1, &[2, 8])];
    let expected = [one.forward(&batches[0])?, one.forward(&batches[1])?];
    for (what, second) in [("two instances", &other), ("one instance", &one)] {
        let start = Barrier::new(2);
        let work = |specimen: &Specimen<'_, CpuEngine>, first: usize| -> Result<(), Finding> {
            start.wait();
            for number in 0..FORWARDS {
                let at = (first + number) % 2;
                same(what, specimen, &batches[at], &expected[at])?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| work(second, 1));
            let here = work(&one, 0);
            let there = thread.join().unwrap_or_else(|_| Err(Finding::failed("a thread panicked")));
            here.and(there)
        })?;
    }
    Ok(Finding::success())
}

fn same(what: &str, specimen: &Specimen<'_, CpuEngine>, batch: &Batch, expected: &[f32]) -> Result<(), Finding> {
    let found = specimen.forward(batch)?;
    match first_difference(expected, &found) {
        None => Ok(()),
        Some(at) => Err(Finding::failed(format!(
            "with {what} in two threads, feature {at} is {}, expected {} as in one thread",
            found[at], expected[at]
        ))),
    }
}
