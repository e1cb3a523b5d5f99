//! AdamW against its formula in float64, its state, and clipping.

use super::*;
use crate::parameters::Declared;
use crate::tensor::candle::tests::engine;
use crate::tensor::cpu::CpuEngine;
use crate::tensor::tape::Tape;
use candle_core::DType;
use kadapter_plugin_api::{Engine, Role};

fn net<E: Derivatives>(engine: &E) -> Trainable<E> {
    let parameter = |name: &str, shape: &[usize], role, values: &[f32]| {
        (Declared { name: name.into(), shape: shape.to_vec(), role }, values.to_vec())
    };
    Trainable::new(
        engine,
        [
            parameter("dense.weight", &[1, 2], Role::LinearWeight, &[1.0, -2.0]),
            parameter("dense.bias", &[2], Role::Vector, &[0.5, 4.0]),
            parameter("LayerNorm.weight", &[2], Role::Vector, &[3.0, 0.25]),
            parameter("unused.weight", &[1, 2], Role::LinearWeight, &[1.0, 1.0]),
        ],
    )
    .unwrap()
}

/// Gradients that are half the values of every parameter but the last: `mse(p, 0)` of two elements is half the sum of squares.
fn gradients<E: Derivatives>(engine: &E, net: &Trainable<E>) -> Gradients<E> {
    let tape = Tape::new(engine, None);
    let zero = tape.zeros(1, 2).unwrap();
    let mut sum = tape.zeros(1, 1).unwrap();
    for at in 0..3 {
        let param = tape.parameter(net.param(at).unwrap()).unwrap();
        sum = tape.add(&sum, &tape.mse(&param, &zero).unwrap()).unwrap();
    }
    tape.backward(&sum, 1.0).unwrap()
}

const CONFIG: AdamWConfig = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-3, weight_decay: 0.1 };

/// The official update of one number, in float64.
#[derive(Default)]
struct Plain {
    first: f64,
    second: f64,
}

impl Plain {
    fn update(&mut self, value: f64, gradient: f64, time: i32, rate: f64, decays: bool) -> f64 {
        self.first = 0.9 * self.first + 0.1 * gradient;
        self.second = 0.999 * self.second + 0.001 * gradient * gradient;
        let step = rate * (1.0 - 0.999_f64.powi(time)).sqrt() / (1.0 - 0.9_f64.powi(time));
        let value = value - step * self.first / (self.second.sqrt() + 1e-3);
        if decays { value - rate * 0.1 * value } else { value }
    }
}

fn agrees_with_the_formula<E: Derivatives>(engine: &E) {
    let net = net(engine);
    let mut optimizer = AdamW::new(CONFIG, &net);
    let mut expected: Vec<Vec<f64>> =
        (0..4).map(|at| net.read(engine, at).unwrap().into_iter().map(f64::from).collect()).collect();
    let mut plain: Vec<[Plain; 2]> = (0..4).map(|_| Default::default()).collect();
    for (time, rate) in [(1, 0.1), (2, 0.05), (3, 0.2)] {
        optimizer.update(engine, &net, &gradients(engine, &net), rate, 0.5).unwrap();
        for at in 0..3 {
            for (value, plain) in expected[at].iter_mut().zip(&mut plain[at]) {
                // mse of two elements: gradient 2 v / 2, times the clipping coefficient.
                *value = plain.update(*value, 0.5 * *value, time, rate, at == 0);
            }
        }
        for at in 0..4 {
            for (found, expected) in net.read(engine, at).unwrap().into_iter().zip(&expected[at]) {
                assert!((f64::from(found) - expected).abs() < 2e-6, "{at}, update {time}: {found}, {expected}");
            }
        }
    }
    let state = optimizer.state(engine).unwrap();
    assert!(state[3].is_none(), "no gradient, no update");
    let first = state[0].as_ref().unwrap();
    assert_eq!(first.updates, 3);
    assert!((f64::from(first.first[0]) - plain[0][0].first).abs() < 1e-6);
    assert!((f64::from(first.second[1]) - plain[0][1].second).abs() < 1e-6);
}

