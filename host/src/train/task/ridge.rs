//! Linear heads in closed form: ridge regression onto the right answers (Hoerl and Kennard 1970).
//!
//! ```text
//! minimise over W, b   1/N · Σ_u |W x_u + b - y_u|² + λ · |W|²           x_u: what the head reads of unit u, standardised and gated
//! y                    +1 for the right class (label, answer, token), -1 for the others
//! ```
//! There is no learning rate, no seed and no order of the data: the solution is the minimum, from a Cholesky factor that conjugate
//! gradients refine, in the smaller of two forms, over columns (`XᵀX`) or over units (`XXᵀ`). What depends on neither penalty nor
//! gates is computed once. The bias is not penalised; where one unit of a record is right (choices, spans), units are compared within
//! their record.

use super::batch::Batch;
use super::cholesky::Cholesky;
use super::objective::signs;
use super::spec::HeadSpec;
use super::standardise::standardise;
use super::{Error, HeadSettings, Member, Stop, TrainedHead, View};
use crate::parameters::Declared;
use crate::task::Kind;
use crate::tensor::{HostEngine, Values};
use kadapter_plugin_api::{Activation, Role};
use kadapter_registry::package::Fusion;

/// Units whose columns are summed at a time.
const CHUNK: usize = 2048;
/// Where conjugate gradients stop: the residual, relative to the right side.
const TOLERANCE: f64 = 1e-6;
/// The most steps. With a factor two or three are enough; where f32 finds none, features that are standardised and penalised need
/// some hundreds.
const MAX_STEPS: usize = 500;

/// Training data in the form in which settings are solved.
pub(super) struct Ridge<E: HostEngine> {
    spec: HeadSpec,
    /// The network's parameters without gates, head and mixes included.
    parameters: Vec<(Declared, Vec<f32>)>,
    /// Columns of a unit.
    columns: usize,
    units: usize,
    outputs: usize,
    /// The mean of every column and of every output, which the bias makes up for.
    column_means: Vec<f64>,
    output_means: Vec<f64>,
    /// `Yᵀ`, centred, `[outputs, units]`.
    targets: Vec<f32>,
    form: Form<E>,
}

enum Form<E: HostEngine> {
    /// `XᵀX [columns, columns]` and `YᵀX [outputs, columns]`.
    Columns { gram: E::Param, right: Vec<f32> },
    /// `X [units, columns]`, and per source of the fusion its part of `XXᵀ [units, units]`.
    Units { rows: E::Tensor, kernels: Vec<Vec<f32>> },
}

/// Refuses what is not linear.
pub(super) fn check(spec: &HeadSpec) -> Result<(), Error> {
    let refuse = |name, found: String, expected| Err(Error::Setting { name, found, expected });
    if spec.fusion != Fusion::Blocks {
        return refuse("solver", format!("`ridge` with fusion `{}`", spec.fusion), "`adamw`, or fusion `blocks`");
    }
    if spec.head.dense {
        return refuse("solver", "`ridge` for a head of two layers".into(), "`dense = false` in the task's options");
    }
    // A mix is the plain sum here: it is learned only in that the head has every hidden state beside it.
    let unread = |member: &Member| matches!(member, Member::TapMix { taps, .. } if taps.iter().any(|tap| !spec.taps.contains(tap)));
    if spec.stack.iter().any(unread) {
        let found = format!("`ridge` for the control `taps` with fusion taps {:?}", spec.taps);
        return refuse("solver", found, "the adapter's taps among those of the fusion");
    }
    Ok(())
}

impl<E: HostEngine> Ridge<E> {
    /// Reads the training data once.
    pub(super) fn new(engine: &E, spec: &HeadSpec, train: &View<'_>, settings: &HeadSettings) -> Result<Self, Error> {
        check(spec)?;
        let ungated = HeadSettings { gates: Vec::new(), ..settings.clone() };
        let mut parameters: Vec<_> = spec
            .parameters()
            .into_iter()
            .map(|parameter| {
                let values = parameter.initial(0);
                (parameter.declared, values)
            })
            .collect();
        standardise(spec, train, &ungated, &mut parameters)?;
        let (columns, outputs) = (spec.head.reads_per_unit * spec.width(), spec.head.outputs);
        let units: usize = train.records.iter().map(|&record| train.set.units(record).len()).sum();
        let mut ridge = Self {
            spec: spec.clone(),
            parameters,
            columns,
            units,
            outputs,
            column_means: vec![0.0; columns],
            output_means: vec![0.0; outputs],
            targets: Vec::new(),
            form: Form::Units { rows: engine.zeros(1, 1)?, kernels: Vec::new() },
        };
        ridge.read(engine, train)?;
        Ok(ridge)
    }

