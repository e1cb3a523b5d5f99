//! Recipes: what an adapter is trained from, as a TOML file says it.
//!
//! ```toml
//! [adapter]
//! name = "me/factual"
//! license = "CC-BY-SA-4.0"
//! plugin = "kadapter-plugins/factual"
//! taps = [0, 11, 22]
//! [adapter.config]                  # what the plugin builds the adapter from
//! size = 768
//! heads = 12
//!
//! [objective]                       # what the plugin builds its objective from
//! labels_from = "relation"          # the host's own key: `labels` becomes the values of this field
//!
//! [registries]                      # as in kadapter.toml
//! me = "../registry"
//!
//! [backbone]
//! package = "me/roberta-large"
//! version = "^1"
//!
//! [data]
//! train = ["train.json"]
//! dev = ["dev.json"]
//!
//! [training]
//! epochs = 5
//! batch = 128
//! learning_rate = 5e-5
//! warmup_steps = 1200
//! ```
//! Paths are relative to the recipe's folder.

use super::data_file::DataFile;
use super::error::TrainError;
use kadapter_registry::{License, PackageName, Version};
use semver::VersionReq;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The longest recipe, in bytes: label lists included.
const MAX_RECIPE_BYTES: u64 = 4 << 20;

/// The key of `[objective]` that the host reads itself.
pub const LABELS_FROM: &str = "labels_from";

/// A recipe for one adapter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What becomes of it.
    pub adapter: AdapterPart,
    /// The configuration of the plugin's objective, and [`LABELS_FROM`].
    #[serde(default)]
    pub objective: toml::Table,
    /// Namespaces and their registries, as in a manifest.
    pub registries: toml::Table,
    /// The frozen backbone, as in a manifest.
    pub backbone: toml::Table,
    /// Where records come from.
    pub data: DataPart,
    /// How it is trained.
    #[serde(default)]
    pub training: TrainingPart,
    /// The cache of hidden states.
    #[serde(default)]
    pub cache: CachePart,
    /// Where the recipe lies.
    #[serde(skip)]
    pub path: PathBuf,
    /// The recipe's text.
    #[serde(skip)]
    pub text: String,
}

/// The adapter that a recipe makes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterPart {
    /// `namespace/name` of the package.
    pub name: PackageName,
    /// Its version.
    #[serde(default = "first_version")]
    pub version: Version,
    /// The licence of the weights: what the data allow.
    pub license: License,
    /// One sentence.
    pub description: Option<String>,
    /// Whom the data's licences ask to name.
    pub attribution: Option<String>,
    /// The plugin that brings network and objective.
    pub plugin: PackageName,
    /// Which of its versions may be used.
    #[serde(default)]
    pub plugin_version: VersionReq,
    /// Hidden states that it reads, 0 the embedding output.
    pub taps: Vec<usize>,
    /// What the network is built from.
    #[serde(default)]
    pub config: toml::Table,
    /// How the package stores its weights.
    #[serde(default)]
    pub dtype: StoredType,
    /// A directory of a package to start from instead of the plugin's initial values.
    pub start_from: Option<PathBuf>,
}

/// The type of stored weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredType {
    /// Single precision.
    #[default]
    F32,
    /// Half precision: half the size, rounded once at the end.
    F16,
}

/// Where records come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataPart {
    /// Files to train on, one after another.
    pub train: Vec<DataFile>,
    /// Files to evaluate on; without them a part of the training data is held out.
    #[serde(default)]
    pub dev: Vec<DataFile>,
    /// What is held out of the training data, where there are no dev files.
    pub hold_out: Option<HoldOut>,
    /// Files whose sentences must not be trained on: evaluation data of downstream tasks.
    #[serde(default)]
    pub exclude: Vec<DataFile>,
    /// The most training examples.
    pub limit: Option<usize>,
    /// The most dev examples.
    pub dev_limit: Option<usize>,
    /// Count records that cannot be read instead of stopping at the first.
    #[serde(default)]
    pub skip_bad: bool,
    /// A control: what is learned is torn from what it is learned on.
    pub permute_targets: Option<Permute>,
}

