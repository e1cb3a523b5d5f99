//! A host in a nutshell: the op table over plain `Vec<f32>`, to test adapters without a backbone, weights or files.
//!
//! Slow and plain on purpose: it is the meaning of every op, and what faster engines are tested against.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the reference computes in f64 and stores f32"
)]

use crate::abi::InstanceBox;
use crate::session::{self, Parameters};
use crate::{Activation, Adapter, Backbone, Engine, Entry, Error, NO_PARTNER, ParamSpec, Result, Segments, random};
use std::rc::Rc;

/// A matrix `[rows, columns]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// `rows · columns` values.
    pub values: Rc<Vec<f32>>,
}

impl Matrix {
    fn new(rows: usize, columns: usize, values: Vec<f32>) -> Self {
        debug_assert_eq!(values.len(), rows * columns);
        Self { rows, columns, values: Rc::new(values) }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    fn map(&self, function: impl Fn(f32) -> f32) -> Self {
        Self::new(self.rows, self.columns, self.values.iter().map(|&value| function(value)).collect())
    }

    fn map_rows(&self, function: impl Fn(&[f32]) -> Vec<f32>) -> Self {
        Self::new(self.rows, self.columns, (0..self.rows).flat_map(|row| function(self.row(row))).collect())
    }

    /// Pairs every element with `other`'s, whose single row stands for each row.
    fn zip(&self, other: &Self, function: impl Fn(f32, f32) -> f32) -> Self {
        let values = self
            .values
            .iter()
            .enumerate()
            .map(|(index, &value)| function(value, other.values[index % other.values.len()]));
        Self::new(self.rows, self.columns, values.collect())
    }
}

/// The reference engine. A parameter is a [`Matrix`], a vector one row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
}

/// The error function to about 1e-12, by its series and by a continued fraction.
fn erf(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude < 2.5 {
        let (mut term, mut sum) = (magnitude, magnitude);
        for n in 1..80 {
            let n = f64::from(n);
            term *= -magnitude * magnitude / n;
            sum += term / (2.0 * n + 1.0);
        }
        (2.0 / std::f64::consts::PI.sqrt() * sum).copysign(x)
    } else {
        let mut fraction = 0.0;
        for n in (1..80).rev() {
            fraction = f64::from(n) / 2.0 / (magnitude + fraction);
        }
        (1.0 - (-magnitude * magnitude).exp() / (std::f64::consts::PI.sqrt() * (magnitude + fraction))).copysign(x)
    }
}

fn activate(x: f32, activation: Activation) -> f32 {
    let wide = f64::from(x);
    let sigmoid = 1.0 / (1.0 + (-wide).exp());
    let result = match activation {
        Activation::Identity => wide,
        Activation::GeluErf => wide / 2.0 * (1.0 + erf(wide / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            wide / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3))).tanh())
        }
        Activation::Relu => wide.max(0.0),
        Activation::Silu => wide * sigmoid,
        Activation::Tanh => wide.tanh(),
        Activation::Sigmoid => sigmoid,
    };
    result as f32
}

fn log_softmax(row: &[f32]) -> Vec<f32> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&value| f64::from(value - largest).exp()).sum();
    row.iter().map(|&value| (f64::from(value - largest) - sum.ln()) as f32).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Matrix {
    let count = values.len() as f64;
    Matrix::new(1, 1, vec![(values.sum::<f64>() / count) as f32])
}

impl Engine for Reference {
    type Tensor = Matrix;
    type Param = Matrix;

    fn shape(&self, tensor: &Matrix) -> [usize; 2] {
        [tensor.rows, tensor.columns]
    }

    fn from_f32(&self, rows: usize, columns: usize, values: Vec<f32>) -> Result<Matrix> {
        Ok(Matrix::new(rows, columns, values))
    }

