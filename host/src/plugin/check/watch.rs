//! An engine around another that notes which parameters are read, can put another value in the place of one, counts ops, and can
//! make one of them fail.

use kadapter_plugin_api::{Activation, Engine, Error, Result, Segments};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// The engine. A parameter knows its place among the adapter's.
pub(super) struct Watched<E: Engine> {
    inner: E,
    read: RefCell<BTreeSet<usize>>,
    replaced: RefCell<Option<Numbered<E>>>,
    ops: Cell<usize>,
    failing: Cell<Option<usize>>,
}

/// A parameter and its place.
type Numbered<E> = (usize, <E as Engine>::Param);

/// What the op that was made to fail says.
pub(super) const MADE_TO_FAIL: &str = "this op was made to fail by the check";

impl<E: Engine> Watched<E> {
    pub(super) fn new(inner: E) -> Self {
        let (read, replaced) = (RefCell::default(), RefCell::new(None));
        Self { inner, read, replaced, ops: Cell::new(0), failing: Cell::new(None) }
    }

    /// Puts a value in the place of a parameter's, or puts all back.
    pub(super) fn replace(&self, param: Option<Numbered<E>>) {
        *self.replaced.borrow_mut() = param;
    }

    pub(super) fn inner(&self) -> &E {
        &self.inner
    }

    /// Starts to count anew; the op with this number, from 0, fails.
    pub(super) fn start(&self, failing: Option<usize>) {
        self.ops.set(0);
        self.failing.set(failing);
    }

    /// How many ops ran since the start.
    pub(super) fn ops(&self) -> usize {
        self.ops.get()
    }

    /// The places of the parameters that were read.
    pub(super) fn read(&self) -> BTreeSet<usize> {
        self.read.borrow().clone()
    }

    /// Hands the values of parameters to an op.
    fn with<T, const N: usize>(
        &self,
        params: [&Numbered<E>; N],
        compute: impl FnOnce(&E, [&E::Param; N]) -> Result<T>,
    ) -> Result<T> {
        let replaced = self.replaced.borrow();
        let values = params.map(|(index, own)| {
            self.read.borrow_mut().insert(*index);
            replaced.as_ref().filter(|(at, _)| at == index).map_or(own, |(_, other)| other)
        });
        self.op(|inner| compute(inner, values))
    }

    fn op<T>(&self, compute: impl FnOnce(&E) -> Result<T>) -> Result<T> {
        let number = self.ops.replace(self.ops.get() + 1);
        if self.failing.get() == Some(number) { Err(Error::device(MADE_TO_FAIL)) } else { compute(&self.inner) }
    }
}

impl<E: Engine> Engine for Watched<E> {
    type Tensor = E::Tensor;
    type Param = (usize, E::Param);

    fn shape(&self, tensor: &E::Tensor) -> [usize; 2] {
        self.inner.shape(tensor)
    }

    fn from_f32(&self, rows: usize, columns: usize, values: Vec<f32>) -> Result<E::Tensor> {
        self.op(|inner| inner.from_f32(rows, columns, values))
    }

