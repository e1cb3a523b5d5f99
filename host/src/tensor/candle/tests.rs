//! Every op against the reference, in every precision, on candle's CPU device, or on the one that `KADAPTER_TEST_DEVICE` names
//! (`cuda:0`).

use super::*;
use crate::tensor::device::DeviceChoice;
use kadapter_plugin_api::random::Random;
use kadapter_plugin_api::reference::Reference;
use proptest::prelude::*;
use std::sync::OnceLock;

/// Everything that one run of all ops needs, rounded to the precision under test so that only the arithmetic differs.
struct Inputs {
    dtype: DType,
    segments: Segments,
    heads: usize,
    columns: usize,
    outputs: usize,
    seed: u64,
}

impl Inputs {
    fn new(dtype: DType, segments: Segments, heads: usize, columns: usize, outputs: usize) -> Self {
        Self { dtype, segments, heads, columns, outputs, seed: 7 }
    }

    fn round(&self, value: f32) -> f32 {
        match self.dtype {
            DType::BF16 => half::bf16::from_f32(value).to_f32(),
            DType::F16 => half::f16::from_f32(value).to_f32(),
            _ => value,
        }
    }

    fn values(&self, name: &str, count: usize) -> Vec<f32> {
        let mut random = Random::named(self.seed, name);
        (0..count).map(|_| self.round(random.normal() as f32)).collect()
    }
}

/// The result of every op, by name. `param` brings `[rows, columns]` (rows 0: a vector) to the engine.
fn outcomes<E: Engine>(
    engine: &E,
    inputs: &Inputs,
    param: impl Fn(usize, usize, Vec<f32>) -> E::Param,
) -> Vec<(String, Vec<f32>)> {
    let (rows, columns, outputs) = (inputs.segments.rows(), inputs.columns, inputs.outputs);
    let tensor = |name: &str, rows: usize, columns: usize| {
        engine.from_f32(rows, columns, inputs.values(name, rows * columns)).unwrap()
    };
    let (x, y) = (tensor("x", rows, columns), tensor("y", rows, columns));
    let row = tensor("row", 1, columns);
    let weight = param(outputs, columns, inputs.values("weight", outputs * columns));
    let bias = param(0, outputs, inputs.values("bias", outputs));
    let gain = param(0, columns, inputs.values("gain", columns));
    let shift = param(0, columns, inputs.values("shift", columns));
    let named: Vec<u32> = (0..rows as u32).rev().chain([0, 0]).collect();
    let targets: Vec<i64> =
        (0..rows as i64).map(|row| if row % 3 == 1 { -100 } else { row % columns as i64 }).collect();
    let wide = tensor("wide", rows, 3 * columns + 1);
    let third = |start: usize| engine.narrow(&wide, start, columns).unwrap();

    let mut results = Vec::new();
    let mut keep = |name: &str, result: Result<E::Tensor>| {
        let result = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        let [rows, columns] = engine.shape(&result);
        let values = engine.read_f32(&result).unwrap();
        assert_eq!(values.len(), rows * columns, "{name}");
        results.push((format!("{name} [{rows}, {columns}]"), values));
    };
    keep("from_f32", Ok(x.clone()));
    keep("zeros", engine.zeros(rows, columns));
    keep("parameter", engine.parameter(&weight));
    keep("parameter of a vector", engine.parameter(&bias));
    for code in 0..=6 {
        let activation = Activation::from_code(code).unwrap();
        keep(&format!("activation {activation:?}"), engine.activation(&x, activation));
        keep(&format!("linear {activation:?}"), engine.linear(&x, &weight, Some(&bias), activation));
    }
    keep("linear without bias", engine.linear(&x, &weight, None, Activation::Identity));
    keep("linear of a view", engine.linear(&third(1), &weight, Some(&bias), Activation::Identity));
    keep("matmul", engine.matmul(&x, &tensor("square", columns, outputs), false));
    keep("matmul transposed", engine.matmul(&x, &y, true));
    keep("add", engine.add(&x, &y));
    keep("add a row", engine.add(&x, &row));
    keep("add to a view", engine.add(&third(2), &third(columns)));
    keep("mul", engine.mul(&x, &y));
    keep("mul with a row", engine.mul(&x, &row));
    keep("scale", engine.scale(&x, -0.3));
    keep("log", engine.log(&engine.activation(&x, Activation::Sigmoid).unwrap()));
    keep("layer_norm", engine.layer_norm(&x, &gain, &shift, 1e-5));
    keep("add_layer_norm", engine.add_layer_norm(&x, &y, &gain, &shift, 1e-5));
    let heads = inputs.heads;
    keep("attention", engine.attention(&x, &y, &x, heads, &inputs.segments));
    for start in [0, 1, columns] {
        let (q, k, v) = (third(start), third(columns), third(2 * columns));
        keep(&format!("attention of views from {start}"), engine.attention(&q, &k, &v, heads, &inputs.segments));
    }
    keep("concat", engine.concat(&[&x, &third(columns), &row_of(engine, &x)]));
    keep("concat of one", engine.concat(&[&third(1)]));
    keep("narrow", Ok(third(1)));
    keep("narrow twice", engine.narrow(&third(columns), columns - 1, 1));
    keep("gather", engine.gather(&x, &named));
    keep("gather from a view", engine.gather(&third(1), &named));
    keep("segment_mean", engine.segment_mean(&x, &inputs.segments));
    keep("segment_matmul", engine.segment_matmul(&x, &y, &inputs.segments));
    keep("softmax", engine.softmax(&x));
    keep("log_softmax", engine.log_softmax(&x));
    keep("dropout", engine.dropout(&x, 0.5));
    keep("embedding", engine.embedding(&weight, &[0, outputs as u32 - 1, 0]));
    keep("cross_entropy", engine.cross_entropy(&x, &targets));
    keep("bce_with_logits", engine.bce_with_logits(&x, &engine.activation(&y, Activation::Sigmoid).unwrap()));
    keep("mse", engine.mse(&x, &y));
    results
}

