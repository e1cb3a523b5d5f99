//! What a head is to find in a record: the gold answer in the numbers of its logits.

use super::{AnswerRule, Error};
use crate::data::{Gold, Labelled, Labels, SpanGold};
use crate::task::{Encoding, Kind};
use std::ops::Range;

/// The gold answer of a record, as numbers of the head's outputs or units.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The one label: relation and sequence classification, entity typing with labels that exclude one another.
    Class(u32),
    /// All labels, in order: entity typing.
    Classes(Vec<u32>),
    /// The right one among the record's units: multiple choice.
    Unit(u32),
    /// The first and the last of the record's units that belong to the answer: spans.
    Span(u32, u32),
    /// Every such stretch that is right, none where no answer stands in the context as it was encoded. The first is learned; an answer
    /// is judged by the one that it fits best.
    Spans(Vec<(u32, u32)>),
}

/// Why a record cannot be trained on though nothing is wrong with it.
pub(super) const NO_ANSWER: &str = "no answer to the question stands in the context as it was encoded";

impl Target {
    /// The target of a record that was encoded for this kind of task.
    ///
    /// # Errors
    /// When the gold answer is of another kind, a label is not among `labels`, or an answer does not stand where the record says.
    pub(super) fn of(
        kind: Kind,
        labels: &Labels,
        rule: AnswerRule,
        labelled: &Labelled,
        encoding: &Encoding,
    ) -> Result<Self, Error> {
        let class = |label: &String| {
            let unknown = || Error::LabelUnknown {
                at: labelled.at.clone(),
                label: label.clone(),
                known: labels.names().to_vec(),
            };
            labels.index_of(label).map(number).ok_or_else(unknown)
        };
        let target = match (kind, &labelled.gold) {
            (Kind::RelationClassification | Kind::SequenceClassification, Gold::Label(label)) => {
                Self::Class(class(label)?)
            }
            (Kind::EntityTyping, Gold::Labels(names)) if rule.exclusive => match names.as_slice() {
                [name] => Self::Class(class(name)?),
                names => return Err(Error::NotOneLabel { at: labelled.at.clone(), found: names.len() }),
            },
            (Kind::EntityTyping, Gold::Labels(names)) => {
                let mut classes = names.iter().map(class).collect::<Result<Vec<_>, _>>()?;
                classes.sort_unstable();
                classes.dedup();
                Self::Classes(classes)
            }
            (Kind::MultipleChoice, Gold::Choice(answer)) if *answer < encoding.reads.len() => {
                Self::Unit(number(*answer))
            }
            (Kind::MultipleChoice, Gold::Choice(answer)) => {
                let answers = encoding.reads.len();
                return Err(Error::AnswerOutside { at: labelled.at.clone(), answer: *answer, answers });
            }
            (Kind::Span, Gold::Spans(spans)) => {
                let Some((context, tokens)) = encoding.context() else {
                    return Err(Error::OtherGold { at: labelled.at.clone(), kind, found: "no context" });
                };
                let mut found = Vec::new();
                for span in spans {
                    let elsewhere =
                        |start| Error::AnswerElsewhere { at: labelled.at.clone(), answer: span.text.clone(), start };
                    let place = place_of(span, context).map_err(elsewhere)?;
                    let units = place.and_then(|place| units_of(place, tokens));
                    found.extend(units.filter(|units| !found.contains(units)));
                }
                Self::Spans(found)
            }
            (_, gold) => {
                return Err(Error::OtherGold { at: labelled.at.clone(), kind, found: name_of(gold) });
            }
        };
        Ok(target)
    }

    /// Whether there is something to learn: of spans, a right answer in the context.
    #[must_use]
    pub fn is_learnable(&self) -> bool {
        !matches!(self, Self::Spans(stretches) if stretches.is_empty())
    }

    /// The stretch of units that is learned, of spans.
    #[must_use]
    pub fn stretch(&self) -> Option<(u32, u32)> {
        match self {
            Self::Span(first, last) => Some((*first, *last)),
            Self::Spans(stretches) => stretches.first().copied(),
            _ => None,
        }
    }

    /// Whether an answer is right.
    #[must_use]
    pub fn is(&self, answer: &Self) -> bool {
        match (self, answer) {
            (Self::Spans(stretches), Self::Span(first, last)) => stretches.contains(&(*first, *last)),
            _ => self == answer,
        }
    }

    /// The label by which subsets are stratified; 0 where there is none.
    #[must_use]
    pub fn stratum(&self) -> u32 {
        match self {
            Self::Class(class) => *class,
            Self::Classes(classes) => classes.first().map_or(0, |class| class + 1),
            Self::Unit(_) | Self::Span(..) | Self::Spans(_) => 0,
        }
    }
}

/// The characters of an answer, white space around it aside; `None` where it does not stand in the context or says nothing.
///
/// # Errors
/// The place where the record says that it stands, and it does not.
fn place_of(span: &SpanGold, context: &str) -> Result<Option<Range<usize>>, usize> {
    let text = span.text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let start = match span.start {
        Some(start) => {
            if !context.chars().skip(start).take(span.text.chars().count()).eq(span.text.chars()) {
                return Err(start);
            }
            start + span.text.chars().take_while(|letter| letter.is_whitespace()).count()
        }
        None => match context.find(text) {
            Some(bytes) => context[..bytes].chars().count(),
            None => return Ok(None),
        },
    };
    Ok(Some(start..start + text.chars().count()))
}

/// The tokens that a stretch of characters covers.
fn units_of(Range { start, end }: Range<usize>, tokens: &[Range<usize>]) -> Option<(u32, u32)> {
    let covers = |token: &Range<usize>| !token.is_empty() && token.start < end && token.end > start;
    let (first, last) = (tokens.iter().position(covers)?, tokens.iter().rposition(covers)?);
    // What was cut off behind the last token is no part of the answer that can be found.
    let whole = tokens[last].end >= end || tokens[last + 1..].iter().any(|token| !token.is_empty());
    whole.then(|| (number(first), number(last)))
}

fn name_of(gold: &Gold) -> &'static str {
    match gold {
        Gold::Label(_) => "one label",
        Gold::Labels(_) => "a list of labels",
        Gold::Choice(_) => "the index of an answer",
        Gold::Spans(_) => "answers in a context",
        Gold::Heads { .. } => "heads of words",
        Gold::Filler(_) => "a word for `[MASK]`",
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
