//! A text around two entities, or around one: how records name them, and its tokens with a marker before and behind each.
//!
//! ```text
//! before @ subject @ between # object # after        the subject first
//! before # object # between @ subject @ after        the object first
//! before @ mention @ after                           one alone
//! ```
//!
//! Objectives and hosts read relations and mentions with it, so that an adapter is trained on what a task on top of it sees.

use std::fmt;
use std::ops::Range;

/// What can be wrong with marked stretches of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanError {
    /// A tag of the markup is absent.
    TagMissing {
        /// The tag, `<e1>`.
        tag: String,
    },
    /// A tag of the markup is there more than once.
    TagRepeated {
        /// The tag.
        tag: String,
        /// How often it is there.
        found: usize,
    },
    /// A closing tag stands before its opening tag.
    TagOrder {
        /// The tag's name, `e1`.
        name: &'static str,
    },
    /// A span ends before it begins, or where it begins.
    Reversed {
        /// Which span.
        what: &'static str,
        /// Where it begins.
        start: usize,
        /// Where it ends.
        end: usize,
    },
    /// A span leaves the text.
    Outside {
        /// Which span.
        what: &'static str,
        /// Where it ends.
        end: usize,
        /// How long the text is.
        length: usize,
        /// What both are counted in.
        unit: &'static str,
    },
    /// The two entities share a part of the text.
    Overlap,
    /// A stretch says nothing.
    Blank {
        /// Which stretch.
        what: &'static str,
    },
}

impl fmt::Display for SpanError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TagMissing { tag } => write!(formatter, "the text has no `{tag}`, expected it once"),
            Self::TagRepeated { tag, found } => write!(formatter, "the text has `{tag}` {found} times, expected once"),
            Self::TagOrder { name } => write!(formatter, "`</{name}>` stands before `<{name}>`, expected it behind"),
            Self::Reversed { what, start, end } => {
                write!(formatter, "the {what} is {start} to {end}, expected it to begin before it ends")
            }
            Self::Outside { what, end, length, unit } => {
                write!(formatter, "the {what} ends at {end}, expected at most the text's {length} {unit}")
            }
            Self::Overlap => formatter.write_str("the subject and the object overlap, expected two stretches apart"),
            Self::Blank { what } => write!(formatter, "the {what} is blank, expected a text"),
        }
    }
}

impl std::error::Error for SpanError {}

/// Where a tagged stretch stands in a text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// With its tags.
    pub outer: Range<usize>,
    /// Without them.
    pub inner: Range<usize>,
}

/// Finds the one `<name>…</name>` of a text.
///
/// # Errors
/// When a tag is missing, there twice, or the closing one stands first.
pub fn tagged(text: &str, name: &'static str) -> Result<Tagged, SpanError> {
    let once = |tag: String| {
        let mut places = text.match_indices(&tag).map(|(at, _)| at);
        match (places.next(), places.count()) {
            (None, _) => Err(SpanError::TagMissing { tag }),
            (Some(at), 0) => Ok(at..at + tag.len()),
            (Some(_), more) => Err(SpanError::TagRepeated { tag, found: more + 1 }),
        }
    };
    let (open, close) = (once(format!("<{name}>"))?, once(format!("</{name}>"))?);
    if close.start < open.end {
        return Err(SpanError::TagOrder { name });
    }
    Ok(Tagged { outer: open.start..close.end, inner: open.end..close.start })
}

/// Turns a span in characters (Unicode scalar values, end-exclusive) into one in bytes; `what` names it in errors.
///
/// # Errors
/// When it is empty, reversed, or leaves the text.
pub fn bytes_of(what: &'static str, text: &str, (start, end): (usize, usize)) -> Result<Range<usize>, SpanError> {
    if start >= end {
        return Err(SpanError::Reversed { what, start, end });
    }
    let mut boundaries = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let outside = || SpanError::Outside { what, end, length: text.chars().count(), unit: "characters" };
    let first = boundaries.nth(start).ok_or_else(outside)?;
    let last = boundaries.nth(end - start - 1).ok_or_else(outside)?;
    Ok(first..last)
}

/// A text in five stretches around two entities, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityPair {
    before: String,
    first: String,
    between: String,
    second: String,
    after: String,
    subject_first: bool,
}

