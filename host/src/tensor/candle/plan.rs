//! How ragged segments are laid side by side so that a device computes many of them in one product.
//!
//! Segments of similar length form a bucket and are padded to its longest, inside the op only. A pad repeats a row of its own
//! segment, and as a key it is masked: so nothing of one segment, not even a NaN, reaches another. Segments that are all equally
//! long need no padding and no indices at all.

use candle_core::{Device, Error, Result, Tensor};
use kadapter_plugin_api::Segments;

/// The most scores (segments · heads · queries · keys) that one bucket may have: 512 MiB of f32, well below any GPU's memory.
const MAX_SCORES: usize = 1 << 27;

/// Segments up to this length share a bucket whatever their lengths: padding them costs less than another launch.
const SHORT: usize = 32;

/// What attention over a batch needs on the device.
#[derive(Debug)]
pub(super) struct AttentionPlan {
    pub(super) buckets: Vec<AttentionBucket>,
    /// For each row and head of the batch `[rows · heads]`, its place among the buckets' outputs laid one after another
    /// (`[segment, head, query]` within a bucket). `None`: one bucket without padding, in order.
    pub(super) order: Option<Tensor>,
}

/// Segments that attention computes in one product.
#[derive(Debug)]
pub(super) struct AttentionBucket {
    /// How many segments.
    pub(super) segments: usize,
    /// Query rows of each, pads included.
    pub(super) queries: usize,
    /// Key rows of each, pads included.
    pub(super) keys: usize,
    /// Where queries and keys lie among the rows seen as `[rows · heads, width]`. `None`: the batch's rows as they are.
    pub(super) sources: Option<Sources>,
    /// What is added to the scores, `[segments, 1, keys]`: 0, or -inf where a key is a pad.
    pub(super) mask: Option<Tensor>,
}

/// Row indices, `[segments · heads · queries]` and `[segments · heads · keys]`.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) queries: Tensor,
    pub(super) keys: Tensor,
}

impl AttentionPlan {
    /// Lays out the segments for attention with so many heads.
    pub(super) fn new(segments: &Segments, heads: usize, device: &Device) -> Result<Self> {
        let groups = group(segments, heads);
        if let ([only], None) = (groups.as_slice(), segments.hidden())
            && only.is_even(segments)
        {
            let bucket = AttentionBucket {
                segments: only.members.len(),
                queries: only.longest,
                keys: only.longest,
                sources: None,
                mask: None,
            };
            return Ok(Self { buckets: vec![bucket], order: None });
        }
        let mut order = vec![0; indexed(segments.rows(), heads)?];
        let mut base = 0;
        let buckets = groups.iter().map(|group| {
            let queries: Vec<Vec<usize>> = group.rows(segments).collect();
            let keys: Vec<Vec<usize>> = queries.iter().map(|rows| visible(rows, segments)).collect();
            let longest = keys.iter().map(Vec::len).max().unwrap_or(0);
            let size = indexed(queries.len() * heads, group.longest)?;
            indexed(1, base + size)?;
            for (slot, rows) in queries.iter().enumerate() {
                for (place, row) in rows.iter().enumerate() {
                    for head in 0..heads {
                        order[row * heads + head] = index(base + (slot * heads + head) * group.longest + place);
                    }
                }
            }
            base += size;
            Ok(AttentionBucket {
                segments: queries.len(),
                queries: group.longest,
                keys: longest,
                sources: Some(Sources {
                    queries: Tensor::from_vec(pad(&queries, group.longest, heads), size, device)?,
                    keys: Tensor::from_vec(pad(&keys, longest, heads), queries.len() * heads * longest, device)?,
                }),
                mask: mask(&keys, longest, device)?,
            })
        });
        let buckets = buckets.collect::<Result<_>>()?;
        let places = order.len();
        Ok(Self { buckets, order: Some(Tensor::from_vec(order, places, device)?) })
    }
}

/// What the way back through attention needs beside an [`AttentionPlan`] of the same segments and heads.
#[derive(Debug)]
pub(super) struct AttentionReturn {
    pub(super) buckets: Vec<ReturnBucket>,
    /// For each row and head of the batch `[rows · heads]`, its place among the buckets' keys laid one after another
    /// (`[segment, head, key]` within a bucket); one past the last where the row is no key. `None`: one bucket in order.
    pub(super) key_order: Option<Tensor>,
}