    /// Whether units are compared within their record, so that there is no bias.
    fn is_grouped(&self) -> bool {
        matches!(self.spec.kind, Kind::MultipleChoice | Kind::Span)
    }

    fn read(&mut self, engine: &E, train: &View<'_>) -> Result<(), Error> {
        let set = train.set;
        // Forms over units hold a matrix per source, so the other one is taken a little earlier.
        let by_columns = self.columns <= self.units + self.units / 2;
        let mut targets = signs(&self.spec, set, &train.records)?;
        if !self.is_grouped() {
            self.column_means = self.means(engine, train)?;
        }
        self.centre(&mut targets, train);
        let mut gram: Option<E::Tensor> = None;
        let mut right: Option<E::Tensor> = None;
        let mut rows = Vec::new();
        let mut done = 0;
        for records in chunks(train) {
            let own = self.rows(engine, train, records)?;
            let count = own.len() / self.columns;
            if by_columns {
                let transposed = engine.from_f32(self.columns, count, transposed(&own, self.columns))?;
                let part = engine.matmul(&transposed, &transposed, true)?;
                gram = Some(sum(engine, gram, part)?);
                let gold = transposed_part(&targets, self.outputs, done, count);
                let gold = engine.from_f32(self.outputs, count, gold)?;
                let part = engine.matmul(&gold, &transposed, true)?;
                right = Some(sum(engine, right, part)?);
            } else {
                rows.extend(own);
            }
            done += count;
        }
        self.targets = transposed_part(&targets, self.outputs, 0, self.units);
        self.form = match (gram, right) {
            (Some(gram), Some(right)) => {
                let values = engine.read_f32(&gram)?;
                let gram = engine.upload(Role::LinearWeight, &[self.columns, self.columns], Values::F32(values))?;
                Form::Columns { gram, right: engine.read_f32(&right)? }
            }
            _ => self.units_form(engine, rows)?,
        };
        Ok(())
    }

    fn units_form(&self, engine: &E, rows: Vec<f32>) -> Result<Form<E>, Error> {
        let rows = engine.from_f32(self.units, self.columns, rows)?;
        let (hidden, width, reads) = (self.spec.hidden, self.spec.width(), self.spec.head.reads_per_unit);
        let mut kernels = Vec::new();
        for source in 0..width / hidden {
            let parts = (0..reads)
                .map(|read| engine.narrow(&rows, read * width + source * hidden, hidden))
                .collect::<kadapter_plugin_api::Result<Vec<_>>>()?;
            let own = engine.concat(&parts.iter().collect::<Vec<_>>())?;
            kernels.push(engine.read_f32(&engine.matmul(&own, &own, true)?)?);
        }
        Ok(Form::Units { rows, kernels })
    }

    /// What the head reads of records' units, standardised, without gates, `[units, columns]`, centred.
    fn rows(&self, engine: &E, train: &View<'_>, records: &[usize]) -> Result<Vec<f32>, Error> {
        let batch = Batch::gather(engine, &self.spec, train.set, records)?;
        let params = self
            .parameters
            .iter()
            .map(|(declared, values)| engine.upload(declared.role, &declared.shape, Values::F32(values.clone())));
        let params = params.collect::<kadapter_plugin_api::Result<Vec<_>>>()?;
        let network = self.spec.network(params.into_iter()).ok_or(Error::NoHead { kind: self.spec.kind })?;
        let mut rows = engine.read_f32(&network.head_input(engine, &self.spec, &batch)?)?;
        if !self.is_grouped() {
            for row in rows.chunks_exact_mut(self.columns) {
                for (value, mean) in row.iter_mut().zip(&self.column_means) {
                    #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
                    let mean = *mean as f32;
                    *value -= mean;
                }
            }
            return Ok(rows);
        }
        let mut start = 0;
        for &record in records {
            let units = train.set.units(record).len();
            centre_group(&mut rows[start * self.columns..(start + units) * self.columns], self.columns);
            start += units;
        }
        Ok(rows)
    }

