//! What is recorded, what is frozen, what is refused; and what is done with gradients.

use super::*;
use kadapter_plugin_api::Activation;

/// `mse(x · weightᵀ + bias, target)` for x `[4, 3]`.
fn small<E: Derivatives>(tape: &Tape<'_, E>, net: &Trainable<E>) -> Variable<E> {
    let x = tape.constant(tape.device().from_f32(4, 3, Values(1).take(12)).unwrap());
    let target = tape.from_f32(4, 2, Values(2).take(8)).unwrap();
    let out = tape.linear(&x, net.param(0).unwrap(), net.param(1), Activation::Tanh).unwrap();
    tape.mse(&out, &target).unwrap()
}

fn net<E: Derivatives>(engine: &E) -> Trainable<E> {
    trainable(engine, &[vec![2, 3], vec![2]], &[Values(3).take(6), Values(4).take(2)])
}

#[test]
fn what_no_parameter_reaches_is_not_recorded() {
    let engine = CpuEngine::default();
    let tape = Tape::new(&engine, None);
    let x = tape.constant(engine.from_f32(2, 2, vec![1.0; 4]).unwrap());
    let y = tape.activation(&tape.matmul(&x, &x, false).unwrap(), Activation::GeluErf).unwrap();
    assert!(!y.is_tracked());
    let loss = tape.mse(&y, &x).unwrap();
    assert!(tape.backward(&loss, 1.0).unwrap_err().message().contains("depends on no trainable parameter"));
}

#[test]
fn a_tape_is_played_back_once() {
    let engine = CpuEngine::default();
    let net = net(&engine);
    let tape = Tape::new(&engine, None);
    let loss = small(&tape, &net);
    let first = tape.backward(&loss, 1.0).unwrap();
    assert_eq!(first.count(), 2);
    assert!(tape.backward(&loss, 1.0).unwrap_err().message().contains("played back before"));
    assert!(tape.scale(&loss, 2.0).unwrap_err().message().contains("a new tape for every step"));
}

#[test]
fn a_loss_of_another_shape_is_refused() {
    let engine = CpuEngine::default();
    let net = net(&engine);
    let tape = Tape::new(&engine, None);
    let weight = tape.parameter(net.param(0).unwrap()).unwrap();
    assert_eq!(tape.backward(&weight, 1.0).unwrap_err().message(), "the loss is [2, 3], expected [1, 1]");
}

#[test]
fn keys_are_one_for_each_row() {
    let engine = CpuEngine::default();
    let tape = Tape::new(&engine, None);
    let error = tape.constant_keyed(engine.zeros(3, 1).unwrap(), [1, 2].into()).unwrap_err();
    assert_eq!(error.message(), "2 row keys, expected one for each of 3 rows");
}

fn frozen_parameters_pass_gradients_on<E: Derivatives>(engine: &E) {
    let (lower, upper) = (net(engine), trainable(engine, &[vec![1, 2]], &[vec![0.5, -2.0]]));
    let gradients = |frozen: bool| {
        upper.set_frozen(frozen);
        let tape = Tape::new(engine, None);
        let x = tape.constant(engine.from_f32(4, 3, Values(1).take(12)).unwrap());
        let middle = tape.linear(&x, lower.param(0).unwrap(), lower.param(1), Activation::Identity).unwrap();
        let out = tape.linear(&middle, upper.param(0).unwrap(), None, Activation::Identity).unwrap();
        let loss = tape.mse(&out, &tape.zeros(4, 1).unwrap()).unwrap();
        let gradients = tape.backward(&loss, 1.0).unwrap();
        let of_lower = engine.read_f32(gradients.get(&lower, 0).unwrap()).unwrap();
        (of_lower, gradients.get(&upper, 0).is_some(), gradients.count())
    };
    let (open, frozen) = (gradients(false), gradients(true));
    assert_eq!(open.0, frozen.0);
    assert!(frozen.0.iter().all(|&x| x != 0.0));
    assert_eq!((open.1, open.2, frozen.1, frozen.2), (true, 3, false, 2));
}

