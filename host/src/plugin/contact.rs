//! First contact: a plugin that this machine has not met is opened and exercised in a child process before it is loaded, and
//! what came of it is remembered by the digest of its file.
//!
//! ```text
//! digest known, clean   ── load it                                     (one small file is read)
//! digest known, crashed ── refuse, before anything is opened
//! digest unknown        ── child: open, layout, and per adapter build, forward, drop ── remember ── load it or refuse
//! ```
//! Its adapters are built with their own configuration and sizes and run on an engine of shapes, so a contact takes milliseconds
//! whatever their size. A plugin that answers with an error has not crashed.

mod error;
mod memory;
mod when;

pub use error::ContactError;
pub use memory::{Memory, Record};
pub use when::When;

use super::probe::hollow::Hollow;
use super::probe::{Answer, Errand, Prober, Reporter, Stage};
use super::{Plugin, Promise};
use kadapter_plugin_api::session::{self, Parameters};
use kadapter_plugin_api::{Backbone, Segments};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A plugin that is about to be loaded.
#[derive(Clone, Debug)]
pub struct Acquaintance {
    /// Its package and version, for people.
    pub plugin: String,
    /// Its file.
    pub path: PathBuf,
    /// What its release says about the file.
    pub promise: Promise,
    /// The adapters that it is to run.
    pub adapters: Vec<Exercise>,
}

/// One adapter to exercise a plugin with.
#[derive(Clone, Debug)]
pub struct Exercise {
    /// The adapter's configuration.
    pub config: toml::Table,
    /// Columns of the backbone's hidden states.
    pub hidden_size: usize,
    /// Layers of the backbone.
    pub layers: usize,
    /// The hidden states that it reads.
    pub taps: Vec<usize>,
}

/// Lets a child process meet a plugin, unless this machine has met it; remembers how that went.
///
/// # Errors
/// When the plugin crashed, now or then. Also when a memory cannot be read; one that cannot be written is only logged, since
/// the plugin is none the worse for it.
pub fn meet(who: &Acquaintance, prober: &Prober, memory: Option<&Memory>) -> Result<(), ContactError> {
    let digest = who.promise.digest;
    if let Some(record) = memory.map(|memory| memory.recall(&digest)).transpose()?.flatten() {
        return match record.death {
            None => Ok(()),
            Some(death) => Err(ContactError::Refused { plugin: who.plugin.clone(), digest, when: record.met, death }),
        };
    }
    let met = prober.send(Errand::Contact(ContactErrand::new(who)))?;
    let death = match met.answer {
        Some(Answer::Contact(Contact::Whole)) => None,
        // Not everything of it ran: the error is the loader's to tell, and the next contact starts anew.
        Some(Answer::Contact(Contact::Refused)) => return Ok(()),
        Some(Answer::Check(_)) | None => Some(met.death()),
    };
    if let Some(memory) = memory {
        let record = Record { plugin: who.plugin.clone(), digest, met: When::now(), death: death.clone() };
        if let Err(error) = memory.remember(&record) {
            tracing::warn!("{error}; plugin `{}` will be met in a child process again", who.plugin);
        }
    }
    match death {
        None => Ok(()),
        Some(death) => Err(ContactError::Crashed { plugin: who.plugin.clone(), digest, death }),
    }
}

/// What a child is told of a plugin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ContactErrand {
    path: PathBuf,
    digest: kadapter_registry::Digest,
    size: u64,
    version: String,
    abi: String,
    /// Configuration as TOML, hidden size, layers, taps.
    adapters: Vec<(String, usize, usize, Vec<usize>)>,
}

/// What a child that lived says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Contact {
    /// Every stage of every adapter came back.
    Whole,
    /// The plugin was not opened, or refused to build an adapter.
    Refused,
}

impl ContactErrand {
    fn new(who: &Acquaintance) -> Self {
        let exercise = |exercise: &Exercise| {
            (exercise.config.to_string(), exercise.hidden_size, exercise.layers, exercise.taps.clone())
        };
        Self {
            path: who.path.clone(),
            digest: who.promise.digest,
            size: who.promise.size,
            version: who.promise.version.clone(),
            abi: who.promise.abi.clone(),
            adapters: who.adapters.iter().map(exercise).collect(),
        }
    }
}

/// Rows of the segments that an adapter is exercised with.
const SEGMENTS: [usize; 2] = [1, 3];

/// What happens in the child.
pub(super) fn carry_out(errand: &ContactErrand, reporter: &Reporter) -> Contact {
    let ContactErrand { path, digest, size, version, abi, adapters } = errand;
    let promise = Promise { digest: *digest, size: *size, version: version.clone(), abi: abi.clone() };
    reporter.enter(Stage::Open);
    let Ok(plugin) = Plugin::load(path, &promise) else { return Contact::Refused };
    let mut outcome = Contact::Whole;
    for (config, hidden_size, layers, taps) in adapters {
        let Ok(config) = config.parse() else { return Contact::Refused };
        reporter.enter(Stage::Build);
        let Ok((instance, specs)) = plugin.build(&config, Backbone::new(*hidden_size, *layers, taps)) else {
            outcome = Contact::Refused;
            continue;
        };
        let mut parameters = Parameters::default();
        for spec in &specs {
            let shape = spec.shape();
            let value = match *shape {
                [rows, columns] => [rows, columns],
                _ => [1, shape.iter().copied().fold(1, usize::saturating_mul)],
            };
            parameters.push(shape, value);
        }
        reporter.enter(Stage::Forward);
        if let Ok(segments) = Segments::new(SEGMENTS) {
            let taps = vec![[segments.rows(), *hidden_size]; taps.len()];
            // Values that it never saw before may be an error to it; that it comes back is what counts here.
            let _ = session::run(&instance, &Hollow, &parameters, &segments, &taps);
        }
        reporter.enter(Stage::Drop);
        drop(instance);
    }
    outcome
}
