//! Every op against plain float64, on every instruction set of the processor that runs the tests; and what holds whatever the
//! numbers: rows do not see their batch, threads change nothing, buffers leak nothing.

mod invariants;
mod ops;
mod products;

use super::*;
use kadapter_plugin_api::{Engine, Segments};
use std::num::NonZeroUsize;

/// Engines with every instruction set that the processor has, on one thread and on three.
fn engines() -> Vec<CpuEngine> {
    Isa::available().iter().flat_map(|&isa| [1, 3].map(|threads| engine(isa, threads))).collect()
}

fn engine(isa: Isa, threads: usize) -> CpuEngine {
    CpuEngine::new(CpuConfig { isa, threads: NonZeroUsize::new(threads).unwrap(), ..CpuConfig::default() })
}

/// A generator of test values: the same ones every time.
struct Values(u64);

impl Values {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32) / (1_u32 << 23) as f32 - 1.0
    }

    /// Values between -1 and 1.
    fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// A plain float64 matrix: what an op should give.
#[derive(Clone, Debug)]
struct Plain {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Plain {
    fn new(rows: usize, columns: usize, of: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..rows * columns).map(|index| of(index / columns, index % columns)).collect();
        Self { rows, columns, values }
    }

    fn from(rows: usize, columns: usize, values: &[f32]) -> Self {
        assert_eq!(values.len(), rows * columns);
        Self { rows, columns, values: values.iter().map(|&x| f64::from(x)).collect() }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    fn map_rows(&self, of: impl Fn(&[f64]) -> Vec<f64>) -> Self {
        Self { values: self.values.chunks(self.columns).flat_map(of).collect(), ..self.clone() }
    }

    fn map(&self, of: impl Fn(f64) -> f64) -> Self {
        Self { values: self.values.iter().copied().map(of).collect(), ..self.clone() }
    }

    /// `self · otherᵀ`.
    fn times_transposed(&self, other: &Self) -> Self {
        Self::new(self.rows, other.rows, |row, column| {
            (0..self.columns).map(|step| self.at(row, step) * other.at(column, step)).sum()
        })
    }

    /// The tensor has this shape and is within `tolerance`, absolute for small values and relative for large ones.
    #[track_caller]
    fn assert_near(&self, engine: &CpuEngine, tensor: &CpuTensor, tolerance: f64) {
        assert_eq!(engine.shape(tensor), [self.rows, self.columns], "{engine:?}");
        for (index, (found, &expected)) in engine.read_f32(tensor).unwrap().into_iter().zip(&self.values).enumerate() {
            let found = f64::from(found);
            let near =
                (found - expected).abs() <= tolerance * expected.abs().max(1.0) || found.is_nan() && expected.is_nan();
            assert!(near, "element {index}: found {found}, expected {expected}, {engine:?}");
        }
    }
}

/// The complementary error function by its series or its continued fraction, to 1e-14.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..200).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
        (-x * x).exp() / fraction / std::f64::consts::PI.sqrt()
    }
}

/// A tensor of these values, once as it is and once as columns of a wider one.
fn as_views(engine: &CpuEngine, rows: usize, columns: usize, values: &[f32]) -> [CpuTensor; 2] {
    let whole = engine.from_f32(rows, columns, values.to_vec()).unwrap();
    let left = engine.from_f32(rows, 3, vec![f32::NAN; rows * 3]).unwrap();
    let right = engine.from_f32(rows, 2, vec![f32::NAN; rows * 2]).unwrap();
    let wide = engine.concat(&[&left, &whole, &right]).unwrap();
    let view = engine.narrow(&wide, 3, columns).unwrap();
    [whole, view]
}

fn bits(engine: &CpuEngine, tensor: &CpuTensor) -> Vec<u32> {
    engine.read_f32(tensor).unwrap().into_iter().map(f32::to_bits).collect()
}

/// Softmax attention in float64, keys named by `visible`.
fn plain_attention(q: &Plain, k: &Plain, v: &Plain, heads: usize, segments: &Segments) -> Plain {
    let width = q.columns / heads;
    let mut out = Plain::new(q.rows, q.columns, |_, _| 0.0);
    for range in segments.ranges() {
        let keys: Vec<usize> =
            range.clone().filter(|&row| segments.hidden().is_none_or(|hidden| !hidden[row])).collect();
        for row in range {
            for head in 0..heads {
                let columns = head * width..(head + 1) * width;
                let scores: Vec<f64> = keys
                    .iter()
                    .map(|&key| columns.clone().map(|column| q.at(row, column) * k.at(key, column)).sum::<f64>())
                    .map(|score| score / (width as f64).sqrt())
                    .collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                for column in columns {
                    out.values[row * out.columns + column] =
                        keys.iter().zip(&weights).map(|(&key, weight)| weight / total * v.at(key, column)).sum();
                }
            }
        }
    }
    out
}
