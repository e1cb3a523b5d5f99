//! FewRel: an object whose names are relations and whose values are lists of examples.
//!
//! `h` and `t` are `[name, id, [[word indices], …]]`; the first mention of each counts.

use super::{Found, Queue, Reader, convert};
use crate::data::json::Cursor;
use crate::data::object::{Object, as_index};
use crate::data::{Error, Format, Gold, Labelled};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The examples of a file.
pub(super) struct Fewrel {
    cursor: Cursor,
    state: State,
}

enum State {
    Start,
    /// Between relations.
    Relations {
        first: bool,
    },
    Examples {
        relation: Arc<str>,
        first: bool,
    },
}

impl Fewrel {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self { cursor, state: State::Start }
    }
}

impl Reader for Fewrel {
    fn read(&mut self, queue: &mut Queue) -> Result<bool, Error> {
        let cursor = &mut self.cursor;
        match &mut self.state {
            State::Start => {
                cursor.skip_mark()?;
                if cursor.peek()?.is_none() {
                    return Ok(false);
                }
                cursor.expect(b'{', "`{`, the beginning of an object of relations")?;
                self.state = State::Relations { first: true };
            }
            State::Relations { first } => {
                if !cursor.item(*first, b'}', "`,` or `}` behind a relation's list")? {
                    return match cursor.peek()? {
                        None => Ok(false),
                        found => Err(cursor.unexpected(found, "the end of the file behind the object")),
                    };
                }
                let relation = cursor.name()?.into();
                cursor.expect(b'[', "`[`, the beginning of a relation's list")?;
                self.state = State::Examples { relation, first: true };
            }
            State::Examples { relation, first } => {
                if !cursor.item(*first, b']', "`,` or `]` behind an item of the list")? {
                    self.state = State::Relations { first: false };
                    return Ok(true);
                }
                *first = false;
                let (at, raw) = cursor.value()?;
                let relation = Arc::clone(relation);
                let before = queue.len();
                convert(raw.parse(&at, Format::Fewrel), &at, Format::Fewrel, record, queue);
                if let Some(Ok(Found::Record(record))) = queue.get_mut(before) {
                    record.gold = Gold::Label(relation.to_string());
                }
            }
        }
        Ok(true)
    }
}

/// Makes a record; its relation stands outside.
fn record(object: Object<'_>, queue: &mut Queue) -> Result<(), Error> {
    let words = object.texts("tokens")?;
    let (head, tail) = (Entity::of(object, "h", words.len())?, Entity::of(object, "t", words.len())?);
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put("token", words.into());
    put("subj_start", head.start.into());
    put("subj_end", head.end.into());
    put("obj_start", tail.start.into());
    put("obj_end", tail.end.into());
    put("subject_id", head.id.into());
    put("object_id", tail.id.into());
    queue.push_back(Ok(Found::Record(Labelled { fields, gold: Gold::Label(String::new()), at: object.at.clone() })));
    Ok(())
}

struct Entity<'o> {
    id: &'o str,
    /// Its first word.
    start: usize,
    /// Its last word.
    end: usize,
}

impl<'o> Entity<'o> {
    fn of(object: Object<'o>, name: &'static str, words: usize) -> Result<Self, Error> {
        let (id, mention) = object.read(name, "`[name, id, [[word indices], …]]`", |value| {
            let [_, id, mentions] = value.as_array()?.as_slice() else { return None };
            let first: Vec<usize> =
                mentions.as_array()?.first()?.as_array()?.iter().map(as_index).collect::<Option<_>>()?;
            Some((id.as_str()?, first))
        })?;
        let start = mention.iter().min().copied().unwrap_or(0);
        let end = mention.iter().max().map_or(0, |last| last.saturating_add(1));
        object.check_stretch(name, (start, end), words, "words")?;
        Ok(Self { id, start, end: end - 1 })
    }
}