/// A stretch of an [`EntityPair`], to whoever tokenises it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// Text around the entities; it may be empty.
    Text,
    /// The subject.
    Subject,
    /// The object.
    Object,
}

/// The tokens before and behind an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Before it; the first one is what heads read.
    pub open: Vec<u32>,
    /// Behind it.
    pub close: Vec<u32>,
}

impl Marker {
    /// One token on both sides, as in the official code.
    pub fn of(token: u32) -> Self {
        Self { open: vec![token], close: vec![token] }
    }
}

/// A text's tokens with its markers, without the tokens that open and close a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedTokens {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// The row of the subject's first marker, counted from the segment's opening token.
    pub subject: usize,
    /// The row of the object's first marker.
    pub object: usize,
}

impl EntityPair {
    /// Of a text with `<e1>subject</e1>` and `<e2>object</e2>`.
    ///
    /// # Errors
    /// When the markup is not whole, the entities overlap, or one is blank.
    pub fn of_markup(text: &str) -> Result<Self, SpanError> {
        let (subject, object) = (tagged(text, "e1")?, tagged(text, "e2")?);
        let subject_first = subject.outer.start < object.outer.start;
        let (first, second) = if subject_first { (subject, object) } else { (object, subject) };
        if first.outer.end > second.outer.start {
            return Err(SpanError::Overlap);
        }
        Self {
            before: text[..first.outer.start].to_owned(),
            first: text[first.inner].to_owned(),
            between: text[first.outer.end..second.outer.start].to_owned(),
            second: text[second.inner].to_owned(),
            after: text[second.outer.end..].to_owned(),
            subject_first,
        }
        .not_blank()
    }

    /// Of a text and two spans in characters (Unicode scalar values), end-exclusive.
    ///
    /// # Errors
    /// When a span leaves the text or is empty, the spans overlap, or one is blank.
    pub fn of_spans(text: &str, subject: (usize, usize), object: (usize, usize)) -> Result<Self, SpanError> {
        let (subject, object) = (bytes_of("subject", text, subject)?, bytes_of("object", text, object)?);
        let subject_first = subject.start < object.start;
        let (first, second) = if subject_first { (subject, object) } else { (object, subject) };
        if first.end > second.start {
            return Err(SpanError::Overlap);
        }
        Self {
            before: text[..first.start].to_owned(),
            first: text[first.clone()].to_owned(),
            between: text[first.end..second.start].to_owned(),
            second: text[second.clone()].to_owned(),
            after: text[second.end..].to_owned(),
            subject_first,
        }
        .not_blank()
    }

    /// Of words and two spans of word indices, end-inclusive (T-REx-rc, TACRED). The words of a stretch are joined with single spaces.
    ///
    /// # Errors
    /// When a span leaves the words or is reversed, the spans overlap, or one is blank.
    pub fn of_words(words: &[&str], subject: (usize, usize), object: (usize, usize)) -> Result<Self, SpanError> {
        let range = |what, (start, end): (usize, usize)| match (start <= end, end < words.len()) {
            (false, _) => Err(SpanError::Reversed { what, start, end }),
            (_, false) => Err(SpanError::Outside { what, end, length: words.len(), unit: "words" }),
            _ => Ok(start..end + 1),
        };
        let (subject, object) = (range("subject", subject)?, range("object", object)?);
        let subject_first = subject.start < object.start;
        let (first, second) = if subject_first { (subject, object) } else { (object, subject) };
        if first.end > second.start {
            return Err(SpanError::Overlap);
        }
        Self {
            before: words[..first.start].join(" "),
            first: words[first.clone()].join(" "),
            between: words[first.end..second.start].join(" "),
            second: words[second.clone()].join(" "),
            after: words[second.end..].join(" "),
            subject_first,
        }
        .not_blank()
    }

    fn not_blank(self) -> Result<Self, SpanError> {
        for (what, text) in [("subject", self.subject()), ("object", self.object())] {
            if text.trim().is_empty() {
                return Err(SpanError::Blank { what });
            }
        }
        Ok(self)
    }

    /// The subject's text.
    pub fn subject(&self) -> &str {
        if self.subject_first { &self.first } else { &self.second }
    }

