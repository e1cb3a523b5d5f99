//! From a resolved project to a model on the device that was asked for.

use super::{Model, Plan, Runner};
use crate::backbone::{MAX_CONFIG_BYTES, RobertaConfig};
use crate::error::Error;
use crate::task::Compat;
use crate::tensor::cpu::{CpuConfig, CpuEngine};
use crate::tensor::device::{DeviceChoice, Dtype, Selected, select};
use crate::tokenizer::{MAX_TOKENIZER_BYTES, SpecialTokens, Tokenizer};
use kadapter_registry::Digest;
use kadapter_registry::project::{FileRef, ResolvedBackbone};
use std::io::Read;
use std::sync::Arc;

/// Rows of one backbone pass, unless the manifest says otherwise: enough to fill a CPU, little enough to fit a laptop.
const MAX_BATCH_TOKENS: usize = 2048;

/// How a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most rows of one backbone pass; a longer text gets a pass of its own.
    pub max_batch_tokens: usize,
    /// Whether the paper's code is reproduced, padding included.
    pub compat: Compat,
    /// Whether texts that are too long are cut instead of refused.
    pub truncate: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_batch_tokens: MAX_BATCH_TOKENS, compat: Compat::Masked, truncate: false }
    }
}

/// A model that is ready, and what it runs on.
pub struct Opened {
    /// The model.
    pub runner: Box<dyn Runner>,
    /// The device and precision, for people.
    pub device: String,
    /// The backbone's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Opened").field("device", &self.device).finish_non_exhaustive()
    }
}

/// Loads a plan onto a device.
///
/// # Errors
/// When the device is not there, or the backbone's files are not what their releases promise.
pub fn open(plan: Plan, device: DeviceChoice, dtype: Dtype, settings: Settings) -> Result<Opened, Error> {
    let selected = select(device, dtype)?;
    let (config, tokenizer) = backbone_and_tokenizer(&plan.backbone)?;
    let tokenizer = Arc::new(tokenizer);
    let shared = Arc::clone(&tokenizer);
    let (runner, device): (Box<dyn Runner>, String) = match selected {
        Selected::Cpu => {
            let engine = CpuEngine::new(CpuConfig::default());
            let device = format!("cpu, {} threads, f32", engine.threads());
            (Box::new(Model::load(engine, plan, config, shared, settings)?), device)
        }
        Selected::Candle(engine) => {
            let device = format!("{}, {}", engine.name(), engine.dtype().as_str());
            (Box::new(Model::load(engine, plan, config, shared, settings)?), device)
        }
    };
    Ok(Opened { runner, device, tokenizer })
}

/// The backbone's sizes and its tokenizer.
///
/// # Errors
/// When its files cannot be read, or are not what its release promises.
pub fn backbone_and_tokenizer(backbone: &ResolvedBackbone) -> Result<(RobertaConfig, Tokenizer), Error> {
    let config_json = read_verified(&backbone.config, MAX_CONFIG_BYTES)?;
    let tokenizer_json = read_verified(&backbone.tokenizer, MAX_TOKENIZER_BYTES)?;
    let tokenizer = Tokenizer::from_bytes(&tokenizer_json, SpecialTokens::from_config(&config_json)?)?;
    Ok((RobertaConfig::from_json(&config_json)?, tokenizer))
}

/// The backbone's sizes.
///
/// # Errors
/// When its `config.json` cannot be read, or is not what its release promises.
pub fn backbone_config(backbone: &ResolvedBackbone) -> Result<RobertaConfig, Error> {
    Ok(RobertaConfig::from_json(&read_verified(&backbone.config, MAX_CONFIG_BYTES)?)?)
}

/// Reads a small file whole and checks its digest.
pub(crate) fn read_verified(file: &FileRef, limit: usize) -> Result<Vec<u8>, Error> {
    let io = |source| Error::Io { action: "read", path: file.path.clone(), source };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(&file.path).map_err(io)?;
    opened.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    let found = Digest::of(&bytes);
    if found == file.digest {
        Ok(bytes)
    } else {
        Err(Error::Digest { path: file.path.clone(), expected: file.digest, found })
    }
}
