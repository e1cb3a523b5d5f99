//! Marked stretches of a text: `<e1>…</e1>` markup and spans counted in characters.

use std::ops::Range;

use super::{Error, Kind};
use crate::tokenizer::Tokenizer;

/// Where a tagged stretch stands in a text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tagged {
    /// With its tags.
    pub(super) outer: Range<usize>,
    /// Without them.
    pub(super) inner: Range<usize>,
}

/// Finds the one `<name>…</name>` of a text.
pub(super) fn find(kind: Kind, text: &str, name: &'static str) -> Result<Tagged, Error> {
    let once = |tag: String| {
        let mut places = text.match_indices(&tag).map(|(at, _)| at);
        match (places.next(), places.count()) {
            (None, _) => Err(Error::TagMissing { kind, tag }),
            (Some(at), 0) => Ok(at..at + tag.len()),
            (Some(_), more) => Err(Error::TagRepeated { kind, tag, found: more + 1 }),
        }
    };
    let (open, close) = (once(format!("<{name}>"))?, once(format!("</{name}>"))?);
    if close.start < open.end {
        return Err(Error::TagOrder { kind, name });
    }
    Ok(Tagged { outer: open.start..close.end, inner: open.end..close.start })
}

/// Turns a span in characters (Unicode scalar values, end-exclusive) into one in bytes.
pub(super) fn bytes_of(
    kind: Kind,
    what: &'static str,
    text: &str,
    (start, end): (usize, usize),
) -> Result<Range<usize>, Error> {
    if start >= end {
        return Err(Error::SpanReversed { kind, what, start, end });
    }
    let mut boundaries = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let outside = || Error::SpanOutside { kind, what, end, length: text.chars().count(), unit: "characters" };
    let first = boundaries.nth(start).ok_or_else(outside)?;
    let last = boundaries.nth(end - start - 1).ok_or_else(outside)?;
    Ok(first..last)
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
