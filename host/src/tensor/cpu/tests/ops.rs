//! Everything that is not a product.

use super::*;
use kadapter_plugin_api::{Activation, NO_PARTNER};

/// Shapes with every kind of end of a vector.
const SHAPES: [(usize, usize); 9] =
    [(1, 1), (3, 1), (1, 17), (5, 31), (7, 32), (2, 33), (65, 65), (4, 3072), (300, 20)];

#[test]
fn sums_products_and_scales_agree_with_float64() {
    for engine in engines() {
        for (rows, columns) in SHAPES {
            let mut values = Values(columns as u64);
            let (a, b, one) = (values.take(rows * columns), values.take(rows * columns), values.take(columns));
            let [plain_a, plain_b] = [&a, &b].map(|x| Plain::from(rows, columns, x));
            let row = engine.from_f32(1, columns, one.clone()).unwrap();
            let one = |column: usize| f64::from(one[column]);
            for (a, b) in as_views(&engine, rows, columns, &a).into_iter().zip(as_views(&engine, rows, columns, &b)) {
                let new = |of: &dyn Fn(usize, usize) -> f64| Plain::new(rows, columns, of);
                new(&|r, c| plain_a.at(r, c) + plain_b.at(r, c)).assert_near(
                    &engine,
                    &engine.add(&a, &b).unwrap(),
                    1e-6,
                );
                new(&|r, c| plain_a.at(r, c) * plain_b.at(r, c)).assert_near(
                    &engine,
                    &engine.mul(&a, &b).unwrap(),
                    1e-6,
                );
                new(&|r, c| plain_a.at(r, c) + one(c)).assert_near(&engine, &engine.add(&a, &row).unwrap(), 1e-6);
                new(&|r, c| plain_a.at(r, c) * one(c)).assert_near(&engine, &engine.mul(&a, &row).unwrap(), 1e-6);
                new(&|r, c| plain_a.at(r, c) * -2.5).assert_near(&engine, &engine.scale(&a, -2.5).unwrap(), 1e-6);
                let positive = engine.mul(&a, &a).unwrap();
                new(&|r, c| (plain_a.at(r, c).powi(2)).ln()).assert_near(
                    &engine,
                    &engine.log(&positive).unwrap(),
                    1e-6,
                );
            }
        }
    }
}

/// A dense grid with the ends of every range that an approximation has.
fn grid() -> Vec<f32> {
    let mut grid: Vec<f32> = (-40_000..=40_000).map(|step| step as f32 / 2000.0).collect();
    grid.extend([
        0.0, -0.0, 5.5, -5.5, 0.625, -0.625, 87.33, -87.34, 88.0, -88.0, 100.0, -100.0, 1e-20, -1e-20, 1e30, -1e30,
    ]);
    grid
}

