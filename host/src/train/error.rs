//! What can go wrong in training, with what to type next.

use kadapter_registry::Digest;
use std::path::PathBuf;
use thiserror::Error;

/// An error of training.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum TrainError {
    #[error("Could not {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` has {found} bytes, expected at most {limit} for a recipe", path.display())]
    RecipeTooLarge { path: PathBuf, found: u64, limit: u64 },
    #[error("`{}` is not a recipe", path.display())]
    Recipe {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("`{key}` of `{}` is {found}, expected {expected}", path.display())]
    RecipeValue { path: PathBuf, key: &'static str, found: String, expected: String },
    #[error("plugin `{plugin}` brings no objective, expected one that trains its adapters")]
    NoObjective { plugin: String },
    #[error("the objective of plugin `{plugin}` refused its configuration")]
    Objective {
        plugin: String,
        #[source]
        source: kadapter_plugin_api::Error,
    },
    #[error("{}:{line}: the objective of plugin `{plugin}` could not read the record", path.display())]
    Record {
        path: PathBuf,
        line: u64,
        plugin: String,
        #[source]
        source: kadapter_plugin_api::Error,
    },
    #[error("the {part} data have no example left: {found}", found = left_out(reasons))]
    NoExamples { part: &'static str, reasons: Vec<(String, u64)> },
    #[error(
        "a record of the {part} data has no text or list of texts in field `{field}`, which `objective.labels_from` names"
    )]
    NoLabelField { part: &'static str, field: String },
    #[error("the recipes have backbones {first} and {second}, expected one: they share its passes")]
    TwoBackbones { first: String, second: String },
    #[error(
        "the recipes `{first}` and `{second}` differ in `cache.dtype`, expected one: they share their hidden states"
    )]
    TwoCacheTypes { first: String, second: String },
    #[error("the objective could not compute a loss in epoch {epoch}, update {step}")]
    Loss {
        epoch: usize,
        step: u64,
        #[source]
        source: kadapter_plugin_api::Error,
    },
    #[error("the {what} is {found} in epoch {epoch}, update {step}; its batch has the records {records}")]
    NotFinite { what: &'static str, found: f64, epoch: usize, step: u64, records: String },
    #[error("the objective has no metric `{found}`, expected one of {}", crate::error::list(known))]
    Metric { found: String, known: Vec<String> },
    #[error("checkpoint `{}` was made by another run: its {what} is {found}, expected {expected}", path.display())]
    ForeignCheckpoint { path: PathBuf, what: &'static str, found: String, expected: String },
    #[error("checkpoint `{}` is damaged: {reason}", path.display())]
    DamagedCheckpoint { path: PathBuf, reason: String },
    #[error("the backbone's weights have digest {found} after training, expected {expected} as before")]
    BackboneChanged { expected: Digest, found: Digest },
    #[error("another process trains in `{}`", path.display())]
    Busy { path: PathBuf },
}

fn left_out(reasons: &[(String, u64)]) -> String {
    if reasons.is_empty() {
        return "there were no records".into();
    }
    reasons.iter().map(|(reason, count)| format!("{count} left out ({reason})")).collect::<Vec<_>>().join(", ")
}

impl TrainError {
    /// What to type next, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { action: "write", .. } => {
                "make room or choose another place with `--run DIR`; the last checkpoint is whole, start again to go on"
                    .into()
            }
            Self::Io { .. } => return None,
            Self::RecipeTooLarge { .. } | Self::Recipe { .. } | Self::RecipeValue { .. } => {
                "see `docs/training.md`, or the recipes that come with kadapter".into()
            }
            Self::NoObjective { .. } => {
                "choose a plugin that brings one, or write it: `docs/writing-a-plugin.md`, section Training".into()
            }
            Self::Objective { .. } => "correct `[objective]` in the recipe".into(),
            Self::Record { .. } => "mend the record, or count and skip such records: `skip_bad = true` in `[data]`".into(),
            Self::NoExamples { .. } => "see that `[data]` names the right files and `max_length` is large enough".into(),
            Self::NoLabelField { .. } => "name a field that every record has, or list `labels` in `[objective]`".into(),
            Self::TwoCacheTypes { .. } => {
                "give both the same `dtype` in `[cache]`, or train them one after another: `kadapter train adapter RECIPE`".into()
            }
            Self::TwoBackbones { .. } => "train them one after another: `kadapter train adapter RECIPE`".into(),
            Self::Loss { .. } | Self::BackboneChanged { .. } => return None,
            Self::NotFinite { .. } => {
                "the last good checkpoint is kept; lower `learning_rate` or set `clip` in `[training]`, then start again \
                 with `--fresh`"
                    .into()
            }
            Self::Metric { .. } => "correct `metric` in `[training]`".into(),
            Self::ForeignCheckpoint { .. } | Self::DamagedCheckpoint { .. } => {
                "start over with `--fresh`, or train in another folder with `--run DIR`".into()
            }
            Self::Busy { .. } => "wait for it, or train in another folder with `--run DIR`".into(),
        })
    }
}
