//! Everything that can go wrong in the host, with what to type next.

use crate::backbone::BackboneError;
use crate::evaluate::EvaluateError;
use crate::parameters::ParametersError;
use crate::plugin::check::CheckError;
use crate::plugin::contact::ContactError;
use crate::plugin::{PluginError, ProbeError};
use crate::stage::StageError;
use crate::tensor::device::DeviceError;
use crate::train::cache::CacheError;
use crate::train::communicator::CommunicatorError;
use crate::train::error::TrainError;
use crate::train::log::LogError;
use crate::train::tensorboard::EventError;
use crate::{compare, data, import, metric, pack, signing, task, tokenizer, train, weights};
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// An error of the host.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum Error {
    #[error(transparent)]
    Registry(Box<kadapter_registry::Error>),
    #[error(transparent)]
    Weights(Box<weights::Error>),
    #[error(transparent)]
    Tokenizer(Box<tokenizer::Error>),
    #[error(transparent)]
    Task(Box<task::Error>),
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Check(Box<CheckError>),
    #[error(transparent)]
    Contact(Box<ContactError>),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Import(Box<import::Error>),
    #[error(transparent)]
    Pack(Box<pack::Error>),
    #[error(transparent)]
    Data(Box<data::Error>),
    #[error(transparent)]
    Metric(#[from] metric::Error),
    #[error(transparent)]
    Evaluate(Box<EvaluateError>),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Signing(#[from] signing::Error),
    #[error(transparent)]
    TrainTask(Box<train::task::Error>),
    #[error(transparent)]
    Recipe(Box<compare::recipe::RecipeError>),
    #[error(transparent)]
    Compare(Box<compare::run::CompareError>),
    #[error("the device could not compute")]
    Compute {
        #[source]
        source: kadapter_plugin_api::Error,
    },
    #[error("adapter `{adapter}` refused to be built by plugin `{plugin}`")]
    Build {
        adapter: String,
        plugin: String,
        #[source]
        source: kadapter_plugin_api::Error,
    },
    #[error("adapter `{adapter}` failed")]
    Forward {
        adapter: String,
        #[source]
        source: kadapter_plugin_api::Error,
    },
    #[error("adapter `{adapter}` taps hidden state {tap}, expected 0 to {layers}: the backbone has {layers} layers")]
    Tap { adapter: String, tap: usize, layers: usize },
    #[error("task `{task}` reads hidden state {tap}, expected 0 to {layers}: the backbone has {layers} layers")]
    TaskTap { task: String, tap: usize, layers: usize },
    #[error("no task is named `{found}`, expected one of {}", list(known))]
    UnknownTask { found: String, known: Vec<String> },
    #[error("`{}` has digest {found}, expected {expected} as its release says", path.display())]
    Digest { path: PathBuf, expected: kadapter_registry::Digest, found: kadapter_registry::Digest },
    #[error("Could not {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{what}: found {found}, expected {expected}")]
    Input { what: &'static str, found: String, expected: String, hint: String },
    #[error(transparent)]
    Train(Box<TrainError>),
    #[error(transparent)]
    TapCache(#[from] CacheError),
    #[error(transparent)]
    TrainingLog(#[from] LogError),
    #[error(transparent)]
    Events(#[from] EventError),
    #[error(transparent)]
    Communicator(#[from] CommunicatorError),
    #[error(transparent)]
    Shared(Arc<Error>),
}

/// The large ones are boxed, so that a `Result` stays small where nothing went wrong.
macro_rules! boxed {
    ($($variant:ident($error:ty)),*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        })*
    };
}

boxed!(
    Registry(kadapter_registry::Error),
    Weights(weights::Error),
    Tokenizer(tokenizer::Error),
    Task(task::Error),
    Import(import::Error),
    Pack(pack::Error),
    Data(data::Error),
    Evaluate(EvaluateError),
    Check(CheckError),
    Contact(ContactError),
    TrainTask(train::task::Error),
    Recipe(compare::recipe::RecipeError),
    Compare(compare::run::CompareError),
    Train(TrainError)
);

/// Names in backticks, or `none`.
pub(crate) fn list(names: &[String]) -> String {
    const MOST: usize = 8;
    let mut text = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text += &format!(" and {} more", names.len() - MOST);
    }
    if text.is_empty() { "none".into() } else { text }
}

impl Error {
    /// What to type next, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Weights(error) => error.hint(),
            Self::Tokenizer(error) => error.hint(),
            Self::Task(error) => error.hint(),
            Self::Backbone(error) => Some(error.hint()),
            Self::Parameters(error) => Some(error.hint()),
            Self::Plugin(error) => Some(error.hint()),
            Self::Probe(error) => Some(error.hint()),
            Self::Check(error) => error.hint(),
            Self::Contact(error) => error.hint(),
            Self::Device(error) => error.hint(),
            Self::Import(error) => error.hint(),
            Self::Pack(error) => error.hint(),
            Self::Data(error) => error.hint(),
            Self::Metric(error) => error.hint(),
            Self::Evaluate(error) => error.hint(),
            Self::Stage(error) => Some(error.hint()),
            Self::Signing(error) => error.hint(),
            Self::TrainTask(error) => error.hint(),
            Self::Recipe(error) => error.hint(),
            Self::Compare(error) => error.hint(),
            Self::Compute { .. } => Some("try a smaller `max_batch_tokens` in `[project]`, or `--device cpu`".into()),
            Self::Build { .. } => {
                Some("see `[adapter.config]` of the adapter's package with `kadapter info NS/NAME`".into())
            }
            Self::Forward { adapter, .. } => Some(format!(
                "take `{adapter}` out of the task's `stack` in kadapter.toml, or ask its author for another version"
            )),
            Self::Tap { .. } => {
                Some("choose an adapter that was trained on this backbone: `kadapter search adapter`".into())
            }
            Self::TaskTap { .. } => {
                Some("choose a task that was trained on this backbone: `kadapter search task`".into())
            }
            Self::UnknownTask { .. } => Some("see the project's tasks with `kadapter tree`".into()),
            Self::Digest { .. } => Some("fetch it anew with `kadapter fetch`".into()),
            Self::Io { .. } => None,
            Self::Input { hint, .. } => Some(hint.clone()),
            Self::Train(error) => error.hint(),
            Self::TapCache(error) => Some(error.hint()),
            Self::TrainingLog(error) => Some(error.hint()),
            Self::Events(error) => Some(error.hint()),
            Self::Communicator(error) => Some(error.hint()),
            Self::Shared(error) => error.hint(),
        }
    }

    /// An error of an engine outside any adapter.
    pub(crate) fn compute(source: kadapter_plugin_api::Error) -> Self {
        Self::Compute { source }
    }
}
