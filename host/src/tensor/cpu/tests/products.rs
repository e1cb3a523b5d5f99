//! Linear layers, matrix products, scores and attention.

use super::*;
use crate::tensor::derivatives::{Derivatives, LinearBackward, LinearGradients};
use kadapter_plugin_api::{Activation, NO_PARTNER};
use proptest::prelude::*;

fn check_linear(engine: &CpuEngine, rows: usize, depth: usize, columns: usize, activation: Activation) {
    let mut values = Values((rows * 31 + depth * 7 + columns) as u64);
    let (x, weight, bias) = (values.take(rows * depth), values.take(columns * depth), values.take(columns));
    let mut expected = Plain::from(rows, depth, &x).times_transposed(&Plain::from(columns, depth, &weight));
    for (index, value) in expected.values.iter_mut().enumerate() {
        *value += f64::from(bias[index % columns]);
    }
    if activation == Activation::GeluErf {
        expected = expected.map(|x| x * 0.5 * erfc(-x / std::f64::consts::SQRT_2));
    }
    let packed = CpuParam::linear_for(engine.isa(), columns, depth, weight.clone()).unwrap();
    let general = CpuParam::matrix(columns, depth, weight.clone()).unwrap();
    let bias = CpuParam::vector(bias);
    let tolerance = 1e-6 + 1e-7 * depth as f64;
    for x in as_views(engine, rows, depth, &x) {
        let product = engine.linear(&x, &packed, Some(&bias), activation).unwrap();
        expected.assert_near(engine, &product, tolerance);
        let other = engine.linear(&x, &general, Some(&bias), activation).unwrap();
        assert_eq!(bits(engine, &product), bits(engine, &other), "packed or not");
    }
    let unpacked = engine.read_f32(&engine.parameter(&packed).unwrap()).unwrap();
    assert_eq!(unpacked, weight, "unpacking gives the weight back");
}

#[test]
fn linear_agrees_with_float64_at_every_edge_of_a_tile() {
    for engine in engines() {
        for rows in [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 17, 24, 25, 65] {
            check_linear(&engine, rows, 33, 17, Activation::Identity);
        }
        for columns in [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 129] {
            check_linear(&engine, 7, 19, columns, Activation::GeluErf);
        }
        for depth in [1, 2, 255, 256, 257, 300, 513, 3072] {
            check_linear(&engine, 5, depth, 70, Activation::Identity);
        }
    }
}

#[test]
fn linear_agrees_with_float64_when_rows_are_cut_into_blocks() {
    for engine in engines() {
        for rows in [191, 192, 193, 300, 577] {
            check_linear(&engine, rows, 40, 65, Activation::GeluErf);
        }
    }
}

/// The three products of the way back: `g · w`, `gᵀ · x`, and the sums of `g`, with `g` the gradient times the slopes.
fn check_linear_backward(engine: &CpuEngine, rows: usize, outputs: usize, inputs: usize, with_slope: bool) {
    let mut values = Values((rows * 31 + outputs * 7 + inputs) as u64);
    let [g, slope] = [(); 2].map(|()| values.take(rows * outputs));
    let (x, weight) = (values.take(rows * inputs), values.take(outputs * inputs));
    let scaled = |at: usize| f64::from(g[at]) * if with_slope { f64::from(slope[at]) } else { 1.0 };
    let plain_g = Plain::new(rows, outputs, |row, column| scaled(row * outputs + column));
    let turned = |plain: &Plain| Plain::new(plain.columns, plain.rows, |row, column| plain.at(column, row));
    let (plain_x, plain_weight) = (Plain::from(rows, inputs, &x), Plain::from(outputs, inputs, &weight));
    let of_x = plain_g.times_transposed(&turned(&plain_weight));
    let of_weight = turned(&plain_g).times_transposed(&turned(&plain_x));
    let of_bias = Plain::new(1, outputs, |_, column| (0..rows).map(|row| plain_g.at(row, column)).sum());
    let upload = |columns: usize, values: &[f32]| engine.from_f32(values.len() / columns, columns, values.to_vec());
    let (x, slope) = (upload(inputs, &x), upload(outputs, &slope).unwrap());
    let weight = engine.weight_transposed(&upload(inputs, &weight).unwrap());
    let gradients = engine.linear_backward(LinearBackward {
        gradient: upload(outputs, &g).unwrap(),
        slope: with_slope.then_some(&slope),
        x: Some(&x.unwrap()),
        bias: true,
        weight: Some(&weight.unwrap()),
    });
    let LinearGradients { x, weight, bias } = gradients.unwrap();
    of_x.assert_near(engine, &x.unwrap(), 1e-6 + 1e-7 * outputs as f64);
    of_weight.assert_near(engine, &weight.unwrap(), 1e-6 + 1e-7 * rows as f64);
    of_bias.assert_near(engine, &bias.unwrap(), 1e-6 + 1e-7 * rows as f64);
}

