//! Questions about contexts: SQuAD's nesting of articles, paragraphs and questions, or one flat object per question.
//!
//! ```text
//! {"version": …, "data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"id", "question", "answers"}, …]}, …]}, …]}
//! {"question": …, "context": …, "answers": ["…"]}
//! ```

use super::values::Values;
use super::{Found, Queue, Reader};
use crate::data::input::Bytes;
use crate::data::json::Cursor;
use crate::data::object::{Object, as_index};
use crate::data::{Error, Format, Gold, Labelled, Place, SpanGold};
use serde_json::Value;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

/// Makes a record of a flat object.
pub(super) fn record(object: Object<'_>, queue: &mut Queue) -> Result<(), Error> {
    object.filled_text("question")?;
    object.filled_text("context")?;
    let spans = spans(object)?;
    let fields = object.flat_without(&["answers", "answer"]);
    queue.push_back(Ok(Found::Record(Labelled { fields, gold: Gold::Spans(spans), at: object.at.clone() })));
    Ok(())
}

/// The answers that count: a text, texts, objects with `text` and perhaps `answer_start`, or an object of both lists.
fn spans(object: Object<'_>) -> Result<Vec<SpanGold>, Error> {
    let expected = "a list of texts or of `{\"text\": \"…\", \"answer_start\": 0}`";
    let name = if object.has("answer") && !object.has("answers") { "answer" } else { "answers" };
    object.read(name, expected, |value| match value {
        Value::String(text) => Some(vec![SpanGold { text: text.clone(), start: None }]),
        Value::Array(values) => values.iter().map(span).collect(),
        // As the `datasets` library writes it: {"text": […], "answer_start": […]}.
        Value::Object(lists) => {
            let texts = lists.get("text")?.as_array()?;
            let starts = lists.get("answer_start").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let one = |(index, text): (usize, &Value)| {
                Some(SpanGold { text: text.as_str()?.to_owned(), start: starts.get(index).and_then(as_index) })
            };
            texts.iter().enumerate().map(one).collect()
        }
        _ => None,
    })
}

fn span(value: &Value) -> Option<SpanGold> {
    match value {
        Value::String(text) => Some(SpanGold { text: text.clone(), start: None }),
        Value::Object(fields) => Some(SpanGold {
            text: fields.get("text")?.as_str()?.to_owned(),
            start: fields.get("answer_start").and_then(as_index),
        }),
        _ => None,
    }
}

/// SQuAD's file, whichever of both it is.
pub(super) struct Squad {
    path: Arc<Path>,
    state: State,
}

enum State {
    Start(Option<Bytes>),
    Flat(Values),
    Nested(Box<Nested>),
}

impl Squad {
    pub(super) fn new(path: Arc<Path>, bytes: Bytes) -> Self {
        Self { path, state: State::Start(Some(bytes)) }
    }

    /// Tells by the first field of the first object.
    fn start(&self, mut bytes: Bytes) -> Result<State, Error> {
        let read = |source| Error::Read { path: self.path.to_path_buf(), line: 0, source };
        let start = bytes.fill_buf().map_err(read)?;
        let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
        let name = start.strip_prefix(b"{").unwrap_or_default().trim_ascii_start();
        let path = Arc::clone(&self.path);
        Ok(if [b"\"data\"".as_slice(), b"\"version\""].iter().any(|nested| name.starts_with(nested)) {
            State::Nested(Box::new(Nested { cursor: Cursor::new(path, Format::Squad, bytes), depth: Depth::Start }))
        } else {
            State::Flat(Values::new(path, Format::Squad, bytes, record))
        })
    }
}

impl Reader for Squad {
    fn read(&mut self, queue: &mut Queue) -> Result<bool, Error> {
        if let State::Start(bytes) = &mut self.state {
            let Some(bytes) = bytes.take() else { return Ok(false) };
            self.state = self.start(bytes)?;
        }
        match &mut self.state {
            State::Start(_) => Ok(false),
            State::Flat(values) => values.read(queue),
            State::Nested(nested) => nested.read(queue),
        }
    }
}

struct Nested {
    cursor: Cursor,
    depth: Depth,
}

#[derive(Clone, Copy)]
enum Depth {
    Start,
    /// Among the fields of the file.
    File {
        first: bool,
    },
    /// Among the articles.
    Articles {
        first: bool,
    },
    /// Among the fields of an article.
    Article {
        first: bool,
    },
    /// Among the paragraphs of an article.
    Paragraphs {
        first: bool,
    },
}

impl Reader for Nested {
    fn read(&mut self, queue: &mut Queue) -> Result<bool, Error> {
        const LIST: &str = "`,` or `]` behind an item of the list";
        const OBJECT: &str = "`,` or `}` behind a field";
        let cursor = &mut self.cursor;
        self.depth = match self.depth {
            Depth::Start => {
                cursor.skip_mark()?;
                cursor.expect(b'{', "`{`, the beginning of an object")?;
                Depth::File { first: true }
            }
            Depth::File { first } => {
                if !cursor.item(first, b'}', OBJECT)? {
                    return match cursor.peek()? {
                        None => Ok(false),
                        found => Err(cursor.unexpected(found, "the end of the file behind the object")),
                    };
                }
                if cursor.name()? == "data" {
                    cursor.expect(b'[', "`[`, the beginning of the list of articles")?;
                    Depth::Articles { first: true }
                } else {
                    cursor.skip()?;
                    Depth::File { first: false }
                }
            }
            Depth::Articles { first } => {
                if cursor.item(first, b']', LIST)? {
                    cursor.expect(b'{', "`{`, the beginning of an article")?;
                    Depth::Article { first: true }
                } else {
                    Depth::File { first: false }
                }
            }
            Depth::Article { first } => {
                if !cursor.item(first, b'}', OBJECT)? {
                    Depth::Articles { first: false }
                } else if cursor.name()? == "paragraphs" {
                    cursor.expect(b'[', "`[`, the beginning of the list of paragraphs")?;
                    Depth::Paragraphs { first: true }
                } else {
                    cursor.skip()?;
                    Depth::Article { first: false }
                }
            }
            Depth::Paragraphs { first } => {
                if cursor.item(first, b']', LIST)? {
                    let records = cursor.records;
                    let (at, raw) = cursor.value()?;
                    let asked = paragraph(raw.parse(&at, Format::Squad), &at, queue);
                    cursor.records = records + asked;
                    Depth::Paragraphs { first: false }
                } else {
                    Depth::Article { first: false }
                }
            }
        };
        Ok(true)
    }
}

/// Makes records of a paragraph and says how many questions it had.
fn paragraph(value: Result<Value, Error>, at: &Place, queue: &mut Queue) -> u64 {
    let mut asked = 0;
    let questions = || {
        let value = value?;
        let object = Object::new(at, Format::Squad, &value)?;
        let context = object.filled_text("context")?;
        for question in object.list("qas")? {
            let at = Place { record: at.record + asked, ..at.clone() };
            asked += 1;
            queue.push_back(Object::new(&at, Format::Squad, question).and_then(|question| {
                question.filled_text("question")?;
                let spans = spans(question)?;
                let mut fields = question.flat_without(&["answers", "plausible_answers"]);
                fields.insert("context".into(), context.into());
                Ok(Found::Record(Labelled { fields, gold: Gold::Spans(spans), at: at.clone() }))
            }));
        }
        Ok(())
    };
    if let Err(error) = questions() {
        queue.push_back(Err(error));
        asked = asked.max(1);
    }
    asked
}
