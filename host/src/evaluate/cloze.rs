//! Probing a backbone for facts: which word does it put in the place of a hidden one? (LAMA)
//!
//! Candidates are the words of a vocabulary that are one token each, so that every guess is one word; records whose answer is none
//! of them are counted and left out, as LAMA does with its common vocabulary.

mod model;
mod templates;
mod vocabulary;

pub use vocabulary::Vocabulary;

use super::EvaluateError;
use crate::backbone::{MAX_CONFIG_BYTES, RobertaConfig};
use crate::data::{Counts, Gold, Labelled, Source};
use crate::error::Error;
use crate::metric::Probe;
use crate::pipeline::read_verified;
use crate::tensor::cpu::{CpuConfig, CpuEngine};
use crate::tensor::device::{DeviceChoice, Dtype, Selected, select};
use crate::tokenizer::{MAX_TOKENIZER_BYTES, SpecialTokens, Tokenizer};
use kadapter_registry::project::ResolvedBackbone;
use model::{Fill, Masked};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What stands for the hidden word in LAMA's sentences.
const MASK: &str = "[MASK]";
/// The relation of records that name none.
const NO_RELATION: &str = "(none)";

/// What may be chosen about a probe.
#[derive(Debug, Clone, Copy)]
pub struct ClozeOptions {
    /// The most tokens of one backbone pass.
    pub max_batch_tokens: usize,
    /// Whether records that cannot be probed are counted and passed over, instead of ending the probe.
    pub skip_bad: bool,
    /// The most records that are read.
    pub limit: Option<u64>,
}

/// Files that say which words are asked for and chosen from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Words<'p> {
    /// The words to choose from, one per line; without it every whole word of the backbone's vocabulary.
    pub vocabulary: Option<&'p Path>,
    /// LAMA's relations, JSON lines with `relation` and `template`: a record of such a relation is put into its template instead
    /// of the sentence that it brings, as LAMA does with T-REx.
    pub templates: Option<&'p Path>,
}

/// A backbone that fills in hidden words.
pub struct Cloze {
    model: Box<dyn Fill>,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    /// By relation.
    templates: BTreeMap<String, String>,
    mask: u32,
    max_tokens: usize,
    /// The device and precision, for people.
    pub device: String,
}

/// A hidden word filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Filled {
    /// The word with the greatest logit.
    pub word: String,
    /// Its probability among the words of the vocabulary.
    pub probability: f32,
    /// The place of the gold word among the guesses, from 1.
    pub rank: usize,
}

/// What a probe found.
#[derive(Debug, Clone, Default)]
pub struct Probed {
    /// Hits by relation.
    pub probe: Probe,
    /// What became of the records of all files.
    pub counts: Counts,
    /// Records whose answer is not in the vocabulary.
    pub outside: u64,
    /// Records that could not be probed.
    pub refused: u64,
    /// Why the first of them could not, with its place.
    pub first_refused: Option<String>,
    /// How many words there were to choose from.
    pub words: usize,
}

impl std::fmt::Debug for Cloze {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut cloze = formatter.debug_struct("Cloze");
        cloze.field("device", &self.device).field("words", &self.vocabulary.len()).finish_non_exhaustive()
    }
}

/// A sentence ready to be filled in.
struct Hidden {
    labelled: Labelled,
    tokens: Vec<u32>,
    /// The place of the hidden word in `tokens`.
    place: usize,
    /// The place of the gold word in the vocabulary.
    gold: usize,
}

impl Cloze {
    /// Loads a backbone with its head.
    ///
    /// # Errors
    ///
    /// When the device is not there, a file is not what its release promises, or the backbone has no head or no token for a hidden
    /// word.
    pub fn open(
        backbone: &ResolvedBackbone,
        device: DeviceChoice,
        dtype: Dtype,
        words: Words<'_>,
    ) -> Result<Self, Error> {
        let name = || backbone.id.to_string();
        let selected = select(device, dtype)?;
        let config_json = read_verified(&backbone.config, MAX_CONFIG_BYTES)?;
        let config = RobertaConfig::from_json(&config_json)?;
        let tokenizer_json = read_verified(&backbone.tokenizer, MAX_TOKENIZER_BYTES)?;
        let tokenizer = Tokenizer::from_bytes(&tokenizer_json, SpecialTokens::from_config(&config_json)?)?;
        let mask = tokenizer.mask().ok_or_else(|| EvaluateError::NoMaskToken { backbone: name() })?;
        let templates = words.templates.map(templates::read).transpose()?.unwrap_or_default();
        let vocabulary = match words.vocabulary {
            Some(path) => Vocabulary::read(path, &tokenizer)?,
            None => Vocabulary::of_tokenizer(&tokenizer)?,
        };
        if vocabulary.is_empty() {
            return Err(EvaluateError::NoWords { backbone: name() }.into());
        }
        let max_tokens = config.max_tokens();
        let ids = vocabulary.ids();
        let (model, device): (Option<Box<dyn Fill>>, String) = match selected {
            Selected::Cpu => {
                let engine = CpuEngine::new(CpuConfig::default());
                let device = format!("cpu, {} threads, f32", engine.threads());
                (Masked::load(engine, config, &backbone.weights, ids)?.map(boxed), device)
            }
            Selected::Candle(engine) => {
                let device = format!("{}, {}", engine.name(), engine.dtype().as_str());
                (Masked::load(engine, config, &backbone.weights, ids)?.map(boxed), device)
            }
        };
        let no_head = || EvaluateError::NoMaskHead { backbone: name() };
        Ok(Self { model: model.ok_or_else(no_head)?, tokenizer, vocabulary, templates, mask, max_tokens, device })
    }

