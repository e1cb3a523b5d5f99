//! What holds whatever the numbers are.

use super::*;
use kadapter_plugin_api::{Activation, Result};

/// A transformer layer, with every op that a backbone uses.
struct Layer {
    query: CpuParam,
    key: CpuParam,
    value: CpuParam,
    up: CpuParam,
    down: CpuParam,
    bias: CpuParam,
    wide_bias: CpuParam,
    weight: CpuParam,
}

const WIDTH: usize = 96;
const INNER: usize = 200;

impl Layer {
    fn new(isa: Isa) -> Self {
        let mut values = Values(77);
        let mut linear = |rows: usize, columns: usize| {
            let weight = values.take(rows * columns).into_iter().map(|x| x * 0.2).collect();
            CpuParam::linear_for(isa, rows, columns, weight).unwrap()
        };
        let [query, key, value] = [(); 3].map(|()| linear(WIDTH, WIDTH));
        let (up, down) = (linear(INNER, WIDTH), linear(WIDTH, INNER));
        let [bias, weight] = [(); 2].map(|()| CpuParam::vector(values.take(WIDTH)));
        let wide_bias = CpuParam::vector(values.take(INNER));
        Self { query, key, value, up, down, bias, wide_bias, weight }
    }

    fn forward(&self, engine: &CpuEngine, x: &CpuTensor, segments: &Segments) -> Result<CpuTensor> {
        let linear = |weight| engine.linear(x, weight, Some(&self.bias), Activation::Identity);
        let attended =
            engine.attention(&linear(&self.query)?, &linear(&self.key)?, &linear(&self.value)?, 3, segments)?;
        let x = engine.add_layer_norm(x, &attended, &self.weight, &self.bias, 1e-5)?;
        let inner = engine.linear(&x, &self.up, Some(&self.wide_bias), Activation::GeluErf)?;
        let outer = engine.linear(&inner, &self.down, Some(&self.bias), Activation::Tanh)?;
        engine.softmax(&engine.add_layer_norm(&x, &outer, &self.weight, &self.bias, 1e-5)?)
    }
}

const LENGTHS: [usize; 6] = [7, 1, 130, 19, 64, 33];

#[test]
fn a_row_in_a_batch_has_the_bits_of_the_row_alone() {
    let segments = Segments::new(LENGTHS).unwrap();
    let x = Values(1).take(segments.rows() * WIDTH);
    for engine in engines() {
        let layer = Layer::new(engine.isa());
        let batch = engine.from_f32(segments.rows(), WIDTH, x.clone()).unwrap();
        let together = bits(&engine, &layer.forward(&engine, &batch, &segments).unwrap());
        for range in segments.ranges() {
            let columns = range.start * WIDTH..range.end * WIDTH;
            let single = engine.from_f32(range.len(), WIDTH, x[columns.clone()].to_vec()).unwrap();
            let alone = layer.forward(&engine, &single, &Segments::new([range.len()]).unwrap()).unwrap();
            assert_eq!(bits(&engine, &alone), together[columns], "rows {range:?}, {engine:?}");
        }
    }
}

#[test]
fn threads_change_nothing_but_time() {
    let segments = Segments::new(LENGTHS).unwrap();
    let x = Values(1).take(segments.rows() * WIDTH);
    for &isa in Isa::available() {
        let layer = Layer::new(isa);
        let outputs = [1, 2, 3, 8].map(|threads| {
            let engine = engine(isa, threads);
            assert_eq!(engine.threads(), threads);
            let x = engine.from_f32(segments.rows(), WIDTH, x.clone()).unwrap();
            bits(&engine, &layer.forward(&engine, &x, &segments).unwrap())
        });
        assert!(outputs.iter().all(|output| *output == outputs[0]), "{isa:?}");
    }
}

#[test]
fn callers_on_several_threads_do_not_disturb_each_other() {
    fn shareable<T: Send + Sync>() {}
    shareable::<CpuEngine>();
    shareable::<CpuTensor>();
    shareable::<CpuParam>();

    let engine = engine(Isa::detect(), 2);
    let layer = Layer::new(engine.isa());
    let segments = Segments::new(LENGTHS).unwrap();
    let x = Values(1).take(segments.rows() * WIDTH);
    let output = || {
        let x = engine.from_f32(segments.rows(), WIDTH, x.clone()).unwrap();
        bits(&engine, &layer.forward(&engine, &x, &segments).unwrap())
    };
    let expected = output();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(output(), expected)));
        }
    });
}

#[test]
fn buffers_are_used_again_and_leak_nothing() {
    let engine = engine(Isa::detect(), 1);
    let secret = engine.from_f32(33, 70, vec![f32::NAN; 33 * 70]).unwrap();
    assert_eq!(engine.idle_bytes(), 0);
    let view = engine.narrow(&secret, 3, 5).unwrap();
    drop(secret);
    assert_eq!(engine.idle_bytes(), 0, "a view keeps its buffer");
    drop(view);
    let idle = engine.idle_bytes();
    assert!(idle >= 33 * 70 * 4);

    let zeros = engine.zeros(33, 70).unwrap();
    assert_eq!(engine.idle_bytes(), 0, "the buffer was used again");
    assert!(engine.read_f32(&zeros).unwrap().iter().all(|&x| x == 0.0));
    drop(zeros);

    let layer = Layer::new(engine.isa());
    let segments = Segments::new(LENGTHS).unwrap();
    let x = Values(1).take(segments.rows() * WIDTH);
    let outputs = [(); 3].map(|()| {
        let x = engine.from_f32(segments.rows(), WIDTH, x.clone()).unwrap();
        let output = bits(&engine, &layer.forward(&engine, &x, &segments).unwrap());
        drop(x);
        (output, engine.idle_bytes())
    });
    assert!(outputs[0].0.iter().all(|&x| !f32::from_bits(x).is_nan()));
    assert_eq!(outputs[0].0, outputs[1].0);
    assert_eq!(outputs[1], outputs[2], "a second pass allocates nothing");
}

#[test]
fn the_pool_is_bounded() {
    let engine = CpuEngine::new(CpuConfig { pool_bytes: 100_000, ..CpuConfig::default() });
    let tensors: Vec<CpuTensor> = (0..10).map(|_| engine.zeros(100, 100).unwrap()).collect();
    drop(tensors);
    assert!(engine.idle_bytes() <= 100_000 && engine.idle_bytes() > 0);
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    let engine = CpuEngine::default();
    let error = engine.zeros(usize::MAX / 2, 64).unwrap_err();
    assert!(error.message().starts_with("Could not allocate a matrix of "), "{error}");
    let error = engine.zeros(1 << 44, 64).unwrap_err();
    assert!(error.message().starts_with("Could not allocate a buffer of "), "{error}");
}
