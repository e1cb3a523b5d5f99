//! Trains one head: mini-batches of feature rows, the official optimiser, the best epoch on development data kept.

use super::batch::Batch;
use super::choose::choose_ridge;
use super::objective::Gold;
use super::predict::logits_with;
use super::standardise::standardise;
use super::{AnswerRule, Error, FeatureSet, HeadSettings, HeadSpec, Metric, Solver, Tally, View};
use crate::parameters::Declared;
use crate::pipeline::network::Dropouts;
use crate::tensor::derivatives::Derivatives;
use crate::tensor::tape::{DropoutStream, Tape, Trainable};
use crate::train::optimizer::{AdamW, clip_coefficient};
use crate::train::schedule::LinearSchedule;
use kadapter_plugin_api::Engine;
use kadapter_plugin_api::random::Random;
use serde::Serialize;

/// Development data and how the best epoch is chosen on it.
#[derive(Clone, Debug)]
pub struct Development<'a> {
    /// The records.
    pub view: View<'a>,
    /// What is compared.
    pub metric: &'a Metric,
    /// How logits become answers.
    pub rule: AnswerRule,
}

/// A head that was trained.
#[derive(Clone, Debug)]
pub struct TrainedHead {
    /// What it is.
    pub spec: HeadSpec,
    /// Its tensors, in the order of [`HeadSpec::declared`].
    pub parameters: Vec<(Declared, Vec<f32>)>,
    /// What happened in each epoch.
    pub epochs: Vec<EpochReport>,
    /// The epoch, from 1, that the tensors are of.
    pub best: usize,
    /// Why training ended.
    pub stop: Stop,
}

/// What happened in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EpochReport {
    /// Which one, from 1.
    pub epoch: usize,
    /// Updates so far.
    pub step: u64,
    /// The mean loss of its batches.
    pub loss: f64,
    /// The learning rate of its last update.
    pub learning_rate: f64,
    /// The metric on development data, where there is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<f64>,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// All epochs were done.
    Finished,
    /// The development score had not risen for as many epochs as the settings have patience for.
    Patience,
    /// The loss was not a number; the tensors are those of the best epoch before.
    Diverged,
}

impl TrainedHead {
    /// The development score of the epoch that was kept.
    #[must_use]
    pub fn dev(&self) -> Option<f64> {
        self.epochs.iter().find(|report| report.epoch == self.best).and_then(|report| report.dev)
    }
}

/// Trains a head on features. The result depends on the features, the settings and the seed alone, not on the number of threads.
///
/// Several heads may be trained at the same time, each on a thread and an engine of its own.
///
/// # Errors
/// When the settings make no sense, features are missing, there is no record, the device fails, or the loss is not a number before an
/// epoch was done.
pub fn train_head<E: Derivatives>(
    engine: &E,
    spec: &HeadSpec,
    train: &View<'_>,
    dev: Option<&Development<'_>>,
    settings: &HeadSettings,
    seed: u64,
    mut report: impl FnMut(&EpochReport),
) -> Result<TrainedHead, Error> {
    settings.check()?;
    spec.check()?;
    if train.is_empty() {
        return Err(Error::NoRecords { what: "the training data".to_owned() });
    }
    if settings.solver == Solver::Ridge {
        let own = std::slice::from_ref(settings);
        return Ok(choose_ridge(engine, spec, train, dev, own, |_, epoch| report(epoch))?.head);
    }
    let parameters = spec.parameters().into_iter().map(|parameter| {
        let values = parameter.initial(seed);
        (parameter.declared, values)
    });
    let mut parameters: Vec<_> = parameters.collect();
    standardise(spec, train, settings, &mut parameters)?;
    let trainable = Trainable::new(engine, parameters)?;
    for (index, declared) in trainable.declared().iter().enumerate() {
        if let Some(param) = trainable.param(index).filter(|_| spec.is_fixed(&declared.name)) {
            param.set_frozen(true);
        }
    }
    let mut run = Run {
        engine,
        spec,
        settings,
        optimizer: AdamW::new(settings.adamw(), &trainable),
        trainable,
        schedule: schedule(settings, train.len()),
        dropout: DropoutStream { seed },
        step: 0,
    };

    let mut trained =
        TrainedHead { spec: spec.clone(), parameters: Vec::new(), epochs: Vec::new(), best: 0, stop: Stop::Finished };
    let mut best = f64::NEG_INFINITY;
    for epoch in 1..=settings.epochs {
        let records = shuffled(&train.records, seed, epoch);
        let mut losses = 0.0;
        let mut batches = 0;
        for batch in records.chunks(settings.batch) {
            let loss = run.step(train.set, batch)?;
            if !loss.is_finite() {
                if trained.parameters.is_empty() {
                    let records = named(batch.iter().map(|&record| &*train.set.keys[record]));
                    return Err(Error::Diverged { loss, step: run.step, epoch, records });
                }
                trained.stop = Stop::Diverged;
                return Ok(trained);
            }
            losses += f64::from(loss);
            batches += 1;
        }
        let dev = dev.map(|dev| run.score(dev)).transpose()?;
        let entry = EpochReport {
            epoch,
            step: run.step,
            loss: losses / f64::from(batches.max(1)),
            learning_rate: run.schedule.rate(run.step),
            dev,
        };
        report(&entry);
        trained.epochs.push(entry);
        if dev.is_none_or(|score| score > best) {
            best = dev.unwrap_or(best);
            trained.best = epoch;
            trained.parameters = run.values()?;
        } else if settings.patience.is_some_and(|patience| epoch - trained.best >= patience) {
            trained.stop = Stop::Patience;
            break;
        }
    }
    Ok(trained)
}