    /// Fills in every record of files in LAMA's format. `seen` is shown each with what was filled in.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, nothing can be probed, or the device fails; unless [`ClozeOptions::skip_bad`], also when a
    /// record is too long or has several hidden words.
    pub fn probe(
        &self,
        sources: &[Source],
        options: ClozeOptions,
        mut seen: impl FnMut(&Labelled, &Filled) -> Result<(), Error>,
    ) -> Result<Probed, Error> {
        let mut probed = Probed { words: self.vocabulary.len(), ..Probed::default() };
        let mut batch: Vec<Hidden> = Vec::new();
        for source in sources {
            let mut records = source.records();
            while options.limit.is_none_or(|limit| probed.counts.read + records.counts().read < limit) {
                let Some(labelled) = records.next().transpose()? else { break };
                let hidden = match self.prepare(labelled) {
                    Ok(Some(hidden)) => hidden,
                    Ok(None) => {
                        probed.outside += 1;
                        continue;
                    }
                    Err(Error::Evaluate(error)) if options.skip_bad => {
                        probed.refused += 1;
                        probed.first_refused.get_or_insert_with(|| error.sentence());
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let tokens: usize = batch.iter().map(|hidden| hidden.tokens.len()).sum();
                if !batch.is_empty() && tokens + hidden.tokens.len() > options.max_batch_tokens {
                    self.fill(std::mem::take(&mut batch), &mut probed, &mut seen)?;
                }
                batch.push(hidden);
            }
            probed.counts.add(records.counts());
        }
        if !batch.is_empty() {
            self.fill(batch, &mut probed, &mut seen)?;
        }
        match probed.probe.examples() {
            0 => {
                let (records, outside) = (probed.counts.read, probed.outside);
                Err(EvaluateError::NothingProbed { records, outside }.into())
            }
            _ => Ok(probed),
        }
    }

    /// Tokenises a record; `None` where its answer is outside the vocabulary.
    fn prepare(&self, labelled: Labelled) -> Result<Option<Hidden>, Error> {
        let at = || labelled.at.clone();
        let field = |name: &str| labelled.fields.get(name).and_then(serde_json::Value::as_str);
        let template = field("relation").and_then(|relation| self.templates.get(relation)).zip(field("subject"));
        let text = match template {
            Some((template, subject)) => Some(template.replace("[Y]", MASK).replace("[X]", subject)),
            None => field("text").map(str::to_owned),
        };
        let (Gold::Filler(word), Some(text)) = (&labelled.gold, text) else {
            return Err(EvaluateError::ClozeGold { at: at() }.into());
        };
        let Some(gold) = self.vocabulary.place_of(word, &self.tokenizer) else { return Ok(None) };
        let mask = self.tokenizer.token_of(self.mask).unwrap_or_default();
        let mut tokens = vec![self.tokenizer.bos()];
        tokens.extend(self.tokenizer.pieces(&text.replace(MASK, &mask))?);
        tokens.push(self.tokenizer.eos());
        if tokens.len() > self.max_tokens {
            return Err(EvaluateError::ClozeTooLong { at: at(), tokens: tokens.len(), limit: self.max_tokens }.into());
        }
        let places: Vec<usize> = (0..tokens.len()).filter(|&place| tokens[place] == self.mask).collect();
        match *places.as_slice() {
            [place] => Ok(Some(Hidden { tokens, place, gold, labelled })),
            _ => Err(EvaluateError::ClozeMasks { at: at(), found: places.len() }.into()),
        }
    }

    /// One pass of the backbone over a batch, at least one sentence.
    fn fill(
        &self,
        batch: Vec<Hidden>,
        probed: &mut Probed,
        seen: &mut impl FnMut(&Labelled, &Filled) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let sentences: Vec<_> = batch.iter().map(|hidden| (hidden.tokens.as_slice(), hidden.place)).collect();
        let logits = self.model.fill(&sentences)?;
        for (hidden, logits) in batch.iter().zip(logits.chunks_exact(self.vocabulary.len())) {
            let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(place, _)| place);
            // As far as it goes: of equal logits the first is the guess.
            let better = |(place, logit): (usize, &f32)| {
                *logit > logits[hidden.gold] || (*logit == logits[hidden.gold] && place < hidden.gold)
            };
            let rank = 1 + logits.iter().enumerate().filter(|&guess| better(guess)).count();
            let best = if rank == 1 { hidden.gold } else { best };
            let sum: f32 = logits.iter().map(|logit| (logit - logits[best]).exp()).sum();
            let word = self.vocabulary.word(best).to_owned();
            let relation = hidden.labelled.fields.get("relation").and_then(serde_json::Value::as_str);
            probed.probe.add(relation.unwrap_or(NO_RELATION), rank == 1);
            seen(&hidden.labelled, &Filled { word, probability: 1.0 / sum, rank })?;
        }
        Ok(())
    }
}

fn boxed<F: Fill + 'static>(model: F) -> Box<dyn Fill> {
    Box::new(model)
}
