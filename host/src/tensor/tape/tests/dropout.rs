//! Masks: rates, scale, and that a row's mask is the row's own.

use super::*;

const STREAM: DropoutStream = DropoutStream { seed: 7 };

fn keys(keys: impl IntoIterator<Item = u64>) -> Arc<[u64]> {
    keys.into_iter().collect()
}

/// Ones after dropout.
fn dropped<E: Derivatives>(engine: &E, stream: DropoutStream, calls: usize, keys: Arc<[u64]>, p: f32) -> Vec<f32> {
    let tape = Tape::new(engine, Some(stream));
    let x = engine.from_f32(keys.len(), COLUMNS, vec![1.0; keys.len() * COLUMNS]).unwrap();
    let x = tape.constant_keyed(x, keys).unwrap();
    let mut out = tape.dropout(&x, p).unwrap();
    for _ in 1..calls {
        out = tape.dropout(&x, p).unwrap();
    }
    tape.read_f32(&out).unwrap()
}

const COLUMNS: usize = 257;

#[test]
fn rates_and_scale_are_right_and_nothing_is_correlated() {
    let engine = CpuEngine::default();
    for probability in [0.1, 0.25, 0.5, 0.9] {
        let kept = dropped(&engine, STREAM, 1, keys(0..1000), probability);
        let scale = 1.0 / (1.0 - probability);
        assert!(kept.iter().all(|&x| x == 0.0 || x == scale));
        let count = |of: &mut dyn Iterator<Item = bool>| of.filter(|&kept| kept).count() as f64;
        let (total, expected) = (kept.len() as f64, f64::from(1.0 - probability));
        // Five standard deviations, of everything, and of what neighbours share.
        let near =
            |found: f64, share: f64, of: f64| (found - of * share).abs() < 5.0 * (of * share * (1.0 - share)).sqrt();
        assert!(near(count(&mut kept.iter().map(|&x| x != 0.0)), expected, total), "{probability}");
        let both = |step: usize| count(&mut kept.iter().zip(&kept[step..]).map(|(&a, &b)| a != 0.0 && b != 0.0));
        for step in [1, 2, 16, COLUMNS, COLUMNS + 1, 7 * COLUMNS] {
            assert!(near(both(step), expected * expected, total - step as f64), "{probability}, {step} apart");
        }
        // Every row and every column by itself.
        for row in kept.chunks(COLUMNS) {
            assert!(near(count(&mut row.iter().map(|&x| x != 0.0)), expected, COLUMNS as f64));
        }
        for column in 0..COLUMNS {
            assert!(near(count(&mut kept.iter().skip(column).step_by(COLUMNS).map(|&x| x != 0.0)), expected, 1000.0));
        }
    }
}

#[test]
fn seeds_steps_calls_and_keys_give_other_masks() {
    let engine = CpuEngine::default();
    let base = dropped(&engine, STREAM, 1, keys([5]), 0.5);
    assert_eq!(dropped(&engine, STREAM, 1, keys([5]), 0.5), base);
    let others = [
        dropped(&engine, DropoutStream { seed: 8 }, 1, keys([5]), 0.5),
        dropped(&engine, STREAM.at_step(0), 1, keys([5]), 0.5),
        dropped(&engine, STREAM.at_step(1), 1, keys([5]), 0.5),
        dropped(&engine, STREAM, 2, keys([5]), 0.5),
        dropped(&engine, STREAM, 1, keys([6]), 0.5),
    ];
    for (at, other) in others.iter().enumerate() {
        let same = other.iter().zip(&base).filter(|(a, b)| a == b).count();
        assert!((90..168).contains(&same), "{at}: {same} of {COLUMNS} equal, expected about half");
        assert!(others[..at].iter().all(|earlier| earlier != other));
    }
}

fn a_row_has_its_mask_wherever_it_stands<E: Derivatives>(engine: &E) {
    let batch = dropped(engine, STREAM, 1, keys([4, 9, 1 << 60, 2]), 0.3);
    for (row, key) in [4, 9, 1 << 60, 2].into_iter().enumerate() {
        assert_eq!(dropped(engine, STREAM, 1, keys([key]), 0.3), batch[row * COLUMNS..][..COLUMNS]);
    }
    // Without keys, rows are named by their numbers.
    let tape = Tape::new(engine, Some(STREAM));
    let ones = tape.from_f32(3, COLUMNS, vec![1.0; 3 * COLUMNS]).unwrap();
    let plain = tape.read_f32(&tape.dropout(&ones, 0.3).unwrap()).unwrap();
    assert_eq!(plain, dropped(engine, STREAM, 1, keys(0..3), 0.3));
}

