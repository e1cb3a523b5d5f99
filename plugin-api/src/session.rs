//! One forward of one adapter, or one loss of one objective: ids to tensors, every shape checked, host panics kept from crossing the boundary.

use crate::abi::{Inputs, InstanceBox, OpResult, OpTable, Ops, TensorId, TensorRef, TextTable, Texts, TrainerBox};
use crate::{Activation, Batch, Encoded, Engine, Entry, Error, Metric, ParamId, Result, Segments};
use abi_stable::sabi_types::RRef;
use abi_stable::std_types::{ROption, RResult, RSlice, RVec};
use abi_stable::type_level::downcasting::TD_Opaque;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most elements one tensor may have: a plugin's mistake must not take the machine down.
pub const MAX_ELEMENTS: usize = 1 << 31;

/// The values of an adapter's parameters on a device, in the order of its declarations.
#[derive(Debug)]
pub struct Parameters<P> {
    shapes: Vec<Vec<usize>>,
    values: Vec<P>,
}

impl<P> Default for Parameters<P> {
    fn default() -> Self {
        Self { shapes: Vec::new(), values: Vec::new() }
    }
}

impl<P> Parameters<P> {
    /// Adds the next parameter: its shape (one or two dimensions) and its value.
    pub fn push(&mut self, shape: Vec<usize>, value: P) {
        self.shapes.push(shape);
        self.values.push(value);
    }

    /// The value of one parameter, in the order of the declarations.
    pub fn get(&self, index: usize) -> Option<&P> {
        self.values.get(index)
    }

    fn find(&self, param: ParamId) -> Result<(&[usize], &P)> {
        let index = param.0 as usize;
        match (self.shapes.get(index), self.values.get(index)) {
            (Some(shape), Some(value)) => Ok((shape, value)),
            _ => Err(Error::shape(format!(
                "parameter {index} was never declared, expected one of {}",
                self.values.len()
            ))),
        }
    }

    fn matrix(&self, param: ParamId) -> Result<([usize; 2], &P)> {
        match self.find(param)? {
            (&[rows, columns], value) => Ok(([rows, columns], value)),
            (shape, _) => Err(Error::shape(format!("the parameter has shape {shape:?}, expected [rows, columns]"))),
        }
    }

    fn vector(&self, param: ParamId, length: usize) -> Result<&P> {
        match self.find(param)? {
            (&[found], value) if found == length => Ok(value),
            (shape, _) => Err(Error::shape(format!("the parameter has shape {shape:?}, expected [{length}]"))),
        }
    }
}

/// Runs an adapter over one batch: taps in, feature rows `[rows, hidden size]` out.
///
/// # Errors
/// What the adapter or an op says; a panic of the adapter as [`crate::ErrorKind::Panic`].
pub fn run<E: Engine>(
    instance: &InstanceBox,
    engine: &E,
    parameters: &Parameters<E::Param>,
    segments: &Segments,
    taps: &[E::Tensor],
) -> Result<E::Tensor> {
    let session = Session {
        engine,
        parameters,
        segments,
        slots: RefCell::new(taps.iter().cloned().map(Some).collect()),
        lent: taps.len(),
    };
    let lent: Vec<_> = (0_u64..).zip(taps).map(|(id, tap)| refer(engine, TensorId(id), tap)).collect();
    let ops = Ops::from_ptr(RRef::new(&session), TD_Opaque);
    let features = instance.forward(ops, RSlice::from_slice(&lent)).into_result()?;
    session.get(features)
}

/// Turns a record into an example with a host's tokenizer, or says why it is left out.
///
/// # Errors
/// What the objective says, its panic, or an example that names a token it does not have.
pub fn encode(objective: &TrainerBox, tokenizer: &impl TextTable, record: &[Entry]) -> Result<Encoded> {
    let text = Texts::from_ptr(RRef::new(tokenizer), TD_Opaque);
    objective.encode(RSlice::from_slice(record), text).into_result().map(Into::into)
}

/// What summed tallies say.
///
/// # Errors
/// What the objective says, or its panic.
pub fn metrics(objective: &TrainerBox, tally: &[f64]) -> Result<Vec<Metric>> {
    objective.metrics(RSlice::from_slice(tally)).into_result().map(RVec::into_vec)
}

