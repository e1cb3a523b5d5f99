//! Our side of `bench/run.sh`.
//!
//! ```text
//! kadapter-bench peer FOLDER ENGINE plugin LIBRARY     the lines of peers/protocol.py, adapters from a plugin file
//! kadapter-bench peer FOLDER ENGINE builtin            the same adapters compiled in
//! kadapter-bench tasks MANIFEST ROUNDS                 one task of a project against all of them, in turn
//! kadapter-bench train-step ROUNDS ENGINE              one training step of an adapter
//! ```
//! ENGINE is a number of threads, `candle` (its own CPU device), or a device and a precision: `cuda:0`, `cuda:0,bf16`.
#![forbid(unsafe_code)]

mod engine;
mod peer;
mod tasks;
mod train;

use engine::Measured;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["peer", folder, engine, "plugin", library] => {
            peer::run(folder.as_ref(), &Measured::parse(engine)?, Some(library.as_ref()))
        }
        ["peer", folder, engine, "builtin"] => peer::run(folder.as_ref(), &Measured::parse(engine)?, None),
        ["tasks", manifest, rounds] => tasks::run(manifest.as_ref(), rounds.parse()?),
        ["train-step", rounds, engine] => train::run(rounds.parse()?, &Measured::parse(engine)?),
        _ => Err(
            "expected `peer FOLDER ENGINE plugin LIBRARY`, `peer FOLDER ENGINE builtin`, `tasks MANIFEST ROUNDS` or \
                  `train-step ROUNDS ENGINE`"
                .into(),
        ),
    }
}
