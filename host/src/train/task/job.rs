//! `kadapter train task`: from a recipe to trained variants and their card.
//!
//! ```toml
//! [registries] … [backbone] … [adapters] …       # as in a manifest
//!
//! [package]
//! name = "me/relations"
//! license = "CC-BY-3.0"
//!
//! [task]                                         # what is answered, and the data
//! kind = "relation-classification"
//! train = "train.txt"
//! dev = { share = 0.1 }
//! test = "test.txt"
//!
//! [training]                                     # and `[grid]`, where some settings are chosen on development data
//! epochs = 20
//! seeds = 3
//!
//! [[variants]]
//! stack = ["factual", "linguistic"]
//! fusion = "blocks"
//! taps = [0, 3, 5]
//! ```

use super::package::{PackagePart, TrainedVariant, VariantPart};
use super::{
    EncodeReport, EpochReport, Error, Extraction, Feature, FeatureSet, Grid, HeadSettings, HeadSpec, PreparedTask,
    Round, SplitName, Splits, TaskRecipe, choose, encode, extract, predict,
};
use crate::compare::recipe::{RecipeError, Seeds};
use crate::tensor::cpu::{CpuConfig, CpuEngine};
use crate::tokenizer::Tokenizer;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A recipe for a task package.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskJob {
    /// What the package says about itself.
    pub package: PackagePart,
    /// What is answered, and the data to learn it from.
    pub task: TaskRecipe,
    /// How heads are trained.
    #[serde(default)]
    pub training: HeadSettings,
    /// Settings that are tried one with another.
    #[serde(default)]
    pub grid: Grid,
    /// How often: the seed that is best on development data is kept, all are told in the card.
    #[serde(default = "one_seed")]
    pub seeds: Seeds,
    /// The stacks.
    pub variants: Vec<VariantPart>,
    #[serde(default, rename = "project")]
    _project: IgnoredAny,
    #[serde(rename = "registries")]
    _registries: IgnoredAny,
    #[serde(rename = "backbone")]
    _backbone: IgnoredAny,
    #[serde(default, rename = "adapters")]
    _adapters: IgnoredAny,
}

fn one_seed() -> Seeds {
    Seeds::Count(1)
}

/// What a job is run with.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The folder that the recipe's files are relative to.
    pub folder: &'a Path,
    /// How features are computed.
    pub extraction: Extraction<'a>,
    /// The backbone's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The most tokens that the backbone takes.
    pub max_tokens: usize,
}

/// What happens while a job runs; also the lines of its log.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum TaskEvent {
    /// Records of a split went through backbone and adapters.
    Features {
        /// The split.
        split: SplitName,
        /// Records so far.
        done: usize,
        /// Records of the split.
        total: usize,
    },
    /// A split is ready.
    Data {
        /// The split.
        split: SplitName,
        /// What became of its records.
        #[serde(flatten)]
        report: EncodeReport,
    },
    /// An epoch of a head is done.
    Epoch {
        /// The variant's stack.
        variant: String,
        /// The seed.
        seed: u64,
        /// The settings.
        settings: Box<HeadSettings>,
        /// What happened.
        #[serde(flatten)]
        report: EpochReport,
    },
    /// A head was chosen.
    Head {
        /// The variant's stack.
        variant: String,
        /// The seed.
        seed: u64,
        /// The settings that were best on development data.
        settings: Box<HeadSettings>,
        /// The epoch that was kept.
        epoch: usize,
        /// Why training ended.
        stop: super::Stop,
        /// The development score.
        dev: Option<f64>,
        /// The test score.
        test: Option<f64>,
    },
}

