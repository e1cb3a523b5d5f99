//! The ops as authors call them, and the tensors they pass around.

use crate::abi::{OpResult, Ops, TensorId, TensorRef};
use crate::{Activation, Error, Param, Result};
use abi_stable::std_types::{ROption, RResult, RSlice, RVec};
use std::cell::RefCell;
use std::rc::Rc;

/// A tensor `[rows, columns]` that the host holds. Cloning is free; dropping the last clone lets the host reuse its memory.
#[derive(Clone, Debug)]
pub struct Tensor(Rc<Handle>);

#[derive(Debug)]
struct Handle {
    at: TensorRef,
    dropped: Option<Dropped>,
}

type Dropped = Rc<RefCell<Vec<TensorId>>>;

impl Tensor {
    /// Rows; one per token of the batch unless the op that made it says otherwise.
    pub fn rows(&self) -> usize {
        usize::try_from(self.0.at.rows).unwrap_or(usize::MAX)
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        usize::try_from(self.0.at.columns).unwrap_or(usize::MAX)
    }

    pub(crate) fn id(&self) -> TensorId {
        self.0.at.id
    }

    /// A tensor that the host lent: it stays with the host.
    pub(crate) fn lent(at: TensorRef) -> Self {
        Self(Rc::new(Handle { at, dropped: None }))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(dropped) = &self.dropped {
            dropped.borrow_mut().push(self.at.id);
        }
    }
}

