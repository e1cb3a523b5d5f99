//! The runs of a comparison: what is missing is trained, on all cores, and kept as soon as it is done.

use super::condition::{Condition, features};
use super::recipe::{Recipe, RecipeError};
use super::report::{About, Group, Outcome, Report};
use super::results::{Answers, Results, ResultsError, RunResult};
use crate::data::{Share, Subset};
use crate::tensor::cpu::{CpuConfig, CpuEngine};
use crate::tokenizer::Tokenizer;
use crate::train::task::statistics::{Bootstrap, System, mean, numbered};
use crate::train::task::{
    EncodeReport, Encoded, Error, Extraction, Feature, FeatureSet, HeadSettings, HeadSpec, PreparedTask, Solver,
    SplitName, Splits, Target, TaskRecipe, View, choose, encode, extract, predict,
};
use kadapter_registry::Digest;
use kadapter_registry::digest::Hasher;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// The seed of the bootstrap: fixed, so that a report can be made again.
const BOOTSTRAP_SEED: u64 = 0x626f_6f74;
/// The version of what a run is; results of another one are not used.
const VERSION: &str = "kadapter comparison 1";

/// What a comparison is run with.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The folder that its files are relative to.
    pub folder: &'a Path,
    /// How features are computed.
    pub extraction: Extraction<'a>,
    /// The backbone's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The most tokens that the backbone takes.
    pub max_tokens: usize,
    /// Whether only a small part is run.
    pub quick: bool,
}

/// What happens while a comparison runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// Records of a task went through backbone and adapters.
    Features {
        /// The task.
        task: &'a str,
        /// Records so far.
        done: usize,
        /// Records of the split.
        total: usize,
    },
    /// The records of a split are read.
    Data {
        /// The task.
        task: &'a str,
        /// The split.
        split: SplitName,
        /// What became of them.
        report: &'a EncodeReport,
    },
    /// The runs of a task begin.
    Task {
        /// The task.
        task: &'a str,
        /// Runs that are kept from before.
        kept: usize,
        /// Runs to do.
        missing: usize,
    },
    /// A run is done.
    Run(&'a RunResult),
}

/// Why a comparison stopped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum CompareError {
    #[error("task `{task}`")]
    Task {
        task: String,
        #[source]
        source: Box<Error>,
    },
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

impl CompareError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Task { source, .. } => source.hint(),
            Self::Results(error) => Some(error.hint()),
            Self::Recipe(error) => error.hint(),
        }
    }
}