/// The loss of an objective over one batch: `[1, 1]`, and over how many it is the mean. `last` and `features` are
/// `[rows, hidden size]`.
///
/// # Errors
/// What the objective or an op says; a panic of the objective as [`crate::ErrorKind::Panic`].
pub fn loss<E: Engine>(
    objective: &TrainerBox,
    engine: &E,
    parameters: &Parameters<E::Param>,
    batch: Judged<'_, E::Tensor>,
) -> Result<(E::Tensor, f64)> {
    let (session, inputs) = batch.session(engine, parameters);
    let ops = Ops::from_ptr(RRef::new(&session), TD_Opaque);
    let loss = objective.loss(ops, batch.batch, inputs).into_result()?;
    Ok((session.get(loss.value)?, loss.weight))
}

/// The tally of an objective over one batch.
///
/// # Errors
/// As [`loss`].
pub fn tally<E: Engine>(
    objective: &TrainerBox,
    engine: &E,
    parameters: &Parameters<E::Param>,
    batch: Judged<'_, E::Tensor>,
) -> Result<Vec<f64>> {
    let (session, inputs) = batch.session(engine, parameters);
    let ops = Ops::from_ptr(RRef::new(&session), TD_Opaque);
    objective.tally(ops, batch.batch, inputs).into_result().map(RVec::into_vec)
}

/// A batch with what an objective reads of it.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a, T> {
    /// The examples.
    pub batch: &'a Batch,
    /// Their segments.
    pub segments: &'a Segments,
    /// The backbone's last hidden state, `[rows, hidden size]`.
    pub last: &'a T,
    /// The adapter's feature rows, `[rows, hidden size]`.
    pub features: &'a T,
}

impl<'a, T: Clone> Judged<'a, T> {
    fn session<E: Engine<Tensor = T>>(
        &self,
        engine: &'a E,
        parameters: &'a Parameters<E::Param>,
    ) -> (Session<'a, E>, Inputs) {
        let slots = vec![Some(self.last.clone()), Some(self.features.clone())];
        let session = Session { engine, parameters, segments: self.segments, slots: RefCell::new(slots), lent: 2 };
        let (last, features) = (refer(engine, TensorId(0), self.last), refer(engine, TensorId(1), self.features));
        (session, Inputs { last, features })
    }
}

fn refer<E: Engine>(engine: &E, id: TensorId, tensor: &E::Tensor) -> TensorRef {
    let [rows, columns] = engine.shape(tensor);
    TensorRef { id, rows: rows as u64, columns: columns as u64 }
}

struct Session<'a, E: Engine> {
    engine: &'a E,
    parameters: &'a Parameters<E::Param>,
    segments: &'a Segments,
    slots: RefCell<Vec<Option<E::Tensor>>>,
    lent: usize,
}