/// The rows of one bucket.
#[derive(Debug)]
pub(super) struct ReturnBucket {
    /// The query rows of each segment.
    pub(super) queries: Vec<std::ops::Range<usize>>,
    /// The key rows of each segment.
    pub(super) keys: Vec<Vec<usize>>,
    /// `[segments · heads, queries, 1]`: 1 where a query is a row, 0 where it is a pad. `None`: no pads.
    pub(super) present: Option<Tensor>,
}

impl AttentionReturn {
    /// Lays out the segments as [`AttentionPlan::new`] does.
    pub(super) fn new(segments: &Segments, heads: usize, device: &Device) -> Result<Self> {
        let groups = group(segments, heads);
        let even = matches!(groups.as_slice(), [only] if only.is_even(segments));
        let mut total = 0;
        for group in &groups {
            let longest = group.rows(segments).map(|rows| visible(&rows, segments).len()).max().unwrap_or(0);
            total += indexed(group.members.len() * heads, longest)?;
        }
        indexed(1, total)?;
        let mut order = vec![index(total); indexed(segments.rows(), heads)?];
        let mut base = 0;
        let buckets = groups.iter().map(|group| {
            let queries: Vec<_> = group.members.iter().map(|&member| segments.range(member)).collect();
            let keys: Vec<Vec<usize>> = group.rows(segments).map(|rows| visible(&rows, segments)).collect();
            let longest = keys.iter().map(Vec::len).max().unwrap_or(0);
            for (slot, keys) in keys.iter().enumerate() {
                for (place, row) in keys.iter().enumerate() {
                    for head in 0..heads {
                        order[row * heads + head] = index(base + (slot * heads + head) * longest + place);
                    }
                }
            }
            base += keys.len() * heads * longest;
            let present = if group.is_even(segments) {
                None
            } else {
                let row = |range: &std::ops::Range<usize>| {
                    let length = range.len();
                    (0..group.longest).map(move |place| if place < length { 1.0_f32 } else { 0.0 })
                };
                let values: Vec<f32> =
                    queries.iter().flat_map(|range| (0..heads).flat_map(move |_| row(range))).collect();
                Some(Tensor::from_vec(values, (queries.len() * heads, group.longest, 1), device)?)
            };
            Ok(ReturnBucket { queries, keys, present })
        });
        let buckets = buckets.collect::<Result<_>>()?;
        let places = order.len();
        let key_order = match segments.hidden() {
            None if even => None,
            _ => Some(Tensor::from_vec(order, places, device)?),
        };
        Ok(Self { buckets, key_order })
    }
}

/// What the way back through scores between rows needs beside a [`PartnerPlan`] of the same segments.
#[derive(Debug)]
pub(super) struct PartnerReturn {
    /// Per bucket, where the scores `[segment, row, partner]` lie among all rows' scores laid one after another (`[rows · longest]`);
    /// one past the last where a row or a partner is a pad.
    pub(super) scores: Vec<Tensor>,
    /// For each row its place among the buckets' rows laid one after another, `[rows]`.
    pub(super) order: Tensor,
}

impl PartnerReturn {
    /// Lays out the segments as [`PartnerPlan::new`] does.
    pub(super) fn new(segments: &Segments, device: &Device) -> Result<Self> {
        let longest = segments.longest();
        let nothing = indexed(segments.rows(), longest)?;
        let mut order = vec![0; segments.rows()];
        let mut base = 0;
        let scores = group(segments, 1).into_iter().map(|group| {
            let mut places = vec![index(nothing); indexed(group.members.len() * group.longest, group.longest)?];
            for (slot, rows) in group.rows(segments).enumerate() {
                for (place, row) in rows.iter().enumerate() {
                    order[*row] = index(base + slot * group.longest + place);
                    let from = (slot * group.longest + place) * group.longest;
                    for (partner, score) in places[from..].iter_mut().take(rows.len()).enumerate() {
                        *score = index(row * longest + partner);
                    }
                }
            }
            base += group.members.len() * group.longest;
            let count = places.len();
            Tensor::from_vec(places, count, device)
        });
        let scores = scores.collect::<Result<_>>()?;
        let rows = order.len();
        Ok(Self { scores, order: Tensor::from_vec(order, rows, device)? })
    }
}

/// What scores between the rows of a segment need on the device.
#[derive(Debug)]
pub(super) struct PartnerPlan {
    pub(super) buckets: Vec<PartnerBucket>,
    /// The longest segment.
    pub(super) longest: usize,
    /// For each row and partner `[rows · longest]`, the place of their score among the buckets' scores laid one after another
    /// (`[segment, row, partner]` within a bucket); one past the last where there is no partner. `None`: one bucket in order.
    pub(super) places: Option<Tensor>,
}