#[test]
fn frozen_parameters_get_no_gradient_and_pass_it_on() {
    frozen_parameters_pass_gradients_on(&CpuEngine::default());
    frozen_parameters_pass_gradients_on(&candle());
}

fn gradients_are_arithmetic<E: Derivatives>(engine: &E) {
    let net = net(engine);
    let other = trainable(engine, &[vec![3]], &[vec![1.0; 3]]);
    let gradients = |scale: f32| {
        let tape = Tape::new(engine, None);
        tape.backward(&small(&tape, &net), scale).unwrap()
    };
    let read = |gradients: &Gradients<E>, at: usize| engine.read_f32(gradients.get(&net, at).unwrap()).unwrap();
    let (one, mut sum) = (gradients(1.0), gradients(1.0));
    sum.add(engine, gradients(0.5)).unwrap();
    sum.scale(engine, 2.0).unwrap();
    for at in 0..2 {
        let expected: Vec<f32> = read(&one, at).into_iter().map(|x| 3.0 * x).collect();
        assert_near(&read(&sum, at), &expected, 1e-6, "sum");
    }
    let flat: Vec<f32> = (0..2).flat_map(|at| read(&one, at)).collect();
    let norm = flat.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    assert!((one.norm(engine).unwrap() / norm - 1.0).abs() < 1e-7);

    // Over processes: this one has gradients of `net`, the other of nothing.
    let mut here = Gradients::none([&net, &other]);
    here.add(engine, gradients(1.0)).unwrap();
    let there = Gradients::none([&net, &other]);
    let (mine, theirs) = (here.to_host(engine).unwrap(), there.to_host(engine).unwrap());
    assert_eq!((mine.len(), theirs.len(), here.host_len()), (14, 14, 14));
    let total: Vec<f32> = mine.iter().zip(theirs).map(|(a, b)| (a + b) / 2.0).collect();
    let mut there = there;
    there.from_host(engine, &total).unwrap();
    let expected: Vec<f32> = read(&one, 0).into_iter().map(|x| x / 2.0).collect();
    assert_eq!(read(&there, 0), expected);
    assert!(there.get(&other, 0).is_none(), "nobody had a gradient of it");
    assert!(there.from_host(engine, &total[1..]).is_err());

    let taken = there.take(&net);
    assert_eq!((taken.count(), there.count()), (2, 0));
}

#[test]
fn gradients_add_scale_and_travel() {
    gradients_are_arithmetic(&CpuEngine::default());
    gradients_are_arithmetic(&candle());
}

#[test]
fn values_are_replaced_and_used_at_once() {
    let engine = CpuEngine::default();
    let net = net(&engine);
    let out = || {
        let tape = Tape::evaluation(&engine);
        let x = tape.from_f32(1, 3, vec![1.0, 0.0, 0.0]).unwrap();
        let out = tape.linear(&x, net.param(0).unwrap(), net.param(1), Activation::Identity).unwrap();
        tape.read_f32(&out).unwrap()
    };
    out();
    net.replace(&engine, 0, vec![7.0, 0.0, 0.0, 9.0, 0.0, 0.0]).unwrap();
    net.replace(&engine, 1, vec![0.5, 0.25]).unwrap();
    assert_eq!(out(), [7.5, 9.25]);
    assert_eq!(net.read(&engine, 0).unwrap(), [7.0, 0.0, 0.0, 9.0, 0.0, 0.0]);
    let error = net.replace(&engine, 0, vec![1.0]).unwrap_err();
    assert_eq!(error.message(), "parameter `p0` got 1 values, expected 2 x 3");
}

#[test]
fn half_precision_is_refused() {
    let engine = crate::tensor::candle::tests::engine(DType::BF16);
    let declared = Declared { name: "w".into(), shape: vec![1], role: Role::Vector };
    let error = Trainable::new(&engine, [(declared, vec![1.0])]).unwrap_err();
    assert_eq!(error.message(), "Could not train in `bf16`, expected `f32`");
}
