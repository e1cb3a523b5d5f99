//! Metrics as sums over records, so that they can be computed again for any resampling of the records.

use super::{Error, Target};
use crate::task::Kind;
use std::fmt;

/// How a task's answers are judged, as a fraction from 0 to 1; higher is better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The share of records that are answered exactly.
    Accuracy,
    /// TACRED: micro-F1 over all classes but one (spec section 5.3).
    MicroF1 {
        /// The class that says that there is none.
        without: Option<u32>,
    },
    /// SemEval-2010 task 8's official score: macro-F1 over the relations without `Other`, each in both directions; a relation in the
    /// wrong direction is wrong.
    DirectedMacroF1 {
        /// Per class its relation; none for `Other`.
        relations: Vec<Option<u32>>,
    },
    /// Entity typing: loose micro-F1 over sets of labels (spec section 5.1).
    LooseMicroF1,
    /// Spans: F1 of the answer's tokens, the mean over records.
    TokenF1,
}

/// What a record adds to a metric's sums: `(place, amount)`.
pub type Tally = Vec<(u32, f64)>;

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Accuracy => "accuracy",
            Self::MicroF1 { .. } => "micro-f1",
            Self::DirectedMacroF1 { .. } => "directed-macro-f1",
            Self::LooseMicroF1 => "loose-micro-f1",
            Self::TokenF1 => "token-f1",
        })
    }
}

impl Metric {
    /// The metric by its name, or the kind's usual one; `no_relation` is the label that micro-F1 leaves out.
    ///
    /// # Errors
    /// When the metric does not judge this kind, or the label is not among the labels.
    pub fn of(kind: Kind, name: Option<&str>, labels: &[String], no_relation: Option<&str>) -> Result<Self, Error> {
        let refuse = |expected| Err(Error::OtherMetric { metric: name.unwrap_or_default().to_owned(), kind, expected });
        match (kind, name) {
            (Kind::EntityTyping, None | Some("loose-micro-f1")) => Ok(Self::LooseMicroF1),
            (Kind::EntityTyping, Some("accuracy")) => Ok(Self::Accuracy),
            (Kind::EntityTyping, Some(_)) => refuse("`loose-micro-f1` or `accuracy`"),
            (Kind::Span, None | Some("token-f1")) => Ok(Self::TokenF1),
            (Kind::Span, Some("accuracy")) => Ok(Self::Accuracy),
            (Kind::Span, Some(_)) => refuse("`token-f1` or `accuracy`"),
            (Kind::MultipleChoice | Kind::Features, None | Some("accuracy")) => Ok(Self::Accuracy),
            (Kind::MultipleChoice | Kind::Features, Some(_)) => refuse("`accuracy`"),
            (_, Some("accuracy")) => Ok(Self::Accuracy),
            (_, None) if no_relation.is_none() => Ok(Self::Accuracy),
            (_, None | Some("micro-f1")) => {
                let place = |label: &str| {
                    let unknown = || Error::IgnoredLabel { metric: "micro-f1".to_owned(), label: label.to_owned() };
                    labels.iter().position(|known| known == label).ok_or_else(unknown)
                };
                let without = no_relation.map(place).transpose()?;
                Ok(Self::MicroF1 { without: without.and_then(|place| u32::try_from(place).ok()) })
            }
            (_, Some("directed-macro-f1")) => Ok(Self::DirectedMacroF1 { relations: directed(labels) }),
            (_, Some(_)) => refuse("`accuracy`, `micro-f1` or `directed-macro-f1`"),
        }
    }

    /// How many sums there are.
    #[must_use]
    pub fn sums(&self) -> usize {
        match self {
            Self::Accuracy | Self::TokenF1 => 2,
            Self::MicroF1 { .. } | Self::LooseMicroF1 => 3,
            Self::DirectedMacroF1 { relations } => 3 * count(relations),
        }
    }

