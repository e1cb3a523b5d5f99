//! All jobs, update by update: one backbone pass serves the batches of every recipe.

use super::job::{Job, Step};
use super::network::{GradientsOf, Inputs, Part, row_keys};
use super::prepare::Prepared;
use super::states::States;
use crate::backbone::Roberta;
use crate::error::Error;
use crate::tensor::derivatives::Derivatives;
use crate::tensor::tape::DropoutStream;
use crate::train::cache::{CacheDtype, CacheIdentity, TapCache};
use crate::train::communicator::Communicator;
use crate::train::error::TrainError;
use crate::train::examples::Examples;
use crate::train::progress::TrainingBar;
use crate::train::recipe::{CachePart, Recipe, StoredType};
use crate::train::sampler::{parts, share};
use abi_stable::std_types::RSlice;
use kadapter_plugin_api::{Batch, Example};
use kadapter_registry::Digest;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

/// Examples of one batch of dev data.
const DEV_BATCH: usize = 64;

/// How jobs are run.
#[derive(Debug)]
pub struct Settings {
    /// Start over where a run is there already.
    pub fresh: bool,
    /// Say nothing while training.
    pub quiet: bool,
    /// Where hidden states are cached, where the recipe does not say.
    pub cache: PathBuf,
    /// The digest of the backbone's weights.
    pub backbone: Digest,
    /// The most rows of one backbone pass.
    pub budget: usize,
    /// The device's name: hidden states of another are others.
    pub device: String,
}

/// Trains every recipe to its end, each in its folder.
///
/// # Errors
/// The first that a job meets; every job's last checkpoint is whole then.
pub fn train<E: Derivatives>(
    engine: &E,
    backbone: &Roberta<E>,
    recipes: Vec<(Prepared, PathBuf)>,
    settings: &Settings,
    others: &dyn Communicator,
) -> Result<Trained<E>, Error> {
    let layers = backbone.config().layers;
    let read = |(prepared, _): &(Prepared, _)| {
        prepared.recipe.adapter.taps.clone().into_iter().chain(prepared.reads_last.then_some(layers))
    };
    let taps: BTreeSet<usize> = recipes.iter().flat_map(read).collect();
    let Some((first, _)) = recipes.first() else {
        return Ok(Trained { jobs: Vec::new(), backbone_passes: 0, cached: 0 });
    };
    Recipe::round_alike(recipes.iter().map(|(prepared, _)| &prepared.recipe))?;
    let (cache, dtype) = open_cache(&first.recipe.cache, &first.recipe, &taps, backbone, settings, others)?;
    let mut states = States::new(engine, backbone, &taps, cache, dtype, settings.budget);
    let mut jobs = Vec::with_capacity(recipes.len());
    for (prepared, directory) in recipes {
        // Only the first process writes; it makes the folder before the others read it.
        if others.is_first() {
            jobs.push(Job::open(engine, prepared, &directory, settings.fresh, true)?);
            others.barrier()?;
        } else {
            others.barrier()?;
            jobs.push(Job::open(engine, prepared, &directory, settings.fresh, false)?);
        }
    }
    let total: u64 = jobs.iter().map(Job::total).sum();
    let done: u64 = jobs.iter().map(|job| job.progress.step).sum();
    let bar = TrainingBar::new(total, done, settings.quiet || !others.is_first());
    for job in jobs.iter().filter(|job| job.resumed()) {
        bar.say(&format!("{}: goes on after update {}", job.prepared.recipe.adapter.name, job.progress.step));
    }
    for job in jobs.iter().filter(|job| !job.resumed()) {
        rehearse(engine, &mut states, job)?;
    }
    while jobs.iter().any(|job| job.batch().is_some()) {
        update(engine, &mut states, &mut jobs, others, &bar)?;
    }
    drop(bar);
    let cached = states.cache().map_or(0, |cache| cache.usage().hits);
    Ok(Trained { jobs, backbone_passes: states.passes(), cached })
}

/// What training came to.
#[derive(Debug)]
pub struct Trained<E: Derivatives> {
    /// The finished jobs, in the order of their recipes.
    pub jobs: Vec<Job<E>>,
    /// Passes of the backbone, for all jobs together.
    pub backbone_passes: u64,
    /// Segments whose hidden states came from the cache.
    pub cached: u64,
}