#[test]
fn a_row_has_the_same_mask_alone_and_in_a_batch() {
    cpu_engines().iter().for_each(a_row_has_its_mask_wherever_it_stands);
    a_row_has_its_mask_wherever_it_stands(&candle());
}

#[test]
fn every_device_drops_the_same() {
    let expected = dropped(&cpu(Isa::Portable, 1), STREAM, 1, keys(0..40), 0.1);
    for engine in cpu_engines() {
        assert_eq!(dropped(&engine, STREAM, 1, keys(0..40), 0.1), expected, "{engine:?}");
    }
    assert_near(&dropped(&candle(), STREAM, 1, keys(0..40), 0.1), &expected, 1e-6, "candle");
}

#[test]
fn keys_go_with_their_rows() {
    let engine = CpuEngine::default();
    let tape = Tape::new(&engine, Some(STREAM));
    let segments = Segments::new([2, 1]).unwrap();
    let plain = tape.zeros(3, 4).unwrap();
    let x = tape.constant_keyed(engine.zeros(3, 4).unwrap(), keys([10, 11, 12])).unwrap();
    let of = |variable: Variable<CpuEngine>| variable.row_keys().map(|keys| keys.to_vec());
    assert_eq!(of(tape.gather(&x, &[2, 0]).unwrap()), Some(vec![12, 10]));
    assert_eq!(of(tape.segment_mean(&x, &segments).unwrap()), Some(vec![10, 12]));
    assert_eq!(of(tape.gather(&plain, &[2, 0]).unwrap()), Some(vec![2, 0]));
    assert_eq!(of(tape.add(&plain, &x).unwrap()), Some(vec![10, 11, 12]));
    assert_eq!(of(tape.concat(&[&plain, &x]).unwrap()), Some(vec![10, 11, 12]));
    assert_eq!(of(tape.attention(&x, &plain, &plain, 2, &segments).unwrap()), Some(vec![10, 11, 12]));
    assert_eq!(of(tape.segment_matmul(&x, &plain, &segments).unwrap()), Some(vec![10, 11, 12]));
    assert_eq!(of(tape.scale(&plain, 1.0).unwrap()), None);
    // One row that stands for each names none of them.
    assert_eq!(of(tape.add(&plain, &tape.gather(&x, &[1]).unwrap()).unwrap()), None);
}

#[test]
fn without_a_stream_or_a_probability_nothing_is_dropped() {
    let engine = CpuEngine::default();
    for (tape, probability) in
        [(Tape::new(&engine, None), 0.5), (Tape::evaluation(&engine), 0.5), (Tape::new(&engine, Some(STREAM)), 0.0)]
    {
        let x = tape.from_f32(1, 4, vec![1.0; 4]).unwrap();
        assert_eq!(tape.read_f32(&tape.dropout(&x, probability).unwrap()).unwrap(), [1.0; 4]);
    }
}

/// q, k, v for segments, and the result of attention with dropout and the gradients of all three.
fn attention<E: Derivatives>(engine: &E, segments: &Segments, rows: &[u64], values: &[Vec<f32>]) -> [Vec<f32>; 4] {
    let count = rows.len();
    let net = trainable(engine, &[vec![count, 24], vec![count, 24], vec![count, 24]], values);
    let tape = Tape::new(engine, Some(STREAM));
    let zeros = tape.constant_keyed(engine.zeros(count, 24).unwrap(), keys(rows.iter().copied())).unwrap();
    let [q, k, v] = [0, 1, 2].map(|at| tape.parameter(net.param(at).unwrap()).unwrap());
    let q = tape.add(&q, &zeros).unwrap();
    let out = tape.attention_dropout(&q, &k, &v, 3, 0.4, segments).unwrap();
    let weights = rows.iter().flat_map(|&key| Values(key).take(24)).collect();
    let weighted = tape.mul(&out, &tape.from_f32(count, 24, weights).unwrap()).unwrap();
    let sums = tape.matmul(&tape.from_f32(1, count, vec![1.0; count]).unwrap(), &weighted, false).unwrap();
    let loss = tape.matmul(&sums, &tape.from_f32(24, 1, vec![1.0; 24]).unwrap(), false).unwrap();
    let gradients = tape.backward(&loss, 1.0).unwrap();
    let [q, k, v] = [0, 1, 2].map(|at| engine.read_f32(gradients.get(&net, at).unwrap()).unwrap());
    [tape.read_f32(&out).unwrap(), q, k, v]
}

