//! One training step of a K-Adapter: forward with dropout, backward, clipping, AdamW.
//!
//! The sizes are those of an adapter beside MiniLM: 384 wide taps, 3 of them, 2 layers of 192 with 6 heads and 768 inside; 801 rows in
//! 32 segments, a relation head on each segment's first row. `peers/pytorch_train.py` is the same step in PyTorch.

use crate::Outcome;
use crate::engine::Measured;
use kadapter_host::parameters::Declared;
use kadapter_host::tensor::derivatives::Derivatives;
use kadapter_host::tensor::tape::{DropoutStream, Tape, Trainable};
use kadapter_host::train::optimizer::{AdamW, AdamWConfig, clip_coefficient};
use kadapter_k_adapter::KAdapter;
use kadapter_plugin_api::{
    Activation, Adapter, Backbone, Config, Context, Engine, Entry, Params, Role, Segments, Tensor, instantiate, session,
};
use std::time::Instant;

const HIDDEN: usize = 384;
const TAPS: [usize; 3] = [0, 2, 5];
const LABELS: usize = 32;

/// The network of the plugins, compiled in.
struct Network(KAdapter);

impl Adapter for Network {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> kadapter_plugin_api::Result<Self> {
        KAdapter::build(config, backbone, params).map(Self)
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> kadapter_plugin_api::Result<Tensor> {
        self.0.forward(cx, taps)
    }
}

/// Prints the medians of the parts of a step, in milliseconds.
pub(crate) fn run(rounds: usize, engine: &Measured) -> Outcome {
    match engine {
        Measured::Cpu(engine) => measure(engine, rounds),
        Measured::Candle(engine) => measure(engine, rounds),
    }
}

fn measure<E: Derivatives>(engine: &E, rounds: usize) -> Outcome {
    let entries = [Entry::integer("size", 192), Entry::integer("heads", 6), Entry::integer("ffn", 768)];
    let (instance, specs) = instantiate::<Network>(entries, &Backbone::new(HIDDEN, 6, &TAPS))?;
    let adapter = Trainable::initial(engine, &specs, 1)?;
    let shapes = [("weight", vec![LABELS, 2 * HIDDEN], Role::LinearWeight), ("bias", vec![LABELS], Role::Vector)];
    let head = Trainable::new(
        engine,
        shapes.map(|(name, shape, role)| {
            let values = values(shape.iter().product(), 3).into_iter().map(|x| 0.05 * x).collect();
            (Declared { name: name.into(), shape, role }, values)
        }),
    )?;
    let mut optimizers = [&adapter, &head].map(|trainable| (trainable, AdamW::new(AdamWConfig::default(), trainable)));
    // Lengths as text has them: 9 to 42, 25 on average; 801 rows.
    let segments = Segments::new((0..32).map(|segment| 9 + segment * 33 / 31))?;
    let rows = segments.rows();
    let taps = [1, 2, 3].map(|seed| engine.from_f32(rows, HIDDEN, values(rows * HIDDEN, seed)));
    let [first, second, third] = taps;
    let taps = [first?, second?, third?];
    let marked: Vec<u32> = segments.ranges().map(|range| range.start as u32).collect();
    let targets: Vec<i64> = (0..32).map(|segment| segment % LABELS as i64).collect();

    let mut times: [Vec<f64>; 4] = Default::default();
    let mut losses = Vec::new();
    for round in 0..rounds + 3 {
        let start = Instant::now();
        let tape = Tape::new(engine, Some(DropoutStream { seed: 1 }.at_step(round as u64)));
        let taps = taps.clone().map(|tap| tape.constant(tap));
        let features = session::run(&instance, &tape, &adapter.parameters(), &segments, &taps)?;
        let both = tape.gather(&tape.concat(&[&features, &taps[2]])?, &marked)?;
        let (Some(weight), bias) = (head.param(0), head.param(1)) else {
            return Err("the head has no parameters".into());
        };
        let loss = tape.cross_entropy(&tape.linear(&both, weight, bias, Activation::Identity)?, &targets)?;
        drop((features, both, taps));
        losses.extend(tape.read_f32(&loss)?);
        let forward = Instant::now();
        let gradients = tape.backward(&loss, 1.0)?;
        let scale = clip_coefficient(gradients.norm(engine)?, 1.0);
        let backward = Instant::now();
        for (trainable, optimizer) in &mut optimizers {
            optimizer.update(engine, trainable, &gradients, 1e-4, scale)?;
        }
        if engine.read_f32(&optimizers[1].0.param(1).ok_or("no bias")?.value())?.iter().any(|x| x.is_nan()) {
            return Err("the values are not numbers any more".into());
        }
        let end = Instant::now();
        if round >= 3 {
            let parts = [forward - start, backward - forward, end - backward, end - start];
            times.iter_mut().zip(parts).for_each(|(times, part)| times.push(part.as_secs_f64() * 1e3));
        }
    }
    let values: usize = [&adapter, &head].map(Trainable::values_len).iter().sum();
    println!("{values} values, {rows} rows, loss {} to {}", losses[0], losses[losses.len() - 1]);
    for (name, times) in ["forward", "backward", "update", "step"].into_iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{name} median {:.2} ms, fastest {:.2} ms", times[times.len() / 2], times[0]);
    }
    Ok(())
}

/// Numbers between -1 and 1, the same ones every time.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut random = kadapter_plugin_api::random::Random::new(seed);
    (0..count).map(|_| (2.0 * random.uniform() - 1.0) as f32).collect()
}
