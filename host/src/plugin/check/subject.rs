//! What is checked: a file, and how adapters of it are built.

use super::CheckError;
use crate::plugin;
use kadapter_registry::package::{Adapter, Content, Package};
use kadapter_registry::{Digest, Target};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Columns of the hidden states, unless the caller says otherwise: many heads divide it, and everything is quick.
const HIDDEN_SIZE: usize = 64;
/// Layers of the backbone that is played: as many as RoBERTa-base has, more where a tap asks for it.
const LAYERS: usize = 12;
/// The hidden states that are read, unless the caller says otherwise: first, middle and last, as the paper's adapters do.
const TAPS: [usize; 3] = [0, 6, 12];

/// A plugin file and how adapters of it are built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subject {
    /// The file.
    pub(super) file: PathBuf,
    /// Its content when the checks began.
    pub(super) digest: Digest,
    /// What a package says of it.
    pub(super) promised: Option<Promised>,
    /// The configuration, as TOML.
    config: String,
    /// The objective's configuration, as TOML.
    objective: String,
    /// Records of the author's, for the objective.
    pub(super) records: Vec<Map<String, Value>>,
    pub(super) hidden_size: usize,
    pub(super) layers: usize,
    pub(super) taps: Vec<usize>,
}

/// What a plugin package says of its library for this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Promised {
    pub(super) version: String,
    pub(super) abi: String,
    /// The library in the package's folder; none when the package has none for this machine.
    pub(super) library: Option<PathBuf>,
}

impl Subject {
    /// A file with the default backbone and no configuration.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(file: &Path) -> Result<Self, CheckError> {
        let digest = Digest::of(&plugin::read(file)?);
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Ok(Self {
            file,
            digest,
            promised: None,
            config: String::new(),
            objective: String::new(),
            records: Vec::new(),
            hidden_size: HIDDEN_SIZE,
            layers: LAYERS,
            taps: TAPS.to_vec(),
        })
    }

    /// Takes from a package what it says: of a plugin, which file and note it promises; of an adapter, its configuration and taps.
    ///
    /// # Errors
    /// When the folder is no package, or one of another kind.
    pub fn with_package(mut self, directory: &Path) -> Result<Self, CheckError> {
        let package = Package::read(directory).map_err(|error| CheckError::Package(Box::new(error)))?;
        match package.content {
            Content::Plugin(plugin) => {
                let library = plugin.libraries.get(&Target::host()).map(|path| directory.join(path.to_string()));
                let library = library.map(|path| std::path::absolute(&path).unwrap_or(path));
                let (version, abi) = (package.version.to_string(), plugin.abi.to_string());
                self.promised = Some(Promised { version, abi, library });
                Ok(self)
            }
            Content::Adapter(Adapter { config, taps, .. }) => self.with_config(&config).with_taps(taps),
            Content::Backbone(_) | Content::Task(_) => {
                Err(CheckError::Kind { package: package.name.to_string(), found: package.kind() })
            }
        }
    }

    /// Builds adapters with this configuration.
    #[must_use]
    pub fn with_config(self, config: &toml::Table) -> Self {
        Self { config: config.to_string(), ..self }
    }

    /// Builds the objective with this configuration, and gives it these records.
    #[must_use]
    pub fn with_objective(self, objective: &toml::Table, records: Vec<Map<String, Value>>) -> Self {
        Self { objective: objective.to_string(), records, ..self }
    }

    /// Lets adapters read these hidden states.
    ///
    /// # Errors
    /// When there is none.
    pub fn with_taps(self, taps: Vec<usize>) -> Result<Self, CheckError> {
        let deepest = taps.iter().copied().max().ok_or(CheckError::NoTaps)?;
        Ok(Self { layers: LAYERS.max(deepest), taps, ..self })
    }

    /// Gives the hidden states this many columns.
    ///
    /// # Errors
    /// When it is none.
    pub fn with_hidden_size(self, hidden_size: usize) -> Result<Self, CheckError> {
        if hidden_size == 0 { Err(CheckError::NoColumns) } else { Ok(Self { hidden_size, ..self }) }
    }

    /// The configuration that adapters are built with.
    #[must_use]
    pub fn config(&self) -> toml::Table {
        self.config.parse().unwrap_or_default()
    }

    /// The configuration that the objective is built with.
    #[must_use]
    pub fn objective(&self) -> toml::Table {
        self.objective.parse().unwrap_or_default()
    }
}
