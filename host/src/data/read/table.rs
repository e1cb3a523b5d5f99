//! Relations of phrases in sentences, tab-separated: T-REx pairs and WordNet glosses.

use super::lama::MASK;
use super::{Found, Queue, Reader};
use crate::data::lines::Lines;
use crate::data::text::{find, shortened};
use crate::data::{Error, Format, Gold, Labelled, Place, Reason};
use serde_json::{Map, Value};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Makes a record of the six columns of a line.
type Convert = fn([&str; 6], &Place) -> Result<Found, Error>;

/// The lines of a file.
pub(super) struct Table {
    path: Arc<Path>,
    lines: Lines,
    format: Format,
    convert: Convert,
    records: u64,
}

impl Table {
    pub(super) fn new(path: Arc<Path>, lines: Lines, format: Format, convert: Convert) -> Self {
        Self { path, lines, format, convert, records: 0 }
    }
}

impl Reader for Table {
    fn read(&mut self, queue: &mut Queue) -> Result<bool, Error> {
        let Some(line) = self.lines.next()? else { return Ok(false) };
        if line.is_blank() {
            return Ok(true);
        }
        self.records += 1;
        let at = Place { path: Arc::clone(&self.path), line: line.number, record: self.records };
        queue.push_back(line.text(&at).and_then(|text| {
            let columns: Vec<&str> = text.split('\t').collect();
            let found = columns.len();
            let columns = columns.try_into().map_err(|_| {
                let found = format!("{found} columns");
                Error::Structure { at: at.clone(), format: self.format, found, expected: "six columns, tab-separated" }
            })?;
            (self.convert)(columns, &at)
        }));
        Ok(true)
    }
}

/// Relation, subject id, object id, subject, object, sentence with `[MASK]` for the object.
pub(super) fn trex(columns: [&str; 6], at: &Place) -> Result<Found, Error> {
    let [relation, subject_id, object_id, subject, object, masked] = columns;
    filled(relation, "a relation", at, Format::TrexTable)?;
    filled(object, "the object's surface form", at, Format::TrexTable)?;
    let Some(before) = masked.find(MASK) else {
        let found = format!("`{}`", shortened(masked));
        let expected = "a sentence with `[MASK]` in place of the object";
        return Err(Error::Structure { at: at.clone(), format: Format::TrexTable, found, expected });
    };
    let start = masked[..before].chars().count();
    let object_place = start..start + object.chars().count();
    let text: Vec<char> = masked.replace(MASK, object).chars().collect();
    let subject: Vec<char> = subject.chars().collect();
    let Some(subject_place) = find(&text, &subject, Some(&object_place)) else {
        return Ok(Found::LeftOut(Reason::SubjectNotFound));
    };
    let ids = [("subject_id", subject_id), ("object_id", object_id)];
    Ok(record(relation, &text, [subject_place, object_place], &ids, at))
}

/// Synset, lexicographer file, relation, head, tail, gloss in which both are looked up.
pub(super) fn wordnet(columns: [&str; 6], at: &Place) -> Result<Found, Error> {
    let [_, _, _, head, _, gloss] = columns;
    let gloss: Vec<char> = gloss.chars().collect();
    match find(&gloss, &head.chars().collect::<Vec<_>>(), None) {
        Some(place) => with_head(columns, &gloss, place, at),
        None => Ok(Found::LeftOut(Reason::HeadNotFound)),
    }
}

/// Like [`wordnet`], the head put before its gloss.
pub(super) fn wordnet_defined(columns: [&str; 6], at: &Place) -> Result<Found, Error> {
    let [_, _, _, head, _, gloss] = columns;
    filled(head, "a head", at, Format::WordnetDefined)?;
    let text: Vec<char> = format!("{head} : {gloss}").chars().collect();
    with_head(columns, &text, 0..head.chars().count(), at)
}

fn with_head(columns: [&str; 6], text: &[char], head: Range<usize>, at: &Place) -> Result<Found, Error> {
    let [synset, _, relation, _, tail, _] = columns;
    filled(relation, "a relation", at, Format::WordnetTable)?;
    Ok(match find(text, &tail.chars().collect::<Vec<_>>(), Some(&head)) {
        Some(tail) => record(relation, text, [head, tail], &[("subject_id", synset)], at),
        None => Found::LeftOut(Reason::TailNotFound),
    })
}

fn filled(text: &str, expected: &'static str, at: &Place, format: Format) -> Result<(), Error> {
    match text.trim().is_empty() {
        true => Err(Error::Structure { at: at.clone(), format, found: "an empty column".into(), expected }),
        false => Ok(()),
    }
}

fn record(
    relation: &str,
    text: &[char],
    [subject, object]: [Range<usize>; 2],
    ids: &[(&str, &str)],
    at: &Place,
) -> Found {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put("text", text.iter().collect::<String>().into());
    put("subject", vec![subject.start, subject.end].into());
    put("object", vec![object.start, object.end].into());
    for (name, id) in ids {
        put(name, (*id).into());
    }
    Found::Record(Labelled { fields, gold: Gold::Label(relation.trim().to_owned()), at: at.clone() })
}