/// Runs what is missing and compares everything. Events come from one thread.
///
/// # Errors
/// When data cannot be read, features cannot be computed, a head cannot be trained, or results cannot be kept. What was done before
/// is kept, and the next run goes on from there.
pub fn run(
    with: Comparison<'_>,
    results: &mut Results,
    mut event: impl FnMut(Event<'_>) + Send,
) -> Result<Report, CompareError> {
    let extent = &with.recipe.compare;
    let bootstrap = Bootstrap { replicates: extent.replicates, seed: BOOTSTRAP_SEED };
    let mut groups = Vec::new();
    for (name, recipe) in &with.recipe.tasks {
        let failed = |source| CompareError::Task { task: name.clone(), source: Box::new(source) };
        let prepared = recipe
            .prepare(with.folder, with.tokenizer, with.max_tokens, with.extraction.settings.compat)
            .map_err(failed)?;
        let data = Data::encode(&with, recipe, &prepared).map_err(failed)?;
        for (split, encoded) in data.splits() {
            event(Event::Data { task: name, split, report: &encoded.report });
        }
        let runs = data.runs(&with, name, recipe, &prepared).map_err(failed)?;
        // Seeds that change nothing about a run share its key.
        let mut wanted = BTreeSet::new();
        let missing = |run: &&PlannedRun| results.get(&run.key).is_none() && wanted.insert(run.key);
        let missing: Vec<&PlannedRun> = runs.iter().filter(missing).collect();
        event(Event::Task { task: name, kept: runs.len() - missing.len(), missing: missing.len() });
        let tested = if missing.is_empty() {
            data.without_features(&prepared, recipe)
        } else {
            let specs: Vec<HeadSpec> = missing.iter().map(|run| run.spec.clone()).collect();
            let wanted = features(&specs);
            let progress = |done, total| event(Event::Features { task: name, done, total });
            data.extract(&with, recipe, &prepared, &wanted, progress).map_err(failed)?
        };
        train(&tested, &missing, &prepared, results, &mut event).map_err(|error| match error {
            TrainError::Head(error) => failed(error),
            TrainError::Results(error) => CompareError::Results(error),
        })?;
        for &fraction in &extent.fractions {
            let group = group(&with, name, fraction, &runs, results, &tested, &prepared, bootstrap).map_err(failed)?;
            groups.extend(group);
        }
    }
    Ok(Report { groups, replicates: extent.replicates })
}

/// A task's splits, encoded.
struct Data {
    train: Encoded,
    dev: Option<Encoded>,
    test: Option<Encoded>,
}

/// One run: what is trained, how, and its key.
#[derive(Debug)]
struct PlannedRun {
    key: Digest,
    task: String,
    condition: Condition,
    fraction: f64,
    seed: u64,
    spec: HeadSpec,
    settings: Vec<HeadSettings>,
}

impl Data {
    fn encode(with: &Comparison<'_>, recipe: &TaskRecipe, prepared: &PreparedTask) -> Result<Self, Error> {
        let part = |split| {
            let records = recipe.records(with.folder, split)?;
            let encoded = encode(with.tokenizer, prepared, split, records, recipe)?;
            if with.quick { encoded.at_most(with.recipe.quick.records) } else { Ok(encoded) }
        };
        Ok(Self {
            train: part(SplitName::Train)?,
            dev: recipe.dev.as_ref().map(|_| part(SplitName::Dev)).transpose()?,
            test: recipe.test.as_ref().map(|_| part(SplitName::Test)).transpose()?,
        })
    }

    fn splits(&self) -> impl Iterator<Item = (SplitName, &Encoded)> {
        let parts = [
            (SplitName::Train, Some(&self.train)),
            (SplitName::Dev, self.dev.as_ref()),
            (SplitName::Test, self.test.as_ref()),
        ];
        parts.into_iter().filter_map(|(split, part)| Some((split, part?)))
    }

    fn each(self) -> [Option<Encoded>; 3] {
        [Some(self.train), self.dev, self.test]
    }

    /// Every run of the task, in order.
    fn runs(
        &self,
        with: &Comparison<'_>,
        task: &str,
        recipe: &TaskRecipe,
        prepared: &PreparedTask,
    ) -> Result<Vec<PlannedRun>, Error> {
        let head = prepared.task.head().ok_or(Error::NoHead { kind: prepared.kind })?;
        let extent = &with.recipe.compare;
        let data = self.digest();
        let plan = with.extraction.runner.plan();
        let extra = recipe.has_extra();
        let mut runs = Vec::new();
        for &fraction in &extent.fractions {
            for condition in &with.recipe.conditions {
                let settings = with.recipe.settings(recipe, condition, with.quick)?;
                let condition = Condition::of(condition);
                for (draw, &seed) in extent.seeds.list().iter().enumerate() {
                    let draw = draw % extent.random_adapters.max(1);
                    let hidden = with.extraction.hidden;
                    let spec = condition.spec(plan, prepared.kind, head, hidden, extra, draw);
                    spec.check()?;
                    let key = self.key(with, &data, recipe, prepared, &spec, &settings, fraction, seed)?;
                    runs.push(PlannedRun {
                        key,
                        task: task.to_owned(),
                        condition: condition.clone(),
                        fraction,
                        seed,
                        spec,
                        settings: settings.clone(),
                    });
                }
            }
        }
        Ok(runs)
    }

    /// What the splits are: all segments, rows, targets and keys.
    fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for split in [Some(&self.train), self.dev.as_ref(), self.test.as_ref()] {
            let Some(split) = split else {
                hasher.update(b"none");
                continue;
            };
            hasher.update(split.digest().as_bytes());
            hasher.update(format!("{:?}{:?}", split.targets, split.keys).as_bytes());
        }
        hasher.finish().0
    }

    #[expect(clippy::too_many_arguments, reason = "a key names everything that goes into a run")]
    fn key(
        &self,
        with: &Comparison<'_>,
        data: &Digest,
        recipe: &TaskRecipe,
        prepared: &PreparedTask,
        spec: &HeadSpec,
        settings: &[HeadSettings],
        fraction: f64,
        seed: u64,
    ) -> Result<Digest, Error> {
        let plan = with.extraction.runner.plan();
        let mut hasher = Hasher::new();
        let mut part = |text: String| {
            hasher.update(text.as_bytes());
            hasher.update(b"\n");
        };
        part(VERSION.to_owned());
        part(format!("{} {}", plan.backbone.weights.digest, plan.backbone.config.digest));
        part(format!("{} {:?}", with.extraction.device, with.extraction.settings.compat));
        part(data.to_string());
        for feature in spec.features() {
            if let Feature::Adapter(name) = &feature {
                let adapter = plan.adapters.iter().find(|adapter| adapter.names.contains(name));
                let adapter = adapter.ok_or_else(|| Error::NoFeatures { feature: feature.to_string() })?;
                let release = &adapter.release;
                let library = adapter.plugin.library.digest;
                part(format!("{} {:?} {} {library}", release.weights.digest, release.taps, release.config));
            }
        }
        part(format!("{spec:?}"));
        part(format!("{settings:?}"));
        part(format!("{:?} {:?} {:?}", prepared.metric, prepared.rule, recipe.folds));
        part(format!("{:?} {:?}", prepared.no_relation, recipe.negative_sample));
        // Adapters attend to pads under `compat = "official"`.
        part(format!("{} {}", prepared.task.max_length(), prepared.task.pad_id()));
        // A head in closed form from all data is the same for every seed; a share of the data is drawn by it.
        let drawn = fraction < 1.0 || recipe.negative_sample.is_some();
        if drawn || settings.iter().any(|settings| settings.solver != Solver::Ridge) {
            part(format!("{fraction} {seed}"));
        } else {
            part(format!("{fraction}"));
        }
        Ok(hasher.finish().0)
    }

    fn extract(
        self,
        with: &Comparison<'_>,
        recipe: &TaskRecipe,
        prepared: &PreparedTask,
        wanted: &[Feature],
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Splits, Error> {
        let mut part = |encoded: Option<Encoded>| {
            encoded.map(|encoded| extract(with.extraction, &*prepared.task, encoded, wanted, &mut progress)).transpose()
        };
        let [train, dev, test] = self.each();
        let train = part(train)?.ok_or_else(|| Error::NoRecords { what: "the training data".to_owned() })?;
        Ok(Splits {
            train,
            dev: part(dev)?,
            test: part(test)?,
            folds: recipe.folds,
            negative_sample: prepared.no_relation.zip(recipe.negative_sample),
        })
    }

    /// The splits for whoever needs no feature: their targets say what is right.
    fn without_features(self, prepared: &PreparedTask, recipe: &TaskRecipe) -> Splits {
        let reads = prepared.task.head().map_or(1, |head| head.reads_per_unit);
        let [train, dev, test] = self
            .each()
            .map(|encoded| encoded.map(|encoded| FeatureSet::without_columns(prepared.kind, reads, encoded)));
        Splits {
            train: train.unwrap_or_else(|| FeatureSet::without_columns(prepared.kind, reads, Encoded::default())),
            dev,
            test,
            folds: recipe.folds,
            negative_sample: prepared.no_relation.zip(recipe.negative_sample),
        }
    }
}

impl Encoded {
    /// At most so many records, of each label as large a share.
    fn at_most(self, most: usize) -> Result<Self, Error> {
        if self.targets.len() <= most {
            return Ok(self);
        }
        let share = Share::new(most as f64 / self.targets.len() as f64)?;
        let strata: Vec<String> = self.targets.iter().map(|target| target.stratum().to_string()).collect();
        let keys = self.keys.iter().map(|key| &**key);
        let subset = Subset::new(0, share, keys.zip(strata.iter().map(String::as_str)));
        let mut part = Self { report: self.report, ..Self::default() };
        let records = self.encodings.into_iter().zip(self.targets).zip(self.keys.into_iter().zip(self.clusters));
        for (_, ((encoding, target), (key, cluster))) in records.enumerate().filter(|(place, _)| subset.has(*place)) {
            part.encodings.push(encoding);
            part.targets.push(target);
            part.keys.push(key);
            part.clusters.push(cluster);
        }
        Ok(part)
    }
}

/// What stops training.
enum TrainError {
    Head(Error),
    Results(ResultsError),
}

/// Trains what is missing, as many runs at a time as there are cores, each on a core of its own.
fn train(
    splits: &Splits,
    missing: &[&PlannedRun],
    prepared: &PreparedTask,
    results: &mut Results,
    event: &mut (impl FnMut(Event<'_>) + Send),
) -> Result<(), TrainError> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let kept = Mutex::new((results, event, None));
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(missing.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let engine = CpuEngine::new(CpuConfig { threads: NonZeroUsize::MIN, ..CpuConfig::default() });
                while !stop.load(Ordering::Relaxed) {
                    let Some(run) = missing.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    let result = run_one(&engine, splits, run, prepared);
                    // Whoever panicked in here left a whole file behind.
                    let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let (results, event, failure) = &mut *kept;
                    let outcome = match result {
                        Ok(result) => {
                            event(Event::Run(&result));
                            results.add(result).map_err(TrainError::Results)
                        }
                        Err(error) => Err(TrainError::Head(error)),
                    };
                    if let Err(error) = outcome {
                        stop.store(true, Ordering::Relaxed);
                        failure.get_or_insert(error);
                    }
                }
            });
        }
    });
    let (_, _, failure) = kept.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failure.map_or(Ok(()), Err)
}