#[test]
fn activations_are_within_a_millionth() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let of = |activation, x: f64| match activation {
        Activation::Identity => x,
        Activation::GeluErf => x * 0.5 * erfc(-x / std::f64::consts::SQRT_2),
        Activation::GeluTanh => {
            x * 0.5 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }
        Activation::Relu => x.max(0.0),
        Activation::Silu => x * sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
    };
    let grid = grid();
    for engine in engines() {
        let x = engine.from_f32(1, grid.len(), grid.clone()).unwrap();
        for code in 0..=6 {
            let activation = Activation::from_code(code).unwrap();
            let out = engine.read_f32(&engine.activation(&x, activation).unwrap()).unwrap();
            for (&x, found) in grid.iter().zip(out) {
                let expected = of(activation, f64::from(x));
                let error = (f64::from(found) - expected).abs() / expected.abs().max(1.0);
                assert!(error <= 1e-6, "{activation:?} of {x}: found {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn tanh_is_exact_relative_to_small_values() {
    for engine in engines() {
        for x in [1e-30_f32, -1e-5, 1e-3, 0.1, -0.6, 0.63] {
            let tensor = engine.from_f32(1, 1, vec![x]).unwrap();
            let found = f64::from(engine.read_f32(&engine.activation(&tensor, Activation::Tanh).unwrap()).unwrap()[0]);
            assert!((found / f64::from(x).tanh() - 1.0).abs() < 3e-7, "{x}");
        }
    }
}

#[test]
fn activations_pass_not_a_number_on() {
    for engine in engines() {
        let x = engine.from_f32(1, 20, vec![f32::NAN; 20]).unwrap();
        for code in 0..=6 {
            let activation = Activation::from_code(code).unwrap();
            let out = engine.read_f32(&engine.activation(&x, activation).unwrap()).unwrap();
            assert!(out.iter().all(|x| x.is_nan()), "{activation:?}");
        }
        let infinite = engine.from_f32(1, 1, vec![f32::INFINITY]).unwrap();
        for (activation, limit) in [
            (Activation::GeluErf, f32::INFINITY),
            (Activation::GeluTanh, f32::INFINITY),
            (Activation::Relu, f32::INFINITY),
            (Activation::Silu, f32::INFINITY),
            (Activation::Tanh, 1.0),
            (Activation::Sigmoid, 1.0),
        ] {
            assert_eq!(
                engine.read_f32(&engine.activation(&infinite, activation).unwrap()).unwrap(),
                [limit],
                "{activation:?}"
            );
        }
    }
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = row.iter().map(|x| (x - largest).exp()).sum();
    row.iter().map(|x| (x - largest).exp() / total).collect()
}

#[test]
fn softmax_and_its_logarithm_agree_with_float64() {
    for engine in engines() {
        for (rows, columns) in SHAPES {
            let x: Vec<f32> = Values(rows as u64).take(rows * columns).into_iter().map(|x| x * 20.0).collect();
            let plain = Plain::from(rows, columns, &x);
            for x in as_views(&engine, rows, columns, &x) {
                plain.map_rows(softmax).assert_near(&engine, &engine.softmax(&x).unwrap(), 1e-6);
                let logarithm = plain.map_rows(|row| softmax(row).into_iter().map(f64::ln).collect());
                logarithm.assert_near(&engine, &engine.log_softmax(&x).unwrap(), 1e-6);
            }
        }
    }
}

#[test]
fn softmax_gives_exactly_nothing_where_there_is_no_partner() {
    for engine in engines() {
        let x = engine.from_f32(1, 4, vec![1.0, NO_PARTNER, 1.0, NO_PARTNER]).unwrap();
        assert_eq!(engine.read_f32(&engine.softmax(&x).unwrap()).unwrap(), [0.5, 0.0, 0.5, 0.0]);
    }
}

#[test]
fn norms_agree_with_float64() {
    for engine in engines() {
        for (rows, columns) in SHAPES {
            let mut values = Values(rows as u64);
            let (x, residual) = (values.take(rows * columns), values.take(rows * columns));
            // A large mean: the variance must not come from a difference of large numbers.
            let x: Vec<f32> = x.into_iter().map(|x| x + 10.0).collect();
            let (weight, bias) = (values.take(columns), values.take(columns));
            let norm = |row: &[f64]| -> Vec<f64> {
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
                let scale = 1.0 / (variance + 1e-5).sqrt();
                let affine = weight.iter().zip(&bias).map(|(&w, &b)| (f64::from(w), f64::from(b)));
                row.iter().zip(affine).map(|(x, (w, b))| (x - mean) * scale * w + b).collect()
            };
            let (plain, plain_residual) = (Plain::from(rows, columns, &x), Plain::from(rows, columns, &residual));
            let sum = Plain::new(rows, columns, |row, column| {
                f64::from((plain.at(row, column) + plain_residual.at(row, column)) as f32)
            });
            let (weight, bias) = (CpuParam::vector(weight.clone()), CpuParam::vector(bias.clone()));
            for (x, residual) in
                as_views(&engine, rows, columns, &x).into_iter().zip(as_views(&engine, rows, columns, &residual))
            {
                plain.map_rows(norm).assert_near(&engine, &engine.layer_norm(&x, &weight, &bias, 1e-5).unwrap(), 1e-5);
                let found = engine.add_layer_norm(&x, &residual, &weight, &bias, 1e-5).unwrap();
                sum.map_rows(norm).assert_near(&engine, &found, 1e-5);
            }
        }
    }
}

#[test]
fn a_parameter_of_the_wrong_shape_is_one_clear_sentence() {
    let engine = CpuEngine::default();
    let x = engine.zeros(2, 3).unwrap();
    let error =
        engine.layer_norm(&x, &CpuParam::vector(vec![1.0; 4]), &CpuParam::vector(vec![0.0; 3]), 1e-5).unwrap_err();
    assert_eq!(error.message(), "a parameter of 1 x 4, expected a vector of 3");
    let error = CpuParam::linear(2, 3, vec![0.0; 5]).unwrap_err();
    assert_eq!(error.message(), "5 values for a parameter of 2 x 3");
    assert!(CpuParam::matrix(usize::MAX, 2, Vec::new()).is_err());
}

#[test]
fn rows_and_columns_move_unchanged() {
    for engine in engines() {
        for (rows, columns) in SHAPES {
            let values = Values(3).take(rows * columns);
            let names: Vec<u32> = (0..rows as u32).rev().chain([0, 0]).collect();
            let expected: Vec<f32> =
                names.iter().flat_map(|&row| &values[row as usize * columns..][..columns]).copied().collect();
            for x in as_views(&engine, rows, columns, &values) {
                assert_eq!(engine.read_f32(&x).unwrap(), values);
                assert_eq!(engine.read_f32(&engine.gather(&x, &names).unwrap()).unwrap(), expected);
                assert_eq!(engine.read_f32(&engine.dropout(&x, 0.5).unwrap()).unwrap(), values);
                let twice = engine.concat(&[&x, &x]).unwrap();
                assert_eq!(engine.shape(&twice), [rows, 2 * columns]);
                assert_eq!(engine.read_f32(&engine.narrow(&twice, columns, columns).unwrap()).unwrap(), values);
                let inner =
                    engine.narrow(&engine.narrow(&twice, 1, 2 * columns - 1).unwrap(), columns - 1, columns).unwrap();
                assert_eq!(engine.read_f32(&inner).unwrap(), values);
            }
            let halves: Vec<half::f16> = values.iter().map(|&x| half::f16::from_f32(x)).collect();
            let brains: Vec<half::bf16> = values.iter().map(|&x| half::bf16::from_f32(x)).collect();
            let pick = |values: &dyn Fn(usize) -> f32| -> Vec<f32> {
                names.iter().flat_map(|&row| row as usize * columns..(row as usize + 1) * columns).map(values).collect()
            };
            for (table, expected) in [
                (CpuParam::table_f32(rows, columns, values.clone()).unwrap(), pick(&|index| values[index])),
                (
                    CpuParam::linear_for(engine.isa(), rows, columns, values.clone()).unwrap(),
                    pick(&|index| values[index]),
                ),
                (CpuParam::table_f16(rows, columns, halves.clone()).unwrap(), pick(&|index| halves[index].to_f32())),
                (CpuParam::table_bf16(rows, columns, brains.clone()).unwrap(), pick(&|index| brains[index].to_f32())),
            ] {
                assert_eq!(table.shape(), [rows, columns]);
                assert_eq!(engine.read_f32(&engine.embedding(&table, &names).unwrap()).unwrap(), expected, "{table:?}");
            }
        }
        let vector = CpuParam::vector(vec![1.0, 2.0]);
        assert_eq!(engine.shape(&engine.parameter(&vector).unwrap()), [1, 2]);
        assert_eq!(engine.read_f32(&engine.parameter(&vector).unwrap()).unwrap(), [1.0, 2.0]);
        assert_eq!(engine.read_f32(&engine.zeros(2, 3).unwrap()).unwrap(), [0.0; 6]);
    }
}

#[test]
fn means_of_segments_agree_with_float64() {
    for engine in engines() {
        let segments = Segments::new([1, 40, 3]).unwrap();
        let values = Values(8).take(44 * 17);
        let plain = Plain::from(44, 17, &values);
        let expected = Plain::new(3, 17, |segment, column| {
            let range = segments.range(segment);
            range.clone().map(|row| plain.at(row, column)).sum::<f64>() / range.len() as f64
        });
        for x in as_views(&engine, 44, 17, &values) {
            expected.assert_near(&engine, &engine.segment_mean(&x, &segments).unwrap(), 1e-6);
        }
    }
}

#[test]
fn losses_agree_with_float64() {
    for engine in engines() {
        let (rows, columns) = (6, 5);
        let mut values = Values(2);
        let logits: Vec<f32> = values.take(rows * columns).into_iter().map(|x| x * 30.0).collect();
        let other: Vec<f32> = values.take(rows * columns).into_iter().map(f32::abs).collect();
        let (plain, plain_other) = (Plain::from(rows, columns, &logits), Plain::from(rows, columns, &other));
        let targets = [0, -100, 4, 2, -1, 1];
        let probabilities = plain.map_rows(softmax);
        let kept: Vec<usize> = (0..rows).filter(|&row| targets[row] >= 0).collect();
        let entropy = kept.iter().map(|&row| -probabilities.at(row, targets[row] as usize).ln()).sum::<f64>() / 4.0;
        let pairs = || plain.values.iter().copied().zip(plain_other.values.iter().copied());
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let binary = pairs().map(|(x, t)| -t * sigmoid(x).ln() - (1.0 - t) * sigmoid(-x).ln()).sum::<f64>()
            / (rows * columns) as f64;
        let squared = pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>() / (rows * columns) as f64;
        for (logits, other) in
            as_views(&engine, rows, columns, &logits).into_iter().zip(as_views(&engine, rows, columns, &other))
        {
            let single = |value| Plain::new(1, 1, |_, _| value);
            single(entropy).assert_near(&engine, &engine.cross_entropy(&logits, &targets).unwrap(), 1e-6);
            single(binary).assert_near(&engine, &engine.bce_with_logits(&logits, &other).unwrap(), 1e-6);
            single(squared).assert_near(&engine, &engine.mse(&logits, &other).unwrap(), 1e-6);
        }
    }
}