    fn means(&self, engine: &E, train: &View<'_>) -> Result<Vec<f64>, Error> {
        let mut sums = vec![0.0; self.columns];
        for records in chunks(train) {
            for row in self.rows(engine, train, records)?.chunks_exact(self.columns) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += f64::from(*value);
                }
            }
        }
        Ok(sums.into_iter().map(|sum| sum / self.units as f64).collect())
    }

    /// Centres `Y [units, outputs]`.
    fn centre(&mut self, targets: &mut [f32], train: &View<'_>) {
        if self.is_grouped() {
            let mut start = 0;
            for &record in &train.records {
                let units = train.set.units(record).len();
                centre_group(&mut targets[start * self.outputs..(start + units) * self.outputs], self.outputs);
                start += units;
            }
            return;
        }
        for (output, mean) in self.output_means.iter_mut().enumerate() {
            let own = targets.iter().skip(output).step_by(self.outputs);
            *mean = own.map(|value| f64::from(*value)).sum::<f64>() / self.units as f64;
        }
        for row in targets.chunks_exact_mut(self.outputs) {
            for (value, mean) in row.iter_mut().zip(&self.output_means) {
                #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
                let mean = *mean as f32;
                *value -= mean;
            }
        }
    }

    /// The head of these settings.
    pub(super) fn solve(&self, engine: &E, settings: &HeadSettings) -> Result<TrainedHead, Error> {
        let gates = self.gates(settings);
        let penalty = settings.penalty * self.units as f64;
        let (hidden, width) = (self.spec.hidden, self.spec.width());
        let gate_of = |column: usize| gates[column % width / hidden];
        let scaled = |values: &[f32]| -> Vec<f32> {
            let columns = values.iter().enumerate();
            #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
            let gate = |column: usize| gate_of(column % self.columns) as f32;
            columns.map(|(column, value)| value * gate(column)).collect()
        };
        // Weights of gated features, [outputs, columns].
        let weights = match &self.form {
            Form::Columns { gram, right } => {
                let product = |vectors: &[f32]| {
                    let x = engine.from_f32(self.outputs, self.columns, scaled(vectors))?;
                    let y = engine.linear(&x, gram, None, Activation::Identity)?;
                    Ok::<_, Error>(scaled(&engine.read_f32(&y)?))
                };
                let mut matrix = engine.read_f32(&engine.parameter(gram)?)?;
                for (row, values) in matrix.chunks_exact_mut(self.columns).enumerate() {
                    #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
                    let own = gate_of(row) as f32;
                    let gated = scaled(values);
                    values.iter_mut().zip(gated).for_each(|(value, gated)| *value = own * gated);
                }
                conjugate_gradients(engine, product, matrix, &scaled(right), self.columns, penalty)?
            }
            Form::Units { rows, kernels } => {
                let mut kernel = vec![0.0_f32; self.units * self.units];
                for (own, gate) in kernels.iter().zip(&gates) {
                    #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
                    let factor = (gate * gate) as f32;
                    for (sum, value) in kernel.iter_mut().zip(own) {
                        *sum += factor * value;
                    }
                }
                let square = [self.units, self.units];
                let operator = engine.upload(Role::LinearWeight, &square, Values::F32(kernel.clone()))?;
                let product = |vectors: &[f32]| {
                    let x = engine.from_f32(self.outputs, self.units, vectors.to_vec())?;
                    Ok::<_, Error>(engine.read_f32(&engine.linear(&x, &operator, None, Activation::Identity)?)?)
                };
                let dual = conjugate_gradients(engine, product, kernel, &self.targets, self.units, penalty)?;
                let dual = engine.from_f32(self.outputs, self.units, dual)?;
                scaled(&engine.read_f32(&engine.matmul(&dual, rows, false)?)?)
            }
        };
        Ok(self.head(&weights, &gates))
    }

    /// Per source of the fusion its gate: 1 for hidden states.
    fn gates(&self, settings: &HeadSettings) -> Vec<f64> {
        let states = std::iter::repeat_n(1.0, 1 + self.spec.taps.len());
        states.chain((0..self.spec.stack.len()).map(|member| settings.gate_of(member))).collect()
    }

    /// The network with these weights, of gated features.
    fn head(&self, weights: &[f32], gates: &[f64]) -> TrainedHead {
        let (hidden, width) = (self.spec.hidden, self.spec.width());
        let mut parameters = self.parameters.clone();
        for (member, gate) in self.spec.stack.iter().map(Member::name).zip(&gates[1 + self.spec.taps.len()..]) {
            let own = [format!("fusion.{member}.weight"), format!("fusion.{member}.bias")];
            for (_, values) in parameters.iter_mut().filter(|(declared, _)| own.contains(&declared.name)) {
                #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
                values.iter_mut().for_each(|value| *value *= *gate as f32);
            }
        }
        for (declared, values) in &mut parameters {
            match declared.name.as_str() {
                "head.out.weight" => *values = weights.to_vec(),
                "head.out.bias" => {
                    let rows = weights.chunks_exact(self.columns).zip(&self.output_means);
                    let bias = rows.map(|(row, mean)| {
                        let means = row.iter().zip(&self.column_means).enumerate();
                        let shift: f64 = means
                            .map(|(column, (weight, mean))| f64::from(*weight) * gates[column % width / hidden] * mean)
                            .sum();
                        mean - shift
                    });
                    #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
                    bias.zip(values.iter_mut()).for_each(|(bias, value)| *value = bias as f32);
                }
                _ => {}
            }
        }
        TrainedHead { spec: self.spec.clone(), parameters, epochs: Vec::new(), best: 1, stop: Stop::Finished }
    }
}

