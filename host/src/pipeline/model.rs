//! A loaded model on one device.

use super::adapter::Adapter;
use super::batch::{Pass, pack};
use super::features::{AdapterRows, Features};
use super::head::{LoadedTask, Surroundings};
use super::stats::timed;
use super::{Job, Plan, RawInput, RawOutput, RowSource, Runner, Settings, Stats, raw, rows};
use crate::backbone::{Batch, HiddenStates, Positions, Roberta, RobertaConfig};
use crate::error::Error;
use crate::task::{Answer, Compat, Encoding, Task};
use crate::tensor::HostEngine;
use crate::tokenizer::Tokenizer;
use kadapter_plugin_api::Segments;
use std::sync::{Arc, Mutex, PoisonError};

/// The backbone, the adapters and the heads of a plan, loaded into an engine.
///
/// An adapter or task that could not be loaded, or that fails, fails the answers that need it and no others.
pub struct Model<E: HostEngine> {
    pub(super) engine: E,
    pub(super) plan: Plan,
    pub(super) backbone: Roberta<E>,
    tokenizer: Arc<Tokenizer>,
    pub(super) adapters: Vec<Result<Adapter<E>, Arc<Error>>>,
    pub(super) tasks: Vec<Result<LoadedTask<E>, Arc<Error>>>,
    pub(super) settings: Settings,
    stats: Mutex<Stats>,
}

impl<E: HostEngine> std::fmt::Debug for Model<E> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Model").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<E: HostEngine> Model<E> {
    /// Loads everything that a plan names.
    ///
    /// # Errors
    /// When the backbone cannot be loaded; adapters and tasks keep their errors to themselves.
    pub fn load(
        engine: E,
        plan: Plan,
        config: RobertaConfig,
        tokenizer: Arc<Tokenizer>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let (hidden, config_layers, max_tokens) = (config.hidden_size, config.layers, config.max_tokens());
        let (backbone, adapters) = std::thread::scope(|scope| {
            // Adapters are independent of the backbone's weights: their files are read while the backbone's are.
            let adapters = scope.spawn(|| {
                let load = |planned| Adapter::load(&engine, &config, planned).map_err(Arc::new);
                plan.adapters.iter().map(load).collect::<Vec<_>>()
            });
            let backbone = Roberta::load(&engine, config.clone(), &plan.backbone.weights);
            (backbone, adapters.join())
        });
        let backbone = backbone?;
        let panicked = |_| Error::compute(kadapter_plugin_api::Error::panic("loading the adapters panicked"));
        let adapters = adapters.map_err(panicked)?;
        let around = Surroundings {
            tokenizer: &tokenizer,
            hidden,
            layers: config_layers,
            max_tokens,
            compat: settings.compat,
            truncate: settings.truncate,
        };
        let tasks =
            plan.tasks.iter().map(|planned| LoadedTask::load(&engine, around, planned).map_err(Arc::new)).collect();
        Ok(Self { engine, plan, backbone, tokenizer, adapters, tasks, settings, stats: Mutex::default() })
    }

    fn encode(&self, job: &Job<'_>) -> Result<Encoding, Error> {
        match self.tasks.get(job.task) {
            Some(Ok(task)) => Ok(task.task.encode(&self.tokenizer, job.record)?),
            Some(Err(error)) => Err(Error::Shared(Arc::clone(error))),
            None => Err(Error::UnknownTask {
                found: job.task.to_string(),
                known: self.plan.tasks.iter().map(|task| task.name.clone()).collect(),
            }),
        }
    }

    /// Runs one pass and fills in the answers of its jobs.
    fn run(
        &self,
        pass: &Pass,
        encodings: &[Result<Encoding, Error>],
        answers: &mut [Option<Result<Answer, Error>>],
        stats: &mut Stats,
    ) {
        let features = match self.features(pass, stats) {
            Ok(features) => features,
            Err(error) => {
                let error = Arc::new(error);
                for job in &pass.jobs {
                    answers[job.job] = Some(Err(Error::Shared(Arc::clone(&error))));
                }
                return;
            }
        };
        for (index, task) in self.tasks.iter().enumerate() {
            let Ok(task) = task else { continue };
            // All jobs of one task go through its head together.
            let (mut units, mut jobs) = (Vec::new(), Vec::new());
            for job in pass.jobs.iter().filter(|job| job.task == index) {
                if let Ok(encoding) = &encodings[job.job] {
                    let of_job = pass.units(job, encoding);
                    jobs.push((job.job, encoding, of_job.len()));
                    units.extend(of_job);
                }
            }
            if jobs.is_empty() {
                continue;
            }
            let logits = timed(&mut stats.milliseconds.heads, || task.logits(&self.engine, &features, &units));
            timed(&mut stats.milliseconds.decode, || match logits {
                Ok((logits, outputs)) => {
                    let mut rest = logits.as_slice();
                    for (job, encoding, count) in jobs {
                        let (own, others) = rest.split_at((count * outputs).min(rest.len()));
                        rest = others;
                        answers[job] = Some(task.task.decode(encoding, own).map_err(Error::from));
                    }
                }
                Err(error) => {
                    let error = Arc::new(error);
                    for (job, ..) in jobs {
                        answers[job] = Some(Err(Error::Shared(Arc::clone(&error))));
                    }
                }
            });
        }
    }

    /// The backbone once, then each adapter that a task of this pass stacks once, over the segments that need it.
    fn features(&self, pass: &Pass, stats: &mut Stats) -> Result<Features<E>, Error> {
        let mut needed = vec![vec![false; pass.segments.len()]; self.adapters.len()];
        for job in &pass.jobs {
            let Some(Ok(task)) = self.tasks.get(job.task) else { continue };
            for &adapter in &task.stack {
                for &segment in pass.segments_of(job) {
                    needed[adapter][segment] = true;
                }
            }
        }
        self.pass_features(pass, needed, stats)
    }

    /// The backbone once, then each adapter once over the segments that `needed` has for it.
    pub(super) fn pass_features(
        &self,
        pass: &Pass,
        needed: Vec<Vec<bool>>,
        stats: &mut Stats,
    ) -> Result<Features<E>, Error> {
        let config = self.backbone.config();
        let batch = if self.settings.compat == Compat::Official {
            let hidden: Vec<Vec<bool>> = pass
                .segments
                .iter()
                .map(|segment| (0..segment.ids.len()).map(|row| row >= segment.visible).collect())
                .collect();
            let texts =
                pass.segments.iter().zip(&hidden).map(|(segment, hidden)| (segment.ids.as_slice(), hidden.as_slice()));
            Batch::padded(config, Positions::EverySlot, texts)?
        } else {
            Batch::ragged(config, pass.segments.iter().map(|segment| segment.ids.as_slice()))?
        };
        let states = self.backbone_pass(&batch, stats)?;

        let mut adapters = Vec::with_capacity(self.adapters.len());
        for (index, needed) in needed.iter().enumerate() {
            adapters.push(if needed.contains(&true) {
                Some(self.adapter_pass(index, &states, batch.rows(), needed, stats).map_err(Arc::new))
            } else {
                None
            });
        }
        Ok(Features { states, adapters })
    }

    /// One pass of the backbone, counted.
    pub(super) fn backbone_pass(&self, batch: &Batch, stats: &mut Stats) -> Result<HiddenStates<E::Tensor>, Error> {
        stats.segments += batch.rows().count() as u64;
        stats.tokens += batch.rows().rows() as u64;
        stats.backbone_passes += 1;
        let taps = self.plan.taps();
        let pass = || self.backbone.forward(&self.engine, batch, &taps);
        timed(&mut stats.milliseconds.backbone, pass).map_err(Error::compute)
    }

    /// One pass of an adapter over the needed segments, counted.
    pub(super) fn adapter_pass(
        &self,
        index: usize,
        states: &HiddenStates<E::Tensor>,
        segments: &Segments,
        needed: &[bool],
        stats: &mut Stats,
    ) -> Result<AdapterRows<E>, Error> {
        let adapter = self.adapters[index].as_ref().map_err(|error| Error::Shared(Arc::clone(error)))?;
        *stats.adapter_passes.entry(self.plan.adapters[index].name().to_owned()).or_default() += 1;
        timed(&mut stats.milliseconds.adapters, || {
            if needed.iter().all(|&needed| needed) {
                let tensor = adapter.forward(&self.engine, states, segments, None)?;
                return Ok(AdapterRows { tensor, places: None });
            }
            let chosen: Vec<_> =
                segments.ranges().zip(needed).filter(|(_, needed)| **needed).map(|(range, _)| range).collect();
            let rows: Vec<u32> =
                chosen.iter().cloned().flatten().map(|row| u32::try_from(row).unwrap_or(u32::MAX)).collect();
            let own = Segments::new(chosen.iter().map(ExactSizeIterator::len)).map_err(Error::compute)?;
            let tensor = adapter.forward(&self.engine, states, &own, Some(&rows))?;
            let mut places = vec![0; segments.rows()];
            for (place, row) in (0_u32..).zip(&rows) {
                places[*row as usize] = place;
            }
            Ok(AdapterRows { tensor, places: Some(places) })
        })
    }

    pub(super) fn count(&self, stats: &Stats) {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).add(stats);
    }
}

