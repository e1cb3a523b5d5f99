//! The stream of a file's records.

use super::input::{self, Bytes};
use super::read::{self, Found, Queue, Reader};
use super::text::shortened;
use super::{Counts, Error, Format, Labelled, Options};
use crate::task::MAX_RECORD_BYTES;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The records of a file, one at a time. [`Records::counts`] tells at any time what became of those before.
///
/// The first error ends it, unless [`Options::skip_bad`]; an error of the file itself always does.
pub struct Records {
    path: Arc<Path>,
    format: Format,
    options: Options,
    state: State,
    queue: Queue,
    counts: Counts,
}

enum State {
    File,
    Bytes(Box<dyn Read + Send>),
    Reading(Box<dyn Reader>),
    Ended,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut records = formatter.debug_struct("Records");
        records.field("path", &self.path).field("format", &self.format).field("counts", &self.counts);
        records.finish_non_exhaustive()
    }
}

impl Records {
    pub(super) fn of_file(path: &Path, format: Format, options: Options) -> Self {
        Self::new(path, format, options, State::File)
    }

    pub(super) fn of_bytes(path: &Path, format: Format, options: Options, bytes: impl Read + Send + 'static) -> Self {
        Self::new(path, format, options, State::Bytes(Box::new(bytes)))
    }

    fn new(path: &Path, format: Format, options: Options, state: State) -> Self {
        Self { path: path.into(), format, options, state, queue: Queue::new(), counts: Counts::default() }
    }

    /// What became of the records until now.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    fn open(&mut self) -> Result<(), Error> {
        let bytes: Bytes = match std::mem::replace(&mut self.state, State::Ended) {
            State::File => input::open(&self.path)?,
            State::Bytes(bytes) => {
                input::decompress(bytes).map_err(|source| Error::Open { path: self.path.to_path_buf(), source })?
            }
            state => {
                self.state = state;
                return Ok(());
            }
        };
        self.state = State::Reading(read::reader(&self.path, self.format, bytes)?);
        Ok(())
    }

    /// The next record of the file, or the error that ends it.
    fn advance(&mut self) -> Result<Option<Labelled>, Error> {
        self.open()?;
        loop {
            let found = match self.queue.pop_front() {
                Some(found) => found,
                None => {
                    let State::Reading(reader) = &mut self.state else { return Ok(None) };
                    if !reader.read(&mut self.queue)? {
                        self.state = State::Ended;
                        if self.counts == Counts::default() && self.queue.is_empty() {
                            return Err(Error::Empty { path: self.path.to_path_buf(), format: self.format });
                        }
                    }
                    continue;
                }
            };
            let checked = match found {
                Ok(Found::Record(record)) => self.check(&record).map(|()| record),
                Ok(Found::LeftOut(reason)) => {
                    *self.counts.left_out.entry(reason).or_default() += 1;
                    continue;
                }
                Err(error) => Err(error),
            };
            match checked {
                Ok(record) if self.options.slice.as_ref().is_some_and(|slice| !slice.has(&record)) => {
                    self.counts.elsewhere += 1;
                }
                Ok(record) => {
                    self.counts.read += 1;
                    return Ok(Some(record));
                }
                Err(error) if self.options.skip_bad => {
                    self.counts.bad += 1;
                    self.counts.first_bad.get_or_insert_with(|| error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks what every format must keep.
    fn check(&self, record: &Labelled) -> Result<(), Error> {
        let bytes = size(&record.fields);
        if bytes > MAX_RECORD_BYTES {
            return Err(Error::TooLarge { at: record.at.clone(), bytes: bytes as u64, limit: MAX_RECORD_BYTES });
        }
        if let Some(labels) = &self.options.labels
            && let Some(label) = record.labels().iter().find(|label| labels.index_of(label).is_none())
        {
            return Err(Error::LabelUnknown {
                at: record.at.clone(),
                label: shortened(label),
                known: labels.names().len(),
                nearest: labels.nearest(label),
            });
        }
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Result<Labelled, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.options.limit.is_some_and(|limit| self.counts.read >= limit) {
            return None;
        }
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.state = State::Ended;
            self.queue.clear();
        }
        next
    }
}

/// How much text the fields hold, as [`Record`](crate::task::Record) counts it.
fn size(fields: &Map<String, Value>) -> usize {
    let of = |value: &Value| match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(|value| 1 + value.as_str().map_or(0, str::len)).sum(),
        _ => 0,
    };
    fields.iter().map(|(name, value)| name.len() + of(value)).sum()
}
