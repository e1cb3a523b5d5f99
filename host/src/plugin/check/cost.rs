//! What a plugin costs: memory that it keeps, and time.

use super::bench::cpu;
use super::finding::{Finding, Verdict};
use super::{Bench, Check, judge};
use std::time::Instant;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "memory-growth",
        description: "A thousand forwards leave the process as large as it was",
        needs: &["output-shape"],
        run: memory,
        judge: judge::plain,
    },
    Check {
        id: "forward-time",
        description: "How long a forward takes",
        needs: &["output-shape"],
        run: time,
        judge: judge::plain,
    },
];

/// Forwards before the first look: pools fill, allocators settle.
const WARM_UP: usize = 200;
const FORWARDS: usize = 1000;
/// Growth that is looked at askance: a quarter of a KiB per forward, more than an allocator's rounding adds up to.
const NOTED: usize = 256 << 10;
/// Growth that is a leak: four KiB per forward, a page, would cost a server with a hundred requests per second a GiB an hour.
const LEAK: usize = 4 << 20;

fn memory(bench: &Bench<'_>) -> Verdict {
    if resident().is_none() {
        return Ok(Finding::skipped("this system does not say how much memory a process has in /proc/self/statm"));
    }
    let (plugin, engine) = (bench.open()?, cpu());
    let specimen = bench.specimen(&plugin, &engine)?;
    let batch = bench.batch(0, &[3, 1, 5]);
    let run = |forwards: usize| -> Result<(), Finding> {
        for _ in 0..forwards {
            specimen.forward(&batch)?;
        }
        Ok(())
    };
    run(WARM_UP)?;
    let before = resident().unwrap_or_default();
    run(FORWARDS)?;
    let growth = resident().unwrap_or_default().saturating_sub(before);
    let said = format!("{} KiB in {FORWARDS} forwards", growth >> 10);
    Ok(match growth {
        LEAK.. => Finding::failed(format!("it grew by {said}, expected less than {} KiB", LEAK >> 10)),
        NOTED.. => Finding::warning(format!("it grew by {said}, expected less than {} KiB", NOTED >> 10)),
        _ => Finding::success(),
    })
}

/// Bytes of memory that this process has.
fn resident() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        let text = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: usize = text.split(' ').nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Segments of the timed batch: eight sentences.
const TIMED: [usize; 8] = [32; 8];
const TIMES: usize = 15;

fn time(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let specimen = bench.specimen(&plugin, &engine)?;
    let batch = bench.batch(0, &TIMED);
    specimen.forward(&batch)?;
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let started = Instant::now();
        specimen.forward(&batch)?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(Finding::told(format!(
        "{:.2} ms for {} tokens of hidden size {}, on one thread",
        times[TIMES / 2].as_secs_f64() * 1e3,
        batch.rows(),
        batch.columns
    )))
}