#[test]
fn the_way_back_of_linear_agrees_with_float64_at_every_edge_of_a_block() {
    for engine in engines() {
        // Depth blocks, near and far panels, chunks of 32 rows, blocks of rows, panels of 16 and 32 columns.
        for (rows, outputs, inputs) in
            [(1, 1, 1), (5, 192, 31), (12, 193, 32), (33, 385, 65), (31, 70, 257), (600, 64, 300)]
        {
            check_linear_backward(&engine, rows, outputs, inputs, false);
            check_linear_backward(&engine, rows, outputs, inputs, true);
        }
    }
}

#[test]
fn a_product_without_steps_is_its_bias() {
    for engine in engines() {
        let x = engine.zeros(3, 0).unwrap();
        let weight = CpuParam::linear_for(engine.isa(), 2, 0, Vec::new()).unwrap();
        let bias = CpuParam::vector(vec![1.0, -2.0]);
        let out = engine.linear(&x, &weight, Some(&bias), Activation::Identity).unwrap();
        assert_eq!(engine.read_f32(&out).unwrap(), [1.0, -2.0, 1.0, -2.0, 1.0, -2.0]);
    }
}

#[test]
fn every_kind_of_parameter_is_a_weight() {
    let halves: Vec<half::f16> = Values(5).take(3 * 4).into_iter().map(half::f16::from_f32).collect();
    let weight: Vec<f32> = halves.iter().map(|value| value.to_f32()).collect();
    let x = Values(6).take(2 * 4);
    let expected = Plain::from(2, 4, &x).times_transposed(&Plain::from(3, 4, &weight));
    for engine in engines() {
        let x = engine.from_f32(2, 4, x.clone()).unwrap();
        let table = CpuParam::table_f16(3, 4, halves.clone()).unwrap();
        expected.assert_near(&engine, &engine.linear(&x, &table, None, Activation::Identity).unwrap(), 1e-6);
        let row = CpuParam::vector(weight[..4].to_vec());
        let first = Plain::new(2, 1, |row, _| expected.at(row, 0));
        first.assert_near(&engine, &engine.linear(&x, &row, None, Activation::Identity).unwrap(), 1e-6);
    }
}

