//! Segments of a batch know nothing of each other. All of it to the bit: the CPU engine computes a row the same way whatever else is
//! in the batch, so a difference is the plugin's.

use super::batch::{Batch, first_difference};
use super::bench::{Bed, Specimen, cpu};
use super::finding::{Finding, Verdict};
use super::{Bench, Check, judge};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "row-alone",
        description: "A segment in a batch gives the bits that it gives alone",
        needs: &["output-shape"],
        run: alone,
        judge: judge::plain,
    },
    Check {
        id: "segment-order",
        description: "Segments in another order give the same bits in that order",
        needs: &["output-shape"],
        run: order,
        judge: judge::plain,
    },
    Check {
        id: "segments-apart",
        description: "Another text in one segment changes no bit of the others",
        needs: &["output-shape"],
        run: apart,
        judge: judge::plain,
    },
];

/// Segments of one token, of equal and of different lengths.
const LENGTHS: [usize; 6] = [3, 1, 7, 3, 1, 12];

/// Compares the features of segments of two batches, `pairs` of their places.
fn compare<E: Bed>(
    specimen: &Specimen<'_, E>,
    batch: &Batch,
    other: &Batch,
    pairs: impl IntoIterator<Item = (usize, usize)>,
    what: &str,
) -> Result<(), Finding> {
    let (features, others) = (specimen.forward(batch)?, specimen.forward(other)?);
    for (segment, place) in pairs {
        let (one, two) = (&features[batch.values_of(segment)], &others[other.values_of(place)]);
        if let Some(at) = first_difference(one, two) {
            return Err(Finding::failed(format!(
                "segment {segment} of {} tokens gives another feature {what}: {} in row {} and column {}, before it was {}",
                batch.lengths[segment],
                two[at],
                at / batch.columns,
                at % batch.columns,
                one[at]
            )));
        }
    }
    Ok(())
}

fn alone(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let specimen = bench.specimen(&plugin, &engine)?;
    let batch = bench.batch(0, &LENGTHS);
    for segment in 0..LENGTHS.len() {
        compare(&specimen, &batch, &batch.select(&[segment]), [(segment, 0)], "when it is alone")?;
    }
    Ok(Finding::success())
}

fn order(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let specimen = bench.specimen(&plugin, &engine)?;
    let batch = bench.batch(0, &LENGTHS);
    for order in [[5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3]] {
        let pairs = order.iter().copied().zip(0..);
        compare(&specimen, &batch, &batch.select(&order), pairs, "when the segments are in another order")?;
    }
    Ok(Finding::success())
}

fn apart(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let specimen = bench.specimen(&plugin, &engine)?;
    let batch = bench.batch(0, &LENGTHS);
    for changed in 0..LENGTHS.len() {
        let others = (0..LENGTHS.len()).filter(|&segment| segment != changed).map(|segment| (segment, segment));
        compare(&specimen, &batch, &batch.with_other(changed), others, "when another segment changes")?;
    }
    Ok(Finding::success())
}
