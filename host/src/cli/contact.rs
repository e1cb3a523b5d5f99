//! First contact with the plugins of a plan, before any of them is loaded.

use super::plugin::prober;
use super::report::Failure;
use kadapter_host::Error;
use kadapter_host::pipeline::{Plan, PlannedAdapter, backbone_config};
use kadapter_host::plugin::Promise;
use kadapter_host::plugin::contact::{self, Acquaintance, Exercise, Memory};
use kadapter_host::plugin::probe::Limits;
use std::io::Write;

/// Lets a child process meet every plugin of a plan that this machine has not met.
pub(super) fn meet(plan: &Plan) -> Result<(), Failure> {
    if plan.adapters.is_empty() {
        return Ok(());
    }
    let (memory, prober) = (Memory::of_user(), prober(Limits::default())?);
    let config = backbone_config(&plan.backbone)?;
    let mut met = Vec::new();
    for PlannedAdapter { plugin, .. } in &plan.adapters {
        if met.contains(&plugin.library.digest) {
            continue;
        }
        met.push(plugin.library.digest);
        let mine = plan.adapters.iter().filter(|adapter| adapter.plugin.library.digest == plugin.library.digest);
        let exercise = |adapter: &PlannedAdapter| Exercise {
            config: adapter.release.config.clone(),
            hidden_size: config.hidden_size,
            layers: config.layers,
            taps: adapter.release.taps.clone(),
        };
        let who = Acquaintance {
            plugin: plugin.id.to_string(),
            path: plugin.library.path.clone(),
            promise: Promise {
                digest: plugin.library.digest,
                size: plugin.library.size,
                version: plugin.id.version.to_string(),
                abi: plugin.abi.to_string(),
            },
            adapters: mine.map(exercise).collect(),
        };
        contact::meet(&who, &prober, memory.as_ref()).map_err(Error::from)?;
    }
    Ok(())
}

/// The same for one plugin that is at hand as bytes.
pub(super) fn meet_bytes(plugin: &str, bytes: &[u8], promise: &Promise, exercise: Exercise) -> Result<(), Failure> {
    let write = || -> std::io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix("kadapter-plugin").tempfile()?;
        file.write_all(bytes)?;
        Ok(file)
    };
    let file = write().map_err(|source| Failure::io("write a file in", &std::env::temp_dir(), source))?;
    let who = Acquaintance {
        plugin: plugin.to_owned(),
        path: file.path().to_owned(),
        promise: promise.clone(),
        adapters: vec![exercise],
    };
    contact::meet(&who, &prober(Limits::default())?, Memory::of_user().as_ref()).map_err(Error::from)?;
    Ok(())
}