/// Segments whose scores are computed in one product.
#[derive(Debug)]
pub(super) struct PartnerBucket {
    /// How many segments.
    pub(super) segments: usize,
    /// Rows of each, pads included.
    pub(super) rows: usize,
    /// Where they lie, `[segments · rows]`. `None`: the batch's rows as they are.
    pub(super) sources: Option<Tensor>,
}

impl PartnerPlan {
    /// Lays out the segments; hidden rows are partners like any other.
    pub(super) fn new(segments: &Segments, device: &Device) -> Result<Self> {
        let groups = group(segments, 1);
        let longest = segments.longest();
        if let [only] = groups.as_slice()
            && only.is_even(segments)
        {
            let bucket = PartnerBucket { segments: only.members.len(), rows: longest, sources: None };
            return Ok(Self { buckets: vec![bucket], longest, places: None });
        }
        let total: usize = groups.iter().map(|group| group.members.len() * group.longest * group.longest).sum();
        indexed(1, total)?;
        let mut places = vec![index(total); indexed(segments.rows(), longest)?];
        let mut base = 0;
        let buckets = groups.iter().map(|group| {
            let rows: Vec<Vec<usize>> = group.rows(segments).collect();
            for (slot, rows) in rows.iter().enumerate() {
                for (place, row) in rows.iter().enumerate() {
                    let from = base + (slot * group.longest + place) * group.longest;
                    for (partner, score) in places[row * longest..].iter_mut().take(rows.len()).enumerate() {
                        *score = index(from + partner);
                    }
                }
            }
            base += rows.len() * group.longest * group.longest;
            let sources = Tensor::from_vec(pad(&rows, group.longest, 1), rows.len() * group.longest, device)?;
            Ok(PartnerBucket { segments: rows.len(), rows: group.longest, sources: Some(sources) })
        });
        let buckets = buckets.collect::<Result<_>>()?;
        let count = places.len();
        Ok(Self { buckets, longest, places: Some(Tensor::from_vec(places, count, device)?) })
    }
}

/// What means over segments need on the device.
#[derive(Debug)]
pub(super) struct MeanPlan {
    /// Each row's segment, `[rows]`.
    pub(super) owners: Tensor,
    /// One over each segment's length, `[segments, 1]` in f32.
    pub(super) shares: Tensor,
}

impl MeanPlan {
    /// Numbers the rows by segment.
    pub(super) fn new(segments: &Segments, device: &Device) -> Result<Self> {
        indexed(1, segments.rows())?;
        let owners: Vec<u32> =
            (0_u32..).zip(segments.ranges()).flat_map(|(owner, range)| range.map(move |_| owner)).collect();
        let shares: Vec<f32> = segments.ranges().map(|range| 1.0 / range.len() as f32).collect();
        Ok(Self {
            owners: Tensor::from_vec(owners, segments.rows(), device)?,
            shares: Tensor::from_vec(shares, (segments.count(), 1), device)?,
        })
    }
}

/// Segments that are padded together.
struct Group {
    /// Their numbers, longest first, equally long ones in order.
    members: Vec<usize>,
    /// The rows of the longest.
    longest: usize,
}

impl Group {
    fn is_even(&self, segments: &Segments) -> bool {
        self.members.iter().all(|&member| segments.range(member).len() == self.longest)
    }

    fn rows<'a>(&'a self, segments: &'a Segments) -> impl Iterator<Item = Vec<usize>> + 'a {
        self.members.iter().map(|&member| segments.range(member).collect())
    }
}

/// Sorts segments into groups whose members are at least half as long as the longest (or all short), with at most
/// [`MAX_SCORES`] scores in a group of several.
fn group(segments: &Segments, heads: usize) -> Vec<Group> {
    let mut members: Vec<usize> = (0..segments.count()).collect();
    members.sort_by_key(|&member| std::cmp::Reverse(segments.range(member).len()));
    let mut groups: Vec<Group> = Vec::new();
    for member in members {
        let length = segments.range(member).len();
        match groups.last_mut() {
            Some(group)
                if (2 * length >= group.longest || group.longest <= SHORT)
                    && (group.members.len() + 1)
                        .saturating_mul(heads)
                        .saturating_mul(group.longest)
                        .saturating_mul(group.longest)
                        <= MAX_SCORES =>
            {
                group.members.push(member);
            }
            _ => groups.push(Group { members: vec![member], longest: length }),
        }
    }
    groups
}