    /// What a record adds.
    #[must_use]
    pub fn tally(&self, gold: &Target, answer: &Target) -> Tally {
        let right = f64::from(u8::from(gold.is(answer)));
        match (self, gold, answer) {
            (Self::MicroF1 { without }, Target::Class(gold), Target::Class(answer)) => {
                let counts = |class: &u32| f64::from(u8::from(Some(*class) != *without));
                vec![(0, right * counts(gold)), (1, counts(answer)), (2, counts(gold))]
            }
            (Self::DirectedMacroF1 { relations }, Target::Class(gold), Target::Class(answer)) => {
                let relation = |class: &u32| relations.get(*class as usize).copied().flatten();
                let mut tally = Vec::new();
                if let Some(answer) = relation(answer) {
                    tally.push((3 * answer + 1, 1.0));
                }
                if let Some(gold) = relation(gold) {
                    tally.extend([(3 * gold, right), (3 * gold + 2, 1.0)]);
                }
                tally
            }
            (Self::LooseMicroF1, Target::Classes(gold), Target::Classes(answer)) => {
                let both = answer.iter().filter(|class| gold.contains(class)).count();
                let number = |count: usize| count as f64;
                vec![(0, number(both)), (1, number(answer.len())), (2, number(gold.len()))]
            }
            (Self::LooseMicroF1, Target::Class(_), Target::Class(_)) => vec![(0, right), (1, 1.0), (2, 1.0)],
            (Self::TokenF1, Target::Spans(stretches), Target::Span(from, to)) => {
                let best = stretches.iter().map(|gold| overlap(*gold, (*from, *to))).fold(0.0, f64::max);
                vec![(0, best), (1, 1.0)]
            }
            _ => vec![(0, right), (1, 1.0)],
        }
    }

    /// The metric of summed tallies; 0 where it is not defined.
    #[must_use]
    pub fn score(&self, sums: &[f64]) -> f64 {
        match (self, sums) {
            (Self::Accuracy | Self::TokenF1, [sum, count]) => ratio(*sum, *count),
            (Self::MicroF1 { .. } | Self::LooseMicroF1, [right, answered, gold]) => f1(*right, *answered, *gold),
            (Self::DirectedMacroF1 { .. }, sums) => {
                let (relations, _) = sums.as_chunks::<3>();
                let total: f64 = relations.iter().map(|[right, answered, gold]| f1(*right, *answered, *gold)).sum();
                ratio(total, relations.len() as f64)
            }
            _ => 0.0,
        }
    }

    /// The metric of records that each count once.
    #[must_use]
    pub fn of_tallies<'a>(&self, tallies: impl IntoIterator<Item = &'a Tally>) -> f64 {
        let mut sums = vec![0.0; self.sums()];
        for (place, amount) in tallies.into_iter().flatten() {
            sums[*place as usize] += amount;
        }
        self.score(&sums)
    }
}

/// The relation of each label `Name(e1,e2)`; none for labels without a direction.
fn directed(labels: &[String]) -> Vec<Option<u32>> {
    let mut names: Vec<&str> = Vec::new();
    let mut relations = Vec::with_capacity(labels.len());
    for label in labels {
        relations.push(label.split_once('(').and_then(|(name, _)| {
            let place = names.iter().position(|known| *known == name).unwrap_or(names.len());
            if place == names.len() {
                names.push(name);
            }
            u32::try_from(place).ok()
        }));
    }
    relations
}

fn count(relations: &[Option<u32>]) -> usize {
    relations.iter().flatten().max().map_or(0, |most| *most as usize + 1)
}

/// `2PR / (P + R)`, which is `2 · right / (answered + gold)`.
fn f1(right: f64, answered: f64, gold: f64) -> f64 {
    ratio(2.0 * right, answered + gold)
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// F1 of the tokens of two stretches.
fn overlap((first, last): (u32, u32), (from, to): (u32, u32)) -> f64 {
    let length = |first: u32, last: u32| f64::from((last + 1).saturating_sub(first));
    let common = length(first.max(from), last.min(to));
    f1(common, length(from, to), length(first, last))
}
