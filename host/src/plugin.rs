//! Adapter plugins: read as bytes, checked, opened, asked for adapters.
//!
//! ```text
//! file ── size, digest ── inspect: format, machine, entry symbol, note ── compare with the release ── seal ── open ── layout
//! ```
//! Nothing of a plugin runs before all of the left side held. The bytes that were hashed are the bytes that are opened.
//!
//! What a plugin does when it runs is seen in child processes ([`probe`]): by its author with [`check`], and by a machine that meets
//! it for the first time ([`contact`]).

pub mod check;
mod config;
pub mod contact;
mod error;
mod image;
mod inspect;
mod machine;
mod open;
pub mod probe;
pub mod record;

pub use error::PluginError;
pub use inspect::{Inspected, MAX_PLUGIN_SIZE, inspect, inspect_for_any_machine};
pub use probe::{ProbeError, Prober};

use kadapter_plugin_api::abi::{InstanceBox, PluginRef, TrainerBox};
use kadapter_plugin_api::{Backbone, ParamSpec};
use kadapter_registry::Digest;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What a release says about a plugin file.
#[derive(Clone, Debug)]
pub struct Promise {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The release's version.
    pub version: String,
    /// The ABI that the release states, `major.minor`.
    pub abi: String,
}

/// An opened plugin. It stays open until the process ends: its code may be running anywhere.
#[derive(Clone, Copy)]
pub struct Plugin {
    root: PluginRef,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Plugin").finish_non_exhaustive()
    }
}

/// The plugins of this process by what was hashed; one file is opened once, however many adapters it runs.
static OPENED: Mutex<Option<HashMap<Digest, PluginRef>>> = Mutex::new(None);

impl Plugin {
    /// Reads, checks and opens a plugin file.
    ///
    /// # Errors
    /// When the file is not what the release promised, is not a plugin for this machine and ABI, or cannot be opened.
    pub fn load(path: &Path, promise: &Promise) -> Result<Self, PluginError> {
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = opened.get_or_insert_default();
        if let Some(&root) = opened.get(&promise.digest) {
            return Ok(Self { root });
        }
        let root = check_and_open(path, &read_promised(path, promise)?, promise)?;
        opened.insert(promise.digest, root);
        Ok(Self { root })
    }

    /// Checks and opens a plugin that was read already, from a registry that need not be a directory; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Plugin::load`].
    pub fn from_bytes(path: &Path, bytes: &[u8], promise: &Promise) -> Result<Self, PluginError> {
        check_digest(path, bytes, promise)?;
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = opened.get_or_insert_default();
        if let Some(&root) = opened.get(&promise.digest) {
            return Ok(Self { root });
        }
        let root = check_and_open(path, bytes, promise)?;
        opened.insert(promise.digest, root);
        Ok(Self { root })
    }

    /// Builds an adapter for a backbone from its package's configuration.
    ///
    /// # Errors
    /// What the plugin says, its panic included, as it said it.
    pub fn build(
        &self,
        config: &toml::Table,
        backbone: Backbone,
    ) -> Result<(InstanceBox, Vec<ParamSpec>), kadapter_plugin_api::Error> {
        let entries = config::flatten(config)?;
        let new_adapter = self.root.new_adapter();
        let built = new_adapter(entries.into(), backbone).into_result()?;
        Ok((built.instance, built.params.into_vec()))
    }

    /// Builds the objective that trains this plugin's adapters, and names the parameters that it trains beside them; `None` where the
    /// plugin brings none.
    ///
    /// # Errors
    /// What the plugin says, its panic included, as it said it.
    pub fn objective(
        &self,
        config: &toml::Table,
        backbone: Backbone,
    ) -> Result<Option<(TrainerBox, Vec<ParamSpec>)>, kadapter_plugin_api::Error> {
        // A plugin of ABI 1.0 has no such field.
        let Some(new_objective) = self.root.new_objective() else { return Ok(None) };
        let built = new_objective(config::flatten(config)?.into(), backbone).into_result()?.into_option();
        Ok(built.map(|built| (built.objective, built.params.into_vec())))
    }
}

fn read_promised(path: &Path, promise: &Promise) -> Result<Vec<u8>, PluginError> {
    let io = |source| PluginError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?.len();
    if found != promise.size {
        return Err(PluginError::Size { path: path.to_owned(), expected: promise.size, found });
    }
    let bytes = read_bounded(path, file)?;
    check_digest(path, &bytes, promise)?;
    Ok(bytes)
}

fn check_digest(path: &Path, bytes: &[u8], promise: &Promise) -> Result<(), PluginError> {
    let found = Digest::of(bytes);
    if found == promise.digest {
        Ok(())
    } else {
        Err(PluginError::Digest { path: path.to_owned(), expected: promise.digest, found })
    }
}

fn check_and_open(path: &Path, bytes: &[u8], promise: &Promise) -> Result<PluginRef, PluginError> {
    inspect(path, bytes)?.compare(path, promise)?;
    open::open(path, bytes)
}

/// Reads a plugin file that no release describes yet, to inspect it before it is published.
///
/// # Errors
/// When it cannot be read or is larger than [`MAX_PLUGIN_SIZE`].
pub fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    read_bounded(path, File::open(path).map_err(|source| PluginError::Io { path: path.to_owned(), source })?)
}

fn read_bounded(path: &Path, file: File) -> Result<Vec<u8>, PluginError> {
    let mut bytes = Vec::new();
    let limit = MAX_PLUGIN_SIZE;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| PluginError::Io { path: path.to_owned(), source })?;
    if bytes.len() as u64 > limit { Err(PluginError::TooLarge { path: path.to_owned(), limit }) } else { Ok(bytes) }
}