/// Each row's key, and values that depend on it alone.
fn attention_inputs(rows: &[u64]) -> Vec<Vec<f32>> {
    (0..3).map(|side| rows.iter().flat_map(|&key| Values(key * 3 + side).take(24)).collect()).collect()
}

fn a_segment_attends_alike_wherever_it_stands<E: Derivatives>(engine: &E, hidden: bool) {
    let lengths = [5, 1, 53, 3];
    let rows: Vec<u64> = (0..62).map(|row| 1000 + row * 17).collect();
    let batch = attention(engine, &segments(hidden), &rows, &attention_inputs(&rows));
    let dense = {
        // The mask is there: without it the result is another.
        let tape = Tape::new(engine, None);
        let inputs = attention_inputs(&rows);
        let [q, k, v] = [0, 1, 2].map(|at: usize| tape.from_f32(62, 24, inputs[at].clone()).unwrap());
        tape.read_f32(&tape.attention(&q, &k, &v, 3, &segments(hidden)).unwrap()).unwrap()
    };
    let changed = dense.iter().zip(&batch[0]).filter(|(a, b)| (*a - *b).abs() > 1e-3).count();
    assert!(changed > dense.len() / 2, "dropout changed {changed} of {} elements", dense.len());

    let mut start = 0;
    for length in lengths {
        let rows = &rows[start..start + length];
        let mut alone = Segments::new([length]).unwrap();
        if hidden {
            alone = alone.with_hidden((start..start + length).map(|row| row % 7 == 2).collect()).unwrap();
        }
        let found = attention(engine, &alone, rows, &attention_inputs(rows));
        for (found, batch) in found.iter().zip(&batch) {
            assert_near(found, &batch[start * 24..(start + length) * 24], 1e-5, "a segment alone");
        }
        start += length;
    }
}

#[test]
fn a_segment_has_the_same_attention_mask_alone_and_in_a_batch() {
    for hidden in [false, true] {
        cpu_engines().iter().for_each(|engine| a_segment_attends_alike_wherever_it_stands(engine, hidden));
        a_segment_attends_alike_wherever_it_stands(&candle(), hidden);
    }
}

#[test]
fn every_device_attends_alike_with_dropout() {
    let rows: Vec<u64> = (0..62).map(|row| row * 31).collect();
    for hidden in [false, true] {
        let expected = attention(&candle(), &segments(hidden), &rows, &attention_inputs(&rows));
        for engine in cpu_engines() {
            let found = attention(&engine, &segments(hidden), &rows, &attention_inputs(&rows));
            for (found, expected) in found.iter().zip(&expected) {
                assert_near(found, expected, 1e-5, "attention with dropout");
            }
        }
    }
}

/// The gradient of attention with dropout against differences along random directions: the mask stays while values move.
#[test]
fn the_gradient_of_attention_with_dropout_agrees_with_differences() {
    let rows: Vec<u64> = (0..62).collect();
    let engine = CpuEngine::default();
    let segments = segments(true);
    let inputs = attention_inputs(&rows);
    let [_, q, k, v] = attention(&engine, &segments, &rows, &inputs);
    let weights: Vec<f32> = rows.iter().flat_map(|&key| Values(key).take(24)).collect();
    let objective = |inputs: &[Vec<f32>]| -> f64 {
        let [out, ..] = attention(&engine, &segments, &rows, inputs);
        out.iter().zip(&weights).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    for (side, gradient) in [q, k, v].iter().enumerate() {
        let direction = Values(side as u64 + 90).take(gradient.len());
        let moved = |step: f32| {
            let mut inputs = inputs.clone();
            inputs[side].iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
            objective(&inputs)
        };
        let expected = (moved(0.01) - moved(-0.01)) / 0.02;
        let found: f64 = gradient.iter().zip(&direction).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        assert!((found - expected).abs() < 2e-3 * expected.abs().max(1.0), "side {side}: {found}, expected {expected}");
    }
}
