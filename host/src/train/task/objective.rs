//! The official losses (spec section 5), over any engine.

use super::{Error, FeatureSet, HeadSpec, Target};
use crate::task::Kind;
use kadapter_plugin_api::{Engine, Result, Segments};

/// The loss of a batch, as a mean over its records: what is compared with the logits.
pub(super) enum Gold {
    /// One class per row: cross-entropy.
    Classes(Vec<i64>),
    /// `[rows, outputs]` of 0 and 1: binary cross-entropy, also over the outputs.
    Several(Vec<f32>),
    /// Rows in groups, one of each group right: cross-entropy over the group.
    Groups { sizes: Vec<usize>, right: Vec<i64> },
    /// Rows in groups with two outputs: the mean of two cross-entropies over the group, for the first and the last row.
    Spans { sizes: Vec<usize>, first: Vec<i64>, last: Vec<i64> },
}

impl Gold {
    /// What the records of a batch have to find.
    pub(super) fn of(spec: &HeadSpec, set: &FeatureSet, records: &[usize]) -> std::result::Result<Self, Error> {
        let sizes = || records.iter().map(|&record| set.units(record).len()).collect();
        let targets = || records.iter().map(|&record| &set.targets[record]);
        let other = || Error::NoHead { kind: spec.kind };
        let one = |target: &Target| match target {
            Target::Class(index) | Target::Unit(index) => Some(i64::from(*index)),
            target => target.stretch().map(|(first, _)| i64::from(first)),
        };
        let ones = || targets().map(one).collect::<Option<Vec<_>>>().ok_or_else(other);
        Ok(match spec.kind {
            Kind::RelationClassification | Kind::SequenceClassification => Self::Classes(ones()?),
            Kind::EntityTyping if targets().all(|target| matches!(target, Target::Class(_))) => Self::Classes(ones()?),
            Kind::EntityTyping => {
                let outputs = spec.head.outputs;
                let mut several = vec![0.0; records.len() * outputs];
                for (row, target) in several.chunks_exact_mut(outputs).zip(targets()) {
                    let Target::Classes(classes) = target else { return Err(other()) };
                    for &class in classes {
                        if let Some(cell) = row.get_mut(class as usize) {
                            *cell = 1.0;
                        }
                    }
                }
                Self::Several(several)
            }
            Kind::MultipleChoice => Self::Groups { sizes: sizes(), right: ones()? },
            Kind::Span => {
                let lasts = targets().map(|target| target.stretch().map(|(_, last)| i64::from(last)));
                Self::Spans { sizes: sizes(), first: ones()?, last: lasts.collect::<Option<_>>().ok_or_else(other)? }
            }
            Kind::Features => return Err(other()),
        })
    }

    /// The loss `[1, 1]` of logits `[units, outputs]`.
    pub(super) fn loss<E: Engine>(&self, engine: &E, logits: &E::Tensor) -> Result<E::Tensor> {
        match self {
            Self::Classes(classes) => engine.cross_entropy(logits, classes),
            Self::Several(several) => {
                let [rows, outputs] = engine.shape(logits);
                let targets = engine.from_f32(rows, outputs, several.clone())?;
                engine.bce_with_logits(logits, &targets)
            }
            Self::Groups { sizes, right } => grouped(engine, logits, sizes, right),
            Self::Spans { sizes, first, last } => {
                let [start, end] = [engine.narrow(logits, 0, 1)?, engine.narrow(logits, 1, 1)?];
                let (start, end) = (grouped(engine, &start, sizes, first)?, grouped(engine, &end, sizes, last)?);
                engine.scale(&engine.add(&start, &end)?, 0.5)
            }
        }
    }
}

/// What is right of records' units, `[units, outputs]`: +1, and -1 for all that is not.
pub(super) fn signs(spec: &HeadSpec, set: &FeatureSet, records: &[usize]) -> std::result::Result<Vec<f32>, Error> {
    let outputs = spec.head.outputs;
    let mut signs = Vec::new();
    for &record in records {
        let start = signs.len();
        signs.resize(start + set.units(record).len() * outputs, -1.0);
        let mut right = |unit: u32, output: usize| {
            if let Some(sign) = signs.get_mut(start + unit as usize * outputs + output) {
                *sign = 1.0;
            }
        };
        match &set.targets[record] {
            Target::Class(class) => right(0, *class as usize),
            Target::Classes(classes) => classes.iter().for_each(|class| right(0, *class as usize)),
            Target::Unit(unit) => right(*unit, 0),
            target => {
                if let Some((first, last)) = target.stretch() {
                    right(first, 0);
                    right(last, 1);
                }
            }
        }
    }
    if spec.kind == Kind::Features { Err(Error::NoHead { kind: spec.kind }) } else { Ok(signs) }
}

/// Mean cross-entropy of groups of rows of `logits [rows, 1]`, one of each group being right.
fn grouped<E: Engine>(engine: &E, logits: &E::Tensor, sizes: &[usize], right: &[i64]) -> Result<E::Tensor> {
    let segments = Segments::new(sizes.iter().copied())?;
    let rows = segments.rows();
    // One times each partner's logit: a row of a group has the group's logits side by side.
    let ones = engine.from_f32(rows, 1, vec![1.0; rows])?;
    let beside = engine.segment_matmul(&ones, logits, &segments)?;
    #[expect(clippy::cast_possible_truncation, reason = "rows of a batch are counted in u32 everywhere")]
    let firsts: Vec<u32> = segments.ranges().map(|range| range.start as u32).collect();
    engine.cross_entropy(&engine.gather(&beside, &firsts)?, right)
}
