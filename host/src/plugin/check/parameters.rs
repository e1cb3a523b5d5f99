//! What an adapter declares, and whether it uses it: a parameter that changes nothing was forgotten in `forward`.

use super::batch::first_difference;
use super::bench::{Bed, MAX_VALUES, count_values, cpu, stirred};
use super::finding::{Finding, Verdict};
use super::watch::Watched;
use super::{Bench, Check, Stage, judge};
use crate::parameters::Declared;
use crate::tensor::cpu::CpuEngine;
use crate::tensor::tape::{Tape, Trainable, Variable};
use kadapter_plugin_api::random::Random;
use kadapter_plugin_api::{Engine, Error, ParamSpec, session};
use std::mem::ManuallyDrop;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "parameters-declared",
        description: "Parameters have names and shapes that a weights file can hold",
        needs: &["build"],
        run: declared,
        judge: judge::plain,
    },
    Check {
        id: "parameters-are-read",
        description: "Every declared parameter is read in a forward",
        needs: &["output-shape", "parameters-declared"],
        run: read,
        judge: judge::plain,
    },
    Check {
        id: "parameters-have-effect",
        description: "Every declared parameter changes the features when its values change",
        needs: &["parameters-are-read"],
        run: effect,
        judge: judge::plain,
    },
    Check {
        id: "parameters-have-gradients",
        description: "Every declared parameter gets a gradient",
        needs: &["parameters-are-read"],
        run: gradients,
        judge: judge::plain,
    },
];

/// The longest name: safetensors has no limit, people do.
const MAX_NAME: usize = 256;

fn declared(bench: &Bench<'_>) -> Verdict {
    let plugin = bench.open()?;
    let (instance, specs) = bench.build(&plugin)?;
    std::mem::forget(instance);
    let mut names: Vec<&str> = specs.iter().map(ParamSpec::name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Finding::failed(format!("`{}` is declared twice", pair[0])));
    }
    for spec in &specs {
        let (name, shape) = (spec.name(), spec.shape());
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(Finding::failed(format!(
                "the name {name:?} is none, expected 1 to {MAX_NAME} printable bytes"
            )));
        }
        if name == "__metadata__" {
            return Err(Finding::failed("`__metadata__` is what weights files keep for themselves"));
        }
        if !matches!(shape.len(), 1 | 2) || shape.contains(&0) {
            return Err(Finding::failed(format!("`{name}` has shape {shape:?}, expected [length] or [rows, columns]")));
        }
    }
    Ok(Finding::told(format!("{} parameters, {} values", specs.len(), count_values(&specs))))
}

fn read(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, Watched::new(cpu()));
    let specimen = bench.specimen(&plugin, &engine)?;
    for (seed, lengths) in [&[1][..], &[3, 1, 5]].into_iter().enumerate() {
        specimen.forward(&bench.batch(seed as u64, lengths))?;
    }
    let read = engine.read();
    let unread: Vec<_> = specimen.specs.iter().enumerate().filter(|(index, _)| !read.contains(index)).collect();
    no_unused(unread.into_iter().map(|(_, spec)| spec), "never read")
}

/// By how much every other value of a parameter is changed, up and down in turn: a little, as training does, and then so much that it
/// shows through rounding where mathematics cancels it (a key's bias in attention).
const CHANGES: [f32; 3] = [0.5, 8.0, 64.0];

fn effect(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, Watched::new(cpu()));
    let specimen = bench.specimen(&plugin, &engine)?;
    let batch = bench.batch(0, &[3, 1, 5]);
    let before = specimen.forward(&batch)?;
    let mut idle = Vec::new();
    for (index, spec) in specimen.specs.iter().enumerate() {
        let mut matters = false;
        for change in CHANGES {
            let mut values = stirred(spec);
            // Different changes to neighbours, so that neither a softmax nor a norm takes them out again.
            for (place, value) in values.iter_mut().enumerate() {
                *value += [change, -change / 2.0, 0.0][place % 3];
            }
            engine.replace(Some(engine.lay(index, spec, values)?));
            matters = first_difference(&before, &specimen.forward(&batch)?).is_some();
            if matters {
                break;
            }
        }
        if !matters {
            idle.push(spec);
        }
    }
    no_unused(idle, "read and changes nothing")
}

