//! Counters that prove what the design promises, and where the time goes.

use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a model has done since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Distinct token segments that went through the backbone.
    pub segments: u64,
    /// Rows that went through the backbone; with `compat = "official"` pads count.
    pub tokens: u64,
    /// Backbone passes.
    pub backbone_passes: u64,
    /// Adapter passes by the adapter's first name in the manifest.
    pub adapter_passes: BTreeMap<String, u64>,
    /// Answers and errors by task.
    pub answers: BTreeMap<String, u64>,
    /// Milliseconds by stage.
    pub milliseconds: Stages,
}

/// Time by stage, in milliseconds. On a GPU, work is charged to the stage that waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stages {
    /// Text to tokens.
    pub encode: f64,
    /// The backbone.
    pub backbone: f64,
    /// All adapters.
    pub adapters: f64,
    /// Fusion and heads.
    pub heads: f64,
    /// Numbers to answers.
    pub decode: f64,
}

/// Runs some work and adds its time to a stage.
pub(super) fn timed<T>(stage: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = std::time::Instant::now();
    let result = work();
    *stage += milliseconds(start.elapsed());
    result
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Stats {
    /// Adds another account to this one.
    pub(super) fn add(&mut self, other: &Self) {
        self.segments += other.segments;
        self.tokens += other.tokens;
        self.backbone_passes += other.backbone_passes;
        for (sum, counts) in [(&mut self.adapter_passes, &other.adapter_passes), (&mut self.answers, &other.answers)] {
            for (name, count) in counts {
                *sum.entry(name.clone()).or_default() += count;
            }
        }
        let (sum, stages) = (&mut self.milliseconds, &other.milliseconds);
        sum.encode += stages.encode;
        sum.backbone += stages.backbone;
        sum.adapters += stages.adapters;
        sum.heads += stages.heads;
        sum.decode += stages.decode;
    }
}