/// The rows that may be keys: those that are not hidden.
fn visible(rows: &[usize], segments: &Segments) -> Vec<usize> {
    let shown = |row: &usize| segments.hidden().is_none_or(|hidden| hidden.get(*row) != Some(&true));
    rows.iter().copied().filter(shown).collect()
}

/// Row indices `[segments, heads, length]` over rows seen as `[rows · heads, width]`; short lists repeat their last row.
fn pad(rows: &[Vec<usize>], length: usize, heads: usize) -> Vec<u32> {
    let mut padded = Vec::with_capacity(rows.len() * heads * length);
    for rows in rows {
        let last = rows.last().copied().unwrap_or(0);
        for head in 0..heads {
            let padded_rows = rows.iter().copied().chain(std::iter::repeat(last)).take(length);
            padded.extend(padded_rows.map(|row| index(row * heads + head)));
        }
    }
    padded
}

fn mask(keys: &[Vec<usize>], longest: usize, device: &Device) -> Result<Option<Tensor>> {
    if keys.iter().all(|keys| keys.len() == longest) {
        return Ok(None);
    }
    let added = |keys: &Vec<usize>| {
        let shown = keys.len();
        (0..longest).map(move |place| if place < shown { 0.0_f32 } else { f32::NEG_INFINITY })
    };
    let values: Vec<f32> = keys.iter().flat_map(added).collect();
    Tensor::from_vec(values, (keys.len(), 1, longest), device).map(Some)
}

/// The product of two sizes, if indices of 32 bits can count to it (the largest one means "no row" to candle).
fn indexed(a: usize, b: usize) -> Result<usize> {
    a.checked_mul(b).filter(|&size| size < u32::MAX as usize).ok_or_else(|| {
        Error::Msg(format!(
            "the batch needs {a} x {b} places, expected at most {}: send fewer texts at once",
            u32::MAX - 1
        ))
    })
}

/// An index that [`indexed`] has already bounded.
fn index(place: usize) -> u32 {
    debug_assert!(u32::try_from(place).is_ok());
    place as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(groups: &[Group], segments: &Segments) -> Vec<Vec<usize>> {
        let of = |group: &Group| group.members.iter().map(|&member| segments.range(member).len()).collect();
        groups.iter().map(of).collect()
    }

    #[test]
    fn one_long_text_does_not_stretch_the_short_ones() {
        let segments = Segments::new([31, 500, 12, 300, 3, 90]).unwrap();
        let groups = group(&segments, 16);
        assert_eq!(lengths(&groups, &segments), [vec![500, 300], vec![90], vec![31, 12, 3]]);
    }

    #[test]
    fn texts_of_like_length_are_one_product() {
        let segments = Segments::new([128, 70, 100, 64]).unwrap();
        assert_eq!(lengths(&group(&segments, 16), &segments), [vec![128, 100, 70, 64]]);
    }

    #[test]
    fn a_bucket_has_a_bounded_number_of_scores() {
        let segments = Segments::new(vec![512; 70]).unwrap();
        let groups = group(&segments, 16);
        assert_eq!(groups.iter().map(|group| group.members.len()).collect::<Vec<_>>(), [32, 32, 6]);
        let plan = AttentionPlan::new(&segments, 16, &Device::Cpu).unwrap();
        assert!(plan.order.is_some() && plan.buckets.iter().all(|bucket| bucket.mask.is_none()));
    }

    #[test]
    fn equal_lengths_need_nothing_on_the_device() {
        let segments = Segments::new([20, 20, 20]).unwrap();
        let plan = AttentionPlan::new(&segments, 4, &Device::Cpu).unwrap();
        assert!(plan.order.is_none());
        assert!(plan.buckets.iter().all(|bucket| bucket.sources.is_none() && bucket.mask.is_none()));
        assert!(PartnerPlan::new(&segments, &Device::Cpu).unwrap().places.is_none());
    }

    #[test]
    fn hidden_rows_are_left_out_of_the_keys() {
        let mut hidden = vec![true; 128];
        hidden[..20].fill(false);
        let segments = Segments::new([128]).unwrap().with_hidden(hidden).unwrap();
        let plan = AttentionPlan::new(&segments, 2, &Device::Cpu).unwrap();
        assert_eq!((plan.buckets[0].queries, plan.buckets[0].keys), (128, 20));
        assert!(plan.buckets[0].mask.is_none());
    }

    #[test]
    fn more_places_than_an_index_can_count_are_refused() {
        let error = indexed(1 << 17, 1 << 15).unwrap_err();
        assert!(error.to_string().contains("expected at most 4294967294"), "{error}");
        assert!(indexed(1, u32::MAX as usize - 1).is_ok());
    }
}
