//! Attention with dropout on its probabilities, and its way back: batched products per bucket, all heads at once.

use super::CandleMask;
use super::activation::softmax_backward;
use crate::tensor::candle::attention::{join, split};
use crate::tensor::candle::norm::softmax;
use crate::tensor::candle::plan::{AttentionBucket, ReturnBucket};
use crate::tensor::candle::{CandleEngine, CandleTensor};
use crate::tensor::cpu::{mask_column, write_mask};
use crate::tensor::derivatives::AttendBackward;
use crate::tensor::tape::MaskSpec;
use candle_core::{Result, Tensor};
use kadapter_plugin_api::Segments;

/// What attention keeps for its way back, per bucket.
#[derive(Debug)]
pub struct Attended {
    buckets: Vec<AttendedBucket>,
}

#[derive(Debug)]
struct AttendedBucket {
    /// Before dropout, `[segments · heads, queries, keys]`.
    probabilities: Tensor,
    mask: Option<CandleMask>,
}

/// Queries and keys of a bucket by head, queries scaled.
fn sides(bucket: &AttentionBucket, [q, k, v]: [&CandleTensor; 3], heads: usize) -> Result<[Tensor; 3]> {
    let sources = bucket.sources.as_ref();
    Ok([
        split(q, heads, bucket.queries, sources.map(|sources| &sources.queries))?,
        split(k, heads, bucket.keys, sources.map(|sources| &sources.keys))?,
        split(v, heads, bucket.keys, sources.map(|sources| &sources.keys))?,
    ])
}

fn scale(q: &CandleTensor, heads: usize) -> f64 {
    1.0 / ((q.columns / heads) as f64).sqrt()
}

pub(super) fn forward(
    engine: &CandleEngine,
    tensors: [&CandleTensor; 3],
    heads: usize,
    segments: &Segments,
    mask: Option<&MaskSpec>,
) -> Result<(Tensor, Attended)> {
    let [q, _, _] = tensors;
    let plan = engine.attention_plan(segments, heads)?;
    let back = engine.attention_return(segments, heads)?;
    let (mut parts, mut buckets) = (Vec::new(), Vec::new());
    for (bucket, rows) in plan.buckets.iter().zip(&back.buckets) {
        let [queries, keys, values] = sides(bucket, tensors, heads)?;
        let scores = queries.affine(scale(q, heads), 0.0)?.matmul(&keys.t()?)?;
        let scores = match &bucket.mask {
            Some(mask) => scores
                .reshape((bucket.segments, heads * bucket.queries, bucket.keys))?
                .broadcast_add(mask)?
                .reshape((bucket.segments * heads, bucket.queries, bucket.keys))?,
            None => scores,
        };
        let probabilities = softmax(&scores)?;
        let mask = mask.map(|spec| bucket_mask(engine, spec, bucket, rows, heads)).transpose()?;
        let dropped = match &mask {
            Some(mask) => mask.apply(&probabilities)?,
            None => probabilities.clone(),
        };
        parts.push(dropped.matmul(&values)?);
        buckets.push(AttendedBucket { probabilities, mask });
    }
    let out =
        if parts.is_empty() { q.dense()? } else { join(parts, heads, [q.rows(), q.columns], plan.order.as_ref())? };
    Ok((out, Attended { buckets }))
}

pub(super) fn backward(engine: &CandleEngine, task: &AttendBackward<'_, CandleEngine>) -> Result<[Tensor; 3]> {
    let AttendBackward { gradient, q, k, v, heads, segments, attended, .. } = *task;
    let plan = engine.attention_plan(segments, heads)?;
    let back = engine.attention_return(segments, heads)?;
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for ((bucket, rows), kept) in plan.buckets.iter().zip(&back.buckets).zip(&attended.buckets) {
        let [queries, keys, values] = sides(bucket, [q, k, v], heads)?;
        let above = split(gradient, heads, bucket.queries, bucket.sources.as_ref().map(|sources| &sources.queries))?;
        // A pad repeats a row: what that row gets must count once.
        let above = match &rows.present {
            Some(present) => above.broadcast_mul(present)?,
            None => above,
        };
        let slopes = above.matmul(&values.t()?)?;
        let (dropped, slopes) = match &kept.mask {
            Some(mask) => (mask.apply(&kept.probabilities)?, mask.apply(&slopes)?),
            None => (kept.probabilities.clone(), slopes),
        };
        let slopes = softmax_backward(&kept.probabilities, &slopes)?.affine(scale(q, heads), 0.0)?;
        parts[0].push(slopes.matmul(&keys)?);
        parts[1].push(slopes.t()?.matmul(&queries)?);
        parts[2].push(dropped.t()?.matmul(&above)?);
    }
    let shape = [q.rows(), q.columns];
    let [of_q, of_k, of_v] = parts;
    if of_q.is_empty() {
        let zeros = q.dense()?.zeros_like()?;
        return Ok([zeros.clone(), zeros.clone(), zeros]);
    }
    let to_keys = |mut parts: Vec<Tensor>| {
        if back.key_order.is_some() {
            // The place of rows that are no keys: nothing comes back to them.
            let (_, _, width) = parts[0].dims3()?;
            parts.push(Tensor::zeros((1, 1, width), parts[0].dtype(), parts[0].device())?);
        }
        join(parts, heads, shape, back.key_order.as_ref())
    };
    Ok([join(of_q, heads, shape, plan.order.as_ref())?, to_keys(of_k)?, to_keys(of_v)?])
}

/// The mask of a bucket's probabilities; what it says of pads is of no consequence.
fn bucket_mask(
    engine: &CandleEngine,
    spec: &MaskSpec,
    bucket: &AttentionBucket,
    rows: &ReturnBucket,
    heads: usize,
) -> Result<CandleMask> {
    let (queries, keys) = (bucket.queries, bucket.keys);
    let mut kept = vec![0_u8; bucket.segments * heads * queries * keys];
    let mut whole = vec![0_u8; rows.queries.iter().map(std::ops::Range::len).max().unwrap_or(0)];
    for (slot, (range, visible)) in rows.queries.iter().zip(&rows.keys).enumerate() {
        let whole = &mut whole[..range.len()];
        for (place, row) in range.clone().enumerate() {
            for head in 0..heads {
                write_mask(spec, row, mask_column(head, 0), whole);
                let line = &mut kept[((slot * heads + head) * queries + place) * keys..][..visible.len()];
                for (kept, key) in line.iter_mut().zip(visible) {
                    *kept = whole[key - range.start];
                }
            }
        }
    }
    CandleMask::new(engine, spec, kept, (bucket.segments * heads, queries, keys))
}