    /// The object's text.
    pub fn object(&self) -> &str {
        if self.subject_first { &self.second } else { &self.first }
    }

    /// The tokens, each stretch tokenised by itself with `pieces`, and where the markers stand.
    ///
    /// # Errors
    /// What `pieces` says.
    pub fn tokens<E>(
        &self,
        subject: &Marker,
        object: &Marker,
        mut pieces: impl FnMut(Stretch, &str) -> Result<Vec<u32>, E>,
    ) -> Result<MarkedTokens, E> {
        let (subject, object) = ((Stretch::Subject, subject), (Stretch::Object, object));
        let (first, second) = if self.subject_first { (subject, object) } else { (object, subject) };
        let mut tokens = pieces(Stretch::Text, &self.before)?;
        let mut enclose = |(stretch, marker): (Stretch, &Marker), text: &str, following: &str| -> Result<usize, E> {
            // One more than the tokens so far: the segment's opening token.
            let row = tokens.len() + 1;
            tokens.extend(&marker.open);
            tokens.extend(pieces(stretch, text)?);
            tokens.extend(&marker.close);
            tokens.extend(pieces(Stretch::Text, following)?);
            Ok(row)
        };
        let first = enclose(first, &self.first, &self.between)?;
        let second = enclose(second, &self.second, &self.after)?;
        let (subject, object) = if self.subject_first { (first, second) } else { (second, first) };
        Ok(MarkedTokens { tokens, subject, object })
    }
}

/// A text in three stretches around one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention<'a> {
    /// What stands before it.
    pub before: &'a str,
    /// The entity.
    pub text: &'a str,
    /// What stands after it.
    pub after: &'a str,
}

impl<'a> Mention<'a> {
    /// Of a text with `<e>mention</e>`.
    ///
    /// # Errors
    /// When the markup is not whole, or the mention is blank.
    pub fn of_markup(text: &'a str) -> Result<Self, SpanError> {
        let Tagged { outer, inner } = tagged(text, "e")?;
        Self { before: &text[..outer.start], text: &text[inner], after: &text[outer.end..] }.not_blank()
    }

    /// Of a text and a span in characters (Unicode scalar values), end-exclusive.
    ///
    /// # Errors
    /// When the span leaves the text or is empty, or the mention is blank.
    pub fn of_span(text: &'a str, span: (usize, usize)) -> Result<Self, SpanError> {
        let place = bytes_of("mention", text, span)?;
        Self { before: &text[..place.start], after: &text[place.end..], text: &text[place] }.not_blank()
    }

    fn not_blank(self) -> Result<Self, SpanError> {
        if self.text.trim().is_empty() { Err(SpanError::Blank { what: "mention" }) } else { Ok(self) }
    }
}

/// What becomes of a marker that was cut off with the end of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerOverflow {
    /// The record is refused, also where the marker's row is now the closing token.
    Error,
    /// T-REx: a record with a marker at or past the longest length is left out; a marker just before it reads the closing token.
    Skip,
    /// TACRED: a marker past the longest length is moved to ten before it; one at it is refused.
    Minus10,
}

/// Why there is no row to read for a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerLost {
    /// The record is to be refused.
    Refused,
    /// The record is to be left out.
    Skipped,
}

