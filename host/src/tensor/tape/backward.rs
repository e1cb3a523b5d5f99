//! The way back over a record.

use super::{Gradients, TrainParam};
use crate::tensor::derivatives::Derivatives;
use kadapter_plugin_api::Result;

/// The way back from one result: gets the result's gradient, gives those of what it was computed from.
pub(super) type Node<E> =
    Box<dyn FnOnce(&mut Playback<'_, E>, <E as kadapter_plugin_api::Engine>::Tensor) -> Result<()>>;

/// A record being played back: the gradients that have been found so far.
pub(super) struct Playback<'e, E: Derivatives> {
    pub(super) engine: &'e E,
    /// By node; taken when its turn comes.
    results: Vec<Option<E::Tensor>>,
    parameters: Gradients<E>,
}

impl<'e, E: Derivatives> Playback<'e, E> {
    pub(super) fn new(engine: &'e E, nodes: usize) -> Self {
        Self {
            engine,
            results: std::iter::repeat_with(|| None).take(nodes).collect(),
            parameters: Gradients::default(),
        }
    }

    /// Adds to the gradient of a result.
    pub(super) fn give(&mut self, node: Option<usize>, gradient: E::Tensor) -> Result<()> {
        match node.and_then(|node| self.results.get_mut(node)) {
            Some(Some(sum)) => self.engine.accumulate(sum, &gradient),
            Some(empty) => {
                *empty = Some(gradient);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Adds to the gradient of a parameter.
    pub(super) fn give_parameter(&mut self, param: &TrainParam<E>, gradient: E::Tensor) -> Result<()> {
        self.parameters.give(self.engine, param, gradient)
    }

    /// Visits all nodes from the last to the first; each is dropped, with what it kept, before the next.
    pub(super) fn run(mut self, mut nodes: Vec<Node<E>>) -> Result<Gradients<E>> {
        while let Some(node) = nodes.pop() {
            if let Some(gradient) = self.results.pop().flatten() {
                node(&mut self, gradient)?;
            }
        }
        Ok(self.parameters)
    }
}
