//! An engine of shapes: every op gives the right shape and computes nothing.
//!
//! It lets plugin code run over an adapter of any size in no time, before there are weights: what a plugin does to a process does
//! not depend on arithmetic, which is the host's. Whoever reads values gets small numbers that are the same each time.

use kadapter_plugin_api::random::Random;
use kadapter_plugin_api::{Activation, Engine, Result, Segments};

/// The engine. Tensors and parameters are their shapes.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Hollow;

type Shape = [usize; 2];

impl Engine for Hollow {
    type Tensor = Shape;
    type Param = Shape;

    fn shape(&self, tensor: &Shape) -> Shape {
        *tensor
    }

    fn from_f32(&self, rows: usize, columns: usize, _: Vec<f32>) -> Result<Shape> {
        Ok([rows, columns])
    }

    #[expect(clippy::cast_possible_truncation, reason = "any small number will do")]
    fn read_f32(&self, tensor: &Shape) -> Result<Vec<f32>> {
        let mut random = Random::new(0);
        Ok((0..tensor[0].saturating_mul(tensor[1])).map(|_| random.uniform() as f32).collect())
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<Shape> {
        Ok([rows, columns])
    }

    fn parameter(&self, param: &Shape) -> Result<Shape> {
        Ok(*param)
    }

    fn linear(&self, x: &Shape, weight: &Shape, _: Option<&Shape>, _: Activation) -> Result<Shape> {
        Ok([x[0], weight[0]])
    }

    fn matmul(&self, a: &Shape, b: &Shape, transposed: bool) -> Result<Shape> {
        Ok([a[0], if transposed { b[0] } else { b[1] }])
    }

    fn add(&self, a: &Shape, _: &Shape) -> Result<Shape> {
        Ok(*a)
    }

    fn mul(&self, a: &Shape, _: &Shape) -> Result<Shape> {
        Ok(*a)
    }

    fn scale(&self, x: &Shape, _: f32) -> Result<Shape> {
        Ok(*x)
    }

    fn activation(&self, x: &Shape, _: Activation) -> Result<Shape> {
        Ok(*x)
    }

    fn log(&self, x: &Shape) -> Result<Shape> {
        Ok(*x)
    }

    fn layer_norm(&self, x: &Shape, _: &Shape, _: &Shape, _: f32) -> Result<Shape> {
        Ok(*x)
    }

    fn add_layer_norm(&self, x: &Shape, _: &Shape, _: &Shape, _: &Shape, _: f32) -> Result<Shape> {
        Ok(*x)
    }

    fn attention(&self, q: &Shape, _: &Shape, _: &Shape, _: usize, _: &Segments) -> Result<Shape> {
        Ok(*q)
    }

    fn concat(&self, tensors: &[&Shape]) -> Result<Shape> {
        let rows = tensors.first().map_or(0, |tensor| tensor[0]);
        Ok([rows, tensors.iter().map(|tensor| tensor[1]).sum()])
    }

    fn narrow(&self, x: &Shape, _: usize, length: usize) -> Result<Shape> {
        Ok([x[0], length])
    }

    fn gather(&self, x: &Shape, rows: &[u32]) -> Result<Shape> {
        Ok([rows.len(), x[1]])
    }

    fn segment_mean(&self, x: &Shape, segments: &Segments) -> Result<Shape> {
        Ok([segments.count(), x[1]])
    }

    fn segment_matmul(&self, a: &Shape, _: &Shape, segments: &Segments) -> Result<Shape> {
        Ok([a[0], segments.longest()])
    }

    fn softmax(&self, x: &Shape) -> Result<Shape> {
        Ok(*x)
    }

    fn log_softmax(&self, x: &Shape) -> Result<Shape> {
        Ok(*x)
    }

    fn dropout(&self, x: &Shape, _: f32) -> Result<Shape> {
        Ok(*x)
    }

    fn embedding(&self, table: &Shape, rows: &[u32]) -> Result<Shape> {
        Ok([rows.len(), table[1]])
    }

    fn cross_entropy(&self, _: &Shape, _: &[i64]) -> Result<Shape> {
        Ok([1, 1])
    }

    fn bce_with_logits(&self, _: &Shape, _: &Shape) -> Result<Shape> {
        Ok([1, 1])
    }

    fn mse(&self, _: &Shape, _: &Shape) -> Result<Shape> {
        Ok([1, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kadapter_plugin_api::reference::{Matrix, Reference};
    use std::rc::Rc;

    /// The shapes are the reference engine's, for every op whose shape is not simply its first tensor's.
    #[test]
    fn shapes_are_those_of_the_reference() {
        let matrix = |shape: Shape| Matrix {
            rows: shape[0],
            columns: shape[1],
            values: Rc::new(vec![0.5; shape[0] * shape[1]]),
        };
        let segments = Segments::new([1, 4]).unwrap();
        let (x, square, wide) = ([5, 6], [6, 6], [3, 6]);
        let (m, n, w) = (matrix(x), matrix(square), matrix(wide));
        let pairs = [
            (Hollow.linear(&x, &wide, None, Activation::Relu), Reference.linear(&m, &w, None, Activation::Relu)),
            (Hollow.matmul(&x, &square, false), Reference.matmul(&m, &n, false)),
            (Hollow.matmul(&x, &wide, true), Reference.matmul(&m, &w, true)),
            (Hollow.concat(&[&x, &x]), Reference.concat(&[&m, &m])),
            (Hollow.narrow(&x, 1, 2), Reference.narrow(&m, 1, 2)),
            (Hollow.gather(&x, &[1, 1, 0]), Reference.gather(&m, &[1, 1, 0])),
            (Hollow.segment_mean(&x, &segments), Reference.segment_mean(&m, &segments)),
            (Hollow.segment_matmul(&x, &x, &segments), Reference.segment_matmul(&m, &m, &segments)),
            (Hollow.attention(&x, &x, &x, 2, &segments), Reference.attention(&m, &m, &m, 2, &segments)),
            (Hollow.embedding(&wide, &[2]), Reference.embedding(&w, &[2])),
            (Hollow.cross_entropy(&x, &[1; 5]), Reference.cross_entropy(&m, &[1; 5])),
            (Hollow.mse(&x, &x), Reference.mse(&m, &m)),
        ];
        for (index, (hollow, reference)) in pairs.into_iter().enumerate() {
            assert_eq!(hollow.unwrap(), Reference.shape(&reference.unwrap()), "pair {index}");
        }
    }
}