    fn read_f32(&self, tensor: &E::Tensor) -> Result<Vec<f32>> {
        self.op(|inner| inner.read_f32(tensor))
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<E::Tensor> {
        self.op(|inner| inner.zeros(rows, columns))
    }

    fn parameter(&self, param: &Self::Param) -> Result<E::Tensor> {
        self.with([param], |inner, [param]| inner.parameter(param))
    }

    fn linear(
        &self,
        x: &E::Tensor,
        weight: &Self::Param,
        bias: Option<&Self::Param>,
        activation: Activation,
    ) -> Result<E::Tensor> {
        match bias {
            None => self.with([weight], |inner, [weight]| inner.linear(x, weight, None, activation)),
            Some(bias) => {
                self.with([weight, bias], |inner, [weight, bias]| inner.linear(x, weight, Some(bias), activation))
            }
        }
    }

    fn matmul(&self, a: &E::Tensor, b: &E::Tensor, transposed: bool) -> Result<E::Tensor> {
        self.op(|inner| inner.matmul(a, b, transposed))
    }

    fn add(&self, a: &E::Tensor, b: &E::Tensor) -> Result<E::Tensor> {
        self.op(|inner| inner.add(a, b))
    }

    fn mul(&self, a: &E::Tensor, b: &E::Tensor) -> Result<E::Tensor> {
        self.op(|inner| inner.mul(a, b))
    }

    fn scale(&self, x: &E::Tensor, factor: f32) -> Result<E::Tensor> {
        self.op(|inner| inner.scale(x, factor))
    }

    fn activation(&self, x: &E::Tensor, activation: Activation) -> Result<E::Tensor> {
        self.op(|inner| inner.activation(x, activation))
    }

    fn log(&self, x: &E::Tensor) -> Result<E::Tensor> {
        self.op(|inner| inner.log(x))
    }

    fn layer_norm(&self, x: &E::Tensor, weight: &Self::Param, bias: &Self::Param, epsilon: f32) -> Result<E::Tensor> {
        self.with([weight, bias], |inner, [weight, bias]| inner.layer_norm(x, weight, bias, epsilon))
    }

    fn add_layer_norm(
        &self,
        x: &E::Tensor,
        residual: &E::Tensor,
        weight: &Self::Param,
        bias: &Self::Param,
        epsilon: f32,
    ) -> Result<E::Tensor> {
        self.with([weight, bias], |inner, [weight, bias]| inner.add_layer_norm(x, residual, weight, bias, epsilon))
    }

    fn attention(
        &self,
        q: &E::Tensor,
        k: &E::Tensor,
        v: &E::Tensor,
        heads: usize,
        segments: &Segments,
    ) -> Result<E::Tensor> {
        self.op(|inner| inner.attention(q, k, v, heads, segments))
    }

    fn concat(&self, tensors: &[&E::Tensor]) -> Result<E::Tensor> {
        self.op(|inner| inner.concat(tensors))
    }

    fn narrow(&self, x: &E::Tensor, start: usize, length: usize) -> Result<E::Tensor> {
        self.op(|inner| inner.narrow(x, start, length))
    }

    fn gather(&self, x: &E::Tensor, rows: &[u32]) -> Result<E::Tensor> {
        self.op(|inner| inner.gather(x, rows))
    }

    fn segment_mean(&self, x: &E::Tensor, segments: &Segments) -> Result<E::Tensor> {
        self.op(|inner| inner.segment_mean(x, segments))
    }

    fn segment_matmul(&self, a: &E::Tensor, b: &E::Tensor, segments: &Segments) -> Result<E::Tensor> {
        self.op(|inner| inner.segment_matmul(a, b, segments))
    }

    fn softmax(&self, x: &E::Tensor) -> Result<E::Tensor> {
        self.op(|inner| inner.softmax(x))
    }

    fn log_softmax(&self, x: &E::Tensor) -> Result<E::Tensor> {
        self.op(|inner| inner.log_softmax(x))
    }

    fn dropout(&self, x: &E::Tensor, probability: f32) -> Result<E::Tensor> {
        self.op(|inner| inner.dropout(x, probability))
    }

    fn embedding(&self, table: &Self::Param, rows: &[u32]) -> Result<E::Tensor> {
        self.with([table], |inner, [table]| inner.embedding(table, rows))
    }

    fn cross_entropy(&self, logits: &E::Tensor, targets: &[i64]) -> Result<E::Tensor> {
        self.op(|inner| inner.cross_entropy(logits, targets))
    }

    fn bce_with_logits(&self, logits: &E::Tensor, targets: &E::Tensor) -> Result<E::Tensor> {
        self.op(|inner| inner.bce_with_logits(logits, targets))
    }

    fn mse(&self, a: &E::Tensor, b: &E::Tensor) -> Result<E::Tensor> {
        self.op(|inner| inner.mse(a, b))
    }
}
