//! What an adapter declares, and whether it uses it: a parameter that changes nothing was forgotten in `forward`.

use super::batch::first_difference;
use super::bench::{Bed, count_values, cpu, stirred};
use super::finding::{Finding, Verdict};
use super::watch::Watched;
use super::{Bench, Check, judge};
use kadapter_plugin_api::ParamSpec;

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

fn gradients(_: &Bench<'_>) -> Verdict {
    Ok(Finding::skipped("this host does not train yet, so it has no gradients to look at"))
}
