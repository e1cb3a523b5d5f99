//! What trains the plugin's adapters, where it brings something: records in, loss and counts out.
//!
//! Whole words are tokens here and hidden states are random, so only what holds for every backbone is looked at. Records are the
//! author's (`--record`): nobody else knows which fields an objective reads.

use super::bench::{Bed, count_values, cpu, stirred};
use super::finding::{Finding, Verdict};
use super::parameters::{ROUNDS, judge_gradients, trained, without_gradient};
use super::{Bench, Check, Stage, judge};
use crate::parameters::Declared;
use crate::plugin::record::flatten;
use crate::tensor::cpu::CpuEngine;
use crate::tensor::tape::{Tape, Trainable};
use kadapter_plugin_api::abi::TrainerBox;
use kadapter_plugin_api::random::Random;
use kadapter_plugin_api::reference::{Reference, ToyTokenizer};
use kadapter_plugin_api::session::{self, Judged, Parameters};
use kadapter_plugin_api::{Batch, Encoded, Engine, Entry, ErrorKind, Example, ParamSpec, Role, Segments};
use serde_json::{Map, Value};
use std::mem::ManuallyDrop;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "objective-build",
        description: "The objective can be built: no error, no panic",
        needs: &["layout"],
        run: build,
        judge: judge::plain,
    },
    Check {
        id: "objective-refuses-records",
        description: "A record without its fields, or with fields of other types, is refused in words: no panic",
        needs: &["objective-build"],
        run: refuses,
        judge: judge::plain,
    },
    Check {
        id: "objective-encodes",
        description: "Records become examples, the same each time",
        needs: &["objective-build"],
        run: encodes,
        judge: judge::plain,
    },
    Check {
        id: "objective-loss",
        description: "The loss is one finite number with a weight above 0, the same on the CPU engine and the reference engine",
        needs: &["objective-encodes"],
        run: loss,
        judge: judge::plain,
    },
    Check {
        id: "objective-weight",
        description: "The loss of a batch is the mean of its examples' losses, weighted as the objective says",
        needs: &["objective-loss"],
        run: weight,
        judge: judge::plain,
    },
    Check {
        id: "objective-tally",
        description: "Tallies of a batch's parts sum up to the batch's, and say finite metrics",
        needs: &["objective-encodes"],
        run: tally,
        judge: judge::plain,
    },
    Check {
        id: "objective-gradients",
        description: "The features and every parameter of the objective get a gradient from the loss",
        needs: &["objective-loss"],
        run: gradients,
        judge: judge::plain,
    },
];

/// The longest segment of the toy tokenizer, as RoBERTa's.
const MAX_TOKENS: usize = 512;
/// Segments of the examples' batch at most: plenty, and quick.
const MAX_EXAMPLES: usize = 16;
/// How far two engines may be apart, as a share of the loss (at least 1).
const AGREES: f64 = 1e-3;

/// An objective. It is leaked: dropping is for the checks of adapters.
struct Objective {
    trainer: ManuallyDrop<TrainerBox>,
    specs: Vec<ParamSpec>,
}

fn objective(bench: &Bench<'_>) -> Result<Objective, Finding> {
    let plugin = bench.open()?;
    bench.enter(Stage::Build);
    let config = bench.subject.objective();
    match plugin.objective(&config, bench.backbone()) {
        Ok(Some((trainer, specs))) => Ok(Objective { trainer: ManuallyDrop::new(trainer), specs }),
        Ok(None) => Err(Finding::skipped("the plugin brings no objective")),
        Err(error) if error.kind() == ErrorKind::Config && config.is_empty() => {
            Err(Finding::skipped(format!("{}; give `--objective KEY=VALUE`", error.message())))
        }
        Err(error) => Err(error.into()),
    }
}

fn build(bench: &Bench<'_>) -> Verdict {
    let objective = objective(bench)?;
    Ok(Finding::told(format!("{} parameters, {} values", objective.specs.len(), count_values(&objective.specs))))
}