/// One run: per round every combination of settings, the best on development data, its answers to the test data.
fn run_one(engine: &CpuEngine, splits: &Splits, run: &PlannedRun, prepared: &PreparedTask) -> Result<RunResult, Error> {
    let started = Instant::now();
    let (mut answers, mut gold) = (Vec::new(), Vec::new());
    let (mut chosen, mut devs, mut records) = (Vec::new(), Vec::new(), 0);
    for round in splits.rounds(run.fraction, run.seed)? {
        let (metric, rule) = (&prepared.metric, prepared.rule);
        let best = choose(engine, &run.spec, &round, metric, rule, &run.settings, run.seed, |_, _| {})?;
        devs.extend(best.head.dev());
        chosen.push(serde_json::to_value(best.settings).unwrap_or_default());
        records = records.max(round.train.len());
        answers.extend(predict(engine, &best.head, &round.test)?.answers(run.spec.kind, rule));
        gold.extend(targets(&round.test).cloned());
    }
    let tallies: Vec<_> = gold.iter().zip(&answers).map(|(gold, answer)| prepared.metric.tally(gold, answer)).collect();
    let nothing = || Error::NoRecords { what: "the test data".to_owned() };
    Ok(RunResult {
        key: run.key,
        task: run.task.clone(),
        condition: run.condition.name.clone(),
        fraction: run.fraction,
        seed: run.seed,
        parameters: run.spec.size(),
        records,
        dev: (!devs.is_empty()).then(|| mean(&devs)),
        test: prepared.metric.of_tallies(&tallies),
        chosen,
        seconds: started.elapsed().as_secs_f64(),
        answers: Answers::of(&answers).ok_or_else(nothing)?,
    })
}

