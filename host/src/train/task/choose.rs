//! The best of several settings on development data.

use super::ridge::Ridge;
use super::{
    AnswerRule, Development, EpochReport, Error, HeadSettings, HeadSpec, Metric, Round, Solver, Tally, TrainedHead,
    View, predict, train_head,
};
use crate::tensor::derivatives::Derivatives;

/// The head that was best on development data, and its settings.
#[derive(Clone, Debug)]
pub struct Chosen<'s> {
    /// The head.
    pub head: TrainedHead,
    /// What it was trained with.
    pub settings: &'s HeadSettings,
}

/// Trains a head with each of several settings and keeps the one that is best on the round's development data, the first of equals;
/// without development data, the first. Settings under which the loss is not a number from the start are passed over while others
/// are left.
///
/// # Errors
/// As [`train_head`].
#[expect(clippy::too_many_arguments, reason = "what a head is trained with, and how it is judged")]
pub fn choose<'s, E: Derivatives>(
    engine: &E,
    spec: &HeadSpec,
    round: &Round<'_>,
    metric: &Metric,
    rule: AnswerRule,
    settings: &'s [HeadSettings],
    seed: u64,
    mut report: impl FnMut(&HeadSettings, &EpochReport),
) -> Result<Chosen<'s>, Error> {
    let development = Development { view: round.dev.clone(), metric, rule };
    let development = Some(&development).filter(|development| !development.view.is_empty());
    // Without development data nothing can be chosen.
    let settings = if development.is_some() { settings } else { settings.get(..1).unwrap_or(settings) };
    if settings.iter().all(|settings| settings.solver == Solver::Ridge) {
        return choose_ridge(engine, spec, &round.train, development, settings, report);
    }
    let (mut best, mut failure): (Option<Chosen<'s>>, Option<Error>) = (None, None);
    for own in settings {
        let head = match train_head(engine, spec, &round.train, development, own, seed, |epoch| report(own, epoch)) {
            Ok(head) => head,
            Err(error @ Error::Diverged { .. }) => {
                failure.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let score = |head: &TrainedHead| head.dev().unwrap_or(0.0);
        if best.as_ref().is_none_or(|best| score(&head) > score(&best.head)) {
            best = Some(Chosen { head, settings: own });
        }
    }
    let none = || Error::Setting { name: "grid", found: "empty".to_owned(), expected: "at least one combination" };
    best.ok_or_else(|| failure.unwrap_or_else(none))
}

/// The same for heads in closed form, which share what does not depend on the settings.
pub(super) fn choose_ridge<'s, E: Derivatives>(
    engine: &E,
    spec: &HeadSpec,
    train: &View<'_>,
    development: Option<&Development<'_>>,
    settings: &'s [HeadSettings],
    mut report: impl FnMut(&HeadSettings, &EpochReport),
) -> Result<Chosen<'s>, Error> {
    let mut best: Option<Chosen<'s>> = None;
    let mut kept: Option<(Ridge<E>, bool)> = None;
    for own in settings {
        own.check()?;
        let ridge = match kept.take() {
            Some((ridge, standardise)) if standardise == own.standardise => ridge,
            _ => Ridge::new(engine, spec, train, own)?,
        };
        let mut head = ridge.solve(engine, own)?;
        kept = Some((ridge, own.standardise));
        if head.parameters.iter().flat_map(|(_, values)| values).any(|value| !value.is_finite()) {
            return Err(Error::Diverged { loss: f32::NAN, step: 1, epoch: 1 });
        }
        let dev = development.map(|dev| score(engine, &head, dev)).transpose()?;
        let entry = EpochReport { epoch: 1, step: 1, loss: 0.0, learning_rate: 0.0, dev };
        report(own, &entry);
        head.epochs.push(entry);
        if best.as_ref().is_none_or(|best| head.dev() > best.head.dev()) {
            best = Some(Chosen { head, settings: own });
        }
    }
    let none = || Error::Setting { name: "grid", found: "empty".to_owned(), expected: "at least one combination" };
    best.ok_or_else(none)
}

fn score<E: Derivatives>(engine: &E, head: &TrainedHead, dev: &Development<'_>) -> Result<f64, Error> {
    let answers = predict(engine, head, &dev.view)?.answers(head.spec.kind, dev.rule);
    let gold = dev.view.records.iter().map(|&record| &dev.view.set.targets[record]);
    let tallies: Vec<Tally> = gold.zip(&answers).map(|(gold, answer)| dev.metric.tally(gold, answer)).collect();
    Ok(dev.metric.of_tallies(&tallies))
}