impl MarkerOverflow {
    /// The rules by their names in configurations.
    pub const NAMES: [(&'static str, Self); 3] =
        [("error", Self::Error), ("minus10", Self::Minus10), ("skip", Self::Skip)];

    /// The row to read for a marker at `row` once its segment is cut to `longest` tokens, special ones included.
    ///
    /// # Errors
    /// When there is none, by the rule.
    pub fn row(self, row: usize, longest: usize) -> Result<usize, MarkerLost> {
        match self {
            // Row `longest - 2` is the last that holds a token of the text.
            Self::Error if row + 2 > longest => Err(MarkerLost::Refused),
            Self::Skip if row >= longest => Err(MarkerLost::Skipped),
            Self::Minus10 if row == longest => Err(MarkerLost::Refused),
            Self::Minus10 if row > longest => longest.checked_sub(10).ok_or(MarkerLost::Refused),
            _ => Ok(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// A token per character.
    fn letters(_: Stretch, text: &str) -> Result<Vec<u32>, Error> {
        Ok(text.chars().filter(|letter| !letter.is_whitespace()).map(u32::from).collect())
    }

    fn shown(pair: &EntityPair) -> (String, usize, usize) {
        let marked = pair.tokens(&Marker::of(u32::from('@')), &Marker::of(u32::from('#')), letters).unwrap();
        (marked.tokens.iter().filter_map(|&token| char::from_u32(token)).collect(), marked.subject, marked.object)
    }

    #[test]
    fn three_ways_to_name_entities_give_the_same_tokens() {
        let words = ["a", "bc", "d", "e"];
        let pairs = [
            EntityPair::of_words(&words, (1, 1), (3, 3)).unwrap(),
            EntityPair::of_spans("a bc d e", (2, 4), (7, 8)).unwrap(),
            EntityPair::of_markup("a <e1>bc</e1> d <e2>e</e2>").unwrap(),
        ];
        for pair in pairs {
            assert_eq!(shown(&pair), ("a@bc@d#e#".to_owned(), 2, 7));
            assert_eq!((pair.subject(), pair.object()), ("bc", "e"));
        }
    }

    #[test]
    fn the_object_may_stand_first() {
        let pair = EntityPair::of_words(&["a", "bc", "d", "e"], (3, 3), (0, 0)).unwrap();
        assert_eq!(shown(&pair), ("#a#bcd@e@".to_owned(), 7, 1));
    }

    #[test]
    fn wrong_spans_are_refused_in_words() {
        let words = ["a", " ", "c"];
        let refuse = |subject, object| EntityPair::of_words(&words, subject, object).unwrap_err().to_string();
        assert_eq!(refuse((1, 0), (2, 2)), "the subject is 1 to 0, expected it to begin before it ends");
        assert_eq!(refuse((0, 0), (2, 3)), "the object ends at 3, expected at most the text's 3 words");
        assert_eq!(refuse((0, 1), (1, 2)), "the subject and the object overlap, expected two stretches apart");
        assert_eq!(refuse((0, 0), (1, 1)), "the object is blank, expected a text");
        let markup = |text: &str| EntityPair::of_markup(text).unwrap_err().to_string();
        assert_eq!(markup("<e1>a</e1> b"), "the text has no `<e2>`, expected it once");
        assert_eq!(markup("</e1>a<e1> <e2>b</e2>"), "`</e1>` stands before `<e1>`, expected it behind");
        assert_eq!(markup("<e1>a</e1> <e1>b</e1>"), "the text has `<e1>` 2 times, expected once");
    }

    #[test]
    fn a_mention_is_named_in_two_ways() {
        let expected = Mention { before: "ä ", text: "bc", after: " d" };
        assert_eq!(Mention::of_span("ä bc d", (2, 4)), Ok(expected));
        assert_eq!(Mention::of_markup("ä <e>bc</e> d"), Ok(expected));
        let refused = |mention: Result<Mention<'_>, SpanError>| mention.unwrap_err().to_string();
        assert_eq!(
            refused(Mention::of_span("ab", (1, 3))),
            "the mention ends at 3, expected at most the text's 2 characters"
        );
        assert_eq!(refused(Mention::of_span("a b", (1, 2))), "the mention is blank, expected a text");
        assert_eq!(refused(Mention::of_markup("a <e> </e>")), "the mention is blank, expected a text");
        assert_eq!(refused(Mention::of_markup("a")), "the text has no `<e>`, expected it once");
    }

    #[test]
    fn cut_markers_follow_the_rules_of_the_official_code() {
        let row = |rule: MarkerOverflow, row| rule.row(row, 32);
        assert_eq!(row(MarkerOverflow::Error, 30), Ok(30));
        assert_eq!(row(MarkerOverflow::Error, 31), Err(MarkerLost::Refused));
        assert_eq!(row(MarkerOverflow::Skip, 31), Ok(31));
        assert_eq!(row(MarkerOverflow::Skip, 32), Err(MarkerLost::Skipped));
        assert_eq!(row(MarkerOverflow::Minus10, 31), Ok(31));
        assert_eq!(row(MarkerOverflow::Minus10, 32), Err(MarkerLost::Refused));
        assert_eq!(row(MarkerOverflow::Minus10, 33), Ok(22));
    }
}
