//! The way back through ops that move rows.

use crate::tensor::candle::plan::{PartnerPlan, PartnerReturn};
use candle_core::{Result, Tensor};

/// Copies of a row up to which sums are taken copy by copy.
const FEW: usize = 8;

/// Row `i` of `x` added to row `rows[i]` of zeros `[count, c]`.
///
/// Candle adds rows by index one after another on a GPU, with a thread for each column only. Rows are rarely named more than a few
/// times, so each row looks up its first source, its second, and so on, all rows at once.
pub(super) fn scatter(x: &Tensor, rows: &[u32], count: usize) -> Result<Tensor> {
    let (named, columns) = x.dims2()?;
    let nothing = named as u32;
    let mut seen = vec![0_usize; count];
    let mut layers: Vec<Vec<u32>> = Vec::new();
    for (source, &row) in (0_u32..).zip(rows) {
        let layer = seen[row as usize];
        seen[row as usize] += 1;
        if layer == FEW {
            let zeros = Tensor::zeros((count, columns), x.dtype(), x.device())?;
            return zeros.index_add(&Tensor::new(rows, x.device())?, x, 0);
        }
        if layer == layers.len() {
            layers.push(vec![nothing; count]);
        }
        layers[layer][row as usize] = source;
    }
    let sources = Tensor::cat(&[x, &Tensor::zeros((1, columns), x.dtype(), x.device())?], 0)?;
    let mut sum: Option<Tensor> = None;
    for layer in layers {
        let part = sources.index_select(&Tensor::from_vec(layer, count, x.device())?, 0)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    sum.map_or_else(|| Tensor::zeros((count, columns), x.dtype(), x.device()), Ok)
}

/// With the gradient `g` of a segment's scores: `g · b` for `a`, `gᵀ · a` for `b`.
pub(super) fn partners(
    gradient: &Tensor,
    a: &Tensor,
    b: &Tensor,
    plan: &PartnerPlan,
    back: &PartnerReturn,
) -> Result<[Tensor; 2]> {
    let (rows, columns) = a.dims2()?;
    let zero = Tensor::zeros(1, gradient.dtype(), gradient.device())?;
    let gradients = Tensor::cat(&[&gradient.flatten_all()?, &zero], 0)?;
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for (bucket, scores) in plan.buckets.iter().zip(&back.scores) {
        let side = |x: &Tensor| match &bucket.sources {
            Some(sources) => x.index_select(sources, 0)?.reshape((bucket.segments, bucket.rows, columns)),
            None => x.reshape((bucket.segments, bucket.rows, columns)),
        };
        let slopes = gradients.index_select(scores, 0)?.reshape((bucket.segments, bucket.rows, bucket.rows))?;
        of_a.push(slopes.matmul(&side(b)?)?.flatten_to(1)?);
        of_b.push(slopes.t()?.matmul(&side(a)?)?.flatten_to(1)?);
    }
    let join = |parts: Vec<Tensor>| Tensor::cat(&parts, 0)?.index_select(&back.order, 0)?.reshape((rows, columns));
    Ok([join(of_a)?, join(of_b)?])
}
