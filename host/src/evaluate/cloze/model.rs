//! A backbone with its head on one device.

use crate::backbone::{Batch, MaskHead, Roberta, RobertaConfig};
use crate::error::Error;
use crate::tensor::HostEngine;
use kadapter_registry::project::FileRef;
use std::collections::BTreeSet;

/// Fills in hidden words, whatever device it is on.
pub(super) trait Fill: Send {
    /// The logits `[sentences, words]`, row-major, of sentences with the place of their hidden word, in one pass.
    fn fill(&self, sentences: &[(&[u32], usize)]) -> Result<Vec<f32>, Error>;
}

/// The backbone and the head over the words to choose from.
pub(super) struct Masked<E: HostEngine> {
    engine: E,
    backbone: Roberta<E>,
    head: MaskHead<E>,
}

impl<E: HostEngine> Masked<E> {
    /// Loads both; `None` where the file has no head.
    pub(super) fn load(engine: E, config: RobertaConfig, file: &FileRef, words: &[u32]) -> Result<Option<Self>, Error> {
        // The head first: a backbone without one is not read for nothing.
        let Some(head) = MaskHead::load(&engine, &config, file, words)? else { return Ok(None) };
        let backbone = Roberta::load(&engine, config, file)?;
        Ok(Some(Self { engine, backbone, head }))
    }
}

impl<E: HostEngine> Fill for Masked<E> {
    fn fill(&self, sentences: &[(&[u32], usize)]) -> Result<Vec<f32>, Error> {
        let batch = Batch::ragged(self.backbone.config(), sentences.iter().map(|(tokens, _)| *tokens))?;
        let mut rows = Vec::with_capacity(sentences.len());
        let mut start = 0;
        for (tokens, place) in sentences {
            rows.push(u32::try_from(start + place).unwrap_or(u32::MAX));
            start += tokens.len();
        }
        let compute = || {
            let states = self.backbone.forward(&self.engine, &batch, &BTreeSet::new())?;
            let hidden = self.engine.gather(states.last(), &rows)?;
            self.engine.read_f32(&self.head.forward(&self.engine, &hidden)?)
        };
        compute().map_err(Error::compute)
    }
}
