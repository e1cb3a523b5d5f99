//! A recipe's plugin, objective and data, ready for any device: examples are encoded once, by the plugin, and lie on disk.

use super::package::digest_of_weights;
use crate::data::{Counts, Labelled, SeenSentences, Share, Source, Split};
use crate::error::Error;
use crate::plugin::{Plugin, record};
use crate::tokenizer::{Tokenizer, TokenizerTable};
use crate::train::data_file::DataFile;
use crate::train::error::TrainError;
use crate::train::examples::{Builder, Examples};
use crate::train::recipe::Recipe;
use abi_stable::sabi_types::RRef;
use abi_stable::std_types::RSlice;
use abi_stable::type_level::downcasting::TD_Opaque;
use kadapter_plugin_api::abi::{InstanceBox, Texts, TrainerBox};
use kadapter_plugin_api::{Backbone, Encoded, Entry, ParamSpec};
use kadapter_registry::{Digest, PackageId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A plugin, and what adapter and objective are built from.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The opened plugin.
    pub plugin: Plugin,
    /// Its package and version.
    pub plugin_id: PackageId,
    /// The digest of its library.
    pub library: Digest,
    /// The adapter's configuration.
    pub config: toml::Table,
    /// The objective's configuration, labels included.
    pub objective_config: toml::Table,
    /// What both know of the backbone.
    pub backbone: Backbone,
}

/// What records became.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Records that were read.
    pub records: u64,
    /// Examples.
    pub examples: u64,
    /// Records that were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Examples that lost a part of their record, by reason.
    pub cut: BTreeMap<String, u64>,
    /// Records that could not be read.
    pub bad: u64,
}

/// What the records of each file became.
#[derive(Clone, Debug, Default)]
pub struct PerFile(BTreeMap<PathBuf, Counted>);

impl PerFile {
    /// Of one file.
    #[must_use]
    pub fn of(&self, path: &Path) -> Counted {
        self.0.get(path).cloned().unwrap_or_default()
    }

    /// Of all files together.
    #[must_use]
    pub fn total(&self) -> Counted {
        let mut total = Counted::default();
        for counted in self.0.values() {
            total.records += counted.records;
            total.examples += counted.examples;
            total.bad += counted.bad;
            for (reason, count) in &counted.left_out {
                *total.left_out.entry(reason.clone()).or_default() += count;
            }
            for (reason, count) in &counted.cut {
                *total.cut.entry(reason.clone()).or_default() += count;
            }
        }
        total
    }

    fn at(&mut self, path: &Path) -> &mut Counted {
        self.0.entry(path.to_owned()).or_default()
    }

    fn add(&mut self, counts: Vec<(PathBuf, Counts)>) {
        counts.iter().for_each(|(path, counts)| self.at(path).add(counts));
    }
}

impl Counted {
    /// Adds what files leave out by their nature, and what could not be read.
    fn add(&mut self, counts: &Counts) {
        self.records += counts.total_left_out() + counts.bad;
        self.bad += counts.bad;
        for (reason, count) in &counts.left_out {
            *self.left_out.entry(reason.to_string()).or_default() += count;
        }
    }
}

/// A recipe that is ready to train on any device.
#[derive(Debug)]
pub struct Prepared {
    /// The recipe.
    pub recipe: Recipe,
    /// The plugin and its configurations.
    pub architecture: Architecture,
    /// What is trained on.
    pub train: Examples,
    /// What it is judged by.
    pub dev: Examples,
    /// What became of the training records.
    pub train_counted: PerFile,
    /// What became of the dev records.
    pub dev_counted: PerFile,
    /// The data files with their digests.
    pub files: Vec<(PathBuf, Digest)>,
    /// Whether the objective reads the backbone's last hidden state.
    pub reads_last: bool,
    /// A digest of everything that decides the numbers of a run, the device aside.
    pub identity: Digest,
}

/// What a recipe meets: the backbone that is at hand.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The backbone's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The digest of its weights.
    pub weights: Digest,
    /// Columns of its hidden states.
    pub hidden_size: usize,
    /// Its layers.
    pub layers: usize,
    /// The most tokens that it takes.
    pub max_tokens: usize,
    /// A folder with room for the encoded examples.
    pub scratch: &'a Path,
}

impl Architecture {
    /// Builds the adapter.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn adapter(&self) -> Result<(InstanceBox, Vec<ParamSpec>), Error> {
        self.plugin.build(&self.config, self.backbone.clone()).map_err(|source| Error::Build {
            adapter: "of the recipe".into(),
            plugin: self.plugin_id.to_string(),
            source,
        })
    }

    /// Builds the objective.
    ///
    /// # Errors
    /// What the plugin says, or that it brings none.
    pub fn objective(&self) -> Result<(TrainerBox, Vec<ParamSpec>), TrainError> {
        let plugin = || self.plugin_id.to_string();
        self.plugin
            .objective(&self.objective_config, self.backbone.clone())
            .map_err(|source| TrainError::Objective { plugin: plugin(), source })?
            .ok_or_else(|| TrainError::NoObjective { plugin: plugin() })
    }
}

