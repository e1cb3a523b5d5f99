//! Readers on bytes that are written here; the sample files are read in the workspace's `tests`.

mod errors;
mod formats;
mod hostile;
mod splits;

use super::{Counts, Error, Format, Labelled, Options, Source};

/// A source that calls its bytes `data`.
fn source(format: Format, options: Options) -> Source {
    Source { path: "data".into(), format, options }
}

/// Everything that bytes give.
fn read(format: Format, options: Options, bytes: &[u8]) -> (Vec<Result<Labelled, Error>>, Counts) {
    let mut records = source(format, options).records_from(std::io::Cursor::new(bytes.to_vec()));
    let found = records.by_ref().collect();
    (found, records.counts().clone())
}

/// The records of bytes in which nothing is wrong.
fn records(format: Format, bytes: &str) -> Vec<Labelled> {
    read(format, Options::default(), bytes.as_bytes()).0.into_iter().map(|record| record.expect("a record")).collect()
}