#[test]
fn updates_agree_with_the_official_formula() {
    agrees_with_the_formula(&CpuEngine::default());
    agrees_with_the_formula(&engine(DType::F32));
}

/// The first update by hand: m = 0.1 g, v = 0.001 g², the corrections give lr · sign(g) but for ε.
#[test]
fn the_first_update_is_one_step_of_the_learning_rate() {
    let engine = CpuEngine::default();
    let net = net(&engine);
    let mut optimizer = AdamW::new(AdamWConfig::default(), &net);
    optimizer.update(&engine, &net, &gradients(&engine, &net), 0.01, 1.0).unwrap();
    let values = net.read(&engine, 0).unwrap();
    assert!((values[0] - 0.99).abs() < 1e-5 && (values[1] + 1.99).abs() < 1e-5, "{values:?}");
}

fn resumes<E: Derivatives>(engine: &E) {
    let (one, other) = (net(engine), net(engine));
    let (mut straight, mut before) = (AdamW::new(CONFIG, &one), AdamW::new(CONFIG, &other));
    for _ in 0..4 {
        straight.update(engine, &one, &gradients(engine, &one), 0.1, 1.0).unwrap();
    }
    for _ in 0..2 {
        before.update(engine, &other, &gradients(engine, &other), 0.1, 1.0).unwrap();
    }
    let third = net(engine);
    for at in 0..4 {
        third.replace(engine, at, other.read(engine, at).unwrap()).unwrap();
    }
    let mut after = AdamW::new(CONFIG, &third);
    after.restore(engine, &third, before.state(engine).unwrap()).unwrap();
    for _ in 0..2 {
        after.update(engine, &third, &gradients(engine, &third), 0.1, 1.0).unwrap();
    }
    for at in 0..4 {
        assert_eq!(third.read(engine, at).unwrap(), one.read(engine, at).unwrap());
    }
    assert_eq!(after.state(engine).unwrap(), straight.state(engine).unwrap());
}

#[test]
fn a_restored_optimizer_goes_on_with_the_same_bits() {
    resumes(&CpuEngine::default());
    resumes(&engine(DType::F32));
}

#[test]
fn a_state_of_other_parameters_is_refused_and_changes_nothing() {
    let engine = CpuEngine::default();
    let net = net(&engine);
    let mut optimizer = AdamW::new(CONFIG, &net);
    optimizer.update(&engine, &net, &gradients(&engine, &net), 0.1, 1.0).unwrap();
    let state = optimizer.state(&engine).unwrap();
    let mut short = state.clone();
    short.pop();
    assert_eq!(
        optimizer.restore(&engine, &net, short).unwrap_err().message(),
        "the optimiser state has 3 parameters, expected 4"
    );
    let mut wrong = state.clone();
    wrong[0].as_mut().unwrap().first.push(0.0);
    assert_eq!(
        optimizer.restore(&engine, &net, wrong).unwrap_err().message(),
        "the optimiser state of `dense.weight` has 3 and 2 values, expected 1 x 2"
    );
    assert_eq!(optimizer.state(&engine).unwrap(), state);
}

#[test]
fn clipping_only_ever_shrinks() {
    assert_eq!(clip_coefficient(0.5, 1.0), 1.0);
    assert!((clip_coefficient(4.0, 1.0) - 0.25).abs() < 1e-6);
    assert!(clip_coefficient(4.0, 1.0) < 0.25);
}

#[test]
fn biases_and_norms_do_not_decay() {
    assert!(decays("adapter.0.down_project.weight"));
    assert!(!decays("adapter.0.down_project.bias"));
    assert!(!decays("adapter.0.encoder.layer.0.output.LayerNorm.weight"));
    assert!(!decays("adapter.0.encoder.layer.0.output.LayerNorm.bias"));
}