#[test]
fn not_a_number_and_infinity_pass_through_products() {
    for engine in engines() {
        let mut x = vec![0.0; 3 * 5];
        x[5] = f32::NAN;
        x[14] = f32::INFINITY;
        let x = engine.from_f32(3, 5, x).unwrap();
        let weight = CpuParam::linear_for(engine.isa(), 2, 5, vec![1.0; 10]).unwrap();
        let out = engine.read_f32(&engine.linear(&x, &weight, None, Activation::Identity).unwrap()).unwrap();
        assert_eq!(out[..2], [0.0, 0.0]);
        assert!(out[2].is_nan() && out[3].is_nan());
        assert_eq!(out[4..], [f32::INFINITY; 2]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn linear_agrees_with_float64(rows in 1..300_usize, depth in 1..400_usize, columns in 1..140_usize) {
        for engine in engines() {
            check_linear(&engine, rows, depth, columns, Activation::Identity);
        }
    }

    #[test]
    fn the_way_back_of_linear_agrees_with_float64(
        rows in 1..300_usize, outputs in 1..300_usize, inputs in 1..300_usize, with_slope in any::<bool>(),
    ) {
        for engine in engines() {
            check_linear_backward(&engine, rows, outputs, inputs, with_slope);
        }
    }

    #[test]
    fn matmul_agrees_with_float64(rows in 1..80_usize, depth in 1..90_usize, columns in 1..80_usize) {
        let mut values = Values(depth as u64);
        let (a, b) = (values.take(rows * depth), values.take(depth * columns));
        let (plain_a, plain_b) = (Plain::from(rows, depth, &a), Plain::from(depth, columns, &b));
        let turned = Plain::new(columns, depth, |row, column| plain_b.at(column, row));
        let expected = plain_a.times_transposed(&turned);
        let turned: Vec<f32> = turned.values.iter().map(|&x| x as f32).collect();
        for engine in engines() {
            for (a, b, turned) in side_by_side(as_views(&engine, rows, depth, &a), as_views(&engine, depth, columns, &b), as_views(&engine, columns, depth, &turned)) {
                expected.assert_near(&engine, &engine.matmul(&a, &b, false).unwrap(), 1e-5);
                expected.assert_near(&engine, &engine.matmul(&a, &turned, true).unwrap(), 1e-5);
            }
        }
    }

    #[test]
    fn segment_matmul_agrees_with_float64(lengths in prop::collection::vec(1..40_usize, 1..5), columns in 1..70_usize) {
        let segments = Segments::new(lengths).unwrap();
        let rows = segments.rows();
        let mut values = Values(columns as u64);
        let (a, b) = (values.take(rows * columns), values.take(rows * columns));
        let (plain_a, plain_b) = (Plain::from(rows, columns, &a), Plain::from(rows, columns, &b));
        let mut expected = Plain::new(rows, segments.longest(), |_, _| f64::from(NO_PARTNER));
        for range in segments.ranges() {
            for row in range.clone() {
                for (place, partner) in range.clone().enumerate() {
                    expected.values[row * expected.columns + place] =
                        (0..columns).map(|column| plain_a.at(row, column) * plain_b.at(partner, column)).sum();
                }
            }
        }
        for engine in engines() {
            for (a, b) in as_views(&engine, rows, columns, &a).into_iter().zip(as_views(&engine, rows, columns, &b)) {
                expected.assert_near(&engine, &engine.segment_matmul(&a, &b, &segments).unwrap(), 1e-5);
            }
        }
    }

    #[test]
    fn attention_agrees_with_float64(
        lengths in prop::collection::vec(1..90_usize, 1..5),
        heads in 1..5_usize,
        width in prop::sample::select(vec![1, 3, 8, 16, 32, 33, 64]),
        hide in any::<bool>(),
    ) {
        let mut segments = Segments::new(lengths).unwrap();
        let (rows, columns) = (segments.rows(), heads * width);
        let mut values = Values((rows + columns) as u64);
        if hide {
            let mut hidden: Vec<bool> = values.take(rows).into_iter().map(|x| x > 0.2).collect();
            segments.ranges().for_each(|range| hidden[range.start] = false);
            segments = segments.with_hidden(hidden).unwrap();
        }
        let [q, k, v] = [3.0, 3.0, 1.0].map(|scale| -> Vec<f32> { values.take(rows * columns).into_iter().map(|x| x * scale).collect() });
        let [plain_q, plain_k, plain_v] = [&q, &k, &v].map(|values| Plain::from(rows, columns, values));
        let expected = plain_attention(&plain_q, &plain_k, &plain_v, heads, &segments);
        for engine in engines() {
            for (q, k, v) in side_by_side(as_views(&engine, rows, columns, &q), as_views(&engine, rows, columns, &k), as_views(&engine, rows, columns, &v)) {
                expected.assert_near(&engine, &engine.attention(&q, &k, &v, heads, &segments).unwrap(), 2e-5);
            }
        }
    }
}

#[test]
fn attention_of_one_long_segment_is_cut_between_threads() {
    let (rows, columns) = (333, 48);
    let mut values = Values(9);
    let q = values.take(rows * columns);
    let plain = Plain::from(rows, columns, &q);
    let segments = Segments::new([rows]).unwrap();
    let expected = plain_attention(&plain, &plain, &plain, 1, &segments);
    for engine in engines() {
        let x = engine.from_f32(rows, columns, q.clone()).unwrap();
        expected.assert_near(&engine, &engine.attention(&x, &x, &x, 1, &segments).unwrap(), 2e-5);
    }
}

#[test]
fn a_hidden_key_is_as_good_as_absent() {
    let (rows, columns, heads) = (50, 24, 3);
    let mut values = Values(4);
    let [q, k, v] = [(); 3].map(|()| values.take(rows * columns));
    let hidden: Vec<bool> = (0..rows).map(|row| row % 3 == 1).collect();
    let kept: Vec<u32> = (0..rows).filter(|&row| !hidden[row]).map(|row| row as u32).collect();
    let all = Segments::new([rows]).unwrap().with_hidden(hidden).unwrap();
    let fewer = Segments::new([kept.len()]).unwrap();
    for engine in engines() {
        let [mut q, mut k, mut v] = [&q, &k, &v].map(Clone::clone);
        for row in (0..rows).filter(|row| row % 3 == 1) {
            // What a hidden row holds must not matter at all.
            k[row * columns..(row + 1) * columns].fill(f32::NAN);
            v[row * columns..(row + 1) * columns].fill(f32::INFINITY);
            q[row * columns] = 0.5;
        }
        let [q, k, v] = [q, k, v].map(|x| engine.from_f32(rows, columns, x).unwrap());
        let with = engine.gather(&engine.attention(&q, &k, &v, heads, &all).unwrap(), &kept).unwrap();
        let [q, k, v] = [q, k, v].map(|x| engine.gather(&x, &kept).unwrap());
        let without = engine.attention(&q, &k, &v, heads, &fewer).unwrap();
        assert_eq!(bits(&engine, &with), bits(&engine, &without), "{engine:?}");
    }
}

fn side_by_side<T>(a: [T; 2], b: [T; 2], c: [T; 2]) -> impl Iterator<Item = (T, T, T)> {
    a.into_iter().zip(b).zip(c).map(|((a, b), c)| (a, b, c))
}
