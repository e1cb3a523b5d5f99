//! Marked stretches of a text, as `kadapter_plugin_api::entities` finds them, with errors that name the kind of task.

use kadapter_plugin_api::entities::{self, SpanError, Tagged};
use std::ops::Range;

use super::{Error, Kind};
use crate::tokenizer::Tokenizer;

/// Finds the one `<name>…</name>` of a text.
pub(super) fn find(kind: Kind, text: &str, name: &'static str) -> Result<Tagged, Error> {
    entities::tagged(text, name).map_err(|error| wrong(kind, error))
}

/// Turns a span in characters (Unicode scalar values, end-exclusive) into one in bytes.
pub(super) fn bytes_of(
    kind: Kind,
    what: &'static str,
    text: &str,
    span: (usize, usize),
) -> Result<Range<usize>, Error> {
    entities::bytes_of(what, text, span).map_err(|error| wrong(kind, error))
}

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