/// A part of the training data that is kept for evaluation: the same records every time, drawn by the recipe's seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldOut {
    /// How much of it, above 0 and below 1.
    pub fraction: f64,
    /// The field whose values stay on one side (a subject, a document); whole records without it.
    pub by: Option<String>,
}

/// How targets are permuted in a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permute {
    /// Examples with equally many targets exchange them.
    Examples,
    /// The targets of each example are shuffled among its places.
    Places,
}

/// How it is trained (spec section 3.3); the defaults are the official code's where it has one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingPart {
    /// Passes over the training data.
    pub epochs: usize,
    /// Updates; 0 for as many as the epochs have.
    pub max_steps: u64,
    /// Examples of one update.
    pub batch: usize,
    /// Parts that an update's examples are computed in, to save memory.
    pub accumulate: usize,
    /// Whether examples of similar length go into one batch.
    pub bucket: bool,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Updates until it is reached.
    pub warmup_steps: u64,
    /// The same as a fraction of all updates, where `warmup_steps` is 0.
    pub warmup_fraction: f64,
    /// `k` or `k-1`: which step of the schedule the k-th update takes.
    pub schedule_index: ScheduleIndex,
    /// Decoupled weight decay; never of biases and norms.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// The longest gradient, in all parameters' L2 norm; 0 for any.
    pub clip: f64,
    /// What everything random comes from.
    pub seed: u64,
    /// Updates between evaluations; 0 for one at each epoch's end.
    pub evaluate_every: u64,
    /// Evaluations without a better metric until it stops; 0 for never.
    pub patience: u64,
    /// Updates between checkpoints, beside those at evaluations; 0 for none.
    pub save_every: u64,
    /// The metric that chooses the best weights; the objective's first where it is not given.
    pub metric: Option<String>,
    /// Whether the last weights are packed instead of the best.
    pub keep_last: bool,
}

impl Default for TrainingPart {
    fn default() -> Self {
        Self {
            epochs: 5,
            max_steps: 0,
            batch: 32,
            accumulate: 1,
            bucket: true,
            learning_rate: 5e-5,
            warmup_steps: 0,
            warmup_fraction: 0.0,
            schedule_index: ScheduleIndex::Current,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            clip: 1.0,
            seed: 42,
            evaluate_every: 0,
            patience: 0,
            save_every: 200,
            metric: None,
            keep_last: false,
        }
    }
}

/// Which step of the schedule an update takes (spec section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ScheduleIndex {
    /// The k-th update takes step k: the scheduler goes first (pre-training, FIGER, CosmosQA).
    #[serde(rename = "k")]
    Current,
    /// The k-th update takes step k - 1: the optimiser goes first (TACRED, OpenEntity).
    #[serde(rename = "k-1")]
    Previous,
}

/// The cache of hidden states on disk.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CachePart {
    /// Whether there is one.
    pub enabled: bool,
    /// The folder; the user's cache where it is not given.
    pub directory: Option<PathBuf>,
    /// The type of cached values. `f16` rounds hidden states, cached or not.
    pub dtype: StoredType,
    /// The most that it takes on disk, in GiB.
    pub limit_gib: f64,
}

impl Default for CachePart {
    fn default() -> Self {
        Self { enabled: true, directory: None, dtype: StoredType::F32, limit_gib: 20.0 }
    }
}

fn first_version() -> Version {
    // `Version` has no constant; this text is one.
    "1.0.0".parse().unwrap_or_else(|_| unreachable!("1.0.0 is a version"))
}

