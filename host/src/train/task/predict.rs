//! Logits of a trained head over features, and what it answers with them.

use super::batch::Batch;
use super::{Error, HeadSpec, Target, TrainedHead, View};
use crate::pipeline::network::Dropouts;
use crate::task::Kind;
use crate::tensor::{HostEngine, Values};
use kadapter_plugin_api::Engine;

/// Rows that go through the head at once.
const ROWS: usize = 4096;

/// The logits of some records.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// Numbers of a unit.
    pub outputs: usize,
    /// Per record its units' numbers, `[units, outputs]` row-major.
    pub records: Vec<Vec<f32>>,
}

/// How logits become answers where the kind leaves a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerRule {
    /// Entity typing: whether the greatest logit counts though it is not positive, as in FIGER (spec section 5.2).
    pub force_top: bool,
    /// Entity typing: whether labels exclude one another, so that the greatest logit is the answer.
    pub exclusive: bool,
    /// Spans: the longest answer in tokens; any where there is none.
    pub max_answer_tokens: Option<usize>,
}

/// The logits of a trained head.
///
/// # Errors
/// When features are missing or cannot be read, or the device fails.
pub fn predict<E: HostEngine>(engine: &E, head: &TrainedHead, view: &View<'_>) -> Result<Logits, Error> {
    let params = head
        .parameters
        .iter()
        .map(|(declared, values)| engine.upload(declared.role, &declared.shape, Values::F32(values.clone())));
    let params = params.collect::<kadapter_plugin_api::Result<Vec<_>>>()?;
    logits_with(engine, &head.spec, params.into_iter(), view)
}

/// The logits over parameters of any engine.
pub(super) fn logits_with<E: Engine>(
    engine: &E,
    spec: &HeadSpec,
    params: impl Iterator<Item = E::Param>,
    view: &View<'_>,
) -> Result<Logits, Error> {
    let network = spec.network(params).ok_or(Error::NoHead { kind: spec.kind })?;
    let outputs = spec.head.outputs;
    let mut records = Vec::with_capacity(view.len());
    let mut rest = view.records.as_slice();
    while !rest.is_empty() {
        // As many records as fit, at least one.
        let mut rows = 0;
        let fits = |record: &&usize| {
            rows += view.set.units(**record).len() * view.set.reads;
            rows <= ROWS
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (batch, others) = rest.split_at(count);
        rest = others;
        let batch_rows = Batch::gather(engine, spec, view.set, batch)?;
        let logits = network.forward(engine, spec, &batch_rows, Dropouts::default())?;
        let values = engine.read_f32(&logits)?;
        let mut values = values.as_slice();
        for &record in batch {
            let (own, others) = values.split_at(view.set.units(record).len() * outputs);
            records.push(own.to_vec());
            values = others;
        }
    }
    Ok(Logits { outputs, records })
}

impl Logits {
    /// What the head answers to each record, in the form of targets. The rules are those of [`crate::task`]'s decoding,
    /// except that tokens without text, which byte-level vocabularies have, may begin or end a stretch here.
    #[must_use]
    pub fn answers(&self, kind: Kind, rule: AnswerRule) -> Vec<Target> {
        self.records.iter().map(|logits| self.answer(kind, rule, logits)).collect()
    }

    fn answer(&self, kind: Kind, rule: AnswerRule, logits: &[f32]) -> Target {
        match kind {
            Kind::EntityTyping if rule.exclusive => Target::Class(argmax(logits.iter().copied())),
            Kind::EntityTyping => {
                let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let chosen = |logit: f32| logit > 0.0 || rule.force_top && logit >= top;
                let classes = (0_u32..).zip(logits).filter(|(_, logit)| chosen(**logit));
                Target::Classes(classes.map(|(class, _)| class).collect())
            }
            Kind::MultipleChoice => Target::Unit(argmax(logits.iter().copied())),
            Kind::Span => {
                let (mut best, mut answer) = (f32::NEG_INFINITY, (0, 0));
                let most = rule.max_answer_tokens.unwrap_or(usize::MAX);
                let ends: Vec<f32> = logits.iter().copied().skip(1).step_by(2).collect();
                for (first, start) in logits.iter().step_by(2).enumerate() {
                    for (last, end) in ends.iter().enumerate().skip(first).take(most) {
                        if start + end > best {
                            best = start + end;
                            answer = (first, last);
                        }
                    }
                }
                let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
                Target::Span(number(answer.0), number(answer.1))
            }
            Kind::RelationClassification | Kind::SequenceClassification | Kind::Features => {
                Target::Class(argmax(logits.iter().copied()))
            }
        }
    }
}

/// The place of the greatest number, the first of equals.
fn argmax(numbers: impl Iterator<Item = f32>) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (place, number) in (0_u32..).zip(numbers) {
        if number > best.1 {
            best = (place, number);
        }
    }
    best.0
}
