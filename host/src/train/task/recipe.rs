//! `[task]` of a recipe: what is answered, and the labelled data to learn it from.
//!
//! ```toml
//! [tasks.relations]
//! kind = "relation-classification"
//! metric = "directed-macro-f1"
//! train = "train.txt.xz"                                # or { path = "train.txt", format = "semeval", limit = 1000 }
//! dev = { share = 0.1 }                                 # held out from `train`, by sentence
//! test = "test.txt.xz"                                  # or { share = 0.3, by = ["subject_id"] }, or left out with `folds = 5`
//! ```

use super::reading::{Belongs, Reading};
use super::{AnswerRule, Error, Grid, HeadSettings, Metric};
use crate::data::{self, Labels, Share, Source, Split};
use crate::task::{Compat, Kind, Task, TaskSpec};
use crate::tokenizer::Tokenizer;
use crate::train::data_file::DataFile;
use kadapter_registry::package::TaskKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The seed of splits: fixed, so that every run of a recipe holds out the same records, whatever it is trained with.
const SPLIT_SEED: u64 = 0x6b61_6461_7074_6572;

/// A task and its data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRecipe {
    /// What the head answers.
    pub kind: TaskKind,
    /// The labels in the order of the head's outputs; those of the training data, sorted, where there are none.
    pub labels: Option<Vec<String>>,
    /// The longest input in tokens; as long as the backbone takes where there is none.
    pub max_length: Option<usize>,
    /// Options of the kind, as a task package has them.
    #[serde(default)]
    pub options: toml::Table,
    /// What epochs are chosen by and results are told in; the kind's usual metric where there is none.
    pub metric: Option<String>,
    /// The label that says that there is no relation: micro-F1 leaves it out, `negative_sample` counts it.
    pub no_relation: Option<String>,
    /// Records of `no_relation` kept for training, first in the file: the official option, which keeps one less.
    pub negative_sample: Option<usize>,
    /// The training data.
    pub train: Files,
    /// The development data.
    pub dev: Option<Part>,
    /// The test data.
    pub test: Option<Part>,
    /// Instead of test data: each of so many parts of the training data is tested by a head that was trained on the others.
    pub folds: Option<usize>,
    /// Whether texts that are too long are cut instead of refused.
    #[serde(default)]
    pub truncate: bool,
    /// Whether records that cannot be read or encoded are counted and left out.
    #[serde(default)]
    pub skip_bad: bool,
    /// How its heads are trained, where that is not as the recipe says for all.
    pub training: Option<toml::Table>,
    /// What is tried, where that is not as the recipe says for all.
    pub grid: Option<Grid>,
}

/// Files of labelled data, one after another.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct Files(pub Vec<DataFile>);

/// Data that is a file of its own, or a part of the training data.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Part {
    /// A part of the training data.
    Held(Held),
    /// Files.
    Files(Files),
}

impl TryFrom<toml::Value> for Files {
    type Error = String;

    /// One file, or a list of them.
    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Array(files) => files.into_iter().map(DataFile::try_from).collect::<Result<_, _>>().map(Self),
            file => DataFile::try_from(file).map(|file| Self(vec![file])),
        }
    }
}

impl TryFrom<toml::Value> for Part {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        if value.get("share").is_none() {
            return Files::try_from(value).map(Self::Files);
        }
        value.try_into().map(Self::Held).map_err(|error: toml::de::Error| error.message().to_owned())
    }
}

/// A part that is held out from the training data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// About how much of the keys.
    pub share: f64,
    /// The fields whose values are the key; records of one key stay together. The sentence where there are none.
    #[serde(default)]
    pub by: Vec<String>,
}

/// A split of a task's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitName {
    /// To learn from.
    Train,
    /// To choose by.
    Dev,
    /// To judge by.
    Test,
}

impl SplitName {
    /// The data that it names.
    pub(super) fn data(self) -> &'static str {
        match self {
            Self::Train => "the training data",
            Self::Dev => "the development data",
            Self::Test => "the test data",
        }
    }
}

impl std::fmt::Display for SplitName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        })
    }
}

/// A task that is ready to encode its data.
#[derive(Debug)]
pub struct PreparedTask {
    /// The task.
    pub task: Box<dyn Task>,
    /// The same task, except that it refuses what that one cuts; none where that one cuts nothing.
    pub uncut: Option<Box<dyn Task>>,
    /// Its kind.
    pub kind: Kind,
    /// Its labels.
    pub labels: Labels,
    /// How it is judged.
    pub metric: Metric,
    /// How logits become answers.
    pub rule: AnswerRule,
    /// The class of `no_relation`.
    pub no_relation: Option<u32>,
    /// Options of the kind, without those that belong to the fusion.
    pub options: toml::Table,
}

