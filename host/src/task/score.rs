//! From logits to probabilities and ranked labels.

use super::answer::LabelScore;
use super::{Error, Kind};

/// Checks that `logits` has `units` rows of `outputs` finite numbers.
pub(super) fn check(kind: Kind, logits: &[f32], units: usize, outputs: usize) -> Result<(), Error> {
    let (expected, found) = (units.saturating_mul(outputs), logits.len());
    if found != expected {
        return Err(Error::LogitsCount { kind, expected, found });
    }
    match logits.iter().position(|logit| !logit.is_finite()) {
        Some(index) => Err(Error::LogitsNotFinite { kind, index }),
        None => Ok(()),
    }
}

/// Probabilities of exclusive outcomes.
pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) - f64::from(most)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (weight / sum) as f32).collect()
}

/// The probability of one outcome that excludes no other.
pub(super) fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

/// The index of the greatest number, the first of equals; `None` of nothing.
pub(super) fn argmax(numbers: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (index, &number) in numbers.iter().enumerate() {
        if best.is_none_or(|(_, most)| number > most) {
            best = Some((index, number));
        }
    }
    best.map(|(index, _)| index)
}

/// Puts labels, logits and probabilities together, the greatest logit first and equals in the order of the labels.
pub(super) fn ranked(labels: &[String], logits: &[f32], probabilities: &[f32]) -> Vec<LabelScore> {
    let mut scores: Vec<LabelScore> = labels
        .iter()
        .zip(logits)
        .zip(probabilities)
        .map(|((label, &logit), &probability)| LabelScore { label: label.clone(), logit, probability })
        .collect();
    scores.sort_by(|left, right| right.logit.total_cmp(&left.logit));
    scores
}