/// The records that the author gave.
fn records(bench: &Bench<'_>) -> Result<Vec<Map<String, Value>>, Finding> {
    if bench.subject.records.is_empty() {
        return Err(Finding::skipped("no record was given; give some with `--record '{\"text\": \"…\"}'`"));
    }
    Ok(bench.subject.records.clone())
}

impl Objective {
    fn encode(&self, bench: &Bench<'_>, record: &[Entry]) -> kadapter_plugin_api::Result<Encoded> {
        bench.enter(Stage::Encode);
        session::encode(&self.trainer, &ToyTokenizer::new(MAX_TOKENS), record)
    }

    /// The examples of the author's records.
    fn examples(&self, bench: &Bench<'_>) -> Result<Vec<Example>, Finding> {
        let tokenizer = ToyTokenizer::new(MAX_TOKENS);
        let (mut examples, mut reasons) = (Vec::new(), Vec::new());
        for record in records(bench)?.iter().take(MAX_EXAMPLES) {
            bench.enter(Stage::Encode);
            match session::encode(&self.trainer, &tokenizer, &flatten(record)?)? {
                Encoded::Example(example) | Encoded::Cut(example, _) => examples.push(example),
                Encoded::LeftOut(reason) => reasons.push(reason),
            }
        }
        if examples.is_empty() {
            return Err(Finding::failed(format!("every record is left out: {}", reasons.join("; "))));
        }
        Ok(examples)
    }

    fn lay<E: Bed>(&self, engine: &E) -> Result<Parameters<E::Param>, Finding> {
        let mut parameters = Parameters::default();
        for (index, spec) in self.specs.iter().enumerate() {
            parameters.push(spec.shape(), engine.lay(index, spec, stirred(spec))?);
        }
        Ok(parameters)
    }

    fn loss<E: Bed>(&self, bench: &Bench<'_>, engine: &E, batch: &Made) -> Result<(f64, f64), Finding> {
        let (last, features) = batch.tensors(engine)?;
        bench.enter(Stage::Loss);
        let (loss, weight) = session::loss(&self.trainer, engine, &self.lay(engine)?, batch.judged(&last, &features))?;
        let values = engine.read_f32(&loss)?;
        match (engine.shape(&loss), values.as_slice()) {
            ([1, 1], &[value]) if value.is_finite() && weight.is_finite() && weight > 0.0 => {
                Ok((f64::from(value), weight))
            }
            (shape, values) => Err(Finding::failed(format!(
                "the loss is {values:?} in shape {shape:?} with weight {weight}, expected one finite number and a weight above 0"
            ))),
        }
    }
}

/// A batch with random hidden states.
struct Made {
    batch: Batch,
    segments: Segments,
    columns: usize,
    /// Empty where the objective says that it does not read it.
    last: Vec<f32>,
    features: Vec<f32>,
}

impl Made {
    /// The values of an example are the same in every batch that it stands in.
    #[expect(clippy::cast_possible_truncation, reason = "values are f32")]
    fn new(
        bench: &Bench<'_>,
        objective: &Objective,
        seed: u64,
        examples: &[(usize, &Example)],
    ) -> Result<Self, Finding> {
        let (batch, segments) = Batch::collect(examples.iter().map(|(_, example)| *example))?;
        let columns = bench.subject.hidden_size;
        let states = |what: &str| {
            let of = |&(at, example): &(usize, &Example)| {
                let mut random = Random::named(seed, &format!("{what} {at}"));
                (0..example.tokens() * columns).map(|_| random.normal() as f32).collect::<Vec<_>>()
            };
            examples.iter().flat_map(of).collect()
        };
        let last = if objective.trainer.reads_last() { states("last") } else { Vec::new() };
        Ok(Self { batch, segments, columns, last, features: states("features") })
    }

    fn tensors<E: Engine>(&self, engine: &E) -> kadapter_plugin_api::Result<(E::Tensor, E::Tensor)> {
        let rows = self.segments.rows();
        Ok((
            engine.from_f32(self.last_rows(), self.columns, self.last.clone())?,
            engine.from_f32(rows, self.columns, self.features.clone())?,
        ))
    }

    /// Rows of the last hidden state: none where it is not read.
    fn last_rows(&self) -> usize {
        self.last.len() / self.columns.max(1)
    }

