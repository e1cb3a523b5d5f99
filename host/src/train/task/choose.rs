//! The best of several settings on development data.

use super::ridge::Ridge;
use super::statistics::{Bootstrap, System, numbered};
use super::{
    AnswerRule, Development, EpochReport, Error, HeadSettings, HeadSpec, Metric, Round, Solver, Tally, TrainedHead,
    View, predict, train_head,
};
use crate::tensor::derivatives::Derivatives;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// How it is found out whether an opened gate helps.
const BOOTSTRAP: Bootstrap = Bootstrap { replicates: 2000, seed: 0 };

/// The head that was best on development data, and its settings.
#[derive(Clone, Debug)]
pub struct Chosen<'s> {
    /// The head.
    pub head: TrainedHead,
    /// What it was trained with.
    pub settings: &'s HeadSettings,
}

/// Trains a head with each of several settings and keeps the one that is best on the round's development data, of equals the one with
/// the fewest open gates, and of these the first; without development data, the first. [`HeadSettings::gate_confidence`] says how much
/// better heads with more open gates must be. Settings under which the loss is not a number from the start are passed over while
/// others are left.
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
    let (mut choice, mut failure) = (Choice::default(), None);
    for own in settings {
        let head = match train_head(engine, spec, &round.train, development, own, seed, |epoch| report(own, epoch)) {
            Ok(head) => head,
            Err(error @ Error::Diverged { .. }) => {
                failure.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        choice.add(Chosen { head, settings: own });
    }
    choice.best(engine, development)?.ok_or_else(|| failure.unwrap_or_else(no_settings))
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
    let mut choice = Choice::default();
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
            let records = "all of the training data".to_owned();
            return Err(Error::Diverged { loss: f32::NAN, step: 1, epoch: 1, records });
        }
        let dev = development.map(|dev| score(engine, &head, dev)).transpose()?;
        let entry = EpochReport { epoch: 1, step: 1, loss: 0.0, learning_rate: 0.0, dev };
        report(own, &entry);
        head.epochs.push(entry);
        choice.add(Chosen { head, settings: own });
    }
    choice.best(engine, development)?.ok_or_else(no_settings)
}

fn no_settings() -> Error {
    Error::Setting { name: "grid", found: "empty".to_owned(), expected: "at least one combination" }
}

/// The best head for each number of open gates.
#[derive(Default)]
struct Choice<'s>(BTreeMap<usize, Chosen<'s>>);

impl<'s> Choice<'s> {
    fn add(&mut self, own: Chosen<'s>) {
        let open = own.settings.open_gates(own.head.spec.stack.len());
        match self.0.entry(open) {
            Entry::Vacant(place) => drop(place.insert(own)),
            Entry::Occupied(mut best) if own.head.dev() > best.get().head.dev() => drop(best.insert(own)),
            Entry::Occupied(_) => {}
        }
    }

    /// Begins with the fewest open gates, and opens more where development data say so.
    fn best<E: Derivatives>(
        self,
        engine: &E,
        development: Option<&Development<'_>>,
    ) -> Result<Option<Chosen<'s>>, Error> {
        let mut all = self.0.into_values();
        let Some(mut best) = all.next() else { return Ok(None) };
        for own in all {
            let confidence = own.settings.gate_confidence;
            let better = match development {
                Some(development) if confidence > 0.0 => {
                    own.head.dev() > best.head.dev()
                        && doubt(engine, &own.head, &best.head, development)? <= 1.0 - confidence
                }
                _ => own.head.dev() > best.head.dev(),
            };
            if better {
                best = own;
            }
        }
        Ok(Some(best))
    }
}

/// The p value of "the first head is better than the second", by a paired bootstrap over development records.
fn doubt<E: Derivatives>(
    engine: &E,
    first: &TrainedHead,
    second: &TrainedHead,
    development: &Development<'_>,
) -> Result<f64, Error> {
    let system = |head| Ok::<_, Error>(System { seeds: vec![tallies(engine, head, development)?] });
    let view = &development.view;
    let mut clusters = numbered(view.records.iter().map(|&record| &*view.set.clusters[record]));
    if clusters.iter().all(|cluster| *cluster == 0) {
        // All in one would be the same in every replicate: each record stands for itself.
        clusters = (0..).take(view.records.len()).collect();
    }
    let replicates = BOOTSTRAP.draw(development.metric, &[system(first)?, system(second)?], &clusters);
    Ok(replicates.difference(0, 1).p)
}

fn score<E: Derivatives>(engine: &E, head: &TrainedHead, dev: &Development<'_>) -> Result<f64, Error> {
    Ok(dev.metric.of_tallies(&tallies(engine, head, dev)?))
}

fn tallies<E: Derivatives>(engine: &E, head: &TrainedHead, dev: &Development<'_>) -> Result<Vec<Tally>, Error> {
    let answers = predict(engine, head, &dev.view)?.answers(head.spec.kind, dev.rule);
    let gold = dev.view.records.iter().map(|&record| &dev.view.set.targets[record]);
    Ok(gold.zip(&answers).map(|(gold, answer)| dev.metric.tally(gold, answer)).collect())
}