/// The ops of the host for one batch.
///
/// Every op names in its error what it expected and what it got, so `?` is enough. Shapes are stated as `[rows, columns]`; the
/// meaning of each op is exact in [`crate::Engine`].
pub struct Context<'a> {
    ops: Ops<'a>,
    dropped: Dropped,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(ops: Ops<'a>) -> Self {
        Self { ops, dropped: Dropped::default() }
    }

    fn keep(&self, result: OpResult) -> Result<Tensor> {
        let dropped: Vec<_> = self.dropped.take();
        if !dropped.is_empty() {
            self.ops.release(RSlice::from_slice(&dropped));
        }
        match result {
            RResult::ROk(at) => Ok(Tensor(Rc::new(Handle { at, dropped: Some(Rc::clone(&self.dropped)) }))),
            RResult::RErr(error) => Err(error),
        }
    }

    /// All zeros, `[rows, columns]`.
    ///
    /// # Errors
    /// When a dimension is zero or the host has no memory left; every op below fails likewise on shapes that do not fit.
    pub fn zeros(&self, rows: usize, columns: usize) -> Result<Tensor> {
        self.keep(self.ops.zeros(rows as u64, columns as u64))
    }

    /// All zeros, in the shape of another tensor.
    pub fn zeros_like(&self, x: &Tensor) -> Result<Tensor> {
        self.zeros(x.rows(), x.columns())
    }

    /// A tensor from row-major values. A slow door: values cross from plugin to device.
    pub fn from_f32(&self, rows: usize, columns: usize, values: &[f32]) -> Result<Tensor> {
        self.keep(self.ops.from_f32(rows as u64, columns as u64, RVec::from(values)))
    }

    /// The row-major values of a tensor. A slow door: it waits for the device.
    pub fn read_f32(&self, x: &Tensor) -> Result<Vec<f32>> {
        self.ops.read_f32(x.id()).into_result().map(RVec::into_vec)
    }

    /// A parameter as a tensor; a vector of length `n` is `[1, n]`.
    pub fn parameter(&self, param: &Param) -> Result<Tensor> {
        self.keep(self.ops.parameter(param.id))
    }

    /// `activation(x · weightᵀ + bias)`: `[r, inputs]` to `[r, outputs]`. [`crate::Linear`] is the usual way.
    pub fn linear(&self, x: &Tensor, weight: &Param, bias: Option<&Param>, activation: Activation) -> Result<Tensor> {
        let bias: ROption<_> = bias.map(|bias| bias.id).into();
        self.keep(self.ops.linear(x.id(), weight.id, bias, activation as u8))
    }

    /// `a · b`: `[r, i]` by `[i, o]`.
    pub fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.matmul(a.id(), b.id(), false))
    }

    /// `a · bᵀ`: `[r, i]` by `[o, i]`.
    pub fn matmul_transposed(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.matmul(a.id(), b.id(), true))
    }

    /// The element-wise sum; `b` may be one row, added to each of `a`.
    pub fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.add(a.id(), b.id()))
    }

    /// The element-wise product; `b` may be one row, multiplied with each of `a`.
    pub fn mul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.mul(a.id(), b.id()))
    }

    /// Every element times `factor`.
    pub fn scale(&self, x: &Tensor, factor: f32) -> Result<Tensor> {
        self.keep(self.ops.scale(x.id(), factor))
    }

    /// An activation, element by element.
    pub fn activation(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.keep(self.ops.activation(x.id(), activation as u8))
    }

    /// The exact GELU, `x/2 · (1 + erf(x/√2))`.
    pub fn gelu(&self, x: &Tensor) -> Result<Tensor> {
        self.activation(x, Activation::GeluErf)
    }

    /// The natural logarithm, element by element.
    pub fn log(&self, x: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.log(x.id()))
    }

    /// Layer normalisation over columns. [`crate::LayerNorm`] is the usual way.
    pub fn layer_norm(&self, x: &Tensor, weight: &Param, bias: &Param, epsilon: f32) -> Result<Tensor> {
        self.keep(self.ops.layer_norm(x.id(), weight.id, bias.id, epsilon))
    }

    /// Layer normalisation of `x + residual`, in one go.
    pub fn add_layer_norm(
        &self,
        x: &Tensor,
        residual: &Tensor,
        weight: &Param,
        bias: &Param,
        epsilon: f32,
    ) -> Result<Tensor> {
        self.keep(self.ops.add_layer_norm(x.id(), residual.id(), weight.id, bias.id, epsilon))
    }

    /// Multi-head attention of each segment with itself; all `[rows, c]`, `heads` divides `c`.
    pub fn attention(&self, q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
        self.keep(self.ops.attention(q.id(), k.id(), v.id(), heads as u64))
    }

    /// Columns side by side.
    pub fn concat(&self, tensors: &[&Tensor]) -> Result<Tensor> {
        let ids: Vec<_> = tensors.iter().map(|tensor| tensor.id()).collect();
        self.keep(self.ops.concat(RSlice::from_slice(&ids)))
    }

    /// Columns `start .. start + length`.
    pub fn narrow(&self, x: &Tensor, start: usize, length: usize) -> Result<Tensor> {
        self.keep(self.ops.narrow(x.id(), start as u64, length as u64))
    }

    /// The named rows, in the named order.
    pub fn gather(&self, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
        self.keep(self.ops.gather(x.id(), RSlice::from_slice(rows)))
    }

    /// How many rows each segment of the batch has.
    pub fn segment_lengths(&self) -> Vec<usize> {
        self.ops.segment_lengths().iter().map(|&length| usize::try_from(length).unwrap_or(usize::MAX)).collect()
    }

    /// The mean of each segment's rows, `[segments, c]`.
    pub fn segment_mean(&self, x: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.segment_mean(x.id()))
    }

    /// Scores between the rows of one segment, `[rows, longest segment]`; [`crate::NO_PARTNER`] behind shorter ones.
    pub fn segment_matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.segment_matmul(a.id(), b.id()))
    }

    /// Softmax over columns.
    pub fn softmax(&self, x: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.softmax(x.id()))
    }

    /// Logarithm of the softmax over columns.
    pub fn log_softmax(&self, x: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.log_softmax(x.id()))
    }

    /// Dropout in training, the tensor itself in inference.
    pub fn dropout(&self, x: &Tensor, probability: f32) -> Result<Tensor> {
        self.keep(self.ops.dropout(x.id(), probability))
    }

    /// Rows of a table parameter.
    pub fn embedding(&self, table: &Param, rows: &[u32]) -> Result<Tensor> {
        self.keep(self.ops.embedding(table.id, RSlice::from_slice(rows)))
    }

    /// Mean cross-entropy `[1, 1]` against one class per row; a negative target is ignored.
    pub fn cross_entropy(&self, logits: &Tensor, targets: &[i64]) -> Result<Tensor> {
        self.keep(self.ops.cross_entropy(logits.id(), RSlice::from_slice(targets)))
    }

    /// Mean binary cross-entropy with logits `[1, 1]`.
    pub fn bce_with_logits(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.bce_with_logits(logits.id(), targets.id()))
    }

    /// Mean squared error `[1, 1]`.
    pub fn mse(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.keep(self.ops.mse(a.id(), b.id()))
    }

    /// Checks what `forward` is about to hand over.
    pub(crate) fn hand_over(&self, features: &Tensor, rows: u64, columns: u64) -> Result<TensorId> {
        let at = features.0.at;
        if (at.rows, at.columns) != (rows, columns) {
            return Err(Error::shape(format!(
                "the adapter gave [{}, {}], expected [{rows}, {columns}]: one feature row of the hidden size per token",
                at.rows, at.columns
            )));
        }
        Ok(at.id)
    }
}
