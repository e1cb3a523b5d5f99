//! What a check works with: the file, the plugin, adapters of it with values.

use super::batch::Batch;
use super::finding::{Finding, Verdict};
use super::watch::Watched;
use super::{Reporter, Stage, Subject};
use crate::plugin::{self, Inspected, Plugin, PluginError, Promise};
use crate::tensor::cpu::{CpuConfig, CpuEngine, CpuParam};
use crate::tensor::{HostEngine, Values};
use kadapter_plugin_api::abi::InstanceBox;
use kadapter_plugin_api::random::{Random, initial_values};
use kadapter_plugin_api::reference::{Matrix, Reference};
use kadapter_plugin_api::session::{self, Parameters};
use kadapter_plugin_api::{Backbone, Engine, Error, ErrorKind, ParamSpec};
use kadapter_registry::Digest;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::rc::Rc;

/// The most values that an adapter of the checks may have, all parameters together: 256 MiB, and some checks hold them twice.
pub(super) const MAX_VALUES: usize = 64 << 20;
/// Deviation of what is added to initial values, so that parameters which start as zeros take part.
const STIR: f32 = 0.05;

/// One check's place to work.
pub(super) struct Bench<'a> {
    pub(super) subject: &'a Subject,
    reporter: &'a Reporter,
}

/// An engine that a check can bring parameters to.
pub(super) trait Bed: Engine {
    /// Brings a parameter's values.
    fn lay(&self, index: usize, spec: &ParamSpec, values: Vec<f32>) -> Result<Self::Param, Error>;
}

impl Bed for CpuEngine {
    fn lay(&self, _: usize, spec: &ParamSpec, values: Vec<f32>) -> Result<CpuParam, Error> {
        self.upload(spec.role(), &spec.shape(), Values::F32(values))
    }
}

impl Bed for Reference {
    fn lay(&self, _: usize, spec: &ParamSpec, values: Vec<f32>) -> Result<Matrix, Error> {
        let (rows, columns) = match *spec.shape() {
            [rows, columns] => (rows, columns),
            _ => (1, values.len()),
        };
        Ok(Matrix { rows, columns, values: Rc::new(values) })
    }
}

impl<E: Bed> Bed for Watched<E> {
    fn lay(&self, index: usize, spec: &ParamSpec, values: Vec<f32>) -> Result<Self::Param, Error> {
        Ok((index, self.inner().lay(index, spec, values)?))
    }
}

/// The CPU engine on one thread: a check's threads are the check's own.
pub(super) fn cpu() -> CpuEngine {
    CpuEngine::new(CpuConfig { threads: NonZeroUsize::MIN, pool_bytes: 64 << 20, ..CpuConfig::default() })
}

impl<'a> Bench<'a> {
    pub(super) fn new(subject: &'a Subject, reporter: &'a Reporter) -> Self {
        Self { subject, reporter }
    }

    /// Says that a stage begins.
    pub(super) fn enter(&self, stage: Stage) {
        self.reporter.enter(stage);
    }

