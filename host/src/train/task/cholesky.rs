//! `A = L Lᵀ` for a symmetric positive matrix, in blocks whose products run on the engine (left-looking, Golub and Van Loan 4.2).
//!
//! The blocks on the diagonal are factored in f64 and kept as inverses, so that everything else is a product. What f32 loses over a
//! few thousand columns is for the caller to mend: see `conjugate_gradients`, for which this is a preconditioner.

use super::Error;
use crate::tensor::HostEngine;

/// Rows of a block.
const BLOCK: usize = 128;

/// The factor of a matrix.
pub(super) struct Cholesky {
    size: usize,
    /// `L [size, size]`, row-major; what lies right of the diagonal blocks is not read.
    factor: Vec<f32>,
    /// The inverse of each block on the diagonal, `[rows, rows]`, lower.
    inverses: Vec<Vec<f32>>,
}

impl Cholesky {
    /// Factors a matrix `[size, size]`, of which the lower half is read. `None`: it is not positive, as far as f32 can tell.
    pub(super) fn new<E: HostEngine>(engine: &E, matrix: Vec<f32>, size: usize) -> Result<Option<Self>, Error> {
        let mut own = Self { size, factor: matrix, inverses: Vec::new() };
        for start in (0..size).step_by(BLOCK) {
            let (end, below) = ((start + BLOCK).min(size), size - start);
            let width = end - start;
            if start > 0 {
                let left = engine.from_f32(below, start, own.part(start..size, 0..start))?;
                let above = engine.from_f32(width, start, own.part(start..end, 0..start))?;
                let known = engine.read_f32(&engine.matmul(&left, &above, true)?)?;
                own.update(start..size, start..end, |value, known| value - known, &known);
            }
            let Some((lower, inverse)) = factor_block(&own.part(start..end, start..end), width) else {
                return Ok(None);
            };
            own.update(start..end, start..end, |_, lower| lower, &lower);
            if end < size {
                let rest = engine.from_f32(size - end, width, own.part(end..size, start..end))?;
                let inverse = engine.from_f32(width, width, inverse.clone())?;
                let panel = engine.read_f32(&engine.matmul(&rest, &inverse, true)?)?;
                own.update(end..size, start..end, |_, value| value, &panel);
            }
            own.inverses.push(inverse);
        }
        Ok(Some(own))
    }

    /// `A⁻¹ b` for several `b`, the rows of `right [count, size]`.
    pub(super) fn solve<E: HostEngine>(&self, engine: &E, right: &[f32]) -> Result<Vec<f32>, Error> {
        let size = self.size;
        let count = right.len() / size.max(1);
        let mut x = right.to_vec();
        let blocks = || (0..size).step_by(BLOCK).map(|start| (start, (start + BLOCK).min(size)));
        for ((start, end), inverse) in blocks().zip(&self.inverses) {
            if start > 0 {
                let known = engine.from_f32(count, start, columns(&x, size, 0..start))?;
                let left = engine.from_f32(end - start, start, self.part(start..end, 0..start))?;
                subtract(&mut x, size, start..end, &engine.read_f32(&engine.matmul(&known, &left, true)?)?);
            }
            multiply(engine, &mut x, size, start..end, inverse, true)?;
        }
        for ((start, end), inverse) in blocks().zip(&self.inverses).collect::<Vec<_>>().into_iter().rev() {
            if end < size {
                let known = engine.from_f32(count, size - end, columns(&x, size, end..size))?;
                let below = engine.from_f32(size - end, end - start, self.part(end..size, start..end))?;
                subtract(&mut x, size, start..end, &engine.read_f32(&engine.matmul(&known, &below, false)?)?);
            }
            multiply(engine, &mut x, size, start..end, inverse, false)?;
        }
        Ok(x)
    }

    fn part(&self, rows: Range, own: Range) -> Vec<f32> {
        columns(&self.factor[rows.start * self.size..rows.end * self.size], self.size, own)
    }

    /// Puts `change(value, other)` in the place of each value of a part, `other` being that of the same place.
    fn update(&mut self, rows: Range, own: Range, change: impl Fn(f32, f32) -> f32, others: &[f32]) {
        let values = &mut self.factor[rows.start * self.size..rows.end * self.size];
        for (row, others) in values.chunks_exact_mut(self.size).zip(others.chunks_exact(own.len())) {
            for (value, other) in row[own.clone()].iter_mut().zip(others) {
                *value = change(*value, *other);
            }
        }
    }
}

type Range = std::ops::Range<usize>;

