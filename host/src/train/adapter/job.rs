//! One recipe's run: its order of examples, how far it is, its checkpoints and its log.
//!
//! ```text
//! DIRECTORY/checkpoint.safetensors   where to go on
//! DIRECTORY/best.safetensors         the weights that the dev data like best
//! DIRECTORY/log.jsonl                a line per logged update and per evaluation
//! DIRECTORY/events/                  the same for TensorBoard
//! DIRECTORY/lock                     held while a process trains here
//! ```
//! What belongs to an update is written before the checkpoint of that update, so that a run that goes on repeats it.

use super::network::{ADAPTER, Network};
use super::prepare::Prepared;
use crate::error::Error;
use crate::tensor::derivatives::Derivatives;
use crate::train::checkpoint::{self, Best, Evaluation, NamedValues, NetworkState, Progress};
use crate::train::error::TrainError;
use crate::train::log::{Entry, EvaluationEntry, StepEntry, TrainingLog};
use crate::train::optimizer::AdamWConfig;
use crate::train::recipe;
use crate::train::sampler::Sampler;
use crate::train::schedule::{LinearSchedule, ScheduleIndex};
use crate::train::tensorboard::EventWriter;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Updates between two lines of the log.
const LOG_EVERY: u64 = 10;

/// What an update did.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The mean loss of its batch.
    pub loss: f64,
    /// Over how many (examples, words) that is the mean.
    pub weight: f64,
    /// The gradient's norm before clipping.
    pub norm: f64,
    /// Tokens that this process computed.
    pub tokens: u64,
}

/// One recipe's run.
pub struct Job<E: Derivatives> {
    /// The recipe with its data.
    pub prepared: Prepared,
    /// The networks.
    pub network: Network<E>,
    /// How far it is.
    pub progress: Progress,
    directory: PathBuf,
    sampler: Sampler,
    schedule: LinearSchedule,
    /// The batches of the epoch that the next update belongs to.
    batches: Vec<Vec<u32>>,
    total: u64,
    writes: Option<Writes>,
    resumed: bool,
    _lock: Option<File>,
}

/// What the first process writes.
struct Writes {
    log: TrainingLog,
    events: EventWriter,
    /// Since the last line about a step: what updates took, and the tokens that went through them.
    seconds: f64,
    tokens: u64,
}

