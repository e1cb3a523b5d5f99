//! A whole K-Adapter through the boundary that plugins use.

use super::*;
use crate::train::optimizer::{AdamW, AdamWConfig};
use kadapter_k_adapter::KAdapter;
use kadapter_plugin_api::abi::InstanceBox;
use kadapter_plugin_api::{
    Activation, Adapter, Backbone, Config, Context, Entry, ParamSpec, Params, Tensor, instantiate, session,
};

const HIDDEN: usize = 40;
const TAPS: [usize; 3] = [0, 2, 3];

struct Network(KAdapter);

impl Adapter for Network {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> kadapter_plugin_api::Result<Self> {
        KAdapter::build(config, backbone, params).map(Self)
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> kadapter_plugin_api::Result<Tensor> {
        self.0.forward(cx, taps)
    }
}

fn network() -> (InstanceBox, Vec<ParamSpec>) {
    let entries = [Entry::integer("size", 24), Entry::integer("heads", 3), Entry::integer("ffn", 50)];
    instantiate::<Network>(entries, &Backbone::new(HIDDEN, 4, &TAPS)).unwrap()
}

/// An adapter and a relation head on rows of a batch whose segments have these lengths and whose rows begin at `first` of an endless
/// text.
struct Training<E: Derivatives> {
    instance: InstanceBox,
    adapter: Trainable<E>,
    head: Trainable<E>,
}

impl<E: Derivatives> Training<E> {
    fn new(engine: &E) -> Self {
        let (instance, specs) = network();
        let adapter = Trainable::initial(engine, &specs, 3).unwrap();
        let mut values = Values(5);
        let mut scaled = |count: usize| values.take(count).into_iter().map(|x| 0.1 * x).collect();
        let head = trainable(engine, &[vec![7, 2 * HIDDEN], vec![7]], &[scaled(14 * HIDDEN), scaled(7)]);
        Self { instance, adapter, head }
    }

