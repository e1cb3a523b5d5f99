//! What goes into one backbone pass: token ids, positions and segments.

use super::{BackboneError, RobertaConfig};
use kadapter_plugin_api::Segments;

/// Tokens of several texts, one row each, without padding unless padding is asked for.
#[derive(Clone, Debug)]
pub struct Batch {
    ids: Vec<u32>,
    positions: Vec<u32>,
    /// As the backbone attends: pads are hidden.
    attended: Segments,
    /// As adapters attend: every row that exists.
    rows: Segments,
}

/// How positions are counted over padding (spec section 7, quirk 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// The official code: every slot takes the next position, pads too.
    EverySlot,
    /// Hugging Face: tokens other than the pad token are counted from behind the pad id, pads stand at the pad id.
    Tokens,
}

impl Positions {
    /// The position of each token of one text.
    fn of<'a>(self, config: &'a RobertaConfig, text: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        let pad = config.pad_token_id;
        let mut last = pad;
        text.iter().map(move |&id| {
            let counts = self == Self::EverySlot || id != pad;
            last += u32::from(counts);
            if counts { last } else { pad }
        })
    }
}

impl Batch {
    /// Texts without padding. Positions follow Hugging Face's rule ([`Positions::Tokens`]).
    ///
    /// # Errors
    /// When an id is not in the vocabulary or a text is longer than the position table.
    pub fn ragged<'a>(
        config: &RobertaConfig,
        texts: impl IntoIterator<Item = &'a [u32]>,
    ) -> Result<Self, BackboneError> {
        let (mut ids, mut positions, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for text in texts {
            check_length(config, text.len())?;
            positions.extend(Positions::Tokens.of(config, text));
            ids.extend_from_slice(text);
            lengths.push(text.len());
        }
        Self::assemble(config, ids, positions, lengths, None)
    }

    /// Texts whose pads are real rows, as in the official code: the backbone's attention passes over the hidden rows, adapters attend
    /// to all of them.
    ///
    /// # Errors
    /// As [`Batch::ragged`]; also when every row of a text is hidden.
    pub fn padded<'a>(
        config: &RobertaConfig,
        rule: Positions,
        texts: impl IntoIterator<Item = (&'a [u32], &'a [bool])>,
    ) -> Result<Self, BackboneError> {
        let (mut ids, mut positions, mut lengths, mut hidden) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (text, mask) in texts {
            check_length(config, text.len())?;
            ids.extend_from_slice(text);
            positions.extend(rule.of(config, text));
            hidden.extend_from_slice(mask);
            lengths.push(text.len());
        }
        Self::assemble(config, ids, positions, lengths, Some(hidden))
    }

    fn assemble(
        config: &RobertaConfig,
        ids: Vec<u32>,
        positions: Vec<u32>,
        lengths: Vec<usize>,
        hidden: Option<Vec<bool>>,
    ) -> Result<Self, BackboneError> {
        if let Some(&found) = ids.iter().find(|&&id| id as usize >= config.vocabulary) {
            return Err(BackboneError::Token { found, vocabulary: config.vocabulary });
        }
        let empty = |error: kadapter_plugin_api::Error| BackboneError::Segments { reason: error.message().to_owned() };
        let rows = Segments::new(lengths).map_err(empty)?;
        let attended = match hidden {
            Some(hidden) => rows.clone().with_hidden(hidden).map_err(empty)?,
            None => rows.clone(),
        };
        Ok(Self { ids, positions, attended, rows })
    }

    /// Token ids, one per row.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Rows of the position table, one per row.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The segments as the backbone attends to them.
    pub fn attended(&self) -> &Segments {
        &self.attended
    }

    /// The segments as adapters attend to them.
    pub fn rows(&self) -> &Segments {
        &self.rows
    }
}

fn check_length(config: &RobertaConfig, found: usize) -> Result<(), BackboneError> {
    let limit = config.max_tokens();
    if found > limit { Err(BackboneError::TooLong { found, limit }) } else { Ok(()) }
}