fn no_unused<'a>(specs: impl IntoIterator<Item = &'a ParamSpec>, how: &str) -> Verdict {
    let names: Vec<_> = specs.into_iter().map(|spec| spec.name().to_owned()).collect();
    match names.len() {
        0 => Ok(Finding::success()),
        1 => Err(Finding::failed(format!("{} is {how}", crate::error::list(&names)))),
        count => Err(Finding::failed(format!("{count} parameters are each {how}: {}", crate::error::list(&names)))),
    }
}

/// Batches that gradients are looked at in: one that is zero in all of them is missing.
pub(super) const ROUNDS: u64 = 3;

fn gradients(bench: &Bench<'_>) -> Verdict {
    let (plugin, engine) = (bench.open()?, cpu());
    let mut idle: Option<Vec<String>> = None;
    for seed in 0..ROUNDS {
        let (instance, specs) = bench.build(&plugin)?;
        // Dropping has a check of its own.
        let instance = ManuallyDrop::new(instance);
        if count_values(&specs) > MAX_VALUES {
            return Ok(Finding::skipped("its parameters are too many; give a smaller `--config` or `--hidden`"));
        }
        let trainable = Trainable::new(&engine, specs.iter().map(|spec| (trained(spec), stirred(spec))))?;
        let batch = bench.batch(seed, &[3, 1, 5]);
        let (rows, segments) = (batch.rows(), batch.segments()?);
        let tape: Tape<'_, CpuEngine> = Tape::new(&engine, None);
        let tap = |tap: &Vec<f32>| Ok(tape.constant(engine.from_f32(rows, batch.columns, tap.clone())?));
        let taps = batch.taps.iter().map(tap).collect::<Result<Vec<_>, Error>>()?;
        bench.enter(Stage::Forward);
        let features = session::run(&instance, &tape, &trainable.parameters(), &segments, &taps)?;
        let found = without_gradient(&engine, &tape, &projected(&tape, &features, seed)?, &[&trainable])?;
        idle = Some(match idle {
            None => found,
            Some(before) => before.into_iter().filter(|name| found.contains(name)).collect(),
        });
    }
    judge_gradients(idle.unwrap_or_default())
}

/// One number that depends on every feature, each with another factor.
#[expect(clippy::cast_possible_truncation, reason = "values are f32")]
fn projected(
    tape: &Tape<'_, CpuEngine>,
    features: &Variable<CpuEngine>,
    seed: u64,
) -> Result<Variable<CpuEngine>, Error> {
    let [rows, columns] = tape.shape(features);
    let mut random = Random::named(seed, "projection");
    let factors = (0..rows * columns).map(|_| random.normal() as f32).collect();
    let product = tape.mul(features, &tape.from_f32(rows, columns, factors)?)?;
    let sums = tape.matmul(&product, &tape.from_f32(columns, 1, vec![1.0; columns])?, false)?;
    tape.matmul(&tape.from_f32(1, rows, vec![1.0; rows])?, &sums, false)
}

/// A parameter as the tape knows it.
pub(super) fn trained(spec: &ParamSpec) -> Declared {
    Declared { name: spec.name().to_owned(), shape: spec.shape(), role: spec.role() }
}

/// The parameters that get no gradient from a loss, or one of zeros alone.
pub(super) fn without_gradient(
    engine: &CpuEngine,
    tape: &Tape<'_, CpuEngine>,
    loss: &Variable<CpuEngine>,
    sets: &[&Trainable<CpuEngine>],
) -> Result<Vec<String>, Error> {
    let all =
        || sets.iter().flat_map(|set| set.declared().iter().enumerate().map(move |(index, of)| (*set, index, of)));
    if !loss.is_tracked() {
        return Ok(all().map(|(_, _, of)| of.name.clone()).collect());
    }
    let gradients = tape.backward(loss, 1.0)?;
    let mut idle = Vec::new();
    for (set, index, of) in all() {
        let values = gradients.get(set, index).map(|gradient| engine.read_f32(gradient)).transpose()?;
        let values = values.unwrap_or_default();
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::new(format!("`{}` has a gradient of {value}, expected finite numbers", of.name)));
        }
        if values.iter().all(|&value| value == 0.0) {
            idle.push(of.name.clone());
        }
    }
    Ok(idle)
}

pub(super) fn judge_gradients(idle: Vec<String>) -> Verdict {
    let why = "what is read with `read_f32` and put back with `from_f32` has none";
    match idle.len() {
        0 => Ok(Finding::success()),
        1 => Err(Finding::failed(format!("{} gets no gradient; {why}", crate::error::list(&idle)))),
        count => {
            Err(Finding::failed(format!("{count} parameters get no gradient: {}; {why}", crate::error::list(&idle))))
        }
    }
}