    fn judged<'a, T>(&'a self, last: &'a T, features: &'a T) -> Judged<'a, T> {
        Judged { batch: &self.batch, segments: &self.segments, last, features }
    }
}

fn numbered(examples: &[Example]) -> Vec<(usize, &Example)> {
    examples.iter().enumerate().collect()
}

fn refuses(bench: &Bench<'_>) -> Verdict {
    let objective = objective(bench)?;
    let said = |record: &[Entry]| match objective.encode(bench, record) {
        Err(error) if error.kind() == ErrorKind::Panic => Err(Finding::failed(error.message())),
        Err(error) if error.message().trim().is_empty() => {
            Err(Finding::failed("a record is refused without a word, expected what is wrong with it"))
        }
        // What is left out is no example, and the host counts it.
        encoded => Ok(!matches!(encoded, Ok(Encoded::Example(_) | Encoded::Cut(..)))),
    };
    if !said(&[])? {
        return Err(Finding::failed("a record without any field is taken, expected an error that names a field"));
    }
    // Each field in turn is left out and has another type; what is no panic is fine, since fields may be optional.
    for record in &bench.subject.records {
        let whole = flatten(record)?;
        for at in 0..whole.len() {
            let key = whole[at].key();
            let others = [
                Entry::text(key, ""),
                Entry::text(key, "\u{0}\u{feff}\u{301}"),
                Entry::integer(key, i64::MIN),
                Entry::integer(key, i64::MAX),
                Entry::number(key, f64::NAN),
                Entry::boolean(key, true),
                Entry::integers(key, &[]),
                Entry::integers(key, &[i64::MAX, -1]),
                Entry::integers(key, &[1, 0]),
                Entry::numbers(key, &[f64::INFINITY]),
                Entry::texts(key, &[""]),
                Entry::texts(key, &["a", "b"]),
            ];
            let without: Vec<Entry> = whole.iter().filter(|entry| entry.key() != key).cloned().collect();
            said(&without)?;
            for other in others {
                said(&[without.as_slice(), &[other]].concat())?;
            }
        }
    }
    Ok(Finding::success())
}

fn encodes(bench: &Bench<'_>) -> Verdict {
    let objective = objective(bench)?;
    let (first, again) = (objective.examples(bench)?, objective.examples(bench)?);
    if first != again {
        return Err(Finding::failed("a record became another example the second time; an objective keeps no state"));
    }
    let tokens: usize = first.iter().map(Example::tokens).sum();
    Ok(Finding::told(format!("{} of {} records, {tokens} tokens", first.len(), bench.subject.records.len())))
}

fn loss(bench: &Bench<'_>) -> Verdict {
    let objective = objective(bench)?;
    let (examples, cpu) = (objective.examples(bench)?, cpu());
    for seed in 0..4 {
        let batch = Made::new(bench, &objective, seed, &numbered(&examples))?;
        let (found, weight) = objective.loss(bench, &cpu, &batch)?;
        let (again, _) = objective.loss(bench, &cpu, &batch)?;
        if found.to_bits() != again.to_bits() {
            return Err(Finding::failed(format!("the loss is {found}, and {again} the second time")));
        }
        let (expected, expected_weight) = objective.loss(bench, &Reference, &batch)?;
        if (found - expected).abs() > AGREES * expected.abs().max(1.0) || weight != expected_weight {
            return Err(Finding::failed(format!(
                "the loss is {found} with weight {weight}, on the reference engine {expected} with weight {expected_weight}"
            )));
        }
    }
    Ok(Finding::success())
}

