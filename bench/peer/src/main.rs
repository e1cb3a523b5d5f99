//! Our side of `bench/run.sh`.
//!
//! ```text
//! kadapter-bench peer FOLDER THREADS plugin LIBRARY    the lines of peers/protocol.py, adapters from a plugin file
//! kadapter-bench peer FOLDER THREADS builtin           the same adapters compiled in
//! kadapter-bench tasks MANIFEST ROUNDS                 one task of a project against all of them, in turn
//! kadapter-bench train-step ROUNDS THREADS cpu|candle  one training step of an adapter
//! ```
#![forbid(unsafe_code)]

mod peer;
mod tasks;
mod train;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["peer", folder, threads, "plugin", library] => {
            peer::run(folder.as_ref(), threads.parse()?, Some(library.as_ref()))
        }
        ["peer", folder, threads, "builtin"] => peer::run(folder.as_ref(), threads.parse()?, None),
        ["tasks", manifest, rounds] => tasks::run(manifest.as_ref(), rounds.parse()?),
        ["train-step", rounds, threads, engine] => train::run(rounds.parse()?, threads.parse()?, engine),
        _ => Err(
            "expected `peer FOLDER THREADS plugin LIBRARY`, `peer FOLDER THREADS builtin`, `tasks MANIFEST ROUNDS` or \
                  `train-step ROUNDS THREADS cpu|candle`"
                .into(),
        ),
    }
}
