//! What a record marks: two entities and their relation, or one and its kind.

use kadapter_plugin_api::entities::{self, EntityPair, MarkedTokens, Marker, SpanError, Stretch};
use kadapter_plugin_api::{Error, Record, Result};

/// The entities of a record, in any of its formats.
#[derive(Debug)]
pub(crate) enum Entities {
    /// Two of them.
    Pair(EntityPair),
    /// One, as a task of entity typing marks its mention: what stands before it, the mention, and what stands after it.
    Mention([String; 3]),
}

impl Entities {
    /// Of a record; see the objective for its formats.
    pub(crate) fn of(record: &Record<'_>) -> Result<Self> {
        let pair = if record.has("token") {
            let words = record.texts("token")?;
            let span = |start: &str, end: &str| Ok::<_, Error>((record.index(start)?, record.index(end)?));
            EntityPair::of_words(&words, span("subj_start", "subj_end")?, span("obj_start", "obj_end")?)
        } else if record.has("subject") || record.has("object") {
            EntityPair::of_spans(record.text("text")?, span(record, "subject")?, span(record, "object")?)
        } else if record.has("start") || record.has("end") {
            let text = record.text(if record.has("sent") { "sent" } else { "text" })?;
            return mention(text, (record.index("start")?, record.index("end")?)).map_err(refused);
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
        let [before, mention, after] = match self {
            Self::Pair(pair) => return pair.tokens(subject, object, pieces),
            Self::Mention(stretches) => stretches,
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

fn mention(text: &str, span: (usize, usize)) -> Result<Entities, SpanError> {
    let place = entities::bytes_of("mention", text, span)?;
    match text[place.clone()].trim() {
        "" => Err(SpanError::Blank { what: "mention" }),
        _ => Ok(Entities::Mention([&text[..place.start], &text[place.clone()], &text[place.end..]].map(str::to_owned))),
    }
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
