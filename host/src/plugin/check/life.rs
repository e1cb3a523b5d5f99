//! A plugin's life: it is opened, builds an adapter, which computes and is dropped; the process ends.

use super::bench::{cpu, is_panic};
use super::finding::{Finding, Verdict};
use super::{Bench, Check, Stage, judge};
use crate::plugin::PluginError;

/// Instances that are alive at once.
const TOGETHER: usize = 8;
/// How often they are built and dropped.
const ROUNDS: usize = 25;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "open",
        description: "Opening the plugin, which runs its constructors, comes back",
        needs: &["abi-version"],
        run: open,
        judge: judge::plain,
    },
    Check {
        id: "layout",
        description: "What the plugin exports is laid out as this host's contract says",
        needs: &["open"],
        run: layout,
        judge: judge::plain,
    },
    Check {
        id: "build",
        description: "An adapter can be built: no error, no panic",
        needs: &["layout"],
        run: build,
        judge: judge::plain,
    },
    Check {
        id: "forward",
        description: "A forward comes back: no panic, no crash, no endless loop",
        needs: &["build"],
        run: forward,
        judge: judge::plain,
    },
    Check {
        id: "drop",
        description: "Dropping an adapter comes back: no panic, no crash",
        needs: &["build"],
        run: drop_one,
        judge: judge::dropping,
    },
    Check {
        id: "instances",
        description: "Adapters can be built and dropped again and again, several at once, in any order",
        needs: &["build", "drop"],
        run: instances,
        judge: judge::dropping,
    },
    Check {
        id: "process-end",
        description: "A process that used the plugin ends well",
        needs: &["forward", "drop"],
        run: |bench| bench.live(),
        judge: judge::ending,
    },
];

fn open(bench: &Bench<'_>) -> Verdict {
    match bench.try_open()? {
        // It came back; what it gave has a check of its own.
        Ok(_) | Err(PluginError::Layout { .. }) => Ok(Finding::success()),
        Err(error) => Err(error.into()),
    }
}

fn layout(bench: &Bench<'_>) -> Verdict {
    bench.open()?;
    Ok(Finding::success())
}

fn build(bench: &Bench<'_>) -> Verdict {
    let plugin = bench.open()?;
    let (instance, _) = bench.build(&plugin)?;
    std::mem::forget(instance);
    Ok(Finding::success())
}

fn forward(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    match bench.specimen(&plugin, &engine)?.features(&bench.batch(0, &[3, 1, 5])) {
        Err(error) if is_panic(&error) => Err(error.into()),
        Err(error) => Ok(Finding::told(format!("it gave an error: {}", error.message()))),
        Ok(_) => Ok(Finding::success()),
    }
}

fn drop_one(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    bench.specimen(&plugin, &engine)?.end();
    Ok(Finding::success())
}

fn instances(bench: &Bench<'_>) -> Verdict {
    let plugin = bench.open()?;
    for round in 0..ROUNDS {
        let mut alive = Vec::new();
        for _ in 0..TOGETHER {
            let (instance, _) = bench.build(&plugin)?;
            alive.push(instance);
        }
        bench.enter(Stage::Drop);
        // Each round another order: the oldest first, the youngest first, and from the middle.
        while !alive.is_empty() {
            let next = [0, alive.len() - 1, alive.len() / 2][round % 3];
            drop(alive.remove(next));
        }
    }
    Ok(Finding::success())
}
