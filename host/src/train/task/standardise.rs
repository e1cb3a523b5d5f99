//! Scales that come from the training data: every column of a source has mean 0 and deviation 1 there.
//!
//! Features of adapters are very uneven: a few columns hold nearly all of the variance, also after layer normalisation over a row, and
//! a head learns from those columns first. So the scales and shifts of `blocks`, and the gains and biases with which the norms of
//! `gated` start, are those that even the columns out (data-dependent initialisation, as in Salimans and Kingma 2016).

use super::{Error, Feature, HeadSettings, HeadSpec, Member, View};
use crate::parameters::Declared;
use crate::pipeline::fusion::EPSILON;
use kadapter_registry::package::Fusion;

/// Rows that are looked at: enough for a mean and a deviation.
const MOST_ROWS: usize = 8192;
/// Columns that vary less are left as they are.
const LEAST_DEVIATION: f64 = 1e-4;

/// Sets the scales of the fusion's sources, in the order of [`HeadSpec::declared`], and multiplies those of adapters by their gates.
pub(super) fn standardise(
    spec: &HeadSpec,
    train: &View<'_>,
    settings: &HeadSettings,
    parameters: &mut [(Declared, Vec<f32>)],
) -> Result<(), Error> {
    // In `gated`, rows are normalised before they are scaled.
    let (normalise, suffix) = match spec.fusion {
        Fusion::Gated => (true, ".LayerNorm"),
        Fusion::Blocks => (false, ""),
        Fusion::Concat | Fusion::Add => return Ok(()),
    };
    // Evenly spaced, since files are often sorted by label.
    let rows = train.set.rows(&train.records);
    let every = rows.len().div_ceil(MOST_ROWS).max(1);
    let rows: Vec<_> = rows.into_iter().step_by(every).collect();
    for (name, source, gate) in sources(spec, settings) {
        let mut values = vec![0.0; rows.len() * spec.hidden];
        for (feature, factor) in &source {
            let mut part = Vec::new();
            train.set.column(feature)?.gather(&rows, &mut part)?;
            for (sum, value) in values.iter_mut().zip(part) {
                *sum += factor * value;
            }
        }
        let place = |part: &str| {
            let full = format!("{name}{suffix}.{part}");
            parameters.iter().position(|(declared, _)| declared.name == full)
        };
        let (Some(weight), Some(bias)) = (place("weight"), place("bias")) else { continue };
        let columns = columns(&values, spec.hidden, normalise);
        for (column, (mean, deviation)) in columns.into_iter().enumerate() {
            let even = settings.standardise && deviation >= LEAST_DEVIATION;
            let (mean, deviation) = if even { (mean, deviation) } else { (0.0, 1.0) };
            let scale = f64::from(parameters[weight].1[column]) * gate / deviation;
            #[expect(clippy::cast_possible_truncation, reason = "parameters are f32")]
            let (scale, shift) = (scale as f32, (-mean * scale) as f32);
            parameters[weight].1[column] = scale;
            parameters[bias].1[column] = shift;
        }
    }
    Ok(())
}

/// A source: its name in the parameters, the features that it is a sum of, each with a factor, and its gate.
type Source = (String, Vec<(Feature, f32)>, f64);

fn sources(spec: &HeadSpec, settings: &HeadSettings) -> Vec<Source> {
    let taps_with =
        |taps: &[usize], factor| taps.iter().map(move |&tap| (Feature::Tap(tap), factor)).collect::<Vec<_>>();
    let mut sources = vec![("fusion.states.last".to_owned(), vec![(Feature::Last, 1.0)], 1.0)];
    for tap in &spec.taps {
        sources.push((format!("fusion.states.{tap}"), taps_with(&[*tap], 1.0), 1.0));
    }
    for (place, member) in spec.stack.iter().enumerate() {
        let adapter = |name: &String| (Feature::Adapter(name.clone()), 1.0);
        let features = match member {
            Member::Adapter(name) => vec![adapter(name)],
            Member::Learned { name, taps } => [vec![adapter(name)], taps_with(taps, -1.0)].concat(),
            // A mix starts as the sum.
            Member::TapMix { taps, .. } => taps_with(taps, 1.0),
        };
        let gate = if spec.fusion == Fusion::Blocks { settings.gate_of(place) } else { 1.0 };
        sources.push((format!("fusion.{}", member.name()), features, gate));
    }
    sources
}

/// Mean and deviation of every column, of rows that are layer-normalised before where that is asked for.
fn columns(values: &[f32], hidden: usize, normalise: bool) -> Vec<(f64, f64)> {
    let (mut sums, mut squares) = (vec![0.0; hidden], vec![0.0; hidden]);
    let mut rows = 0.0_f64;
    for row in values.chunks_exact(hidden) {
        let (mut mean, mut scale) = (0.0, 1.0);
        if normalise {
            let length = hidden as f64;
            mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / length;
            let variance = row.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / length;
            scale = (variance + f64::from(EPSILON)).sqrt();
        }
        for (column, &value) in row.iter().enumerate() {
            let value = (f64::from(value) - mean) / scale;
            sums[column] += value;
            squares[column] += value * value;
        }
        rows += 1.0;
    }
    let rows = rows.max(1.0);
    let column = |(sum, square): (&f64, &f64)| {
        let mean = sum / rows;
        (mean, (square / rows - mean * mean).max(0.0).sqrt())
    };
    sums.iter().zip(&squares).map(column).collect()
}
