//! What one backbone pass leaves for the tasks: the last hidden state and every adapter's feature rows.

use crate::backbone::HiddenStates;
use crate::error::Error;
use crate::tensor::HostEngine;
use std::sync::Arc;

/// Feature rows of one pass.
pub(super) struct Features<E: HostEngine> {
    /// The backbone's hidden states, one row per token.
    pub(super) states: HiddenStates<E::Tensor>,
    /// Per adapter of the plan; `None` where no task of this pass needs it.
    pub(super) adapters: Vec<Option<Result<AdapterRows<E>, Arc<Error>>>>,
}

/// An adapter's feature rows over a part of a pass's rows.
pub(super) struct AdapterRows<E: HostEngine> {
    pub(super) tensor: E::Tensor,
    /// For each row of the pass its row in `tensor`; `None` where both are the same.
    pub(super) places: Option<Vec<u32>>,
}

impl<E: HostEngine> AdapterRows<E> {
    /// Picks rows by their numbers in the pass.
    pub(super) fn gather(&self, engine: &E, rows: &[u32]) -> kadapter_plugin_api::Result<E::Tensor> {
        match &self.places {
            None => engine.gather(&self.tensor, rows),
            Some(places) => {
                let rows: Vec<_> = rows.iter().map(|&row| places[row as usize]).collect();
                engine.gather(&self.tensor, &rows)
            }
        }
    }
}

impl<E: HostEngine> Features<E> {
    /// The rows of the last hidden state and of each adapter in a stack, in its order.
    pub(super) fn gather(
        &self,
        engine: &E,
        stack: &[usize],
        rows: &[u32],
    ) -> Result<(E::Tensor, Vec<E::Tensor>), Error> {
        let last = engine.gather(self.states.last(), rows).map_err(Error::compute)?;
        let mut features = Vec::with_capacity(stack.len());
        for &adapter in stack {
            match &self.adapters[adapter] {
                Some(Ok(adapter)) => features.push(adapter.gather(engine, rows).map_err(Error::compute)?),
                Some(Err(error)) => return Err(Error::Shared(Arc::clone(error))),
                None => {
                    return Err(Error::compute(kadapter_plugin_api::Error::new(format!(
                        "adapter {adapter} was not run"
                    ))));
                }
            }
        }
        Ok((last, features))
    }

    /// The rows of hidden states by their taps.
    pub(super) fn gather_taps(&self, engine: &E, taps: &[usize], rows: &[u32]) -> Result<Vec<E::Tensor>, Error> {
        let missing = |tap| Error::compute(kadapter_plugin_api::Error::new(format!("hidden state {tap} was not kept")));
        taps.iter()
            .map(|&tap| {
                let state = self.states.tap(tap).ok_or_else(|| missing(tap))?;
                engine.gather(state, rows).map_err(Error::compute)
            })
            .collect()
    }
}