fn targets<'a>(view: &'a View<'_>) -> impl Iterator<Item = &'a Target> {
    view.records.iter().map(|&record| &view.set.targets[record])
}

/// Compares the runs of a task with one share of its training data.
#[expect(clippy::too_many_arguments, reason = "a group is about all of it")]
fn group(
    with: &Comparison<'_>,
    task: &str,
    fraction: f64,
    runs: &[PlannedRun],
    results: &Results,
    splits: &Splits,
    prepared: &PreparedTask,
    bootstrap: Bootstrap,
) -> Result<Option<Group>, Error> {
    let views = splits.tested()?;
    let gold: Vec<&Target> = views.iter().flat_map(targets).collect();
    let mut outcomes = Vec::new();
    let mut train_records = 0;
    for condition in &with.recipe.conditions {
        let name = condition.name();
        let own = runs.iter().filter(|run| run.fraction == fraction && run.condition.name == name);
        let done: Vec<&RunResult> = own.filter_map(|run| results.get(&run.key)).collect();
        let Some(first) = done.first() else { continue };
        let tallies = |result: &&RunResult| {
            let answers = result.answers.targets();
            gold.iter().zip(&answers).map(|(gold, answer)| prepared.metric.tally(gold, answer)).collect()
        };
        let devs: Vec<f64> = done.iter().filter_map(|result| result.dev).collect();
        train_records = train_records.max(first.records);
        outcomes.push(Outcome {
            condition: name,
            control: condition.control.is_some(),
            stack: condition.stack.iter().map(ToString::to_string).collect(),
            fusion: condition.fusion.to_string(),
            parameters: first.parameters,
            dev: (!devs.is_empty()).then(|| mean(&devs)),
            system: System { seeds: done.iter().map(tallies).collect() },
        });
    }
    if outcomes.is_empty() {
        return Ok(None);
    }
    // Records of one cluster are drawn together.
    let keys = views.iter().flat_map(|view| view.records.iter().map(|&record| &*view.set.clusters[record]));
    let clusters = numbered(keys);
    let about = About { task: task.to_owned(), fraction, train_records, test_records: gold.len() };
    Ok(Some(Group::of(about, &prepared.metric, &outcomes, bootstrap, &clusters)))
}
