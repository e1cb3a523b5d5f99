//! What is wrong with stretches of a text, in errors that name the kind of task; `kadapter_plugin_api::entities` finds those that are marked.

use kadapter_plugin_api::entities::SpanError;

use super::{Error, Kind};
use crate::tokenizer::Tokenizer;

/// The error with the kind whose record it is.
pub(super) fn wrong(kind: Kind, error: SpanError) -> Error {
    match error {
        SpanError::TagMissing { tag } => Error::TagMissing { kind, tag },
        SpanError::TagRepeated { tag, found } => Error::TagRepeated { kind, tag, found },
        SpanError::TagOrder { name } => Error::TagOrder { kind, name },
        SpanError::Reversed { what, start, end } => Error::SpanReversed { kind, what, start, end },
        SpanError::Outside { what, end, length, unit } => Error::SpanOutside { kind, what, end, length, unit },
        SpanError::Overlap => Error::SpansOverlap { kind },
        SpanError::Blank { what } => Error::Empty { kind: Some(kind), what },
    }
}

/// Checks that a marked stretch says something.
pub(super) fn not_blank(kind: Kind, what: &'static str, text: &str) -> Result<(), Error> {
    match text.trim().is_empty() {
        true => Err(Error::Empty { kind: Some(kind), what }),
        false => Ok(()),
    }
}

/// Tokenises a part of a record that must not vanish, as control characters do in some vocabularies.
pub(super) fn tokens(tokenizer: &Tokenizer, what: &'static str, text: &str) -> Result<Vec<u32>, Error> {
    let tokens = tokenizer.pieces(text)?;
    match tokens.is_empty() {
        true => Err(Error::NoTokens { what }),
        false => Ok(tokens),
    }
}