impl<E: HostEngine> Runner for Model<E> {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn answer(&self, jobs: &[Job<'_>]) -> Vec<Result<Answer, Error>> {
        let mut stats = Stats::default();
        let encodings: Vec<_> =
            timed(&mut stats.milliseconds.encode, || jobs.iter().map(|job| self.encode(job)).collect());
        let mut answers: Vec<Option<Result<Answer, Error>>> = jobs.iter().map(|_| None).collect();
        let encoded = encodings.iter().zip(jobs).enumerate().filter_map(|(index, (encoding, job))| {
            let task = self.tasks.get(job.task)?.as_ref().ok()?;
            Some((index, job.task, encoding.as_ref().ok()?, &*task.task))
        });
        for pass in pack(encoded, self.settings.compat, self.settings.max_batch_tokens) {
            self.run(&pass, &encodings, &mut answers, &mut stats);
        }
        for job in jobs {
            if let Some(task) = self.plan.tasks.get(job.task) {
                *stats.answers.entry(task.name.clone()).or_default() += 1;
            }
        }
        self.count(&stats);
        let unanswered = || Error::compute(kadapter_plugin_api::Error::new("the job was not run"));
        answers
            .into_iter()
            .zip(encodings)
            .map(|(answer, encoding)| match (answer, encoding) {
                (_, Err(error)) => Err(error),
                (answer, Ok(_)) => answer.unwrap_or_else(|| Err(unanswered())),
            })
            .collect()
    }

    fn is_cut(&self, job: &Job<'_>) -> bool {
        let task = self.tasks.get(job.task).and_then(|task| task.as_ref().ok());
        task.is_some_and(|task| task.is_cut(&self.tokenizer, job.record))
    }

    fn forward(&self, input: &RawInput, task: Option<&str>) -> Result<RawOutput, Error> {
        raw::forward(self, input, task)
    }

    fn rows(&self, task: &dyn Task, encodings: &[Encoding], sources: &[RowSource]) -> Result<Vec<Vec<f32>>, Error> {
        rows::rows(self, task, encodings, sources)
    }

    fn stats(&self) -> Stats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