impl TaskRecipe {
    /// Makes the task; reads the training data for its labels where the recipe has none.
    ///
    /// # Errors
    /// When options or labels do not fit the kind, the metric does not judge it, or data cannot be read.
    pub fn prepare(
        &self,
        folder: &Path,
        tokenizer: &Tokenizer,
        backbone_limit: usize,
        compat: Compat,
    ) -> Result<PreparedTask, Error> {
        let kind = crate::pipeline::head::kind_of(self.kind);
        let labels = match &self.labels {
            Some(labels) => labels.clone(),
            None if kind.has_labels() => self.labels_of_data(folder)?,
            None => Vec::new(),
        };
        let mut options = self.options.clone();
        options.remove(crate::pipeline::head::EXTRA);
        let spec = TaskSpec {
            kind,
            labels: labels.clone(),
            max_length: self.max_length,
            options: options.clone(),
            compat,
            truncate: self.truncate,
        };
        let build = |spec: &TaskSpec| {
            spec.build(tokenizer, backbone_limit).map_err(|error| Error::from(crate::Error::from(error)))
        };
        let (task, uncut) = (build(&spec)?, spec.uncut().as_ref().map(build).transpose()?);
        let flag = |name| options.get(name).and_then(toml::Value::as_bool).unwrap_or(false);
        let metric = Metric::of(kind, self.metric.as_deref(), &labels, self.no_relation.as_deref())?;
        let rule = AnswerRule {
            force_top: flag("force_top"),
            exclusive: flag(crate::task::typing::EXCLUSIVE),
            max_answer_tokens: (kind == Kind::Span).then(|| {
                let given = options.get("max_answer_tokens").and_then(toml::Value::as_integer);
                let given = given.and_then(|most| usize::try_from(most).ok());
                given.unwrap_or(crate::task::span::DEFAULT_MAX_ANSWER_TOKENS as usize)
            }),
        };
        let labels = Labels::new(labels);
        let no_relation =
            self.no_relation.as_ref().and_then(|label| labels.index_of(label)).and_then(|at| u32::try_from(at).ok());
        Ok(PreparedTask { task, uncut, kind, labels, metric, rule, no_relation, options })
    }

    /// The records of a split. Empty where the recipe has no such split.
    ///
    /// # Errors
    /// When a share or a format is none; errors of reading come with the records.
    pub fn records(&self, folder: &Path, split: SplitName) -> Result<Reading, Error> {
        let holds = |part: &Part, place: usize| -> Result<Option<Belongs>, Error> {
            let Part::Held(held) = part else { return Ok(None) };
            let (split, by) = (held.split(place)?, held.by.clone());
            Ok(Some(Box::new(move |record: &data::Labelled| split.holds_out(&record.key_by(&by)))))
        };
        let [dev, test] = [&self.dev, &self.test].map(Option::as_ref);
        let place_of_test = usize::from(dev.is_some());
        let held_by = |part: Option<&Part>, place| part.map_or(Ok(None), |part| holds(part, place));
        let (in_dev, in_test) = (held_by(dev, 0)?, held_by(test, place_of_test)?);
        let (files, belongs): (&Files, Option<Belongs>) = match (split, dev, test) {
            // What is held out is not trained on.
            (SplitName::Train, ..) => {
                let held: Vec<Belongs> = in_dev.into_iter().chain(in_test).collect();
                (&self.train, Some(Box::new(move |record| !held.iter().any(|holds| holds(record)))))
            }
            (SplitName::Dev, Some(Part::Files(files)), _) | (SplitName::Test, _, Some(Part::Files(files))) => {
                (files, None)
            }
            (SplitName::Dev, Some(Part::Held(_)), _) => (&self.train, in_dev),
            // What two parts hold out belongs to the first.
            (SplitName::Test, _, Some(Part::Held(_))) => {
                let belongs = move |record: &data::Labelled| {
                    let has = |part: &Option<Belongs>| part.as_ref().is_some_and(|holds| holds(record));
                    has(&in_test) && !has(&in_dev)
                };
                (&self.train, Some(Box::new(belongs)))
            }
            (SplitName::Dev, None, _) | (SplitName::Test, _, None) => return Ok(Reading::default()),
        };
        Ok(Reading::new(files.sources(folder, self.skip_bad)?, belongs))
    }

    /// The fields whose values keep records together: what the test data is held out by. The sentence does where there are none.
    #[must_use]
    pub fn together(&self) -> &[String] {
        match &self.test {
            Some(Part::Held(held)) => &held.by,
            _ => &[],
        }
    }

    /// The files of each split, as the recipe names them.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, Vec<PathBuf>)> {
        let mut files = vec![("train", self.train.paths())];
        for (name, part) in [("dev", &self.dev), ("test", &self.test)] {
            if let Some(Part::Files(own)) = part {
                files.push((name, own.paths()));
            }
        }
        files
    }

    /// Whether CosmosQA's extra layers belong to its fusions.
    #[must_use]
    pub fn has_extra(&self) -> bool {
        self.options.get(crate::pipeline::head::EXTRA).and_then(toml::Value::as_bool).unwrap_or(false)
    }

    /// How its heads are trained: as it says, and for the rest as `all` says.
    ///
    /// # Errors
    /// When it names settings that do not exist.
    pub fn settings(&self, all: &HeadSettings) -> Result<HeadSettings, Error> {
        let Some(own) = &self.training else { return Ok(all.clone()) };
        let wrong = |found| Error::Setting { name: "training", found, expected: "settings of a head" };
        let mut merged = toml::Table::try_from(all).map_err(|error| wrong(error.to_string()))?;
        merged.extend(own.clone());
        merged.try_into().map_err(|error: toml::de::Error| wrong(format!("wrong ({})", error.message())))
    }

    /// Every label of the training data, sorted.
    fn labels_of_data(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let mut labels = BTreeSet::new();
        for record in Reading::new(self.train.sources(folder, self.skip_bad)?, None) {
            labels.extend(record?.labels().iter().cloned());
        }
        Ok(labels.into_iter().collect())
    }
}

impl Files {
    fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().map(|file| file.path.clone()).collect()
    }

    fn sources(&self, folder: &Path, skip_bad: bool) -> Result<Vec<Source>, data::Error> {
        self.0.iter().map(|file| file.source(folder, skip_bad)).collect()
    }
}

impl Held {
    fn split(&self, place: usize) -> Result<Split, Error> {
        Ok(Split::new(SPLIT_SEED.wrapping_add(place as u64), Share::new(self.share)?))
    }
}