impl TaskJob {
    /// Reads a recipe.
    ///
    /// # Errors
    /// When it cannot be read, a key is unknown, or it has no variant or no seed.
    pub fn read(path: &Path) -> Result<Self, RecipeError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| RecipeError::Io { file: file.clone(), source })?;
        let job: Self = toml::from_str(&text).map_err(|source| RecipeError::Toml { file, source: Box::new(source) })?;
        if job.variants.is_empty() {
            return Err(RecipeError::Nothing { what: "variant" });
        }
        if job.seeds.list().is_empty() {
            return Err(RecipeError::Nothing { what: "seed" });
        }
        if job.task.folds.is_some() {
            return Err(RecipeError::Folds);
        }
        for variant in &job.variants {
            if let Some(adapter) = variant.less_taps.stranger(&variant.stack) {
                return Err(RecipeError::LessTaps { name: variant.name(), adapter: adapter.clone() });
            }
        }
        let mut stacks = std::collections::BTreeSet::new();
        match job.variants.iter().find(|variant| !stacks.insert(&variant.stack)) {
            Some(twice) => Err(RecipeError::Twice { name: twice.name() }),
            None => Ok(job),
        }
    }

    /// Encodes the data, computes the features and trains every variant with every seed, on all cores. Events come from one thread
    /// at a time.
    ///
    /// # Errors
    /// When data or settings do not fit the task, features cannot be computed, or a loss is not a number from the start.
    pub fn train(
        &self,
        with: Surroundings<'_>,
        prepared: &PreparedTask,
        event: impl FnMut(TaskEvent) + Send,
    ) -> Result<Vec<TrainedVariant>, Error> {
        let mut event = event;
        let base = self.task.settings(&self.training)?;
        let grid = self.task.grid.as_ref().unwrap_or(&self.grid);
        let mut runs = Vec::new();
        for (place, variant) in self.variants.iter().enumerate() {
            let hidden = with.extraction.hidden;
            let plan = with.extraction.runner.plan();
            let spec = variant.spec(prepared, &self.task, plan, hidden).ok_or(Error::NoHead { kind: prepared.kind })?;
            spec.check()?;
            let settings = grid.expand(&base, variant.fusion, variant.stack.len());
            settings.iter().try_for_each(HeadSettings::check)?;
            runs.extend(self.seeds.list().into_iter().map(|seed| Run {
                variant: place,
                name: variant.name(),
                seed,
                spec: spec.clone(),
                settings: settings.clone(),
            }));
        }
        let splits = self.splits(with, prepared, &runs, &mut event)?;
        let finished = train_all(&splits, &runs, prepared, event)?;
        let mut variants = Vec::new();
        for (place, part) in self.variants.iter().enumerate() {
            let own: Vec<&Finished> =
                finished.iter().filter(|(run, _)| runs[*run].variant == place).map(|(_, finished)| finished).collect();
            let score = |finished: &Finished| finished.dev.unwrap_or(0.0);
            // The first of equals: without development data, the first seed.
            let Some(best) = own.iter().copied().reduce(|best, own| if score(own) > score(best) { own } else { best })
            else {
                continue;
            };
            variants.push(TrainedVariant {
                part: part.clone(),
                head: best.head.clone(),
                settings: best.settings.clone(),
                seed: best.seed,
                scores: own.iter().map(|finished| (finished.seed, finished.dev, finished.test)).collect(),
            });
        }
        Ok(variants)
    }

    fn splits(
        &self,
        with: Surroundings<'_>,
        prepared: &PreparedTask,
        runs: &[Run],
        event: &mut impl FnMut(TaskEvent),
    ) -> Result<Splits, Error> {
        let wanted: std::collections::BTreeSet<Feature> = runs.iter().flat_map(|run| run.spec.features()).collect();
        let wanted: Vec<Feature> = wanted.into_iter().collect();
        let mut part = |split| -> Result<FeatureSet, Error> {
            let records = self.task.records(with.folder, split)?;
            let encoded = encode(with.tokenizer, prepared, split, records, &self.task)?;
            let set = extract(with.extraction, &*prepared.task, encoded, &wanted, |done, total| {
                event(TaskEvent::Features { split, done, total });
            })?;
            event(TaskEvent::Data { split, report: set.report.clone() });
            Ok(set)
        };
        let train = part(SplitName::Train)?;
        let dev = self.task.dev.is_some().then(|| part(SplitName::Dev)).transpose()?;
        let test = self.task.test.is_some().then(|| part(SplitName::Test)).transpose()?;
        let negative_sample = prepared.no_relation.zip(self.task.negative_sample);
        Ok(Splits { train, dev, test, folds: None, negative_sample })
    }
}

/// A variant with a seed.
struct Run {
    variant: usize,
    name: String,
    seed: u64,
    spec: HeadSpec,
    settings: Vec<HeadSettings>,
}

/// A head that was trained.
struct Finished {
    head: super::TrainedHead,
    settings: HeadSettings,
    seed: u64,
    dev: Option<f64>,
    test: Option<f64>,
}

/// Trains all runs, as many at a time as there are cores; they come back in their order.
fn train_all(
    splits: &Splits,
    runs: &[Run],
    prepared: &PreparedTask,
    event: impl FnMut(TaskEvent) + Send,
) -> Result<Vec<(usize, Finished)>, Error> {
    let rounds = splits.rounds(1.0, 0)?;
    let Some(round) = rounds.first() else { return Err(Error::NoRecords { what: "the training data".to_owned() }) };
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let event = Mutex::new(event);
    let finished = Mutex::new((Vec::new(), None));
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(runs.len());
    let tell = |entry: TaskEvent| {
        let mut event = event.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (*event)(entry);
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let engine = CpuEngine::new(CpuConfig { threads: NonZeroUsize::MIN, ..CpuConfig::default() });
                while !stop.load(Ordering::Relaxed) {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(place) else { break };
                    let result = train_one(&engine, round, run, prepared, &tell);
                    let mut finished = finished.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    match result {
                        Ok(result) => finished.0.push((place, result)),
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            finished.1.get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    let (mut all, failure) = finished.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    all.sort_by_key(|(place, _)| *place);
    failure.map_or(Ok(all), Err)
}

fn train_one(
    engine: &CpuEngine,
    round: &Round<'_>,
    run: &Run,
    prepared: &PreparedTask,
    tell: &impl Fn(TaskEvent),
) -> Result<Finished, Error> {
    let report = |settings: &HeadSettings, report: &EpochReport| {
        tell(TaskEvent::Epoch {
            variant: run.name.clone(),
            seed: run.seed,
            settings: Box::new(settings.clone()),
            report: *report,
        });
    };
    let (metric, rule) = (&prepared.metric, prepared.rule);
    let chosen = choose(engine, &run.spec, round, metric, rule, &run.settings, run.seed, report)?;
    let test = if round.test.is_empty() {
        None
    } else {
        let answers = predict(engine, &chosen.head, &round.test)?.answers(run.spec.kind, rule);
        let gold = round.test.records.iter().map(|&record| &round.test.set.targets[record]);
        let tallies: Vec<_> = gold.zip(&answers).map(|(gold, answer)| metric.tally(gold, answer)).collect();
        Some(metric.of_tallies(&tallies))
    };
    let dev = chosen.head.dev();
    tell(TaskEvent::Head {
        variant: run.name.clone(),
        seed: run.seed,
        settings: Box::new(chosen.settings.clone()),
        epoch: chosen.head.best,
        stop: chosen.head.stop,
        dev,
        test,
    });
    Ok(Finished { settings: chosen.settings.clone(), head: chosen.head, seed: run.seed, dev, test })
}
