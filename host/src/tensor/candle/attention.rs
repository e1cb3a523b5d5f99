//! Attention over ragged segments: one batched product per bucket, all heads at once.

use super::CandleTensor;
use super::norm::softmax;
use super::plan::{AttentionBucket, AttentionPlan};
use candle_core::{D, DType, Result, Tensor};

/// Attention of each segment with itself: `q`, `k`, `v` and the result are `[rows, columns]`, `heads` divides the columns.
///
/// Launches per bucket: a copy or gather for each of q, k and v, the scale, two products, the softmax, and in half precision two
/// conversions around it; once at the end, a copy or gather of the result.
pub(super) fn attention(
    q: &CandleTensor,
    k: &CandleTensor,
    v: &CandleTensor,
    heads: usize,
    plan: &AttentionPlan,
) -> Result<Tensor> {
    let (rows, columns) = (q.rows(), q.columns);
    let scale = 1.0 / ((columns / heads) as f64).sqrt();
    let attend = |bucket: &AttentionBucket| {
        let sources = bucket.sources.as_ref();
        let queries = split(q, heads, bucket.queries, sources.map(|sources| &sources.queries))?.affine(scale, 0.0)?;
        let keys = split(k, heads, bucket.keys, sources.map(|sources| &sources.keys))?;
        let values = split(v, heads, bucket.keys, sources.map(|sources| &sources.keys))?;
        let scores = queries.matmul(&keys.t()?)?.to_dtype(DType::F32)?;
        let scores = match &bucket.mask {
            Some(mask) => scores
                .reshape((bucket.segments, heads * bucket.queries, bucket.keys))?
                .broadcast_add(mask)?
                .reshape((bucket.segments * heads, bucket.queries, bucket.keys))?,
            None => scores,
        };
        softmax(&scores)?.to_dtype(values.dtype())?.matmul(&values)
    };
    let parts = plan.buckets.iter().map(attend).collect::<Result<Vec<_>>>()?;
    if parts.is_empty() { q.dense() } else { join(parts, heads, [rows, columns], plan.order.as_ref()) }
}

/// The opposite of [`split`]: the buckets' parts `[segments · heads, length, width]` as rows `[rows, columns]`, each row and head
/// taken from the place that `order` names (`None`: one part, in order).
pub(super) fn join(
    parts: Vec<Tensor>,
    heads: usize,
    [rows, columns]: [usize; 2],
    order: Option<&Tensor>,
) -> Result<Tensor> {
    match (order, parts.as_slice()) {
        (None, [part]) => {
            let (groups, length, width) = part.dims3()?;
            part.reshape((groups / heads, heads, length, width))?
                .transpose(1, 2)?
                .contiguous()?
                .reshape((rows, columns))
        }
        (order, parts) => {
            let flat = parts.iter().map(|part| part.flatten_to(part.rank() - 2)).collect::<Result<Vec<_>>>()?;
            let all = Tensor::cat(&flat, 0)?;
            match order {
                Some(order) => all.index_select(order, 0)?.reshape((rows, columns)),
                None => all.reshape((rows, columns)),
            }
        }
    }
}

/// The rows of a bucket by head: `[segments · heads, length, width]`, dense.
pub(super) fn split(x: &CandleTensor, heads: usize, length: usize, sources: Option<&Tensor>) -> Result<Tensor> {
    let width = x.columns / heads;
    match sources {
        Some(sources) => {
            let gathered = x.dense()?.reshape(((), width))?.index_select(sources, 0)?;
            gathered.reshape(((), length, width))
        }
        None => {
            // Query, key and value are often columns of one product: seen by heads, they need no copy of their own first.
            let all = x.base.dim(D::Minus1)?;
            let (base, start) = if all.is_multiple_of(width) && x.start.is_multiple_of(width) {
                (x.base.reshape(((), length, all / width, width))?, x.start / width)
            } else {
                (x.dense()?.reshape(((), length, heads, width))?, 0)
            };
            base.narrow(2, start, heads)?.transpose(1, 2)?.contiguous()?.reshape(((), length, width))
        }
    }
}
