//! TensorBoard itself reads our event files, by both of its readers: what a killed run left, and what the run after it says.

use kadapter_host::train::tensorboard::EventWriter;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Prints what TensorBoard shows of a directory as JSON: by reader, by tag, pairs of step and value.
const READ: &str = include_str!("shown_events.py");

fn shown(directory: &Path) -> serde_json::Value {
    let python = std::env::var("KADAPTER_TEST_TENSORBOARD").expect("run this by `cargo xtask test --ranks`");
    let output = Command::new(python).args(["-c", READ]).arg(directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Writes steps whose loss says which run wrote them.
fn steps(writer: &mut EventWriter, run: u32, steps: std::ops::RangeInclusive<u64>) {
    for step in steps {
        let loss = f64::from(run) + step as f64 / 64.0;
        writer.scalars(step, &[("train/loss", loss), ("train/learning_rate", 0.5)]).unwrap();
        if step % 4 == 0 {
            writer.scalars(step, &[("dev/accuracy", loss / 8.0)]).unwrap();
        }
    }
}

fn expected(runs: [std::ops::RangeInclusive<u64>; 3]) -> serde_json::Value {
    let (mut loss, mut rate, mut accuracy) = (Vec::new(), Vec::new(), Vec::new());
    for (run, steps) in runs.into_iter().enumerate() {
        for step in steps {
            let value = (run + 1) as f64 + step as f64 / 64.0;
            loss.push((step, value));
            rate.push((step, 0.5));
            if step % 4 == 0 {
                accuracy.push((step, value / 8.0));
            }
        }
    }
    serde_json::json!({ "train/loss": loss, "train/learning_rate": rate, "dev/accuracy": accuracy })
}

#[test]
fn a_run_that_was_killed_twice_is_shown_as_one() {
    let folder = tempfile::tempdir().unwrap();
    // Another run, longer than this one, which was started over.
    steps(&mut EventWriter::open(folder.path(), None).unwrap(), 4, 1..=30);
    let mut first = EventWriter::open(folder.path(), None).unwrap();
    steps(&mut first, 1, 1..=11);
    // Killed within a record; its last checkpoint was that of step 8.
    let mut file = OpenOptions::new().append(true).open(first.path()).unwrap();
    file.write_all(&fs::read(first.path()).unwrap()[..30]).unwrap();
    drop(first);
    let mut second = EventWriter::open(folder.path(), Some(8)).unwrap();
    steps(&mut second, 2, 9..=14);
    drop(second);
    // Killed before its first step.
    drop(EventWriter::open(folder.path(), Some(12)).unwrap());
    let mut third = EventWriter::open(folder.path(), Some(12)).unwrap();
    steps(&mut third, 3, 13..=20);
    let (shown, whole) = (shown(folder.path()), expected([1..=8, 9..=12, 13..=20]));
    assert_eq!(shown["accumulator"], whole);
    assert_eq!(shown["server"], whole);
}
