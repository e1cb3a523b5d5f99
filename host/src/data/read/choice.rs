//! CosmosQA: a context, a question, four answers and the index of the right one.

use super::{Found, Queue, Reader};
use crate::data::csv::Csv;
use crate::data::object::Object;
use crate::data::{Error, Format, Gold, Labelled, Reason};
use serde_json::{Map, Value};

/// Where the gold answer stands.
const GOLD: [&str; 2] = ["label", "answer"];

/// Makes a record.
pub(super) fn record(object: Object<'_>, queue: &mut Queue) -> Result<(), Error> {
    object.filled_text("context")?;
    object.filled_text("question")?;
    let answers = count_answers(object)?;
    let name = if object.has("answer") && !object.has("label") { "answer" } else { "label" };
    // The test split keeps its answers secret: the column is there and empty, or is not there.
    let secret = match object.fields.get(name) {
        None | Some(Value::Null) => object.format == Format::Cosmosqa,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(_) => false,
    };
    if secret {
        queue.push_back(Ok(Found::LeftOut(Reason::NoGold)));
        return Ok(());
    }
    let gold = object.index_or_text(name)?;
    if gold >= answers {
        let value = object.fields.get(name).unwrap_or(&Value::Null);
        return Err(object.wrong(name, value, "the index of one of the answers, from 0"));
    }
    let fields = object.flat_without(&GOLD);
    queue.push_back(Ok(Found::Record(Labelled { fields, gold: Gold::Choice(gold), at: object.at.clone() })));
    Ok(())
}

/// Counts the answers, in a list or in fields of their own.
fn count_answers(object: Object<'_>) -> Result<usize, Error> {
    if object.has("answers") || !object.has("answer0") {
        let name = if object.format == Format::Cosmosqa { "answer0" } else { "answers" };
        return match name {
            "answers" => Ok(object.texts(name)?.len()),
            _ => object.text(name).map(|_| 0),
        };
    }
    let mut count = 0;
    while let Some(value) = object.fields.get(&format!("answer{count}")) {
        if !value.is_string() {
            return Err(object.wrong(&format!("answer{count}"), value, "a text"));
        }
        count += 1;
    }
    Ok(count)
}

/// CosmosQA as it is distributed for validation: a table with a header.
pub(super) struct Table {
    csv: Csv,
    header: Option<Vec<String>>,
}

impl Table {
    pub(super) fn new(csv: Csv) -> Self {
        Self { csv, header: None }
    }
}

impl Reader for Table {
    fn read(&mut self, queue: &mut Queue) -> Result<bool, Error> {
        let Some((at, row)) = self.csv.next()? else { return Ok(false) };
        let Some(header) = &self.header else {
            let header = row?;
            for field in ["context", "question", "answer0"] {
                if !header.iter().any(|name| name == field) {
                    let expected = "a column of that name";
                    return Err(Error::FieldMissing { at, format: Format::Cosmosqa, field, expected });
                }
            }
            self.header = Some(header);
            return Ok(true);
        };
        let converted = row.and_then(|row| {
            if row.len() != header.len() {
                return Err(Error::Structure {
                    at: at.clone(),
                    format: Format::Cosmosqa,
                    found: format!("{} columns", row.len()),
                    expected: "as many as the header has",
                });
            }
            let fields: Map<String, Value> = header.iter().cloned().zip(row.into_iter().map(Value::from)).collect();
            record(Object { at: &at, format: Format::Cosmosqa, fields: &fields }, queue)
        });
        if let Err(error) = converted {
            queue.push_back(Err(error));
        }
        Ok(true)
    }
}