impl<E: Engine> Session<'_, E> {
    fn get(&self, id: TensorId) -> Result<E::Tensor> {
        usize::try_from(id.0).ok().and_then(|index| self.slots.borrow().get(index).cloned().flatten()).ok_or_else(
            || {
                Error::shape(format!(
                    "tensor {} is not there, expected one that was made in this forward and not released",
                    id.0
                ))
            },
        )
    }

    /// A tensor with one row per token of the batch.
    fn get_rows(&self, id: TensorId) -> Result<E::Tensor> {
        let tensor = self.get(id)?;
        let [rows, columns] = self.engine.shape(&tensor);
        if rows == self.segments.rows() {
            Ok(tensor)
        } else {
            Err(Error::shape(format!(
                "the tensor is [{rows}, {columns}], expected {} rows, one per token",
                self.segments.rows()
            )))
        }
    }

    fn get_pair(&self, a: TensorId, b: TensorId) -> Result<(E::Tensor, E::Tensor)> {
        Ok((self.get(a)?, self.get(b)?))
    }

    fn same_shape(&self, a: TensorId, b: TensorId) -> Result<(E::Tensor, E::Tensor)> {
        let (a, b) = self.get_pair(a, b)?;
        let (left, right) = (self.engine.shape(&a), self.engine.shape(&b));
        if left == right {
            Ok((a, b))
        } else {
            Err(Error::shape(format!("the tensors are {left:?} and {right:?}, expected equal shapes")))
        }
    }

    fn row_or_same(&self, a: TensorId, b: TensorId) -> Result<(E::Tensor, E::Tensor)> {
        let (a, b) = self.get_pair(a, b)?;
        let (left, right) = (self.engine.shape(&a), self.engine.shape(&b));
        if left == right || right == [1, left[1]] {
            Ok((a, b))
        } else {
            Err(Error::shape(format!(
                "the tensors are {left:?} and {right:?}, expected equal shapes or one row [1, {}]",
                left[1]
            )))
        }
    }

    fn known(activation: u8) -> Result<Activation> {
        Activation::from_code(activation)
            .ok_or_else(|| Error::new(format!("activation {activation} is not known to this host, expected 0 to 6")))
    }

    fn is_probability(probability: f32) -> Result<()> {
        if (0.0..1.0).contains(&probability) {
            Ok(())
        } else {
            Err(Error::shape(format!("probability {probability}, expected at least 0 and below 1")))
        }
    }

    /// Query, key and value of equal shape, and heads that divide their columns.
    fn attended(&self, q: TensorId, k: TensorId, v: TensorId, heads: u64) -> Result<([E::Tensor; 3], usize)> {
        let tensors = [self.get_rows(q)?, self.get_rows(k)?, self.get_rows(v)?];
        let shapes = tensors.each_ref().map(|tensor| self.engine.shape(tensor));
        if shapes.iter().any(|shape| *shape != shapes[0]) {
            return Err(Error::shape(format!("query, key and value are {shapes:?}, expected equal shapes")));
        }
        let columns = shapes[0][1];
        match usize::try_from(heads) {
            Ok(heads) if heads > 0 && columns % heads == 0 => Ok((tensors, heads)),
            _ => Err(Error::shape(format!("{heads} heads for {columns} columns, expected a number that divides them"))),
        }
    }

    fn in_range(rows: &[u32], count: usize) -> Result<()> {
        match rows.iter().find(|&&row| row as usize >= count) {
            _ if rows.is_empty() => Err(Error::shape("no rows are named, expected at least one")),
            Some(row) => Err(Error::shape(format!("row {row} is named, expected rows below {count}"))),
            None => Ok(()),
        }
    }

    fn sized(rows: u64, columns: u64) -> Result<[usize; 2]> {
        let sizes = (usize::try_from(rows), usize::try_from(columns));
        match sizes {
            (Ok(rows), Ok(columns))
                if rows > 0 && columns > 0 && rows.checked_mul(columns).is_some_and(|size| size <= MAX_ELEMENTS) =>
            {
                Ok([rows, columns])
            }
            _ => Err(Error::shape(format!(
                "a tensor [{rows}, {columns}] was asked for, expected 1 to {MAX_ELEMENTS} elements"
            ))),
        }
    }

    /// Runs an op, keeps its result, and turns a panic of the host into an error instead of a crash at the boundary.
    fn op(&self, name: &str, compute: impl FnOnce() -> Result<E::Tensor>) -> OpResult {
        let result = guard(name, || {
            let tensor = compute()?;
            let mut slots = self.slots.borrow_mut();
            let at = refer(self.engine, TensorId(slots.len() as u64), &tensor);
            slots.push(Some(tensor));
            Ok(at)
        });
        result
            .map_err(|error| match error.kind() {
                crate::ErrorKind::Shape => Error::shape(format!("`{name}`: {error}")),
                _ => error,
            })
            .into()
    }
}

fn guard<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::device(format!("the host failed inside `{name}`; its log has more"))))
}

