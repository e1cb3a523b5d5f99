//! The optimiser's arithmetic: norms in float64, AdamW in place.

use crate::tensor::cpu::{
    CpuEngine, CpuTensor,
    kernel::{Rows, TileMut, Tiles, Vectorised},
};
use crate::tensor::derivatives::AdamWUpdate;
use kadapter_plugin_api::{Error, Result};
use std::sync::{Mutex, PoisonError};

/// Rows whose squares are summed together: in order within, pieces in order after, whatever the number of threads.
const CHUNK: usize = 64;

impl CpuEngine {
    /// The sum of all squares, in float64, tensor by tensor and row by row.
    pub(super) fn squares(&self, tensors: &[&CpuTensor]) -> f64 {
        let pieces: Vec<Rows<'_>> = tensors
            .iter()
            .flat_map(|tensor| {
                let view = tensor.view();
                (0..view.rows())
                    .step_by(CHUNK)
                    .map(move |start| view.part(start, CHUNK.min(view.rows() - start), 0, view.columns()))
            })
            .collect();
        let sums: Vec<Mutex<f64>> = pieces.iter().map(|_| Mutex::new(0.0)).collect();
        let cost = pieces.iter().map(|piece| piece.rows() * piece.columns()).sum();
        self.run(pieces.len(), cost, |_, piece| {
            let sum = self.isa().vectorise(Squares { x: pieces[piece] });
            *sums[piece].lock().unwrap_or_else(PoisonError::into_inner) = sum;
        });
        sums.into_iter().map(|sum| sum.into_inner().unwrap_or_else(PoisonError::into_inner)).sum()
    }

    pub(super) fn adamw_update(
        &self,
        mut tensors: [&mut CpuTensor; 3],
        gradient: &CpuTensor,
        update: &AdamWUpdate,
    ) -> Result<()> {
        let [rows, columns] = gradient.shape();
        for tensor in &mut tensors {
            if tensor.shape() != [rows, columns] {
                return Err(Error::shape(format!(
                    "an update of {:?} with a gradient of {:?}, expected equal shapes",
                    tensor.shape(),
                    [rows, columns]
                )));
            }
            self.make_unique(tensor)?;
        }
        if columns == 0 {
            return Ok(());
        }
        let bounds = self.even_blocks(rows, columns);
        let gradient = gradient.view();
        let [value, first, second] = tensors;
        let (Some(value), Some(first), Some(second)) = (value.parts_mut(), first.parts_mut(), second.parts_mut())
        else {
            return Err(Error::device("a parameter is held by somebody else"));
        };
        let [value, first, second] =
            [value, first, second].map(|(data, stride)| Tiles::new(data, stride, columns, &bounds, columns));
        self.run(value.row_blocks(), 4 * rows * columns, |_, block| {
            self.isa().vectorise(Update {
                first_row: bounds[block],
                value: value.take(block, 0),
                first: first.take(block, 0),
                second: second.take(block, 0),
                gradient,
                update,
            });
        });
        Ok(())
    }
}

struct Squares<'a> {
    x: Rows<'a>,
}

impl Vectorised for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let mut sums = [0.0_f64; 32];
        for row in 0..self.x.rows() {
            let (chunks, rest) = self.x.row(row).as_chunks::<32>();
            for chunk in chunks {
                for (sum, &x) in sums.iter_mut().zip(chunk) {
                    *sum += f64::from(x) * f64::from(x);
                }
            }
            for (sum, &x) in sums.iter_mut().zip(rest) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        sums.iter().sum()
    }
}

struct Update<'a> {
    first_row: usize,
    value: TileMut<'a>,
    first: TileMut<'a>,
    second: TileMut<'a>,
    gradient: Rows<'a>,
    update: &'a AdamWUpdate,
}

impl Vectorised for Update<'_> {
    type Output = ();

    /// Rounds where the official code does: each line there is one operation on a whole tensor.
    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let AdamWUpdate { gradient_scale, beta1, beta2, first_share, second_share, epsilon, step, decay } =
            *self.update;
        for row in 0..self.value.rows() {
            let gradient = self.gradient.row(self.first_row + row);
            let moments = self.first.row(row).iter_mut().zip(self.second.row(row));
            for ((value, (first, second)), &gradient) in self.value.row(row).iter_mut().zip(moments).zip(gradient) {
                let gradient = gradient * gradient_scale;
                *first = *first * beta1 + gradient * first_share;
                *second = *second * beta2 + second_share * gradient * gradient;
                let updated = *value - step * *first / (second.sqrt() + epsilon);
                *value = updated - updated * decay;
            }
        }
    }
}
