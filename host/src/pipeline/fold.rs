//! Fusion and head as one affine map, where nothing between them bends.
//!
//! K-Adapter's heads have no activation anywhere (spec sections 3.1 and 5): fusion, dense and output layer are one affine map of the
//! rows that the head reads. Folded once, at load, a task costs one small product instead of reading megabytes of weights per text:
//!
//! ```text
//! logits = out · (dense · [F(r0); F(r1)] + …) + …      F(r) = fused features of row r, affine in [x; a_0; a_1; …]
//!        = folded · [x(r0); h_t(r0); …; a_0(r0); …; x(r1); …] + bias
//! ```
//! Products run from the output side, so every intermediate has only as many rows as there are outputs, and sums are f64.

use super::fusion::FusionShape;
use crate::task::HeadShape;
use kadapter_registry::package;
use std::collections::VecDeque;

/// A matrix `[rows, columns]`, row-major.
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

/// The folded map: `weight [outputs, reads · (1 + taps + adapters) · hidden]`, row-major, and `bias [outputs]`.
pub(super) struct Folded {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) inputs: usize,
}

/// The layers of a task's file in the order of their declaration, as `(weight, bias)` pairs.
struct Layers(VecDeque<Vec<f32>>);

impl Layers {
    fn next(&mut self) -> Option<(Vec<f32>, Vec<f32>)> {
        Some((self.0.pop_front()?, self.0.pop_front()?))
    }
}

impl Matrix {
    /// `self · weight`, with `weight` row-major of `columns` columns.
    fn times(&self, weight: &[f32], columns: usize) -> Self {
        let mut values = vec![0.0; self.rows * columns];
        for (row, out) in self.values.chunks_exact(self.columns).zip(values.chunks_exact_mut(columns)) {
            for (&factor, weights) in row.iter().zip(weight.chunks_exact(columns)) {
                for (sum, &weight) in out.iter_mut().zip(weights) {
                    *sum += factor * f64::from(weight);
                }
            }
        }
        Self { rows: self.rows, columns, values }
    }

    /// Adds `self · bias` to the running bias.
    fn carry(&self, bias: &[f32], sum: &mut [f64]) {
        for (row, sum) in self.values.chunks_exact(self.columns).zip(sum) {
            *sum += row.iter().zip(bias).map(|(&factor, &bias)| factor * f64::from(bias)).sum::<f64>();
        }
    }

    /// Columns `start .. start + length`.
    fn narrow(&self, start: usize, length: usize) -> Self {
        let values = self.values.chunks_exact(self.columns).flat_map(|row| row[start..start + length].iter().copied());
        Self { rows: self.rows, columns: length, values: values.collect() }
    }

    /// Every column times a factor of its own.
    fn scaled(&self, factors: &[f32]) -> Self {
        let factors = || factors.iter().copied().map(f64::from);
        let row = |row: &'_ [f64]| row.iter().zip(factors()).map(|(value, factor)| value * factor).collect::<Vec<_>>();
        let values = self.values.chunks_exact(self.columns).flat_map(row).collect();
        Self { rows: self.rows, columns: self.columns, values }
    }

    fn add(&mut self, other: &Self) {
        for (sum, &value) in self.values.iter_mut().zip(&other.values) {
            *sum += value;
        }
    }
}

/// Folds a task's layers; `values` are its tensors in the order of declaration: fusion, then head. `None` when there are too few,
/// or when the fusion bends.
pub(super) fn fold(fusion: &FusionShape<'_>, head: HeadShape, values: Vec<Vec<f32>>) -> Option<Folded> {
    let (hidden, adapters) = (fusion.hidden, fusion.names.len());
    let mut layers = Layers(values.into());
    let mut per_adapter = Vec::new();
    let mut out = None;
    if !fusion.is_affine() {
        return None;
    }
    let mut blocks = Vec::new();
    if fusion.kind == package::Fusion::Blocks {
        for _ in 0..1 + fusion.taps.len() + adapters {
            blocks.push(layers.next()?);
        }
    }
    if fusion.kind == package::Fusion::Concat {
        for _ in 0..adapters {
            let extra = if fusion.extra { Some(layers.next()?) } else { None };
            per_adapter.push((extra, layers.next()?));
        }
        out = if adapters > 1 { Some(layers.next()?) } else { None };
    }
    let dense = if head.dense { Some(layers.next()?) } else { None };
    let (weight, bias) = layers.next()?;

    let inner = weight.len() / head.outputs;
    let mut map = Matrix { rows: head.outputs, columns: inner, values: weight.into_iter().map(f64::from).collect() };
    let mut sum: Vec<f64> = bias.into_iter().map(f64::from).collect();
    if let Some((weight, bias)) = dense {
        map.carry(&bias, &mut sum);
        map = map.times(&weight, head.reads_per_unit * fusion.width());
    }
    // Per read the parts of the map that meet x, a_0, a_1, …
    let mut parts: Vec<Matrix> = Vec::new();
    for read in 0..head.reads_per_unit {
        let fused = map.narrow(read * fusion.width(), fusion.width());
        if fusion.kind == package::Fusion::Blocks {
            for (place, (scale, shift)) in blocks.iter().enumerate() {
                let own = fused.narrow(place * hidden, hidden);
                own.carry(shift, &mut sum);
                parts.push(own.scaled(scale));
            }
            continue;
        }
        let mut of_x = Matrix { rows: head.outputs, columns: hidden, values: vec![0.0; head.outputs * hidden] };
        let mut of_adapters = Vec::with_capacity(adapters);
        if fusion.kind == package::Fusion::Add || adapters == 0 {
            let times = if fusion.extra { 1 + adapters } else { 1 };
            (0..times).for_each(|_| of_x.add(&fused));
            of_adapters.extend((0..adapters).map(|_| fused.narrow(0, hidden)));
        } else {
            let split = match &out {
                Some((weight, bias)) => {
                    fused.carry(bias, &mut sum);
                    fused.times(weight, adapters * hidden)
                }
                None => fused,
            };
            for (index, (extra, (weight, bias))) in per_adapter.iter().enumerate() {
                let own = split.narrow(index * hidden, hidden);
                own.carry(bias, &mut sum);
                let pair = own.times(weight, 2 * hidden);
                of_x.add(&pair.narrow(0, hidden));
                let mut features = pair.narrow(hidden, hidden);
                if let Some((weight, bias)) = extra {
                    features.carry(bias, &mut sum);
                    let pair = features.times(weight, 2 * hidden);
                    of_x.add(&pair.narrow(0, hidden));
                    features = pair.narrow(hidden, hidden);
                }
                of_adapters.push(features);
            }
        }
        parts.push(of_x);
        parts.extend(of_adapters);
    }
    let inputs = parts.len() * hidden;
    #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
    let weight = (0..head.outputs)
        .flat_map(|row| parts.iter().flat_map(move |part| &part.values[row * hidden..(row + 1) * hidden]))
        .map(|&value| value as f32)
        .collect();
    #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
    let bias = sum.into_iter().map(|value| value as f32).collect();
    Some(Folded { weight, bias, inputs })
}
