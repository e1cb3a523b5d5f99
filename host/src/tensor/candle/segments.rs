//! Means over segments, and scores between their rows.

use super::plan::{MeanPlan, PartnerPlan};
use candle_core::{DType, Result, Tensor};

/// The mean of each segment's rows, `[segments, columns]`; summed in f32.
pub(super) fn mean(x: &Tensor, plan: &MeanPlan) -> Result<Tensor> {
    let (segments, columns) = (plan.shares.dim(0)?, x.dim(1)?);
    let sums = Tensor::zeros((segments, columns), DType::F32, x.device())?;
    sums.index_add(&plan.owners, &x.to_dtype(DType::F32)?, 0)?.broadcast_mul(&plan.shares)?.to_dtype(x.dtype())
}

/// Scores `a[r] · b[j]` between the rows of one segment, `no_partner` up to the longest: `[rows, longest]`.
pub(super) fn matmul(a: &Tensor, b: &Tensor, no_partner: f32, plan: &PartnerPlan) -> Result<Tensor> {
    let (rows, columns) = a.dims2()?;
    if rows == 0 {
        return Tensor::zeros((0, plan.longest), a.dtype(), a.device());
    }
    let mut scores = Vec::with_capacity(plan.buckets.len() + 1);
    for bucket in &plan.buckets {
        let side = |x: &Tensor| match &bucket.sources {
            Some(sources) => x.index_select(sources, 0)?.reshape((bucket.segments, bucket.rows, columns)),
            None => x.reshape((bucket.segments, bucket.rows, columns)),
        };
        scores.push(side(a)?.matmul(&side(b)?.t()?)?.flatten_all()?);
    }
    let scores = match &plan.places {
        Some(places) => {
            scores.push(Tensor::full(no_partner, 1, a.device())?.to_dtype(a.dtype())?);
            Tensor::cat(&scores, 0)?.index_select(places, 0)?
        }
        None => Tensor::cat(&scores, 0)?,
    };
    scores.reshape((rows, plan.longest))
}