impl Recipe {
    /// Refuses recipes that cannot train in one process because their hidden states are rounded differently.
    ///
    /// # Errors
    /// [`TrainError::TwoCacheTypes`].
    pub fn round_alike<'r>(recipes: impl IntoIterator<Item = &'r Self>) -> Result<(), TrainError> {
        let mut recipes = recipes.into_iter();
        let Some(first) = recipes.next() else { return Ok(()) };
        match recipes.find(|other| other.cache.dtype != first.cache.dtype) {
            Some(other) => {
                let [first, second] = [first, other].map(|recipe| recipe.path.display().to_string());
                Err(TrainError::TwoCacheTypes { first, second })
            }
            None => Ok(()),
        }
    }

    /// Reads a recipe and checks what can be checked without looking elsewhere.
    ///
    /// # Errors
    /// When it cannot be read, is no recipe, or asks for something that cannot be.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let io = |source| TrainError::Io { action: "read", path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(io)?.len();
        if size > MAX_RECIPE_BYTES {
            return Err(TrainError::RecipeTooLarge { path: path.to_owned(), found: size, limit: MAX_RECIPE_BYTES });
        }
        Self::from_toml(path, &std::fs::read_to_string(path).map_err(io)?)
    }

    /// [`Recipe::read`] of a text; `path` says where it lies.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn from_toml(path: &Path, text: &str) -> Result<Self, TrainError> {
        let parsed: Result<Self, _> = toml::from_str(text);
        let mut recipe =
            parsed.map_err(|source| TrainError::Recipe { path: path.to_owned(), source: Box::new(source) })?;
        recipe.path = std::path::absolute(path).map_err(|source| TrainError::Io {
            action: "find",
            path: path.to_owned(),
            source,
        })?;
        recipe.text = text.to_owned();
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), TrainError> {
        let training = &self.training;
        let number = |key: &'static str, value: f64, least: f64, below: f64| {
            if value >= least && value < below {
                Ok(())
            } else {
                Err(self.wrong(key, value.to_string(), format!("at least {least} and below {below}")))
            }
        };
        number("training.learning_rate", training.learning_rate, 0.0, f64::INFINITY)?;
        number("training.weight_decay", training.weight_decay, 0.0, f64::INFINITY)?;
        number("training.warmup_fraction", training.warmup_fraction, 0.0, 1.0)?;
        number("training.beta1", training.beta1, 0.0, 1.0)?;
        number("training.beta2", training.beta2, 0.0, 1.0)?;
        number("training.epsilon", training.epsilon, f64::MIN_POSITIVE, f64::INFINITY)?;
        number("training.clip", training.clip, 0.0, f64::INFINITY)?;
        number("cache.limit_gib", self.cache.limit_gib, 0.0, 1e9)?;
        for (key, value) in [
            ("training.epochs", training.epochs),
            ("training.batch", training.batch),
            ("training.accumulate", training.accumulate),
            ("adapter.taps", self.adapter.taps.len()),
            ("data.train", self.data.train.len()),
        ] {
            if value == 0 {
                return Err(self.wrong(key, "0".into(), "at least 1".into()));
            }
        }
        if training.accumulate > training.batch {
            let expected = format!("at most `batch`, {}", training.batch);
            return Err(self.wrong("training.accumulate", training.accumulate.to_string(), expected));
        }
        match &self.data.hold_out {
            Some(hold_out) if !(hold_out.fraction > 0.0 && hold_out.fraction < 1.0) => {
                Err(self.wrong("data.hold_out.fraction", hold_out.fraction.to_string(), "above 0 and below 1".into()))
            }
            Some(_) if !self.data.dev.is_empty() => {
                Err(self.wrong("data.hold_out", "beside `data.dev`".into(), "one of both".into()))
            }
            None if self.data.dev.is_empty() => {
                Err(self.wrong("data.dev", "nothing".into(), "files, or `hold_out = { fraction = 0.05 }`".into()))
            }
            _ => Ok(()),
        }
    }

    fn wrong(&self, key: &'static str, found: String, expected: String) -> TrainError {
        TrainError::RecipeValue { path: self.path.clone(), key, found, expected }
    }

    /// The recipe's folder, from which its paths are seen.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The manifest of the backbone alone: what a project of this recipe would say.
    pub fn manifest(&self) -> String {
        let mut manifest = toml::Table::new();
        manifest.insert("registries".into(), self.registries.clone().into());
        manifest.insert("backbone".into(), self.backbone.clone().into());
        let features: toml::Table = [("kind", "features".into()), ("stack", toml::Value::Array(Vec::new()))]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        let tasks: toml::Table = [("features".to_owned(), toml::Value::Table(features))].into_iter().collect();
        manifest.insert("tasks".into(), tasks.into());
        manifest.to_string()
    }

    /// The host's own key of `[objective]`, and the rest, which is the objective's.
    ///
    /// # Errors
    /// When the key is no text.
    pub fn objective_config(&self) -> Result<(Option<String>, toml::Table), TrainError> {
        let mut config = self.objective.clone();
        match config.remove(LABELS_FROM) {
            None => Ok((None, config)),
            Some(toml::Value::String(field)) => Ok((Some(field), config)),
            Some(other) => {
                Err(self.wrong("objective.labels_from", other.type_str().to_owned(), "a field's name in quotes".into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
        [adapter]
        name = "me/factual"
        license = "MIT"
        plugin = "kadapter-plugins/factual"
        taps = [0, 3]
        [registries]
        me = "registry"
        [backbone]
        package = "me/roberta"
        version = "^1"
        [data]
        train = ["train.jsonl", { path = "more.txt", format = "semeval" }]
        hold_out = { fraction = 0.1, by = "subject" }
    "#;

    #[test]
    fn the_least_recipe_has_the_official_defaults() {
        let recipe = Recipe::from_toml(Path::new("/data/recipe.toml"), LEAST).unwrap();
        assert_eq!(recipe.training.batch, 32);
        assert_eq!(recipe.training.epsilon.to_bits(), 1e-8_f64.to_bits());
        assert_eq!(recipe.data.train[1].format.as_deref(), Some("semeval"));
        assert_eq!(recipe.folder().join(&recipe.data.train[0].path), Path::new("/data/train.jsonl"));
        assert!(kadapter_registry::Manifest::from_toml("recipe", &recipe.manifest()).is_ok(), "{}", recipe.manifest());
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (from, to, key) in [
            ("hold_out = { fraction = 0.1, by = \"subject\" }", "", "data.dev"),
            ("fraction = 0.1", "fraction = 1.5", "data.hold_out.fraction"),
            ("taps = [0, 3]", "taps = []", "adapter.taps"),
        ] {
            let error = Recipe::from_toml(Path::new("r.toml"), &LEAST.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
        let with = |line: &str| format!("{LEAST}\n[training]\n{line}");
        for (line, key) in [
            ("batch = 0", "training.batch"),
            ("learning_rate = -1", "training.learning_rate"),
            ("learning_rate = nan", "training.learning_rate"),
            ("accumulate = 64", "training.accumulate"),
            ("beta2 = 1.0", "training.beta2"),
        ] {
            let error = Recipe::from_toml(Path::new("r.toml"), &with(line)).unwrap_err();
            assert!(error.to_string().contains(key), "{line}: {error}");
        }
        assert!(matches!(Recipe::from_toml(Path::new("r.toml"), &with("speed = 3")), Err(TrainError::Recipe { .. })));
        // What is read in part must not be read whole because of a slip.
        for (slip, said) in [
            ("slices = [0.1, 1.0]", "unknown field `slices`"),
            ("by = [\"subject\"]", "a file has `by` without `slice`, expected both"),
        ] {
            let error =
                Recipe::from_toml(Path::new("r.toml"), &LEAST.replace("format = \"semeval\"", slip)).unwrap_err();
            let TrainError::Recipe { source, .. } = &error else { panic!("{error}") };
            assert!(source.to_string().contains(said), "{source}");
        }
    }
}
