//! One adapter of a model: its plugin's instance and its weights on the device.

use super::plan::PlannedAdapter;
use crate::backbone::{HiddenStates, RobertaConfig};
use crate::error::Error;
use crate::parameters::{self, Declared};
use crate::plugin::{Plugin, Promise};
use crate::tensor::HostEngine;
use kadapter_plugin_api::abi::InstanceBox;
use kadapter_plugin_api::session::{self, Parameters};
use kadapter_plugin_api::{Backbone, Engine, Segments};

/// An adapter that is ready to run.
pub(super) struct Adapter<E: Engine> {
    name: String,
    taps: Vec<usize>,
    instance: InstanceBox,
    parameters: Parameters<E::Param>,
}

impl<E: HostEngine> Adapter<E> {
    /// Opens the plugin, builds the adapter and streams its weights.
    pub(super) fn load(engine: &E, config: &RobertaConfig, planned: &PlannedAdapter) -> Result<Self, Error> {
        let name = planned.name().to_owned();
        let release = &planned.release;
        if let Some(&tap) = release.taps.iter().find(|&&tap| tap > config.layers) {
            return Err(Error::Tap { adapter: name, tap, layers: config.layers });
        }
        let library = &planned.plugin.library;
        let promise = Promise {
            digest: library.digest,
            size: library.size,
            version: planned.plugin.id.version.to_string(),
            abi: planned.plugin.abi.to_string(),
        };
        let plugin = Plugin::load(&library.path, &promise)?;
        let backbone = Backbone::new(config.hidden_size, config.layers, &release.taps);
        let (instance, specs) = plugin.build(&release.config, backbone).map_err(|source| Error::Build {
            adapter: name.clone(),
            plugin: planned.plugin.id.to_string(),
            source,
        })?;
        let declared: Vec<_> = specs
            .iter()
            .map(|spec| Declared { name: spec.name().to_owned(), shape: spec.shape(), role: spec.role() })
            .collect();
        let params = parameters::load(engine, &format!("adapter `{name}`"), &release.weights, &declared)?;
        let mut parameters = Parameters::default();
        for (declared, param) in declared.into_iter().zip(params) {
            parameters.push(declared.shape, param);
        }
        Ok(Self { name, taps: release.taps.clone(), instance, parameters })
    }

    /// Feature rows `[segments.rows(), hidden size]`. `rows` picks the backbone's rows that these segments are made of; without it
    /// they are all of them.
    pub(super) fn forward(
        &self,
        engine: &E,
        states: &HiddenStates<E::Tensor>,
        segments: &Segments,
        rows: Option<&[u32]>,
    ) -> Result<E::Tensor, Error> {
        let failed = |source| Error::Forward { adapter: self.name.clone(), source };
        let mut taps = Vec::with_capacity(self.taps.len());
        for &tap in &self.taps {
            let state = states
                .tap(tap)
                .ok_or_else(|| failed(kadapter_plugin_api::Error::new(format!("hidden state {tap} was not kept"))))?;
            taps.push(match rows {
                Some(rows) => engine.gather(state, rows).map_err(failed)?,
                None => state.clone(),
            });
        }
        session::run(&self.instance, engine, &self.parameters, segments, &taps).map_err(failed)
    }
}
