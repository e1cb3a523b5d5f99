//! What a record marks: two entities and their relation, or one and its kind.

use kadapter_plugin_api::entities::{EntityPair, MarkedTokens, Marker, Mention, SpanError, Stretch};
use kadapter_plugin_api::{Error, Record, Result};

/// The entities of a record, in any of its formats.
#[derive(Debug)]
pub(crate) enum Entities<'a> {
    /// Two of them.
    Pair(EntityPair),
    /// One, as a task of entity typing marks its mention.
    Mention(Mention<'a>),
}

impl<'a> Entities<'a> {
    /// Of a record; see the objective for its formats.
    pub(crate) fn of(record: &Record<'a>) -> Result<Self> {
        let pair = if record.has("token") {
            let words = record.texts("token")?;
            let span = |start: &str, end: &str| Ok::<_, Error>((record.index(start)?, record.index(end)?));
            EntityPair::of_words(&words, span("subj_start", "subj_end")?, span("obj_start", "obj_end")?)
        } else if record.has("subject") || record.has("object") {
            EntityPair::of_spans(record.text("text")?, span(record, "subject")?, span(record, "object")?)
        } else if record.has("start") || record.has("end") {
            let span = (record.index("start")?, record.index("end")?);
            return Mention::of_span(text_of(record)?, span).map(Self::Mention).map_err(refused);
        } else {
            EntityPair::of_markup(record.text("text")?)
        };
        pair.map(Self::Pair).map_err(refused)
    }

    /// Whether there are two.
    pub(crate) fn are_two(&self) -> bool {
        matches!(self, Self::Pair(_))
    }

    /// The tokens, each stretch tokenised by itself with `pieces`, and where the markers stand. A mention's marker stands for both.
    pub(crate) fn tokens(
        &self,
        [subject, object]: &[Marker; 2],
        mut pieces: impl FnMut(Stretch, &str) -> Result<Vec<u32>>,
    ) -> Result<MarkedTokens> {
        let Mention { before, text: mention, after } = match self {
            Self::Pair(pair) => return pair.tokens(subject, object, pieces),
            Self::Mention(mention) => mention,
        };
        let mut tokens = pieces(Stretch::Text, before)?;
        // One more than the tokens so far: the segment's opening token.
        let row = tokens.len() + 1;
        tokens.extend(&subject.open);
        tokens.extend(pieces(Stretch::Subject, mention)?);
        tokens.extend(&subject.close);
        tokens.extend(pieces(Stretch::Text, after)?);
        Ok(MarkedTokens { tokens, subject: row, object: row })
    }
}

/// The text of a record that is not split into words.
pub(crate) fn text_of<'a>(record: &Record<'a>) -> Result<&'a str> {
    record.text(if record.has("sent") { "sent" } else { "text" })
}

fn refused(error: SpanError) -> Error {
    Error::new(error.to_string())
}

/// `[start, end]`.
fn span(record: &Record<'_>, field: &str) -> Result<(usize, usize)> {
    let wrong = || Error::new(format!("field `{field}` is not [start, end], expected two integers of at least 0"));
    match *record.integers(field)? {
        [start, end] => Ok((usize::try_from(start).map_err(|_| wrong())?, usize::try_from(end).map_err(|_| wrong())?)),
        _ => Err(wrong()),
    }
}