    fn read_f32(&self, tensor: &Matrix) -> Result<Vec<f32>> {
        Ok(tensor.values.to_vec())
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<Matrix> {
        Ok(Matrix::new(rows, columns, vec![0.0; rows * columns]))
    }

    fn parameter(&self, param: &Matrix) -> Result<Matrix> {
        Ok(param.clone())
    }

    fn linear(&self, x: &Matrix, weight: &Matrix, bias: Option<&Matrix>, activation: Activation) -> Result<Matrix> {
        let product = self.matmul(x, weight, true)?;
        let sum = bias.map_or_else(|| product.clone(), |bias| product.zip(bias, |a, b| a + b));
        self.activation(&sum, activation)
    }

    fn matmul(&self, a: &Matrix, b: &Matrix, transposed: bool) -> Result<Matrix> {
        let columns = if transposed { b.rows } else { b.columns };
        let column = |index: usize| -> Vec<f32> { (0..b.rows).map(|row| b.row(row)[index]).collect() };
        let right: Vec<Vec<f32>> =
            (0..columns).map(|index| if transposed { b.row(index).to_vec() } else { column(index) }).collect();
        let values = (0..a.rows).flat_map(|row| right.iter().map(move |right| dot(a.row(row), right))).collect();
        Ok(Matrix::new(a.rows, columns, values))
    }

    fn add(&self, a: &Matrix, b: &Matrix) -> Result<Matrix> {
        Ok(a.zip(b, |a, b| a + b))
    }

    fn mul(&self, a: &Matrix, b: &Matrix) -> Result<Matrix> {
        Ok(a.zip(b, |a, b| a * b))
    }

    fn scale(&self, x: &Matrix, factor: f32) -> Result<Matrix> {
        Ok(x.map(|value| value * factor))
    }

    fn activation(&self, x: &Matrix, activation: Activation) -> Result<Matrix> {
        Ok(x.map(|value| activate(value, activation)))
    }

    fn log(&self, x: &Matrix) -> Result<Matrix> {
        Ok(x.map(f32::ln))
    }

    fn layer_norm(&self, x: &Matrix, weight: &Matrix, bias: &Matrix, epsilon: f32) -> Result<Matrix> {
        let normal = x.map_rows(|row| {
            let count = row.len() as f64;
            let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
            let variance = row.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
            let deviation = (variance + f64::from(epsilon)).sqrt();
            row.iter().map(|&value| ((f64::from(value) - mean) / deviation) as f32).collect()
        });
        Ok(normal.zip(weight, |a, b| a * b).zip(bias, |a, b| a + b))
    }

    fn add_layer_norm(
        &self,
        x: &Matrix,
        residual: &Matrix,
        weight: &Matrix,
        bias: &Matrix,
        epsilon: f32,
    ) -> Result<Matrix> {
        self.layer_norm(&self.add(x, residual)?, weight, bias, epsilon)
    }

    fn attention(&self, q: &Matrix, k: &Matrix, v: &Matrix, heads: usize, segments: &Segments) -> Result<Matrix> {
        let width = q.columns / heads;
        let mut values = vec![0.0; q.rows * q.columns];
        let visible = |row: &usize| segments.hidden().is_none_or(|hidden| !hidden[*row]);
        for range in segments.ranges() {
            let keys: Vec<_> = range.clone().filter(visible).collect();
            for row in range {
                for head in (0..heads).map(|head| head * width..(head + 1) * width) {
                    let scores: Vec<_> = keys
                        .iter()
                        .map(|&key| dot(&q.row(row)[head.clone()], &k.row(key)[head.clone()]) / (width as f32).sqrt())
                        .collect();
                    let weights: Vec<_> = log_softmax(&scores).into_iter().map(f32::exp).collect();
                    for column in head {
                        let column_values: Vec<_> = keys.iter().map(|&key| v.row(key)[column]).collect();
                        values[row * q.columns + column] = dot(&weights, &column_values);
                    }
                }
            }
        }
        Ok(Matrix::new(q.rows, q.columns, values))
    }

    fn concat(&self, tensors: &[&Matrix]) -> Result<Matrix> {
        let (rows, columns) = (tensors[0].rows, tensors.iter().map(|tensor| tensor.columns).sum());
        let values =
            (0..rows).flat_map(|row| tensors.iter().flat_map(move |tensor| tensor.row(row)).copied()).collect();
        Ok(Matrix::new(rows, columns, values))
    }

    fn narrow(&self, x: &Matrix, start: usize, length: usize) -> Result<Matrix> {
        let values = (0..x.rows).flat_map(|row| x.row(row)[start..start + length].iter().copied()).collect();
        Ok(Matrix::new(x.rows, length, values))
    }

    fn gather(&self, x: &Matrix, rows: &[u32]) -> Result<Matrix> {
        let values = rows.iter().flat_map(|&row| x.row(row as usize).iter().copied()).collect();
        Ok(Matrix::new(rows.len(), x.columns, values))
    }

    fn segment_mean(&self, x: &Matrix, segments: &Segments) -> Result<Matrix> {
        let column_mean = |range: std::ops::Range<usize>, column: usize| {
            let count = range.len() as f64;
            (range.map(|row| f64::from(x.row(row)[column])).sum::<f64>() / count) as f32
        };
        let values =
            segments.ranges().flat_map(|range| (0..x.columns).map(move |column| column_mean(range.clone(), column)));
        Ok(Matrix::new(segments.count(), x.columns, values.collect()))
    }

    fn segment_matmul(&self, a: &Matrix, b: &Matrix, segments: &Segments) -> Result<Matrix> {
        let longest = segments.longest();
        let mut values = vec![NO_PARTNER; a.rows * longest];
        for range in segments.ranges() {
            for row in range.clone() {
                for (place, other) in range.clone().enumerate() {
                    values[row * longest + place] = dot(a.row(row), b.row(other));
                }
            }
        }
        Ok(Matrix::new(a.rows, longest, values))
    }

    fn softmax(&self, x: &Matrix) -> Result<Matrix> {
        Ok(x.map_rows(|row| log_softmax(row).into_iter().map(f32::exp).collect()))
    }

    fn log_softmax(&self, x: &Matrix) -> Result<Matrix> {
        Ok(x.map_rows(log_softmax))
    }

    fn dropout(&self, x: &Matrix, _probability: f32) -> Result<Matrix> {
        Ok(x.clone())
    }

    fn embedding(&self, table: &Matrix, rows: &[u32]) -> Result<Matrix> {
        self.gather(table, rows)
    }

    fn cross_entropy(&self, logits: &Matrix, targets: &[i64]) -> Result<Matrix> {
        let losses: Vec<_> = targets
            .iter()
            .enumerate()
            .filter_map(|(row, &target)| Some(-f64::from(log_softmax(logits.row(row))[usize::try_from(target).ok()?])))
            .collect();
        Ok(mean(losses.into_iter()))
    }

    fn bce_with_logits(&self, logits: &Matrix, targets: &Matrix) -> Result<Matrix> {
        let loss = |(&logit, &target): (&f32, &f32)| {
            let (logit, target) = (f64::from(logit), f64::from(target));
            logit.max(0.0) - logit * target + (-logit.abs()).exp().ln_1p()
        };
        Ok(mean(logits.values.iter().zip(targets.values.iter()).map(loss)))
    }

    fn mse(&self, a: &Matrix, b: &Matrix) -> Result<Matrix> {
        Ok(mean(a.values.iter().zip(b.values.iter()).map(|(a, b)| f64::from(a - b).powi(2))))
    }
}

/// An adapter on the reference engine, built and run through the same boundary as in a real host.
///
/// ```
/// # use kadapter_plugin_api::{prelude::*, reference::Harness, Entry};
/// # struct Echo;
/// # impl Adapter for Echo {
/// #     fn build(_: &Config, _: &Backbone, _: &mut Params) -> Result<Self> { Ok(Self) }
/// #     fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> { cx.scale(&taps[0], 2.0) }
/// # }
/// let harness = Harness::new::<Echo>([], &Backbone::new(2, 4, &[0]))?;
/// let features = harness.forward(&[1, 2], &[vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])?;
/// assert_eq!(features, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
/// # Ok::<(), Error>(())
/// ```
pub struct Harness {
    instance: InstanceBox,
    specs: Vec<ParamSpec>,
    values: Vec<Matrix>,
    hidden_size: usize,
    taps: usize,
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Harness").field("params", &self.specs).finish_non_exhaustive()
    }
}