    fn gradients(
        &self,
        engine: &E,
        lengths: &[usize],
        first: usize,
        dropout: Option<DropoutStream>,
    ) -> (f32, Gradients<E>) {
        let segments = Segments::new(lengths.iter().copied()).unwrap();
        let rows = first..first + segments.rows();
        let tape = Tape::new(engine, dropout);
        let keys: Arc<[u64]> = rows.clone().map(|row| row as u64).collect();
        let tap = |tap: usize| {
            let values = rows.clone().flat_map(|row| Values((row * 5 + tap) as u64).take(HIDDEN)).collect();
            let tensor = engine.from_f32(rows.len(), HIDDEN, values).unwrap();
            tape.constant_keyed(tensor, Arc::clone(&keys)).unwrap()
        };
        let taps = TAPS.map(tap);
        let features = session::run(&self.instance, &tape, &self.adapter.parameters(), &segments, &taps).unwrap();
        let both = tape.concat(&[&features, &taps[2]]).unwrap();
        let marked: Vec<u32> = segments.ranges().map(|range| range.start as u32).collect();
        let marked = tape.gather(&both, &marked).unwrap();
        let marked = tape.dropout(&marked, 0.1).unwrap();
        let logits =
            tape.linear(&marked, self.head.param(0).unwrap(), self.head.param(1), Activation::Identity).unwrap();
        let targets: Vec<i64> = segments.ranges().map(|range| ((range.start + first) % 7) as i64).collect();
        let loss = tape.cross_entropy(&logits, &targets).unwrap();
        let share = targets.len() as f32;
        (tape.read_f32(&loss).unwrap()[0], tape.backward(&loss, share).unwrap())
    }
}

const LENGTHS: [usize; 4] = [5, 1, 30, 7];

fn every_parameter_gets_a_gradient<E: Derivatives>(engine: &E) {
    let training = Training::new(engine);
    for dropout in [None, Some(DropoutStream { seed: 1 })] {
        let (_, gradients) = training.gradients(engine, &LENGTHS, 0, dropout);
        assert_eq!(gradients.count(), training.adapter.len() + 2);
        for (at, declared) in training.adapter.declared().iter().enumerate() {
            let gradient = engine.read_f32(gradients.get(&training.adapter, at).unwrap()).unwrap();
            assert_eq!(gradient.len(), declared.shape.iter().product::<usize>());
            assert!(gradient.iter().any(|&x| x != 0.0), "`{}` got no gradient", declared.name);
            assert!(gradient.iter().all(|x| x.is_finite()), "`{}`", declared.name);
        }
    }
}

#[test]
fn every_parameter_of_an_adapter_gets_a_gradient() {
    every_parameter_gets_a_gradient(&CpuEngine::default());
    every_parameter_gets_a_gradient(&candle());
}

#[test]
fn devices_agree_on_the_gradients_of_a_network() {
    let (cpu, candle) = (CpuEngine::default(), candle());
    let (ours, theirs) = (Training::new(&cpu), Training::new(&candle));
    let dropout = Some(DropoutStream { seed: 9 });
    let (loss, expected) = theirs.gradients(&candle, &LENGTHS, 0, dropout);
    let (found_loss, found) = ours.gradients(&cpu, &LENGTHS, 0, dropout);
    assert!((loss - found_loss).abs() < 1e-5);
    for at in 0..ours.adapter.len() {
        let expected = candle.read_f32(expected.get(&theirs.adapter, at).unwrap()).unwrap();
        let found = cpu.read_f32(found.get(&ours.adapter, at).unwrap()).unwrap();
        assert_near(&found, &expected, 1e-5, &ours.adapter.declared()[at].name);
    }
}

/// Halves of a batch, as two processes would have them, with dropout: their gradients add up to the whole batch's.
#[test]
fn how_a_batch_is_split_changes_nothing() {
    let engine = CpuEngine::default();
    let training = Training::new(&engine);
    let dropout = Some(DropoutStream { seed: 4 }.at_step(12));
    let (_, whole) = training.gradients(&engine, &LENGTHS, 0, dropout);
    let (_, mut sum) = training.gradients(&engine, &LENGTHS[..2], 0, dropout);
    sum.add(&engine, training.gradients(&engine, &LENGTHS[2..], 6, dropout).1).unwrap();
    for at in 0..training.adapter.len() {
        let expected = engine.read_f32(whole.get(&training.adapter, at).unwrap()).unwrap();
        let found = engine.read_f32(sum.get(&training.adapter, at).unwrap()).unwrap();
        assert_near(&found, &expected, 1e-5, &training.adapter.declared()[at].name);
    }
}

fn bits_after_training(threads: usize) -> (Vec<u32>, Vec<u32>) {
    let engine = cpu(Isa::detect(), threads);
    let training = Training::new(&engine);
    let mut optimizer = AdamW::new(AdamWConfig { weight_decay: 0.01, ..AdamWConfig::default() }, &training.adapter);
    let mut losses = Vec::new();
    for step in 0..3 {
        let dropout = Some(DropoutStream { seed: 2 }.at_step(step));
        let (loss, gradients) = training.gradients(&engine, &LENGTHS, 0, dropout);
        losses.push(loss.to_bits());
        let norm = gradients.norm(&engine).unwrap();
        losses.push((norm as f32).to_bits());
        optimizer.update(&engine, &training.adapter, &gradients, 0.01, 1.0 / norm).unwrap();
    }
    let values = (0..training.adapter.len()).flat_map(|at| training.adapter.read(&engine, at).unwrap());
    (losses, values.map(f32::to_bits).collect())
}

#[test]
fn training_has_the_same_bits_on_any_number_of_threads() {
    let expected = bits_after_training(1);
    for threads in [1, 2, 3] {
        assert_eq!(bits_after_training(threads), expected, "{threads} threads");
    }
}

/// The loss falls when an adapter is trained on one batch, by a lot.
#[test]
fn a_network_learns() {
    let engine = CpuEngine::default();
    let training = Training::new(&engine);
    let mut optimizer = AdamW::new(AdamWConfig::default(), &training.adapter);
    let (first, _) = training.gradients(&engine, &LENGTHS, 0, None);
    for _ in 0..40 {
        let (_, gradients) = training.gradients(&engine, &LENGTHS, 0, None);
        optimizer.update(&engine, &training.adapter, &gradients, 0.01, 1.0).unwrap();
    }
    let (last, _) = training.gradients(&engine, &LENGTHS, 0, None);
    assert!(last < 0.2 * first, "from {first} to {last}");
}
