//! One reader per format.

mod choice;
mod conllu;
mod fewrel;
mod heads;
mod lama;
mod plain;
mod relation;
mod semeval;
mod span;
mod table;
mod typing;
mod values;

pub(super) use lama::MASK;

use super::csv::Csv;
use super::input::Bytes;
use super::json::Cursor;
use super::lines::Lines;
use super::object::Object;
use super::{Error, Format, Labelled, Place, Reason};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

/// What a reader found.
#[derive(Debug)]
pub(super) enum Found {
    /// A record.
    Record(Labelled),
    /// A record that the format leaves out.
    LeftOut(Reason),
}

/// What a stretch of a file became; an error is about its record and no other.
pub(super) type Queue = VecDeque<Result<Found, Error>>;

/// Reads a file, a stretch at a time.
pub(super) trait Reader: Send {
    /// Reads the next stretch and puts what it found at the end of the queue; false at the end of the file.
    ///
    /// # Errors
    ///
    /// When nothing behind it can be read.
    fn read(&mut self, queue: &mut Queue) -> Result<bool, Error>;
}

/// Makes the reader of a format.
pub(super) fn reader(path: &Arc<Path>, format: Format, mut bytes: Bytes) -> Result<Box<dyn Reader>, Error> {
    let path = Arc::clone(path);
    Ok(match format {
        Format::Semeval => Box::new(semeval::Semeval::new(path.clone(), Lines::new(path, bytes))),
        Format::Conllu | Format::ConlluWords => {
            Box::new(conllu::Conllu::new(path.clone(), Lines::new(path, bytes), format))
        }
        Format::Fewrel => Box::new(fewrel::Fewrel::new(Cursor::new(path, format, bytes))),
        Format::TrexTable => Box::new(table::Table::new(path.clone(), Lines::new(path, bytes), format, table::trex)),
        Format::WordnetTable => {
            Box::new(table::Table::new(path.clone(), Lines::new(path, bytes), format, table::wordnet))
        }
        Format::WordnetDefined => {
            Box::new(table::Table::new(path.clone(), Lines::new(path, bytes), format, table::wordnet_defined))
        }
        Format::Json => Box::new(values::Values::new(path, format, bytes, plain::record)),
        Format::Tacred => Box::new(values::Values::new(path, format, bytes, relation::record)),
        Format::OpenEntity => Box::new(values::Values::new(path, format, bytes, typing::record)),
        Format::LinAdapter => Box::new(values::Values::new(path, format, bytes, heads::record)),
        Format::Lama => Box::new(values::Values::new(path, format, bytes, lama::record)),
        Format::Squad => Box::new(span::Squad::new(path, bytes)),
        Format::Cosmosqa => {
            let start = bytes.fill_buf().map_err(|source| Error::Read { path: path.to_path_buf(), line: 0, source })?;
            match start.trim_ascii_start().first() {
                Some(b'{' | b'[') => Box::new(values::Values::new(path, format, bytes, choice::record)),
                _ => Box::new(choice::Table::new(Csv::new(path, bytes))),
            }
        }
    })
}

/// Makes records of one JSON value.
type Convert = fn(Object<'_>, &mut Queue) -> Result<(), Error>;

/// Reads a value as an object and converts it; an error goes into the queue.
fn convert(value: Result<Value, Error>, at: &Place, format: Format, convert: Convert, queue: &mut Queue) {
    let converted = value.and_then(|value| convert(Object::new(at, format, &value)?, queue));
    if let Err(error) = converted {
        queue.push_back(Err(error));
    }
}