impl Harness {
    /// Builds an adapter with its initial values (seed 0).
    ///
    /// # Errors
    /// What `build` says, its panic, or a configuration key that it does not know.
    pub fn new<A: Adapter>(config: impl IntoIterator<Item = Entry>, backbone: &Backbone) -> Result<Self> {
        let (instance, specs) = crate::export::instantiate::<A>(config, backbone)?;
        let values = specs.iter().map(|spec| as_matrix(spec, random::initial_values(spec, 0))).collect();
        Ok(Self { instance, specs, values, hidden_size: backbone.hidden_size(), taps: backbone.taps().len() })
    }

    /// What the adapter declared.
    pub fn params(&self) -> &[ParamSpec] {
        &self.specs
    }

    /// Sets a parameter's values, row-major.
    ///
    /// # Errors
    /// When no parameter has this name or it has another number of values.
    pub fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let index = self.specs.iter().position(|spec| spec.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.specs.iter().map(ParamSpec::name).collect();
            Error::new(format!("no parameter is named `{name}`, expected one of {names:?}"))
        })?;
        let expected = self.values[index].values.len();
        if values.len() != expected {
            return Err(Error::shape(format!("`{name}` got {} values, expected {expected}", values.len())));
        }
        self.values[index] = as_matrix(&self.specs[index], values.to_vec());
        Ok(())
    }

    /// Runs the adapter: `lengths` are the segments' rows, each tap holds `[rows, hidden size]` row-major; gives the feature rows.
    ///
    /// # Errors
    /// What the adapter says, its panic, or taps of another size.
    pub fn forward(&self, lengths: &[usize], taps: &[Vec<f32>]) -> Result<Vec<f32>> {
        let segments = Segments::new(lengths.iter().copied())?;
        let expected = segments.rows() * self.hidden_size;
        if taps.len() != self.taps || taps.iter().any(|tap| tap.len() != expected) {
            let found: Vec<_> = taps.iter().map(Vec::len).collect();
            return Err(Error::shape(format!(
                "the taps have {found:?} values, expected {} taps of {expected}",
                self.taps
            )));
        }
        let taps: Vec<_> = taps.iter().map(|tap| Matrix::new(segments.rows(), self.hidden_size, tap.clone())).collect();
        let mut parameters = Parameters::default();
        for (spec, value) in self.specs.iter().zip(&self.values) {
            parameters.push(spec.shape(), value.clone());
        }
        let features = session::run(&self.instance, &Reference, &parameters, &segments, &taps)?;
        Ok(features.values.to_vec())
    }
}

fn as_matrix(spec: &ParamSpec, values: Vec<f32>) -> Matrix {
    match *spec.shape() {
        [rows, columns] => Matrix::new(rows, columns, values),
        _ => Matrix::new(1, values.len(), values),
    }
}
