//! What every task has, whatever its kind.

use super::{Compat, Error, HeadShape, Kind};

/// The kind-independent part of a task.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub(super) kind: Kind,
    pub(super) head: Option<HeadShape>,
    pub(super) max_length: usize,
    pub(super) pad_id: u32,
    pub(super) compat: Compat,
    pub(super) truncate: bool,
}

impl Frame {
    /// The options that every kind takes.
    pub(super) const OPTIONS: [&str; 1] = ["pad_id"];

    /// Puts a head on a task that has none yet.
    pub(super) fn with_head(self, head: HeadShape) -> Self {
        Self { head: Some(head), ..self }
    }

    /// Whether the quirks of the paper's code are reproduced.
    pub(super) fn is_official(&self) -> bool {
        self.compat == Compat::Official
    }

    /// Wraps the tokens of a text as `<s> text </s>`, cutting their end where that is allowed.
    pub(super) fn enclose(&self, bos: u32, mut tokens: Vec<u32>, eos: u32) -> Result<Vec<u32>, Error> {
        let (limit, length) = (self.max_length, tokens.len() + 2);
        if length > limit && !self.truncate {
            return Err(Error::TooLong { tokens: length, limit });
        }
        tokens.truncate(limit - 2);
        tokens.insert(0, bos);
        tokens.push(eos);
        Ok(tokens)
    }
}