impl<E: Derivatives> std::fmt::Debug for Job<E> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Job").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl<E: Derivatives> Job<E> {
    /// Starts in a folder, or goes on there. `writes` is true for the first of several processes.
    ///
    /// # Errors
    /// When the folder holds another run, or cannot be written to.
    pub fn open(engine: &E, prepared: Prepared, directory: &Path, fresh: bool, writes: bool) -> Result<Self, Error> {
        let training = &prepared.recipe.training;
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| TrainError::Io { action, path, source }
        };
        fs::create_dir_all(directory).map_err(io("make", directory))?;
        let lock = if writes { Some(lock(directory)?) } else { None };
        if fresh && writes {
            for name in [CHECKPOINT, BEST, LOG] {
                match fs::remove_file(directory.join(name)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(io("remove", &directory.join(name))(error).into());
                    }
                    _ => {}
                }
            }
            if directory.join(EVENTS).exists() {
                fs::remove_dir_all(directory.join(EVENTS)).map_err(io("remove", &directory.join(EVENTS)))?;
            }
        }
        let optimizer = AdamWConfig {
            beta1: training.beta1,
            beta2: training.beta2,
            epsilon: training.epsilon,
            weight_decay: training.weight_decay,
        };
        let mut network = Network::new(engine, &prepared.architecture, optimizer, training.seed)?;
        let sampler = Sampler { seed: training.seed, batch: training.batch, bucket: training.bucket };
        let of_epoch = sampler.batches(prepared.train.len()) as u64;
        let total = if training.max_steps > 0 { training.max_steps } else { of_epoch * training.epochs as u64 };
        let schedule = LinearSchedule {
            peak: training.learning_rate,
            warmup: warmup(training, total),
            total,
            index: match training.schedule_index {
                recipe::ScheduleIndex::Current => ScheduleIndex::ScheduleFirst,
                recipe::ScheduleIndex::Previous => ScheduleIndex::OptimizerFirst,
            },
        };
        let mut layout = network.layout();
        let path = directory.join(CHECKPOINT);
        let identity = prepared.identity.to_string();
        let found = if fresh { None } else { checkpoint::read(&path, &mut layout)? };
        let resumed = found.is_some();
        let progress = match found {
            None => Progress { identity, ..Progress::default() },
            Some(progress) if progress.identity != identity => {
                return Err(TrainError::ForeignCheckpoint {
                    path,
                    what: "identity (recipe, data, plugin and backbone)",
                    found: progress.identity,
                    expected: identity,
                }
                .into());
            }
            Some(progress) => {
                network.restore(engine, layout)?;
                progress
            }
        };
        if !resumed && let Some(start) = &prepared.recipe.adapter.start_from {
            let values = super::package::weights_of(&prepared.recipe.folder().join(start), &network.layout()[ADAPTER])?;
            network.start_from(engine, values)?;
        }
        let writes = if writes {
            let log = directory.join(LOG);
            let log = if resumed { TrainingLog::resume(&log, progress.step)? } else { TrainingLog::create(&log)? };
            let events = EventWriter::open(&directory.join(EVENTS), resumed.then_some(progress.step))?;
            Some(Writes { log, events, seconds: 0.0, tokens: 0 })
        } else {
            None
        };
        let batches = sampler.epoch(progress.epoch, prepared.train.tokens());
        let directory = directory.to_owned();
        Ok(Self {
            prepared,
            network,
            progress,
            directory,
            sampler,
            schedule,
            batches,
            total,
            writes,
            resumed,
            _lock: lock,
        })
    }

    /// Whether it goes on from a checkpoint.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// All updates that it makes, unless it stops early.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Updates until the highest learning rate.
    pub fn warmup(&self) -> u64 {
        self.schedule.warmup
    }

    /// The examples of the next update; none when it is done.
    pub fn batch(&self) -> Option<&[u32]> {
        if self.progress.done { None } else { self.batches.get(self.progress.batch).map(Vec::as_slice) }
    }

    /// The number of the next update, from 1.
    pub fn next_step(&self) -> u64 {
        self.progress.step + 1
    }

    /// The learning rate of the next update.
    pub fn rate(&self) -> f64 {
        self.schedule.rate(self.next_step())
    }

    /// Files and lines of some examples, for a person.
    pub fn records(&self, examples: &[u32]) -> String {
        const MOST: usize = 8;
        let name = |&example: &u32| match self.prepared.train.origin(example) {
            Ok(origin) => format!("{}:{}", origin.path.display(), origin.line),
            Err(_) => format!("number {example}"),
        };
        let mut names: Vec<_> = examples.iter().take(MOST).map(name).collect();
        if examples.len() > MOST {
            names.push(format!("and {} more", examples.len() - MOST));
        }
        names.join(", ")
    }

    /// Takes note of an update; whether an evaluation is due.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn updated(&mut self, step: Step, seconds: f64) -> Result<bool, Error> {
        let rate = self.rate();
        let of_epoch = self.batches.len().max(1);
        let progress = &mut self.progress;
        progress.step += 1;
        progress.batch += 1;
        progress.tokens += step.tokens;
        progress.seconds += seconds;
        progress.loss_sum += step.loss * step.weight;
        progress.loss_weight += step.weight;
        #[expect(clippy::cast_precision_loss, reason = "numbers of updates are far below 2^53")]
        let epoch = progress.epoch as f64 + progress.batch as f64 / of_epoch as f64;
        if let Some(writes) = &mut self.writes {
            writes.tokens += step.tokens;
            writes.seconds += seconds;
            if progress.step.is_multiple_of(LOG_EVERY) || progress.step == 1 {
                #[expect(clippy::cast_precision_loss, reason = "a count of tokens is far below 2^53")]
                let tokens_per_second = writes.tokens as f64 / writes.seconds.max(1e-9);
                (writes.tokens, writes.seconds) = (0, 0.0);
                writes.log.write(&Entry::Step(StepEntry {
                    step: progress.step,
                    epoch,
                    loss: step.loss,
                    learning_rate: rate,
                    gradient_norm: step.norm,
                    tokens_per_second,
                    metrics: BTreeMap::new(),
                }))?;
                let scalars =
                    [("train/loss", step.loss), ("train/learning_rate", rate), ("train/gradient_norm", step.norm)];
                writes.events.scalars(progress.step, &scalars)?;
            }
        }
        let training = &self.prepared.recipe.training;
        let epoch_over = progress.batch >= self.batches.len();
        let due = match training.evaluate_every {
            0 => epoch_over,
            every => progress.step.is_multiple_of(every),
        };
        if epoch_over {
            progress.epoch += 1;
            progress.batch = 0;
            self.batches = self.sampler.epoch(progress.epoch, self.prepared.train.tokens());
        }
        progress.done = progress.step >= self.total;
        Ok(due || progress.done)
    }

    /// The value of the metric that chooses the best weights.
    ///
    /// # Errors
    /// When there is no such metric.
    pub fn chosen(&self, metrics: &[(String, f64)]) -> Result<f64, TrainError> {
        let chosen = match &self.prepared.recipe.training.metric {
            None => metrics.first(),
            Some(name) => metrics.iter().find(|(found, _)| found == name),
        };
        chosen.map(|(_, value)| *value).ok_or_else(|| TrainError::Metric {
            found: self.prepared.recipe.training.metric.clone().unwrap_or_default(),
            known: metrics.iter().map(|(name, _)| name.clone()).collect(),
        })
    }

    /// Takes note of an evaluation: keeps the weights if they are the best, stops if none has been better for long.
    ///
    /// # Errors
    /// When there is no such metric, or files cannot be written.
    pub fn evaluated(&mut self, engine: &E, metrics: Vec<(String, f64)>) -> Result<&Evaluation, Error> {
        let value = self.chosen(&metrics)?;
        let progress = &mut self.progress;
        let evaluation = Evaluation {
            step: progress.step,
            epoch: if progress.batch == 0 { progress.epoch } else { progress.epoch + 1 },
            loss: progress.loss_sum / progress.loss_weight.max(f64::MIN_POSITIVE),
            metrics,
        };
        (progress.loss_sum, progress.loss_weight) = (0.0, 0.0);
        if let Some(writes) = &mut self.writes {
            #[expect(clippy::cast_precision_loss, reason = "numbers of epochs are small")]
            writes.log.write(&Entry::Evaluation(EvaluationEntry {
                step: evaluation.step,
                epoch: evaluation.epoch as f64,
                split: "dev".into(),
                metrics: evaluation.metrics.iter().cloned().collect(),
            }))?;
            let names: Vec<_> =
                evaluation.metrics.iter().map(|(name, value)| (format!("dev/{name}"), *value)).collect();
            let scalars: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            writes.events.scalars(evaluation.step, &scalars)?;
        }
        if progress.best.as_ref().is_none_or(|best| value > best.value) {
            progress.best = Some(Best { step: progress.step, value });
            progress.without_better = 0;
            if self.writes.is_some() {
                let mut networks = self.network.state(engine)?;
                networks.values_mut().for_each(|network| network.optimizer.clear());
                checkpoint::write(&self.directory.join(BEST), &self.progress, &networks)?;
            }
        } else {
            progress.without_better += 1;
        }
        let patience = self.prepared.recipe.training.patience;
        if patience > 0 && self.progress.without_better >= patience {
            self.progress.done = true;
        }
        self.progress.evaluations.push(evaluation);
        Ok(&self.progress.evaluations[self.progress.evaluations.len() - 1])
    }

    /// Writes a checkpoint.
    ///
    /// # Errors
    /// When it cannot be written; the one before is whole then.
    pub fn save(&mut self, engine: &E) -> Result<(), Error> {
        if self.writes.is_some() {
            checkpoint::write(&self.directory.join(CHECKPOINT), &self.progress, &self.network.state(engine)?)?;
        }
        Ok(())
    }

    /// Whether a checkpoint is due between evaluations.
    pub fn save_is_due(&self) -> bool {
        let every = self.prepared.recipe.training.save_every;
        every > 0 && self.progress.step.is_multiple_of(every)
    }

    /// The adapter's weights that the run ends with: the best, or the last where the recipe asks for them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn finished(&self, engine: &E) -> Result<Vec<NamedValues>, Error> {
        let path = self.directory.join(BEST);
        if self.prepared.recipe.training.keep_last || !path.exists() {
            return self.network.adapter_values(engine);
        }
        let mut networks = self.network.layout();
        checkpoint::read(&path, &mut networks)?;
        let NetworkState { declared, values, .. } = networks.remove(ADAPTER).unwrap_or_default();
        Ok(declared.into_iter().zip(values).map(|((name, shape), values)| (name, shape, values)).collect())
    }
}

const CHECKPOINT: &str = "checkpoint.safetensors";
const BEST: &str = "best.safetensors";
const LOG: &str = "log.jsonl";
const EVENTS: &str = "events";

/// Two processes in one folder would overwrite each other.
fn lock(directory: &Path) -> Result<File, TrainError> {
    let path = directory.join("lock");
    let io = |source| TrainError::Io { action: "write", path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(TrainError::Busy { path: directory.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(io(source)),
    }
}

fn warmup(training: &recipe::TrainingPart, total: u64) -> u64 {
    if training.warmup_steps > 0 {
        return training.warmup_steps;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a fraction of a number of updates"
    )]
    let steps = (training.warmup_fraction * total as f64).round() as u64;
    steps
}