/// Records in parts of about [`CHUNK`] units.
fn chunks<'v>(train: &'v View<'_>) -> impl Iterator<Item = &'v [usize]> {
    let mut rest = train.records.as_slice();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut units = 0;
        let fits = |record: &&usize| {
            units += train.set.units(**record).len();
            units <= CHUNK
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (own, others) = rest.split_at(count);
        rest = others;
        Some(own)
    })
}

/// Takes the mean row off every row.
fn centre_group(rows: &mut [f32], columns: usize) {
    let count = (rows.len() / columns).max(1) as f64;
    for column in 0..columns {
        let sum: f64 = rows.iter().skip(column).step_by(columns).map(|value| f64::from(*value)).sum();
        #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
        let mean = (sum / count) as f32;
        rows.iter_mut().skip(column).step_by(columns).for_each(|value| *value -= mean);
    }
}

fn transposed(rows: &[f32], columns: usize) -> Vec<f32> {
    let count = rows.len() / columns.max(1);
    let mut out = vec![0.0; rows.len()];
    for (place, row) in rows.chunks_exact(columns).enumerate() {
        for (column, value) in row.iter().enumerate() {
            out[column * count + place] = *value;
        }
    }
    out
}

/// Rows `start .. start + count` of a matrix with so many columns, transposed.
fn transposed_part(rows: &[f32], columns: usize, start: usize, count: usize) -> Vec<f32> {
    transposed(&rows[start * columns..(start + count) * columns], columns)
}

fn sum<E: HostEngine>(engine: &E, sum: Option<E::Tensor>, part: E::Tensor) -> Result<E::Tensor, Error> {
    Ok(match sum {
        Some(sum) => engine.add(&sum, &part)?,
        None => part,
    })
}

/// Solves `(A + penalty · I) x = b` for several right sides at once, `A [length, length]` symmetric and not negative, by conjugate
/// gradients (Hestenes and Stiefel 1952) from a Cholesky factor of the same matrix. `product` is that with `A`.
fn conjugate_gradients<E: HostEngine>(
    engine: &E,
    product: impl Fn(&[f32]) -> Result<Vec<f32>, Error>,
    mut matrix: Vec<f32>,
    right: &[f32],
    length: usize,
    penalty: f64,
) -> Result<Vec<f32>, Error> {
    #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
    let shift = penalty as f32;
    matrix.iter_mut().step_by(length + 1).for_each(|value| *value += shift);
    let factor = Cholesky::new(engine, matrix, length)?;
    let apply = |x: &[f32]| -> Result<Vec<f32>, Error> {
        let mut y = product(x)?;
        y.iter_mut().zip(x).for_each(|(y, x)| *y += shift * x);
        Ok(y)
    };
    let mut x = vec![0.0; right.len()];
    let mut residual = right.to_vec();
    let mut direction = vec![0.0; right.len()];
    let mut slopes = vec![0.0; right.len() / length.max(1)];
    let limits: Vec<f64> =
        dots(right, right, length).into_iter().map(|square| square * TOLERANCE * TOLERANCE).collect();
    for _ in 0..MAX_STEPS {
        let squares = dots(&residual, &residual, length);
        if squares.iter().zip(&limits).all(|(square, limit)| square <= limit) {
            break;
        }
        let towards = match &factor {
            Some(factor) => factor.solve(engine, &residual)?,
            None => residual.clone(),
        };
        for (place, (next, slope)) in dots(&residual, &towards, length).into_iter().zip(&mut slopes).enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
            let keep = if *slope > 0.0 { (next / *slope) as f32 } else { 0.0 };
            *slope = next;
            for at in place * length..(place + 1) * length {
                direction[at] = towards[at] + keep * direction[at];
            }
        }
        let image = apply(&direction)?;
        for (place, curvature) in dots(&direction, &image, length).into_iter().enumerate() {
            if squares[place] <= limits[place] || curvature <= 0.0 {
                continue;
            }
            #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
            let step = (slopes[place] / curvature) as f32;
            for at in place * length..(place + 1) * length {
                x[at] += step * direction[at];
                residual[at] -= step * image[at];
            }
        }
    }
    if dots(&residual, &residual, length).iter().zip(&limits).any(|(square, limit)| square > limit) {
        tracing::warn!(
            steps = MAX_STEPS,
            penalty,
            "a closed-form head is not exact: a higher `penalty` is solved more easily"
        );
    }
    Ok(x)
}

/// The products of vectors that lie one after another.
fn dots(a: &[f32], b: &[f32], length: usize) -> Vec<f64> {
    a.chunks_exact(length).zip(b.chunks_exact(length)).map(|(a, b)| dot(a, b)).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