    /// The file's bytes, which have to be those that the checks began with.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Finding> {
        let bytes = plugin::read(&self.subject.file)?;
        if Digest::of(&bytes) == self.subject.digest {
            Ok(bytes)
        } else {
            Err(Finding::failed("the file changed while it was checked; run the checks again"))
        }
    }

    /// What the file says about itself.
    pub(super) fn inspect(&self) -> Result<Inspected, PluginError> {
        plugin::inspect(&self.subject.file, &plugin::read(&self.subject.file)?)
    }

    /// Opens the plugin: its constructors run.
    pub(super) fn open(&self) -> Result<Plugin, Finding> {
        self.try_open()?.map_err(Finding::from)
    }

    /// As [`Bench::open`], with what the loader says.
    pub(super) fn try_open(&self) -> Result<Result<Plugin, PluginError>, Finding> {
        let bytes = self.bytes()?;
        let inspected = plugin::inspect(&self.subject.file, &bytes)?;
        let (size, abi) = (bytes.len() as u64, inspected.abi());
        let promise = Promise { digest: self.subject.digest, size, version: inspected.note.version, abi };
        self.enter(Stage::Open);
        Ok(Plugin::from_bytes(&self.subject.file, &bytes, &promise))
    }

    /// Builds an adapter with the subject's configuration.
    pub(super) fn build(&self, plugin: &Plugin) -> Result<(InstanceBox, Vec<ParamSpec>), Error> {
        self.build_with(plugin, &self.subject.config())
    }

    /// Builds an adapter with another configuration.
    pub(super) fn build_with(
        &self,
        plugin: &Plugin,
        config: &toml::Table,
    ) -> Result<(InstanceBox, Vec<ParamSpec>), Error> {
        self.enter(Stage::Build);
        plugin.build(config, self.backbone())
    }

    /// The backbone that is played.
    pub(super) fn backbone(&self) -> Backbone {
        let Subject { hidden_size, layers, taps, .. } = self.subject;
        Backbone::new(*hidden_size, *layers, taps)
    }

    /// An adapter with values, on an engine.
    pub(super) fn specimen<'b, E: Bed>(&'b self, plugin: &Plugin, engine: &'b E) -> Result<Specimen<'b, E>, Finding> {
        let (instance, specs) = self.build(plugin)?;
        let count = count_values(&specs);
        if count > MAX_VALUES {
            return Err(Finding::skipped(format!(
                "its parameters have {count} values, expected at most {MAX_VALUES}; give a smaller `--config` or `--hidden`"
            )));
        }
        let mut parameters = Parameters::default();
        for (index, spec) in specs.iter().enumerate() {
            parameters.push(spec.shape(), engine.lay(index, spec, stirred(spec))?);
        }
        Ok(Specimen { bench: self, engine, instance: ManuallyDrop::new(instance), specs, parameters })
    }

    /// A random batch of segments of these lengths.
    pub(super) fn batch(&self, seed: u64, lengths: &[usize]) -> Batch {
        Batch::random(seed, lengths, self.subject.hidden_size, self.subject.taps.len())
    }

    /// A plugin's whole life: open, build, forward, drop. What an adapter says along the way is for other checks.
    pub(super) fn live(&self) -> Verdict {
        let plugin = self.open()?;
        let engine = cpu();
        let specimen = self.specimen(&plugin, &engine)?;
        for seed in 0..3 {
            let _ = specimen.forward(&self.batch(seed, &[3, 1, 5]));
        }
        specimen.end();
        Ok(Finding::success())
    }
}

/// How many values parameters have together; a plugin may declare more than there can be.
pub(super) fn count_values(specs: &[ParamSpec]) -> usize {
    let count = |spec: &ParamSpec| spec.shape().into_iter().fold(1, usize::saturating_mul);
    specs.iter().map(count).fold(0, usize::saturating_add)
}

/// Initial values, and a little more to each.
#[expect(clippy::cast_possible_truncation, reason = "values are f32")]
pub(super) fn stirred(spec: &ParamSpec) -> Vec<f32> {
    let mut random = Random::named(1, spec.name());
    initial_values(spec, 0).into_iter().map(|value| value + STIR * random.normal() as f32).collect()
}

/// An adapter with values. It is leaked unless it is ended: dropping has a check of its own.
pub(super) struct Specimen<'a, E: Engine> {
    bench: &'a Bench<'a>,
    pub(super) engine: &'a E,
    instance: ManuallyDrop<InstanceBox>,
    pub(super) specs: Vec<ParamSpec>,
    parameters: Parameters<E::Param>,
}

impl<E: Bed> Specimen<'_, E> {
    /// The feature rows of a batch, row-major, and their shape.
    pub(super) fn features(&self, batch: &Batch) -> Result<([usize; 2], Vec<f32>), Error> {
        let (engine, segments) = (self.engine, batch.segments()?);
        let rows = segments.rows();
        let upload = |tap: &Vec<f32>| engine.from_f32(rows, batch.columns, tap.clone());
        let taps = batch.taps.iter().map(upload).collect::<Result<Vec<_>, _>>()?;
        self.bench.enter(Stage::Forward);
        let features = session::run(&self.instance, engine, &self.parameters, &segments, &taps)?;
        Ok((engine.shape(&features), engine.read_f32(&features)?))
    }

    /// The feature rows of a batch, row-major; they have the promised shape.
    pub(super) fn forward(&self, batch: &Batch) -> Result<Vec<f32>, Error> {
        let (shape, features) = self.features(batch)?;
        let expected = [batch.rows(), batch.columns];
        if shape == expected {
            Ok(features)
        } else {
            Err(Error::shape(format!("the features are {shape:?}, expected {expected:?}")))
        }
    }

    /// Drops it.
    pub(super) fn end(self) {
        self.bench.enter(Stage::Drop);
        drop(ManuallyDrop::into_inner(self.instance));
    }
}

/// Whether an error is a caught panic.
pub(super) fn is_panic(error: &Error) -> bool {
    error.kind() == ErrorKind::Panic
}
