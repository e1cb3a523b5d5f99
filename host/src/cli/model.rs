//! Arguments that choose how a model runs, and the way from a manifest to a loaded model.

use super::ProjectArguments;
use super::report::Failure;
use kadapter_host::Error;
use kadapter_host::pipeline::{Opened, Plan, Settings, open};
use kadapter_host::task::Compat;
use kadapter_host::tensor::device::{DeviceChoice, Dtype};
use kadapter_registry::manifest;
use kadapter_registry::project::{LockMode, Project, Resolved};

/// How a model runs; what is not given, the manifest says.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArguments {
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long)]
    device: Option<String>,
    /// Precision: auto, f32, bf16 or f16 (the last two on a GPU)
    #[arg(long)]
    dtype: Option<String>,
    /// `masked` (no padding) or `official` (reproduce the paper's code, padding included)
    #[arg(long, value_parser = ["masked", "official"])]
    compat: Option<String>,
    /// The most tokens of one backbone pass
    #[arg(long, value_name = "TOKENS")]
    max_batch_tokens: Option<std::num::NonZeroUsize>,
}

/// How a model runs, read.
pub(crate) struct Chosen {
    pub(crate) device: DeviceChoice,
    pub(crate) dtype: Dtype,
    pub(crate) settings: Settings,
}

impl ProjectArguments {
    /// Opens the project and brings its lock up to date, unless `--frozen`.
    pub(crate) fn resolve(&self) -> Result<(Project, Resolved), Failure> {
        let project = Project::open(&self.manifest)?;
        let mode = if self.frozen { LockMode::Frozen } else { LockMode::KeepLocked };
        let resolved = project.resolve(mode)?;
        super::passed_over::warn(&resolved.warnings);
        Ok((project, resolved))
    }
}

impl ModelArguments {
    /// Loads a plan as arguments and manifest say, after its plugins were met.
    pub(crate) fn open(&self, project: &Project, plan: Plan, truncate: bool) -> Result<Opened, Failure> {
        super::contact::meet(&plan)?;
        let chosen = self.settings(project, truncate)?;
        Self::open_as(plan, chosen)
    }

    /// Loads a plan whose plugins were met.
    pub(crate) fn open_as(plan: Plan, chosen: Chosen) -> Result<Opened, Failure> {
        let Chosen { device, dtype, settings } = chosen;
        Ok(open(plan, device, dtype, settings)?)
    }

    /// What arguments and manifest say.
    pub(crate) fn settings(&self, project: &Project, truncate: bool) -> Result<Chosen, Failure> {
        let wanted = &project.manifest().settings;
        let device = self.device.clone().unwrap_or_else(|| wanted.device.to_string());
        let dtype = self.dtype.clone().unwrap_or_else(|| wanted.dtype.to_string());
        let official = match self.compat.as_deref() {
            Some(compat) => compat == "official",
            None => wanted.compat == manifest::Compat::Official,
        };
        let default = Settings::default();
        let budget = self.max_batch_tokens.or(wanted.max_batch_tokens);
        let settings = Settings {
            max_batch_tokens: budget.map_or(default.max_batch_tokens, std::num::NonZeroUsize::get),
            compat: if official { Compat::Official } else { Compat::Masked },
            truncate,
        };
        let device = DeviceChoice::parse(&device).map_err(Error::from)?;
        let dtype = Dtype::parse(&dtype).map_err(Error::from)?;
        Ok(Chosen { device, dtype, settings })
    }
}