/// Some columns of a matrix of rows of `size`.
fn columns(matrix: &[f32], size: usize, own: Range) -> Vec<f32> {
    matrix.chunks_exact(size).flat_map(|row| &row[own.clone()]).copied().collect()
}

fn subtract(x: &mut [f32], size: usize, own: Range, known: &[f32]) {
    for (row, known) in x.chunks_exact_mut(size).zip(known.chunks_exact(own.len())) {
        row[own.clone()].iter_mut().zip(known).for_each(|(value, known)| *value -= known);
    }
}

/// Multiplies some columns of every row with a square matrix, or with its transpose.
fn multiply<E: HostEngine>(
    engine: &E,
    x: &mut [f32],
    size: usize,
    own: Range,
    square: &[f32],
    transposed: bool,
) -> Result<(), Error> {
    let (count, width) = (x.len() / size, own.len());
    let part = engine.from_f32(count, width, columns(x, size, own.clone()))?;
    let square = engine.from_f32(width, width, square.to_vec())?;
    let product = engine.read_f32(&engine.matmul(&part, &square, transposed)?)?;
    for (row, values) in x.chunks_exact_mut(size).zip(product.chunks_exact(width)) {
        row[own.clone()].copy_from_slice(values);
    }
    Ok(())
}

/// `L` and `L⁻¹` of a block, both `[width, width]` with zeros above the diagonal; `None` where it is not positive.
fn factor_block(block: &[f32], width: usize) -> Option<(Vec<f32>, Vec<f32>)> {
    let mut lower = vec![0.0_f64; width * width];
    for row in 0..width {
        for column in 0..=row {
            let (own, other) = (&lower[row * width..][..column], &lower[column * width..][..column]);
            let known: f64 = own.iter().zip(other).map(|(a, b)| a * b).sum();
            let value = f64::from(block[row * width + column]) - known;
            lower[row * width + column] = if row > column {
                value / lower[column * width + column]
            } else if value > 0.0 && value.is_finite() {
                value.sqrt()
            } else {
                return None;
            };
        }
    }
    let mut inverse = vec![0.0_f64; width * width];
    for column in 0..width {
        inverse[column * width + column] = 1.0 / lower[column * width + column];
        for row in column + 1..width {
            let known: f64 = (column..row).map(|at| lower[row * width + at] * inverse[at * width + column]).sum();
            inverse[row * width + column] = -known / lower[row * width + row];
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "engines compute in f32")]
    let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
    Some((narrow(lower), narrow(inverse)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::cpu::CpuEngine;
    use kadapter_plugin_api::random::Random;

    /// `X Xᵀ / size + shift · I` of random numbers.
    fn positive(size: usize, shift: f32) -> Vec<f32> {
        let mut random = Random::new(3);
        let x: Vec<f32> = (0..size * size).map(|_| random.normal() as f32).collect();
        let rows: Vec<&[f32]> = x.chunks_exact(size).collect();
        let mut matrix = Vec::new();
        for (row, a) in rows.iter().enumerate() {
            for (column, b) in rows.iter().enumerate() {
                let product: f32 = a.iter().zip(*b).map(|(a, b)| a * b).sum();
                matrix.push(product / size as f32 + if row == column { shift } else { 0.0 });
            }
        }
        matrix
    }

    fn times(matrix: &[f32], x: &[f32]) -> Vec<f32> {
        matrix.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    }

    #[test]
    fn a_solution_solves_at_every_size_around_a_block() {
        let engine = CpuEngine::default();
        for size in [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 37] {
            let matrix = positive(size, 0.5);
            let mut random = Random::new(5);
            let x: Vec<f32> = (0..3 * size).map(|_| random.normal() as f32).collect();
            let right: Vec<f32> = x.chunks_exact(size).flat_map(|x| times(&matrix, x)).collect();
            let found = Cholesky::new(&engine, matrix, size).unwrap().unwrap().solve(&engine, &right).unwrap();
            for (place, (found, expected)) in found.iter().zip(&x).enumerate() {
                assert!((found - expected).abs() < 1e-3, "size {size}, value {place}: {found}, expected {expected}");
            }
        }
    }

    #[test]
    fn what_is_not_positive_has_no_factor() {
        let engine = CpuEngine::default();
        let mut matrix = positive(BLOCK + 9, 0.5);
        let last = matrix.len() - 1;
        for bad in [0.0, -3.0, f32::NAN] {
            matrix[last] = bad;
            assert!(Cholesky::new(&engine, matrix.clone(), BLOCK + 9).unwrap().is_none(), "{bad}");
        }
    }
}