/// The cache of the first recipe: all recipes of one process share the passes and round alike.
fn open_cache<E: Derivatives>(
    wanted: &CachePart,
    recipe: &Recipe,
    taps: &BTreeSet<usize>,
    backbone: &Roberta<E>,
    settings: &Settings,
    others: &dyn Communicator,
) -> Result<(Option<TapCache>, CacheDtype), Error> {
    let dtype = match wanted.dtype {
        StoredType::F32 => CacheDtype::F32,
        StoredType::F16 => CacheDtype::F16,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked when the recipe was read")]
    let limit = (wanted.limit_gib * f64::from(1 << 30)) as u64;
    if !wanted.enabled || limit == 0 || others.size() > 1 {
        return Ok((None, dtype));
    }
    let config = backbone.config();
    let identity = CacheIdentity {
        backbone: settings.backbone,
        taps: taps.iter().copied().collect(),
        hidden: config.hidden_size,
        dtype,
        variant: settings.device.clone(),
    };
    let directory = wanted.directory.as_ref().map_or_else(|| settings.cache.clone(), |path| recipe.folder().join(path));
    Ok((Some(TapCache::open(&directory, &identity, limit)?), dtype))
}

/// What one job does in one update.
struct Turn {
    /// Index of the job.
    job: usize,
    /// All examples of the update.
    batch: Vec<u32>,
    /// This process's examples, in parts.
    parts: Vec<Vec<u32>>,
}

fn update<E: Derivatives>(
    engine: &E,
    states: &mut States<'_, E>,
    jobs: &mut [Job<E>],
    others: &dyn Communicator,
    bar: &TrainingBar,
) -> Result<(), Error> {
    let start = Instant::now();
    let mut turns = Vec::with_capacity(jobs.len());
    for (index, job) in jobs.iter().enumerate() {
        if let Some(batch) = job.batch() {
            let mine = share(batch, others.rank(), others.size());
            let parts =
                parts(&mine, job.prepared.recipe.training.accumulate).into_iter().map(<[u32]>::to_vec).collect();
            turns.push(Turn { job: index, batch: batch.to_vec(), parts });
        }
    }
    let most = turns.iter().map(|turn| turn.parts.len()).max().unwrap_or(0);
    let mut sums: Vec<Option<Sum<E>>> = turns.iter().map(|_| None).collect();
    for part in 0..most {
        let with_part: Vec<(usize, &Turn, &Vec<u32>)> = turns
            .iter()
            .enumerate()
            .filter_map(|(place, turn)| turn.parts.get(part).map(|examples| (place, turn, examples)))
            .collect();
        let mut loaded = Vec::with_capacity(with_part.len());
        for (_, turn, examples) in &with_part {
            loaded.push(load(&jobs[turn.job].prepared.train, examples)?);
        }
        let requests: Vec<Vec<&[u32]>> =
            loaded.iter().map(|examples| examples.iter().flat_map(Example::segments).collect()).collect();
        let tensors = states.of(&requests)?;
        for (((place, turn, numbers), examples), tensors) in with_part.into_iter().zip(&loaded).zip(tensors) {
            let job = &jobs[turn.job];
            let inputs = inputs(job, states, numbers, examples, tensors)?;
            // Gradients of the mean need no pass over them once they are summed.
            let gradients_of =
                if turn.parts.len() == 1 && others.size() == 1 { GradientsOf::Mean } else { GradientsOf::Sum };
            let stream = DropoutStream { seed: job.prepared.recipe.training.seed }.at_step(job.next_step());
            let computed = job
                .network
                .part(engine, stream, &inputs, gradients_of)
                .map_err(|error| error.at("loss", job.progress.epoch + 1, job.next_step(), || job.records(numbers)))?;
            let tokens = examples.iter().map(Example::tokens).sum::<usize>() as u64;
            let sum = sums[place].take();
            sums[place] = Some(Sum::add(engine, sum, computed, tokens)?);
        }
    }
    let seconds = || start.elapsed().as_secs_f64();
    for (turn, sum) in turns.iter().zip(sums) {
        let job = &mut jobs[turn.job];
        let mut sum = sum.unwrap_or_else(|| Sum::none(job.network.no_gradients()));
        sum.reduce(engine, others)?;
        let (loss, gradients) = sum.mean(engine)?;
        let (epoch, step, rate) = (job.progress.epoch + 1, job.next_step(), job.rate());
        let clip = job.prepared.recipe.training.clip;
        let norm = match job.network.update(engine, gradients, rate, clip) {
            Ok(norm) => norm,
            Err(error) => return Err(error.at("gradient's norm", epoch, step, || job.records(&turn.batch)).into()),
        };
        let took = seconds();
        #[expect(clippy::cast_precision_loss, reason = "tokens of one batch")]
        bar.advance(loss, sum.tokens as f64 / took.max(1e-9));
        let due = job.updated(Step { loss, weight: sum.weight, norm, tokens: sum.tokens }, took)?;
        if due {
            evaluate(engine, states, job, others, bar)?;
        }
        if due || job.save_is_due() {
            job.save(engine)?;
        }
    }
    Ok(())
}

/// Weighted sums over the parts of a batch.
struct Sum<E: Derivatives> {
    gradients: crate::tensor::tape::Gradients<E>,
    gradients_of: GradientsOf,
    loss: f64,
    weight: f64,
    tokens: u64,
}

impl<E: Derivatives> Sum<E> {
    fn none(gradients: crate::tensor::tape::Gradients<E>) -> Self {
        Self { gradients, gradients_of: GradientsOf::Sum, loss: 0.0, weight: 0.0, tokens: 0 }
    }

    fn add(engine: &E, sum: Option<Self>, part: Part<E>, tokens: u64) -> Result<Self, Error> {
        let loss = part.loss * part.weight;
        Ok(match sum {
            None => {
                let Part { gradients, gradients_of, weight, .. } = part;
                Self { gradients, gradients_of, loss, weight, tokens }
            }
            Some(mut sum) => {
                sum.gradients.add(engine, part.gradients).map_err(Error::compute)?;
                Self { loss: sum.loss + loss, weight: sum.weight + part.weight, tokens: sum.tokens + tokens, ..sum }
            }
        })
    }

    /// Sums over processes.
    fn reduce(&mut self, engine: &E, others: &dyn Communicator) -> Result<(), Error> {
        if others.size() == 1 {
            return Ok(());
        }
        let mut flat = self.gradients.to_host(engine).map_err(Error::compute)?;
        others.all_reduce_sum(&mut flat)?;
        self.gradients.from_host(engine, &flat).map_err(Error::compute)?;
        #[expect(clippy::cast_precision_loss, reason = "tokens of one batch")]
        let mut numbers = [self.loss, self.weight, self.tokens as f64];
        others.all_reduce_f64(&mut numbers)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tokens of one batch")]
        let tokens = numbers[2] as u64;
        (self.loss, self.weight, self.tokens) = (numbers[0], numbers[1], tokens);
        Ok(())
    }

    /// The mean loss, and the gradients of it.
    fn mean(&mut self, engine: &E) -> Result<(f64, crate::tensor::tape::Gradients<E>), Error> {
        let mut gradients = std::mem::take(&mut self.gradients);
        if self.gradients_of == GradientsOf::Sum {
            #[expect(clippy::cast_possible_truncation, reason = "a weight is a count of examples or words")]
            gradients.scale(engine, (1.0 / self.weight) as f32).map_err(Error::compute)?;
        }
        Ok((self.loss / self.weight, gradients))
    }
}

fn load(set: &Examples, numbers: &[u32]) -> Result<Vec<Example>, Error> {
    Ok(numbers.iter().map(|&number| set.get(number)).collect::<Result<_, _>>()?)
}

fn inputs<E: Derivatives>(
    job: &Job<E>,
    states: &States<'_, E>,
    numbers: &[u32],
    examples: &[Example],
    tensors: Vec<E::Tensor>,
) -> Result<Inputs<E::Tensor>, Error> {
    let (batch, segments) = Batch::collect(examples).map_err(Error::compute)?;
    let keys = row_keys(numbers.iter().copied().zip(examples));
    let missing = |tap| Error::compute(kadapter_plugin_api::Error::new(format!("hidden state {tap} was not kept")));
    let state =
        |tap: usize| states.place(tap).and_then(|place| tensors.get(place)).cloned().ok_or_else(|| missing(tap));
    let taps = job.prepared.recipe.adapter.taps.iter().map(|&tap| state(tap)).collect::<Result<_, _>>()?;
    let last = job.prepared.reads_last.then(|| state(states.layers())).transpose()?;
    Ok(Inputs { batch, segments, keys, taps, last })
}

/// Judges a few dev examples before the first update, so that an objective that cannot, or has no such metric, says so now.
fn rehearse<E: Derivatives>(engine: &E, states: &mut States<'_, E>, job: &Job<E>) -> Result<(), Error> {
    let dev: Vec<u32> = (0..u32::try_from(job.prepared.dev.len().min(DEV_BATCH)).unwrap_or(u32::MAX)).collect();
    let tally = tally(engine, states, job, &dev)?;
    job.chosen(&metrics(job, &tally)?)?;
    Ok(())
}

/// The tally of some dev examples.
fn tally<E: Derivatives>(
    engine: &E,
    states: &mut States<'_, E>,
    job: &Job<E>,
    numbers: &[u32],
) -> Result<Vec<f64>, Error> {
    let examples = load(&job.prepared.dev, numbers)?;
    let request: Vec<&[u32]> = examples.iter().flat_map(Example::segments).collect();
    let tensors = states.of(&[request])?.into_iter().next().unwrap_or_default();
    let inputs = inputs(job, states, numbers, &examples, tensors)?;
    Ok(job.network.tally(engine, &inputs).map_err(|source| failed(job, source))?)
}

/// What a summed tally says, by name.
fn metrics<E: Derivatives>(job: &Job<E>, tally: &[f64]) -> Result<Vec<(String, f64)>, Error> {
    let metrics = job.network.objective().metrics(RSlice::from_slice(tally)).into_result();
    let metrics = metrics.map_err(|source| failed(job, source))?;
    if let Some(metric) = metrics.iter().find(|metric| !metric.value().is_finite()) {
        let (name, value) = (metric.name(), metric.value());
        let source = kadapter_plugin_api::Error::new(format!("metric `{name}` is {value}, expected a finite number"));
        return Err(failed(job, source).into());
    }
    Ok(metrics.iter().map(|metric| (metric.name().to_owned(), metric.value())).collect())
}

fn failed<E: Derivatives>(job: &Job<E>, source: kadapter_plugin_api::Error) -> TrainError {
    TrainError::Loss { epoch: job.progress.epoch + 1, step: job.progress.step, source }
}

fn evaluate<E: Derivatives>(
    engine: &E,
    states: &mut States<'_, E>,
    job: &mut Job<E>,
    others: &dyn Communicator,
    bar: &TrainingBar,
) -> Result<(), Error> {
    let start = Instant::now();
    let dev: Vec<u32> = (0..u32::try_from(job.prepared.dev.len()).unwrap_or(u32::MAX)).collect();
    let mut sum: Vec<f64> = Vec::new();
    for (number, batch) in dev.chunks(DEV_BATCH).enumerate() {
        if number % others.size() != others.rank() {
            continue;
        }
        let tally = tally(engine, states, job, batch)?;
        sum.resize(tally.len().max(sum.len()), 0.0);
        sum.iter_mut().zip(tally).for_each(|(sum, tally)| *sum += tally);
    }
    if others.size() > 1 {
        // The first process always has a batch, so its tally has the right length.
        #[expect(clippy::cast_precision_loss, reason = "a tally has few numbers")]
        let mut length = [if others.is_first() { sum.len() as f64 } else { 0.0 }];
        others.all_reduce_f64(&mut length)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a tally has few numbers")]
        sum.resize(length[0] as usize, 0.0);
        others.all_reduce_f64(&mut sum)?;
    }
    let metrics = metrics(job, &sum)?;
    job.progress.seconds += start.elapsed().as_secs_f64();
    let name = job.prepared.recipe.adapter.name.to_string();
    let best_before = job.progress.best.clone();
    let evaluation = job.evaluated(engine, metrics)?.clone();
    let values: Vec<_> = evaluation.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    let mark = if job.progress.best == best_before { "" } else { "  best" };
    bar.say(&format!(
        "{name}: update {}, epoch {}, loss {:.4}, {}{mark}",
        evaluation.step,
        evaluation.epoch,
        evaluation.loss,
        values.join(", ")
    ));
    Ok(())
}