/// The first column, so that `concat` meets different widths.
fn row_of<E: Engine>(engine: &E, x: &E::Tensor) -> E::Tensor {
    engine.narrow(x, 0, 1).unwrap()
}

/// The device under test, opened once.
fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || match std::env::var("KADAPTER_TEST_DEVICE").as_deref().map(DeviceChoice::parse) {
        Ok(Ok(DeviceChoice::Cuda(number))) => Device::new_cuda(number).unwrap(),
        Ok(Ok(DeviceChoice::Metal)) => Device::new_metal(0).unwrap(),
        Ok(Ok(DeviceChoice::Cpu)) | Err(_) => Device::Cpu,
        other => panic!("KADAPTER_TEST_DEVICE is {other:?}, expected `cpu`, `cuda:N` or `metal`"),
    };
    DEVICE.get_or_init(open).clone()
}

/// An engine on the device under test.
pub(crate) fn engine(dtype: DType) -> CandleEngine {
    CandleEngine::new(device(), dtype).unwrap()
}

fn upload(engine: &CandleEngine) -> impl Fn(usize, usize, Vec<f32>) -> CandleParam + '_ {
    |rows, columns, values| match rows {
        0 => engine.vector_param(values).unwrap(),
        _ => engine.linear_param(rows, columns, values).unwrap(),
    }
}

fn check(inputs: &Inputs) {
    // f32: the two sum in another order, over at most a few hundred terms. Half precision: results are rounded to 8 (bf16) or 11
    // (f16) bits, and the inner results of a fused formula (scores, weights, sums of squares) once or twice more.
    let tolerance = match inputs.dtype {
        DType::BF16 => 3e-2,
        DType::F16 => 4e-3,
        _ => 1e-5,
    };
    let engine = engine(inputs.dtype);
    let found = outcomes(&engine, inputs, upload(&engine));
    let expected =
        outcomes(&Reference, inputs, |rows, columns, values| Reference.from_f32(rows.max(1), columns, values).unwrap());
    assert_eq!(found.len(), expected.len());
    for ((name, found), (expected_name, expected)) in found.iter().zip(&expected) {
        assert_eq!(name, expected_name);
        assert_close(&format!("{name} in {}", inputs.dtype.as_str()), found, expected, tolerance, inputs.dtype);
    }
}

/// Errors relative to the value, and to the size of a typical one where sums cancel.
fn assert_close(name: &str, found: &[f32], expected: &[f32], tolerance: f32, dtype: DType) {
    let regular: Vec<f32> = expected.iter().copied().filter(|&value| value != NO_PARTNER).collect();
    let typical = (regular.iter().map(|value| value * value).sum::<f32>() / regular.len().max(1) as f32).sqrt();
    for (place, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let expected = if dtype == DType::F16 { expected.max(half::f16::MIN.to_f32()) } else { expected };
        let allowed = tolerance * (expected.abs() + typical);
        assert!((found - expected).abs() <= allowed, "{name}, value {place}: {found}, expected {expected} ± {allowed}");
    }
}

fn segments(lengths: &[usize]) -> Segments {
    Segments::new(lengths.iter().copied()).unwrap()
}

