//! One task against all tasks of a project, on one text, in turn.

use crate::Outcome;
use kadapter_host::pipeline::{Job, Opened, Plan, Settings, open};
use kadapter_host::task::Record;
use kadapter_host::tensor::device::{DeviceChoice, Dtype};
use kadapter_registry::project::{LockMode, Project};
use std::path::Path;
use std::time::Instant;

const TEXT: &str = "The <e1>earthquake</e1> caused a long <e2>blackout</e2> in the valley , and the old mill by the river stood \
                    still until the morning .";

/// Prints medians and the median of the rounds' ratios.
pub(crate) fn run(manifest: &Path, rounds: usize) -> Outcome {
    let resolved = Project::open(manifest)?.resolve(LockMode::KeepLocked)?;
    let first = resolved.tasks.keys().next().cloned().ok_or("the project has no task")?;
    let load = |plan| open(plan, DeviceChoice::Cpu, Dtype::F32, Settings::default());
    let (one, all) = (load(Plan::tasks(&resolved, &[first])?)?, load(Plan::all(&resolved)?)?);
    let record = Record::from_text(TEXT)?;
    let (mut ones, mut alls, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds + 3 {
        let (a, b) = (time(&one, &record)?, time(&all, &record)?);
        if round >= 3 {
            ones.push(a);
            alls.push(b);
            ratios.push(b / a);
        }
    }
    let tasks = all.runner.plan().tasks.len();
    println!("| one task, ms | {tasks} tasks, ms | {tasks} tasks / one |");
    println!("| ---: | ---: | ---: |");
    println!("| {:.2} | {:.2} | {:.3} |", median(&mut ones), median(&mut alls), median(&mut ratios));
    Ok(())
}

fn time(opened: &Opened, record: &Record) -> Outcome<f64> {
    let jobs: Vec<_> = (0..opened.runner.plan().tasks.len()).map(|task| Job { record, task }).collect();
    let start = Instant::now();
    for answer in opened.runner.answer(&jobs) {
        answer?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