impl Prepared {
    /// Reads and encodes a recipe's data with its plugin's objective.
    ///
    /// # Errors
    /// When the plugin brings no objective or refuses its configuration, when data cannot be read, or none is left.
    pub fn new(recipe: Recipe, plugin: (Plugin, PackageId, Digest), around: Surroundings<'_>) -> Result<Self, Error> {
        let (labels_from, objective_config) = recipe.objective_config()?;
        let mut architecture = Architecture {
            plugin: plugin.0,
            plugin_id: plugin.1,
            library: plugin.2,
            config: recipe.adapter.config.clone(),
            objective_config,
            backbone: Backbone::new(around.hidden_size, around.layers, &recipe.adapter.taps),
        };
        let data = Data::open(&recipe)?;
        if let Some(field) = labels_from {
            let labels = data.labels(&field)?;
            architecture.objective_config.insert("labels".into(), labels.into());
        }
        let (objective, _) = architecture.objective()?;
        // Built once here, so that a recipe that does not fit the plugin is told before the data are read.
        architecture.adapter()?;
        let start = recipe.adapter.start_from.as_ref();
        let start = start.map(|path| digest_of_weights(&recipe.folder().join(path))).transpose()?;
        let encoder =
            Encoder { objective: &objective, plugin: &architecture.plugin_id, around, skip_bad: recipe.data.skip_bad };
        let (mut train, mut dev) = (Builder::new(around.scratch)?, Builder::new(around.scratch)?);
        let (mut train_counted, mut dev_counted) = (PerFile::default(), PerFile::default());
        let (train_limit, dev_limit) = (recipe.data.limit, recipe.data.dev_limit);
        let counts = data.each(Part::Train, |held_out, labelled| {
            let (builder, counted, limit) = if held_out {
                (&mut dev, &mut dev_counted, dev_limit)
            } else {
                (&mut train, &mut train_counted, train_limit)
            };
            encoder.push(&labelled, builder, counted, limit)
        })?;
        train_counted.add(counts);
        let counts =
            data.each(Part::Dev, |_, labelled| encoder.push(&labelled, &mut dev, &mut dev_counted, dev_limit))?;
        dev_counted.add(counts);
        let seed = recipe.training.seed;
        let (train, dev) = (train.finish(recipe.data.permute_targets, seed)?, dev.finish(None, seed)?);
        for (part, examples, counted) in [("training", &train, &train_counted), ("dev", &dev, &dev_counted)] {
            if examples.is_empty() {
                let reasons = counted.total().left_out.into_iter().collect();
                return Err(TrainError::NoExamples { part, reasons }.into());
            }
        }
        let files = data.digests()?;
        let identity = identity(&recipe, &architecture, &train, &dev, (around.weights, start));
        let reads_last = objective.reads_last();
        Ok(Self { recipe, architecture, train, dev, train_counted, dev_counted, files, reads_last, identity })
    }
}

/// What decides a run's numbers: nothing that only says where things lie or how they are called.
fn identity(
    recipe: &Recipe,
    architecture: &Architecture,
    train: &Examples,
    dev: &Examples,
    (backbone, start): (Digest, Option<Digest>),
) -> Digest {
    let text = format!(
        "{:?}\n{:?}\n{:?}\n{}\n{}\n{}\n{}\n{}\n{:?}",
        recipe.training,
        recipe.adapter.taps,
        recipe.cache.dtype,
        architecture.config,
        architecture.objective_config,
        architecture.library,
        train.digest(),
        dev.digest(),
        (backbone, start),
    );
    Digest::of(text.as_bytes())
}

/// Which of a recipe's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Train,
    Dev,
}

/// The data of a recipe.
struct Data {
    train: Vec<Source>,
    dev: Vec<Source>,
    seen: Option<SeenSentences>,
    split: Option<(Split, Vec<String>)>,
    skip_bad: bool,
}

impl Data {
    fn open(recipe: &Recipe) -> Result<Self, Error> {
        let sources = |files: &[DataFile]| -> Result<Vec<Source>, crate::data::Error> {
            files.iter().map(|file| file.source(recipe.folder(), recipe.data.skip_bad)).collect()
        };
        let exclude = sources(&recipe.data.exclude)?;
        let split = match &recipe.data.hold_out {
            None => None,
            Some(hold_out) => {
                // Slices of files are drawn by 0: no split may follow them.
                let seed = Some(recipe.training.seed).filter(|seed| *seed != 0).unwrap_or(u64::MAX);
                let split = Split::new(seed, Share::new(hold_out.fraction)?);
                Some((split, hold_out.by.iter().cloned().collect()))
            }
        };
        Ok(Self {
            train: sources(&recipe.data.train)?,
            dev: sources(&recipe.data.dev)?,
            seen: if exclude.is_empty() { None } else { Some(SeenSentences::of(&exclude)?) },
            split,
            skip_bad: recipe.data.skip_bad,
        })
    }

