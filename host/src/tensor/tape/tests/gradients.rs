//! Every op's gradient against central differences, and its value against inference.

use super::ops::{Case, cases};
use super::*;
use crate::tensor::{HostEngine, Values as Uploaded};
use kadapter_plugin_api::Result;
use kadapter_plugin_api::reference::{Matrix, Reference};

/// The step of the differences. The reference computes in f64 and rounds to f32: with this step rounding and curvature both cost
/// about 1e-5.
const STEP: f32 = 1e-2;

/// What finite differences are allowed to be off.
const TOLERANCE: f64 = 2e-3;

/// The op's elements weighted by fixed numbers and summed, in f64.
fn objective(case: &Case, values: &[Vec<f32>]) -> f64 {
    let params: Vec<Matrix> = case.shapes.iter().zip(values).map(|(shape, values)| matrix(shape, values)).collect();
    let out = case.compute(&Reference, &params).unwrap();
    let weights = Values(77).take(out.rows * out.columns);
    out.values.iter().zip(weights).map(|(&x, weight)| f64::from(x) * f64::from(weight)).sum()
}

fn matrix(shape: &[usize], values: &[f32]) -> Matrix {
    let (rows, columns) = match *shape {
        [rows, columns] => (rows, columns),
        _ => (1, values.len()),
    };
    Reference.from_f32(rows, columns, values.to_vec()).unwrap()
}

/// The same objective on a tape.
fn loss<E: Derivatives>(tape: &Tape<'_, E>, out: &Variable<E>) -> Result<Variable<E>> {
    let [rows, columns] = tape.shape(out);
    let weights = tape.from_f32(rows, columns, Values(77).take(rows * columns))?;
    let weighted = tape.mul(out, &weights)?;
    let sums = tape.matmul(&tape.from_f32(1, rows, vec![1.0; rows])?, &weighted, false)?;
    tape.matmul(&sums, &tape.from_f32(columns, 1, vec![1.0; columns])?, false)
}

fn gradients_of<E: Derivatives>(engine: &E, case: &Case, values: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let trainable = trainable(engine, &case.shapes, values);
    let params: Vec<TrainParam<E>> = (0..trainable.len()).filter_map(|at| trainable.param(at).cloned()).collect();
    let tape = Tape::new(engine, None);
    let out = case.compute(&tape, &params).unwrap();
    let gradients = tape.backward(&loss(&tape, &out).unwrap(), 2.0).unwrap();
    (0..trainable.len()).map(|at| engine.read_f32(gradients.get(&trainable, at).expect(&case.name)).unwrap()).collect()
}

/// Differences for a sample of each parameter's elements: `(parameter, element, slope)`; `None` where the slope jumps.
fn differences(case: &Case, values: &[Vec<f32>]) -> Vec<(usize, usize, Option<f64>)> {
    let mut slopes = Vec::new();
    let middle = objective(case, values);
    for (param, base) in values.iter().enumerate() {
        for element in (0..base.len()).step_by((base.len() / 23).max(1)) {
            let at = |step: f32| {
                let mut changed = values.to_vec();
                changed[param][element] = base[element] + step;
                (objective(case, &changed), f64::from(changed[param][element]))
            };
            let ((above, right), (below, left)) = (at(STEP), at(-STEP));
            let centre = f64::from(base[element]);
            let jump = (above - middle) / (right - centre) - (middle - below) / (centre - left);
            let slope = (above - below) / (right - left);
            slopes.push((param, element, (!case.kinked || jump.abs() < 0.02).then_some(slope)));
        }
    }
    slopes
}

fn check<E: Derivatives>(engine: &E, name: &str, case: &Case, slopes: &[(usize, usize, Option<f64>)]) {
    let found = gradients_of(engine, case, &case.values());
    let compared = slopes.iter().filter(|(_, _, slope)| slope.is_some()).count();
    assert!(compared * 4 > slopes.len() * 3, "{}: too few slopes to compare", case.name);
    for &(param, element, slope) in slopes {
        let Some(slope) = slope else { continue };
        let (found, expected) = (f64::from(found[param][element]), 2.0 * slope);
        assert!(
            (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0),
            "{} on {name}, parameter {param}, element {element}: found {found}, expected {expected}",
            case.name
        );
    }
}

#[test]
fn every_gradient_agrees_with_finite_differences() {
    let cpus = cpu_engines();
    for case in cases() {
        let slopes = differences(&case, &case.values());
        for engine in &cpus {
            check(engine, &format!("{engine:?}"), &case, &slopes);
        }
        check(&candle(), "candle", &case, &slopes);
    }
}

/// Finite differences see three digits; two implementations that agree to six see the rest.
#[test]
fn candle_and_our_kernels_agree_on_every_gradient() {
    for case in cases() {
        let expected = gradients_of(&candle(), &case, &case.values());
        for engine in cpu_engines() {
            for (found, expected) in gradients_of(&engine, &case, &case.values()).iter().zip(&expected) {
                assert_near(found, expected, 2e-5, &case.name);
            }
        }
    }
}

/// The op in inference, on the device's own op table.
fn inference<E: HostEngine>(engine: &E, case: &Case) -> Vec<f32> {
    let upload = |(shape, values): (&Vec<usize>, Vec<f32>)| {
        // A weight that is also read as a tensor is packed and read back: exactly what it was.
        engine.upload(role(shape), shape, Uploaded::F32(values)).unwrap()
    };
    let params: Vec<E::Param> = case.shapes.iter().zip(case.values()).map(upload).collect();
    engine.read_f32(&case.compute(engine, &params).unwrap()).unwrap()
}

fn training<E: Derivatives>(engine: &E, case: &Case, record: bool) -> Vec<f32> {
    let trainable = trainable(engine, &case.shapes, &case.values());
    let params: Vec<TrainParam<E>> = (0..trainable.len()).filter_map(|at| trainable.param(at).cloned()).collect();
    let tape = if record { Tape::new(engine, None) } else { Tape::evaluation(engine) };
    let out = case.compute(&tape, &params).unwrap();
    assert_eq!(out.is_tracked(), record, "{}", case.name);
    tape.read_f32(&out).unwrap()
}

#[test]
fn values_on_a_tape_are_those_of_inference() {
    for case in cases() {
        for engine in cpu_engines() {
            let expected: Vec<u32> = inference(&engine, &case).into_iter().map(f32::to_bits).collect();
            for record in [true, false] {
                let found: Vec<u32> = training(&engine, &case, record).into_iter().map(f32::to_bits).collect();
                assert_eq!(found, expected, "{}, recording: {record}", case.name);
            }
        }
        for record in [true, false] {
            assert_near(&training(&candle(), &case, record), &inference(&candle(), &case), 2e-6, &case.name);
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for case in cases() {
        let bits = |threads: usize| -> Vec<Vec<u32>> {
            let engine = cpu(Isa::detect(), threads);
            let gradients = gradients_of(&engine, &case, &case.values());
            gradients.into_iter().map(|values| values.into_iter().map(f32::to_bits).collect()).collect()
        };
        let one = bits(1);
        for threads in [1, 2, 3, 5] {
            assert_eq!(bits(threads), one, "{} on {threads} threads", case.name);
        }
    }
}