impl<E: Engine> OpTable for Session<'_, E> {
    fn zeros(&self, rows: u64, columns: u64) -> OpResult {
        self.op("zeros", || {
            let [rows, columns] = Self::sized(rows, columns)?;
            self.engine.zeros(rows, columns)
        })
    }

    fn from_f32(&self, rows: u64, columns: u64, values: RVec<f32>) -> OpResult {
        self.op("from_f32", || {
            let [rows, columns] = Self::sized(rows, columns)?;
            if values.len() != rows * columns {
                return Err(Error::shape(format!(
                    "{} values, expected {} for [{rows}, {columns}]",
                    values.len(),
                    rows * columns
                )));
            }
            self.engine.from_f32(rows, columns, values.into_vec())
        })
    }

    fn read_f32(&self, x: TensorId) -> RResult<RVec<f32>, Error> {
        guard("read_f32", || self.engine.read_f32(&self.get(x)?)).map(RVec::from).into()
    }

    fn parameter(&self, param: ParamId) -> OpResult {
        self.op("parameter", || self.engine.parameter(self.parameters.find(param)?.1))
    }

    fn linear(&self, x: TensorId, weight: ParamId, bias: ROption<ParamId>, activation: u8) -> OpResult {
        self.op("linear", || {
            let x = self.get(x)?;
            let ([outputs, inputs], weight) = self.parameters.matrix(weight)?;
            let [rows, columns] = self.engine.shape(&x);
            if columns != inputs {
                return Err(Error::shape(format!(
                    "the input is [{rows}, {columns}], expected [{rows}, {inputs}] for a weight [{outputs}, {inputs}]"
                )));
            }
            let bias = bias.into_option().map(|bias| self.parameters.vector(bias, outputs)).transpose()?;
            self.engine.linear(&x, weight, bias, Self::known(activation)?)
        })
    }

    fn matmul(&self, a: TensorId, b: TensorId, transposed: bool) -> OpResult {
        self.op("matmul", || {
            let (a, b) = self.get_pair(a, b)?;
            let (left, right) = (self.engine.shape(&a), self.engine.shape(&b));
            let inner = if transposed { right[1] } else { right[0] };
            if left[1] != inner {
                return Err(Error::shape(format!(
                    "the inner dimensions of {left:?} and {right:?} are {} and {inner}, expected equal ones",
                    left[1]
                )));
            }
            self.engine.matmul(&a, &b, transposed)
        })
    }

    fn add(&self, a: TensorId, b: TensorId) -> OpResult {
        self.op("add", || self.row_or_same(a, b).and_then(|(a, b)| self.engine.add(&a, &b)))
    }

    fn mul(&self, a: TensorId, b: TensorId) -> OpResult {
        self.op("mul", || self.row_or_same(a, b).and_then(|(a, b)| self.engine.mul(&a, &b)))
    }

    fn scale(&self, x: TensorId, factor: f32) -> OpResult {
        self.op("scale", || self.engine.scale(&self.get(x)?, factor))
    }

    fn activation(&self, x: TensorId, activation: u8) -> OpResult {
        self.op("activation", || self.engine.activation(&self.get(x)?, Self::known(activation)?))
    }

    fn log(&self, x: TensorId) -> OpResult {
        self.op("log", || self.engine.log(&self.get(x)?))
    }

    fn layer_norm(&self, x: TensorId, weight: ParamId, bias: ParamId, epsilon: f32) -> OpResult {
        self.op("layer_norm", || {
            let x = self.get(x)?;
            let columns = self.engine.shape(&x)[1];
            let (weight, bias) = (self.parameters.vector(weight, columns)?, self.parameters.vector(bias, columns)?);
            self.engine.layer_norm(&x, weight, bias, epsilon)
        })
    }

    fn add_layer_norm(
        &self,
        x: TensorId,
        residual: TensorId,
        weight: ParamId,
        bias: ParamId,
        epsilon: f32,
    ) -> OpResult {
        self.op("add_layer_norm", || {
            let (x, residual) = self.same_shape(x, residual)?;
            let columns = self.engine.shape(&x)[1];
            let (weight, bias) = (self.parameters.vector(weight, columns)?, self.parameters.vector(bias, columns)?);
            self.engine.add_layer_norm(&x, &residual, weight, bias, epsilon)
        })
    }

    fn attention(&self, q: TensorId, k: TensorId, v: TensorId, heads: u64) -> OpResult {
        self.op("attention", || {
            let ([q, k, v], heads) = self.attended(q, k, v, heads)?;
            self.engine.attention(&q, &k, &v, heads, self.segments)
        })
    }

    fn attention_dropout(&self, q: TensorId, k: TensorId, v: TensorId, heads: u64, probability: f32) -> OpResult {
        self.op("attention_dropout", || {
            let ([q, k, v], heads) = self.attended(q, k, v, heads)?;
            Self::is_probability(probability)?;
            self.engine.attention_dropout(&q, &k, &v, heads, probability, self.segments)
        })
    }

    fn concat(&self, tensors: RSlice<'_, TensorId>) -> OpResult {
        self.op("concat", || {
            let tensors = tensors.iter().map(|&id| self.get(id)).collect::<Result<Vec<_>>>()?;
            let shapes: Vec<_> = tensors.iter().map(|tensor| self.engine.shape(tensor)).collect();
            match shapes.first() {
                None => Err(Error::shape("no tensors are given, expected at least one")),
                Some(first) if shapes.iter().all(|shape| shape[0] == first[0]) => {
                    Self::sized(first[0] as u64, shapes.iter().map(|shape| shape[1] as u64).sum())?;
                    self.engine.concat(&tensors.iter().collect::<Vec<_>>())
                }
                Some(_) => Err(Error::shape(format!("the tensors are {shapes:?}, expected equal rows"))),
            }
        })
    }

    fn narrow(&self, x: TensorId, start: u64, length: u64) -> OpResult {
        self.op("narrow", || {
            let x = self.get(x)?;
            let columns = self.engine.shape(&x)[1];
            match (usize::try_from(start), usize::try_from(length)) {
                (Ok(start), Ok(length))
                    if length > 0 && start.checked_add(length).is_some_and(|end| end <= columns) =>
                {
                    self.engine.narrow(&x, start, length)
                }
                _ => Err(Error::shape(format!(
                    "{length} columns from {start} on were asked for, expected a range within {columns}"
                ))),
            }
        })
    }

    fn gather(&self, x: TensorId, rows: RSlice<'_, u32>) -> OpResult {
        self.op("gather", || {
            let x = self.get(x)?;
            let [count, columns] = self.engine.shape(&x);
            Self::in_range(&rows, count)?;
            Self::sized(rows.len() as u64, columns as u64)?;
            self.engine.gather(&x, &rows)
        })
    }

    fn segment_lengths(&self) -> RVec<u64> {
        self.segments.ranges().map(|range| range.len() as u64).collect()
    }

    fn segment_mean(&self, x: TensorId) -> OpResult {
        self.op("segment_mean", || self.engine.segment_mean(&self.get_rows(x)?, self.segments))
    }

    fn segment_matmul(&self, a: TensorId, b: TensorId) -> OpResult {
        self.op("segment_matmul", || {
            let (left, right) = (self.get_rows(a)?, self.get_rows(b)?);
            let shapes = (self.engine.shape(&left), self.engine.shape(&right));
            if shapes.0 != shapes.1 {
                return Err(Error::shape(format!(
                    "the tensors are {:?} and {:?}, expected equal shapes",
                    shapes.0, shapes.1
                )));
            }
            Self::sized(self.segments.rows() as u64, self.segments.longest() as u64)?;
            self.engine.segment_matmul(&left, &right, self.segments)
        })
    }

    fn softmax(&self, x: TensorId) -> OpResult {
        self.op("softmax", || self.engine.softmax(&self.get(x)?))
    }

    fn log_softmax(&self, x: TensorId) -> OpResult {
        self.op("log_softmax", || self.engine.log_softmax(&self.get(x)?))
    }

    fn dropout(&self, x: TensorId, probability: f32) -> OpResult {
        self.op("dropout", || {
            Self::is_probability(probability)?;
            self.engine.dropout(&self.get(x)?, probability)
        })
    }

    fn embedding(&self, table: ParamId, rows: RSlice<'_, u32>) -> OpResult {
        self.op("embedding", || {
            let ([count, columns], table) = self.parameters.matrix(table)?;
            Self::in_range(&rows, count)?;
            Self::sized(rows.len() as u64, columns as u64)?;
            self.engine.embedding(table, &rows)
        })
    }

    fn cross_entropy(&self, logits: TensorId, targets: RSlice<'_, i64>) -> OpResult {
        self.op("cross_entropy", || {
            let logits = self.get(logits)?;
            let [rows, classes] = self.engine.shape(&logits);
            let bad = targets.iter().find(|&&target| usize::try_from(target).is_ok_and(|target| target >= classes));
            if targets.len() != rows {
                return Err(Error::shape(format!("{} targets, expected one for each of {rows} rows", targets.len())));
            } else if let Some(bad) = bad {
                return Err(Error::shape(format!(
                    "target {bad}, expected a class below {classes} or a negative number to ignore"
                )));
            } else if targets.iter().all(|&target| target < 0) {
                return Err(Error::shape("every target is negative, expected at least one that counts"));
            }
            self.engine.cross_entropy(&logits, &targets)
        })
    }

    fn bce_with_logits(&self, logits: TensorId, targets: TensorId) -> OpResult {
        self.op("bce_with_logits", || {
            self.same_shape(logits, targets)
                .and_then(|(logits, targets)| self.engine.bce_with_logits(&logits, &targets))
        })
    }

    fn mse(&self, a: TensorId, b: TensorId) -> OpResult {
        self.op("mse", || self.same_shape(a, b).and_then(|(a, b)| self.engine.mse(&a, &b)))
    }

    fn release(&self, tensors: RSlice<'_, TensorId>) {
        let mut slots = self.slots.borrow_mut();
        for id in tensors {
            match usize::try_from(id.0) {
                Ok(index) if index >= self.lent && index < slots.len() => slots[index] = None,
                _ => {}
            }
        }
    }
}