    /// Hands on every record that is not excluded, and whether it is held out.
    fn each(
        &self,
        part: Part,
        mut visit: impl FnMut(bool, Seen) -> Result<(), Error>,
    ) -> Result<Vec<(PathBuf, Counts)>, Error> {
        let sources = if part == Part::Train { &self.train } else { &self.dev };
        let mut all = Vec::new();
        for source in sources {
            let mut records = source.records();
            for labelled in records.by_ref() {
                let labelled = labelled?;
                let excluded = part == Part::Train && self.seen.as_ref().is_some_and(|seen| seen.has(&labelled));
                let held_out = part == Part::Train
                    && self.split.as_ref().is_some_and(|(split, by)| split.holds_out(&labelled.key_by(by)));
                visit(held_out, Seen { labelled, excluded })?;
            }
            let counts = records.counts();
            all.push((source.path.clone(), counts.clone()));
            if self.skip_bad && counts.bad > 0 {
                let first = counts.first_bad.as_deref().unwrap_or_default();
                tracing::warn!(
                    "{}: {} records could not be read; the first: {first}",
                    source.path.display(),
                    counts.bad
                );
            }
        }
        Ok(all)
    }

    /// The values of a field in the training data, a text or a list of texts in each record, sorted.
    fn labels(&self, field: &str) -> Result<Vec<String>, Error> {
        let mut labels = std::collections::BTreeSet::new();
        self.each(Part::Train, |_, seen| {
            let fields = seen.labelled.flat();
            let values = match fields.get(field) {
                Some(serde_json::Value::Array(values)) => values.iter().map(serde_json::Value::as_str).collect(),
                value => value.and_then(serde_json::Value::as_str).map(|value| vec![value]),
            };
            let missing = || TrainError::NoLabelField { part: "training", field: field.to_owned() };
            labels.extend(values.ok_or_else(missing)?.into_iter().map(str::to_owned));
            Ok(())
        })?;
        Ok(labels.into_iter().collect())
    }

    fn digests(&self) -> Result<Vec<(PathBuf, Digest)>, Error> {
        let digest = |source: &Source| -> Result<(PathBuf, Digest), Error> {
            let io = |error| Error::Io { action: "read", path: source.path.clone(), source: error };
            let (digest, _) = Digest::of_reader(std::fs::File::open(&source.path).map_err(io)?).map_err(io)?;
            Ok((source.path.clone(), digest))
        };
        self.train.iter().chain(&self.dev).map(digest).collect()
    }
}

/// A record, and whether its sentence is in the data that must not be trained on.
struct Seen {
    labelled: Labelled,
    excluded: bool,
}

struct Encoder<'a> {
    objective: &'a TrainerBox,
    plugin: &'a PackageId,
    around: Surroundings<'a>,
    skip_bad: bool,
}

impl Encoder<'_> {
    fn push(
        &self,
        seen: &Seen,
        builder: &mut Builder,
        counted: &mut PerFile,
        limit: Option<usize>,
    ) -> Result<(), Error> {
        if limit.is_some_and(|limit| builder.len() >= limit) {
            return Ok(());
        }
        let counted = counted.at(&seen.labelled.at.path);
        counted.records += 1;
        let mut leave_out = |reason: String| *counted.left_out.entry(reason).or_default() += 1;
        if seen.excluded {
            leave_out("its sentence is in the excluded data".into());
            return Ok(());
        }
        let at = &seen.labelled.at;
        let table = TokenizerTable::new(self.around.tokenizer, self.around.max_tokens);
        let texts = Texts::from_ptr(RRef::new(&table), TD_Opaque);
        let encode = |entries: Vec<Entry>| self.objective.encode(RSlice::from_slice(&entries), texts).into_result();
        let (example, cut) = match record::flatten(&seen.labelled.flat()).and_then(encode).map(Encoded::from) {
            Ok(Encoded::Example(example)) => (example, None),
            Ok(Encoded::Cut(example, reason)) => (example, Some(reason)),
            Ok(Encoded::LeftOut(reason)) => {
                leave_out(reason);
                return Ok(());
            }
            Err(source) if self.skip_bad && source.kind() != kadapter_plugin_api::ErrorKind::Config => {
                tracing::debug!("{}:{}: {source}", at.path.display(), at.line);
                counted.bad += 1;
                return Ok(());
            }
            Err(source) => return Err(self.refused(at, source).into()),
        };
        example.check().map_err(|source| self.refused(at, source))?;
        let longest = example.segments().map(<[u32]>::len).max().unwrap_or(0);
        if longest > self.around.max_tokens {
            leave_out(format!("it is longer than the backbone's {} tokens", self.around.max_tokens));
            return Ok(());
        }
        builder.push(&example, &at.path, at.line)?;
        counted.examples += 1;
        if let Some(reason) = cut {
            *counted.cut.entry(reason).or_default() += 1;
        }
        Ok(())
    }

    fn refused(&self, at: &crate::data::Place, source: kadapter_plugin_api::Error) -> TrainError {
        TrainError::Record { path: at.path.to_path_buf(), line: at.line, plugin: self.plugin.to_string(), source }
    }
}
