//! What a record marks: two entities and their relation, or entities and their kinds.

use kadapter_plugin_api::entities::{EntityPair, Marker, Mention, SpanError, Stretch};
use kadapter_plugin_api::{Error, Record, Result};

/// The entities of a record, in any of its formats.
#[derive(Debug)]
pub(crate) enum Entities<'a> {
    /// Two of them.
    Pair(EntityPair),
    /// One or more, each as a task of entity typing marks its mention; in the order of the record.
    Mentions(Vec<Mention<'a>>),
}

/// The tokens of a record, without those that open and close a segment.
#[derive(Debug)]
pub(crate) struct Marked {
    /// The tokens, markers among them.
    pub(crate) tokens: Vec<u32>,
    /// The rows of the markers that a head reads, counted from the segment's opening token: subject and object, two for each target. A
    /// mention's marker stands for both.
    pub(crate) rows: Vec<[usize; 2]>,
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
        } else if record.has("starts") || record.has("ends") {
            return Self::of_spans(text_of(record)?, record.integers("starts")?, record.integers("ends")?);
        } else if record.has("start") || record.has("end") {
            let span = (record.index("start")?, record.index("end")?);
            let mention = Mention::of_span(text_of(record)?, span).map_err(refused)?;
            return Ok(Self::Mentions(vec![mention]));
        } else {
            EntityPair::of_markup(record.text("text")?)
        };
        pair.map(Self::Pair).map_err(refused)
    }

    fn of_spans(text: &'a str, starts: &[i64], ends: &[i64]) -> Result<Self> {
        if starts.is_empty() || starts.len() != ends.len() {
            return Err(Error::new(format!(
                "the record has {} `starts` and {} `ends`, expected as many of both, and at least one",
                starts.len(),
                ends.len()
            )));
        }
        let place = |field: &str, &at: &i64| {
            usize::try_from(at).map_err(|_| Error::new(format!("`{field}` has {at}, expected integers of at least 0")))
        };
        let mention =
            |(start, end)| Mention::of_span(text, (place("starts", start)?, place("ends", end)?)).map_err(refused);
        starts.iter().zip(ends).map(mention).collect::<Result<_>>().map(Self::Mentions)
    }

    /// Whether there are two, related ones.
    pub(crate) fn are_related(&self) -> bool {
        matches!(self, Self::Pair(_))
    }

    /// How many targets the record has: one relation, or the kind of each mention.
    pub(crate) fn targets(&self) -> usize {
        match self {
            Self::Pair(_) => 1,
            Self::Mentions(mentions) => mentions.len(),
        }
    }

    /// The tokens, each stretch tokenised by itself with `pieces`, and where the markers stand, in the order of the record.
    pub(crate) fn tokens(
        &self,
        [subject, object]: &[Marker; 2],
        mut pieces: impl FnMut(Stretch, &str) -> Result<Vec<u32>>,
    ) -> Result<Marked> {
        let mentions = match self {
            Self::Pair(pair) => {
                let marked = pair.tokens(subject, object, pieces)?;
                return Ok(Marked { tokens: marked.tokens, rows: vec![[marked.subject, marked.object]] });
            }
            Self::Mentions(mentions) => mentions,
        };
        let mut order: Vec<usize> = (0..mentions.len()).collect();
        order.sort_by_key(|&at| mentions[at].before.len());
        let (mut tokens, mut rows) = (Vec::new(), vec![[0; 2]; mentions.len()]);
        let (mut end, mut last, mut after) = (0, "", "");
        for at in order {
            let Mention { before, text, after: rest } = mentions[at];
            let overlap =
                || Error::new(format!("the mentions `{last}` and `{text}` overlap, expected stretches apart"));
            let between = before.get(end..).ok_or_else(overlap)?;
            tokens.extend(pieces(Stretch::Text, between)?);
            // One more than the tokens so far: the segment's opening token.
            rows[at] = [tokens.len() + 1; 2];
            tokens.extend(&subject.open);
            tokens.extend(pieces(Stretch::Subject, text)?);
            tokens.extend(&subject.close);
            (end, last, after) = (before.len() + text.len(), text, rest);
        }
        tokens.extend(pieces(Stretch::Text, after)?);
        Ok(Marked { tokens, rows })
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