/// A training run under way.
struct Run<'a, E: Derivatives> {
    engine: &'a E,
    spec: &'a HeadSpec,
    settings: &'a HeadSettings,
    trainable: Trainable<E>,
    optimizer: AdamW<E>,
    schedule: LinearSchedule,
    dropout: DropoutStream,
    step: u64,
}

impl<E: Derivatives> Run<'_, E> {
    /// One update; gives the loss before it.
    fn step(&mut self, set: &FeatureSet, records: &[usize]) -> Result<f32, Error> {
        self.step += 1;
        let gold = Gold::of(self.spec, set, records)?;
        let tape = Tape::new(self.engine, Some(self.dropout.at_step(self.step)));
        let batch = Batch::gather(&tape, self.spec, set, records)?;
        let network = self.spec.network(self.params()).ok_or(Error::NoHead { kind: self.spec.kind })?;
        let dropouts = Dropouts { fusion: self.settings.fusion_dropout, head: self.settings.dropout };
        let loss = gold.loss(&tape, &network.forward(&tape, self.spec, &batch, dropouts)?)?;
        let value = tape.read_f32(&loss)?.first().copied().unwrap_or(f32::NAN);
        if !value.is_finite() {
            return Ok(value);
        }
        let gradients = tape.backward(&loss, 1.0)?;
        let scale = match self.settings.clip {
            Some(most) => clip_coefficient(gradients.norm(self.engine)?, most),
            None => 1.0,
        };
        let rate = self.schedule.rate(self.step);
        self.optimizer.update(self.engine, &self.trainable, &gradients, rate, scale)?;
        Ok(value)
    }

    fn params(&self) -> impl Iterator<Item = crate::tensor::tape::TrainParam<E>> + '_ {
        (0..self.trainable.len()).filter_map(|index| self.trainable.param(index).cloned())
    }

    /// The metric on development data.
    fn score(&self, dev: &Development<'_>) -> Result<f64, Error> {
        let tape = Tape::evaluation(self.engine);
        let logits = logits_with(&tape, self.spec, self.params(), &dev.view)?;
        let answers = logits.answers(self.spec.kind, dev.rule);
        let gold = dev.view.records.iter().map(|&record| &dev.view.set.targets[record]);
        let tallies: Vec<Tally> = gold.zip(&answers).map(|(gold, answer)| dev.metric.tally(gold, answer)).collect();
        Ok(dev.metric.of_tallies(&tallies))
    }

    /// The tensors as they are.
    fn values(&self) -> Result<Vec<(Declared, Vec<f32>)>, Error> {
        let read =
            |(index, declared): (usize, &Declared)| Ok((declared.clone(), self.trainable.read(self.engine, index)?));
        self.trainable.declared().iter().enumerate().map(read).collect()
    }
}

/// The first records of a batch, by their sentences.
fn named<'a>(sentences: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    const LONGEST: usize = 60;
    let more = sentences.len().saturating_sub(SHOWN);
    let short = |sentence: &str| match sentence.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", sentence[..end].escape_debug()),
        None => format!("`{}`", sentence.escape_debug()),
    };
    let shown = sentences.take(SHOWN).map(short).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn schedule(settings: &HeadSettings, records: usize) -> LinearSchedule {
    let total = (records.div_ceil(settings.batch) * settings.epochs) as u64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a number of updates"
    )]
    let warmup = (settings.warmup * total as f64).round() as u64;
    LinearSchedule { peak: settings.learning_rate, warmup, total, index: settings.schedule_index() }
}

/// The records of an epoch in an order that depends on seed and epoch alone (Fisher and Yates).
fn shuffled(records: &[usize], seed: u64, epoch: usize) -> Vec<usize> {
    let mut records = records.to_vec();
    let mut random = Random::named(seed, &format!("epoch {epoch}"));
    for last in (1..records.len()).rev() {
        let place = random.next_u64() % (last as u64 + 1);
        records.swap(last, usize::try_from(place).unwrap_or(0));
    }
    records
}