/// Hides every third row, and the last of each segment, but never the first.
fn hide(segments: Segments) -> Segments {
    let mut hidden: Vec<bool> = (0..segments.rows()).map(|row| row % 3 == 2).collect();
    for range in segments.ranges().collect::<Vec<_>>() {
        hidden[range.end - 1] = true;
        hidden[range.start] = false;
    }
    segments.with_hidden(hidden).unwrap()
}

const EVERY: [DType; 3] = [DType::F32, DType::BF16, DType::F16];

#[test]
fn every_op_is_the_references_on_one_text() {
    for dtype in EVERY {
        check(&Inputs::new(dtype, segments(&[9]), 4, 64, 17));
    }
}

#[test]
fn every_op_is_the_references_on_equal_lengths() {
    for dtype in EVERY {
        check(&Inputs::new(dtype, segments(&[7, 7, 7]), 2, 24, 65));
    }
}

#[test]
fn every_op_is_the_references_on_ragged_lengths() {
    for dtype in EVERY {
        check(&Inputs::new(dtype, segments(&[3, 90, 1, 33, 40, 5, 64]), 3, 48, 8));
    }
}

#[test]
fn every_op_is_the_references_with_hidden_rows() {
    for dtype in EVERY {
        check(&Inputs::new(dtype, hide(segments(&[12, 12])), 2, 16, 5));
        check(&Inputs::new(dtype, hide(segments(&[2, 70, 31, 8])), 4, 32, 5));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_op_is_the_references_on_any_shape(
        lengths in prop::collection::vec(1_usize..50, 1..8),
        heads in 1_usize..4,
        width in 1_usize..9,
        outputs in 1_usize..20,
        hidden in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let segments = segments(&lengths);
        let segments = if hidden { hide(segments) } else { segments };
        let mut inputs = Inputs::new(DType::F32, segments, heads, heads * width, outputs);
        inputs.seed = seed;
        check(&inputs);
    }
}

/// Results of the ops that know segments, for each segment of a batch.
fn per_segment(engine: &CandleEngine, values: &[f32], columns: usize, segments: &Segments) -> Vec<Vec<f32>> {
    let x = engine.from_f32(segments.rows(), columns, values.to_vec()).unwrap();
    let attention = engine.read_f32(&engine.attention(&x, &x, &x, 2, segments).unwrap()).unwrap();
    let mean = engine.read_f32(&engine.segment_mean(&x, segments).unwrap()).unwrap();
    let scores = engine.read_f32(&engine.segment_matmul(&x, &x, segments).unwrap()).unwrap();
    let longest = segments.longest();
    let one = |(segment, range): (usize, std::ops::Range<usize>)| {
        let mut all = attention[range.start * columns..range.end * columns].to_vec();
        all.extend(&mean[segment * columns..(segment + 1) * columns]);
        all.extend(range.clone().flat_map(|row| &scores[row * longest..row * longest + range.len()]));
        all
    };
    segments.ranges().enumerate().map(one).collect()
}

#[test]
fn a_text_in_a_batch_is_the_text_alone() {
    let (engine, columns) = (engine(DType::F32), 32);
    let together = segments(&[5, 80, 17, 80, 1, 44, 39]);
    let inputs = Inputs::new(DType::F32, together.clone(), 2, columns, 1);
    let values = inputs.values("x", together.rows() * columns);
    let batch = per_segment(&engine, &values, columns, &together);
    for (range, found) in together.ranges().zip(&batch) {
        let alone = segments(&[range.len()]);
        let values = &values[range.start * columns..range.end * columns];
        let expected = per_segment(&engine, values, columns, &alone).remove(0);
        assert_close("alone", found, &expected, 1e-5, DType::F32);
    }
}

#[test]
fn numbers_that_are_not_finite_stay_in_their_text() {
    let (engine, columns) = (engine(DType::F32), 8);
    let together = segments(&[3, 40, 2, 7]);
    let inputs = Inputs::new(DType::F32, together.clone(), 2, columns, 1);
    let clean = inputs.values("x", together.rows() * columns);
    let expected = per_segment(&engine, &clean, columns, &together);
    for (bad, range) in together.ranges().enumerate() {
        let mut values = clean.clone();
        values[range.start * columns..range.end * columns].fill(f32::NAN);
        let found = per_segment(&engine, &values, columns, &together);
        for (segment, (found, expected)) in found.iter().zip(&expected).enumerate() {
            if segment == bad {
                assert!(found.iter().all(|value| value.is_nan()), "segment {segment}");
            } else {
                assert_eq!(found, expected, "segment {segment} with segment {bad} not finite");
            }
        }
    }
}

#[test]
fn a_hidden_row_is_no_key_whatever_it_holds() {
    let (engine, columns) = (engine(DType::F32), 8);
    let shown = segments(&[5, 9]);
    let flags: Vec<bool> = (0..14).map(|row| [0, 4, 13].contains(&row)).collect();
    let partly = shown.with_hidden(flags.clone()).unwrap();
    let inputs = Inputs::new(DType::F32, partly.clone(), 2, columns, 1);
    let q = engine.from_f32(14, columns, inputs.values("q", 14 * columns)).unwrap();
    let keys = |fill: f32| {
        let mut values = inputs.values("k", 14 * columns);
        for (row, _) in flags.iter().enumerate().filter(|(_, hidden)| **hidden) {
            values[row * columns..(row + 1) * columns].fill(fill);
        }
        let k = engine.from_f32(14, columns, values).unwrap();
        engine.read_f32(&engine.attention(&q, &k, &k, 2, &partly).unwrap()).unwrap()
    };
    let expected = keys(0.0);
    assert!(expected.iter().all(|value| value.is_finite()), "hidden rows still ask");
    for fill in [f32::NAN, f32::INFINITY, 1e30] {
        assert_eq!(keys(fill), expected, "hidden rows filled with {fill}");
    }
}

#[test]
fn a_rows_mean_costs_a_layer_norm_no_digits() {
    let engine = engine(DType::F32);
    let inputs = Inputs::new(DType::F32, segments(&[6]), 1, 768, 1);
    let values: Vec<f32> =
        inputs.values("x", 6 * 768).iter().map(|value| (value * 64.0).round() / 64.0 + 1000.0).collect();
    let (gain, shift) = (inputs.values("gain", 768), inputs.values("shift", 768));
    let (gain_param, shift_param) = (engine.vector_param(gain.clone()), engine.vector_param(shift.clone()));
    let x = engine.from_f32(6, 768, values.clone()).unwrap();
    let found = engine.layer_norm(&x, &gain_param.unwrap(), &shift_param.unwrap(), 1e-12).unwrap();
    let matrix = |rows, values: &[f32]| Reference.from_f32(rows, 768, values.to_vec()).unwrap();
    let expected = Reference.layer_norm(&matrix(6, &values), &matrix(1, &gain), &matrix(1, &shift), 1e-12).unwrap();
    // The mean itself is rounded to f32 (3e-5 of a deviation here); one pass over the squares would be off by 0.1.
    assert_close("offset rows", &engine.read_f32(&found).unwrap(), &expected.values, 1e-4, DType::F32);
}

#[test]
fn a_constant_row_has_a_layer_norm() {
    let engine = engine(DType::F32);
    let (gain, shift) = (engine.vector_param(vec![2.0; 48]).unwrap(), engine.vector_param(vec![0.5; 48]).unwrap());
    let x = engine.from_f32(1, 48, vec![3.3; 48]).unwrap();
    let found = engine.read_f32(&engine.layer_norm(&x, &gain, &shift, 1e-5).unwrap()).unwrap();
    assert_close("constant", &found, &[0.5; 48], 1e-3, DType::F32);
}

#[test]
fn small_losses_keep_their_digits() {
    let engine = engine(DType::F32);
    let logits = engine.from_f32(1, 2, vec![30.0, -18.0]).unwrap();
    let targets = engine.from_f32(1, 2, vec![1.0, 0.0]).unwrap();
    let found = engine.read_f32(&engine.bce_with_logits(&logits, &targets).unwrap()).unwrap();
    let expected = ((-30.0_f64).exp().ln_1p() + (-18.0_f64).exp().ln_1p()) / 2.0;
    assert!((f64::from(found[0]) / expected - 1.0).abs() < 1e-5, "{found:?}, expected {expected}");
}

#[test]
fn long_sums_do_not_stall_in_half_precision() {
    // A bf16 sum of ones stops growing at 256, an f16 sum at 2048.
    const LONG: usize = 6000;
    for dtype in [DType::BF16, DType::F16] {
        let engine = engine(dtype);
        let close = |name: &str, result: Result<CandleTensor>, expected: f32| {
            let found = engine.read_f32(&result.unwrap()).unwrap();
            let far = found.iter().find(|&&value| (value / expected - 1.0).abs() > 8e-3);
            assert_eq!(far, None, "{name} in {}, expected {expected}", dtype.as_str());
        };
        let (wide, tall) = (engine.from_f32(1, LONG, vec![1.0; LONG]), engine.from_f32(LONG, 1, vec![1.0; LONG]));
        let (wide, tall) = (wide.unwrap(), tall.unwrap());
        let zeros = engine.zeros(1, LONG).unwrap();
        let text = segments(&[LONG]);
        close("softmax", engine.softmax(&wide), 1.0 / LONG as f32);
        close("log_softmax", engine.log_softmax(&wide), -(LONG as f32).ln());
        close("cross_entropy", engine.cross_entropy(&wide, &[5]), (LONG as f32).ln());
        close("bce_with_logits", engine.bce_with_logits(&zeros, &wide), std::f32::consts::LN_2);
        close("mse", engine.mse(&wide, &zeros), 1.0);
        close("segment_mean", engine.segment_mean(&tall, &text), 1.0);
        let some = engine.gather(&tall, &vec![0; 700]).unwrap();
        close("attention", engine.attention(&some, &some, &some, 1, &segments(&[700])), 1.0);
        let signs: Vec<f32> = (0..LONG).map(|column| if column % 2 == 0 { 3.0 } else { -1.0 }).collect();
        let one = engine.vector_param(vec![1.0; LONG]).unwrap();
        let none = engine.vector_param(vec![0.0; LONG]).unwrap();
        let norm = engine.layer_norm(&engine.from_f32(1, LONG, signs).unwrap(), &one, &none, 1e-5).unwrap();
        close("layer_norm", engine.mul(&norm, &norm), 1.0);
    }
}

#[test]
fn half_precision_tables_come_as_they_are() {
    let values: Vec<half::f16> = (0..12).map(|value| half::f16::from_f32(value as f32 / 7.0)).collect();
    let expected: Vec<f32> = values[8..].iter().map(|value| value.to_f32()).collect();
    let engine = engine(DType::F32);
    let table = engine.upload(Role::Table, &[3, 4], Values::F16(values)).unwrap();
    assert_eq!(engine.read_f32(&engine.embedding(&table, &[2]).unwrap()).unwrap(), expected);
}

#[test]
fn boundaries_are_laid_out_once_for_all_layers() {
    let (engine, ragged) = (engine(DType::F32), segments(&[3, 8, 5]));
    let x = engine.from_f32(16, 4, vec![0.5; 64]).unwrap();
    for heads in [2, 4] {
        engine.attention(&x, &x, &x, heads, &ragged).unwrap();
    }
    engine.segment_mean(&x, &ragged).unwrap();
    engine.segment_matmul(&x, &x, &ragged).unwrap();
    for heads in [2, 4] {
        let known = engine.attention.get(|key| *key == (ragged.clone(), heads), || Err("made again"));
        assert!(known.is_ok());
    }
    assert!(engine.means.get(|key| *key == ragged, || Err("made again")).is_ok());
    assert!(engine.partners.get(|key| *key == ragged, || Err("made again")).is_ok());
}

#[test]
fn an_empty_batch_is_no_accident() {
    let (engine, none) = (engine(DType::F32), segments(&[]));
    let x = engine.from_f32(0, 4, Vec::new()).unwrap();
    assert_eq!(engine.shape(&engine.attention(&x, &x, &x, 2, &none).unwrap()), [0, 4]);
    assert_eq!(engine.shape(&engine.segment_mean(&x, &none).unwrap()), [0, 4]);
    assert_eq!(engine.shape(&engine.segment_matmul(&x, &x, &none).unwrap()), [0, 0]);
}

#[test]
fn failures_name_the_op_and_the_device() {
    // Only the CPU looks at indices.
    let engine = CandleEngine::on_cpu().unwrap();
    let error = engine.from_f32(2, 3, vec![0.0; 5]).unwrap_err();
    assert_eq!(error.kind(), kadapter_plugin_api::ErrorKind::Device);
    assert!(error.message().starts_with("`from_f32` failed on `cpu`: "), "{error}");
    assert!(!error.message().contains('\n'), "{error}");
    let x = engine.from_f32(1, 1, vec![0.0]).unwrap();
    assert!(engine.gather(&x, &[1]).unwrap_err().message().starts_with("`gather` failed on `cpu`: "));
}

#[test]
fn threads_may_share_an_engine() {
    let engine = engine(DType::F32);
    let run = |length: usize| {
        let lengths = [length, 2 * length, 3];
        let segments = segments(&lengths);
        let inputs = Inputs::new(DType::F32, segments.clone(), 2, 8, 1);
        per_segment(&engine, &inputs.values("x", segments.rows() * 8), 8, &segments)
    };
    let expected: Vec<_> = (1..20).map(run).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| (1..20).map(run).collect::<Vec<_>>())).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}