fn weight(bench: &Bench<'_>) -> Verdict {
    let objective = objective(bench)?;
    let (examples, cpu) = (objective.examples(bench)?, cpu());
    if examples.len() < 2 {
        return Ok(Finding::skipped("one example is no batch; give another `--record`"));
    }
    let examples = numbered(&examples);
    let (whole, total) = objective.loss(bench, &cpu, &Made::new(bench, &objective, 0, &examples)?)?;
    let (mut sum, mut weights) = (0.0, 0.0);
    for example in &examples {
        let (loss, weight) = objective.loss(bench, &cpu, &Made::new(bench, &objective, 0, &[*example])?)?;
        sum += loss * weight;
        weights += weight;
    }
    let mean = sum / weights;
    if (weights - total).abs() > 1e-6 * total.abs() || (mean - whole).abs() > AGREES * whole.abs().max(1.0) {
        return Err(Finding::failed(format!(
            "the batch has loss {whole} with weight {total}, its {} examples together {mean} with weight {weights}",
            examples.len()
        )));
    }
    Ok(Finding::success())
}

fn tally(bench: &Bench<'_>) -> Verdict {
    let objective = objective(bench)?;
    let (examples, cpu) = (objective.examples(bench)?, cpu());
    let parameters = objective.lay(&cpu)?;
    let count = |examples: &[(usize, &Example)]| -> Result<Vec<f64>, Finding> {
        let batch = Made::new(bench, &objective, 0, examples)?;
        let (last, features) = batch.tensors(&cpu)?;
        bench.enter(Stage::Tally);
        Ok(session::tally(&objective.trainer, &cpu, &parameters, batch.judged(&last, &features))?)
    };
    let examples = numbered(&examples);
    let whole = count(&examples)?;
    let mut sum = vec![0.0; whole.len()];
    for example in &examples {
        let part = count(&[*example])?;
        if part.len() != whole.len() {
            return Err(Finding::failed(format!(
                "tallies have {} and {} numbers, expected as many",
                whole.len(),
                part.len()
            )));
        }
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    if let Some(at) = (0..whole.len()).find(|&at| (whole[at] - sum[at]).abs() > 1e-3 * whole[at].abs().max(1.0)) {
        return Err(Finding::failed(format!(
            "number {at} of the batch's tally is {}, of its examples together {}",
            whole[at], sum[at]
        )));
    }
    let metrics = session::metrics(&objective.trainer, &whole)?;
    match metrics.iter().find(|metric| metric.name().trim().is_empty() || !metric.value().is_finite()) {
        Some(metric) => Err(Finding::failed(format!(
            "the metric `{}` is {}, expected a finite number",
            metric.name(),
            metric.value()
        ))),
        None if metrics.is_empty() => Err(Finding::failed("no metric is said, expected at least one to choose by")),
        None => {
            let names: Vec<_> = metrics.iter().map(kadapter_plugin_api::Metric::name).collect();
            Ok(Finding::told(names.join(", ")))
        }
    }
}

/// The name of the parameter that stands for the features.
const FEATURES: &str = "the adapter's features";

fn gradients(bench: &Bench<'_>) -> Verdict {
    let objective = objective(bench)?;
    let (examples, engine) = (objective.examples(bench)?, cpu());
    let mut idle: Option<Vec<String>> = None;
    for seed in 0..ROUNDS {
        let batch = Made::new(bench, &objective, seed, &numbered(&examples))?;
        let rows = batch.segments.rows();
        let head = Trainable::new(&engine, objective.specs.iter().map(|spec| (trained(spec), stirred(spec))))?;
        // The features are a parameter here, so that the tape tells their gradient.
        let features = Declared { name: FEATURES.into(), shape: vec![rows, batch.columns], role: Role::General };
        let features = Trainable::new(&engine, [(features, batch.features.clone())])?;
        let tape: Tape<'_, CpuEngine> = Tape::new(&engine, None);
        let last = tape.constant(engine.from_f32(batch.last_rows(), batch.columns, batch.last.clone())?);
        let input = match features.param(0) {
            Some(param) => tape.parameter(param)?,
            None => return Err(Finding::failed("the features could not be laid out")),
        };
        bench.enter(Stage::Loss);
        let (loss, _) = session::loss(&objective.trainer, &tape, &head.parameters(), batch.judged(&last, &input))?;
        let found = without_gradient(&engine, &tape, &loss, &[&features, &head])?;
        idle = Some(match idle {
            None => found,
            Some(before) => before.into_iter().filter(|name| found.contains(name)).collect(),
        });
    }
    judge_gradients(idle.unwrap_or_default())
}
