//! From a record's JSON fields to the flat entries that objectives read ([`kadapter_plugin_api::Record`]).

use kadapter_plugin_api::{Entry, Error, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Joins the keys of nested objects with dots; a list of objects becomes a list for each of their keys. What is `null` is left out.
///
/// # Errors
/// When a list mixes types, or has lists in it.
pub fn flatten(fields: &Map<String, Value>) -> Result<Vec<Entry>> {
    let mut flat = Flat::default();
    flat.object("", fields, false)?;
    flat.0.into_iter().map(|(key, found)| found.into_entry(&key)).collect()
}

/// Values by their keys.
#[derive(Default)]
struct Flat(BTreeMap<String, Found>);

/// What stands under one key.
enum Found {
    One(Value),
    List(Vec<Value>),
}

impl Flat {
    /// `listed` says that the object stands in a list, so that its values are lists too.
    fn object(&mut self, prefix: &str, fields: &Map<String, Value>, listed: bool) -> Result<()> {
        for (name, value) in fields {
            self.value(format!("{prefix}{name}"), value, listed)?;
        }
        Ok(())
    }

    fn value(&mut self, key: String, value: &Value, listed: bool) -> Result<()> {
        match value {
            Value::Null => {}
            Value::Object(fields) => self.object(&format!("{key}."), fields, listed)?,
            Value::Array(values) if values.iter().any(Value::is_object) => {
                for value in values {
                    match value {
                        Value::Object(fields) if !listed => self.object(&format!("{key}."), fields, true)?,
                        _ => return Err(nested(&key)),
                    }
                }
            }
            Value::Array(_) if listed => return Err(nested(&key)),
            Value::Array(values) => drop(self.0.insert(key, Found::List(values.clone()))),
            value if listed => match self.0.entry(key).or_insert_with(|| Found::List(Vec::new())) {
                Found::List(values) => values.push(value.clone()),
                Found::One(_) => {}
            },
            value => drop(self.0.insert(key, Found::One(value.clone()))),
        }
        Ok(())
    }
}

impl Found {
    fn into_entry(self, key: &str) -> Result<Entry> {
        let wrong = |what: &str| Error::new(format!("field `{key}` {what}"));
        match self {
            Self::One(Value::String(text)) => Ok(Entry::text(key, &text)),
            Self::One(Value::Bool(truth)) => Ok(Entry::boolean(key, truth)),
            Self::One(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Ok(Entry::integer(key, integer)),
                (None, Some(fraction)) if number.is_f64() => Ok(Entry::number(key, fraction)),
                _ => Err(wrong(&format!("is {number}, expected a smaller number"))),
            },
            Self::One(_) => Err(wrong("is no value, expected a text, a number, a truth value or a list")),
            Self::List(values) => {
                let integers: Option<Vec<_>> = values.iter().map(Value::as_i64).collect();
                let numbers: Option<Vec<_>> = values.iter().map(Value::as_f64).collect();
                let texts: Option<Vec<_>> = values.iter().map(Value::as_str).collect();
                match (integers, numbers, texts) {
                    (Some(integers), ..) => Ok(Entry::integers(key, &integers)),
                    (_, Some(numbers), _) => Ok(Entry::numbers(key, &numbers)),
                    (.., Some(texts)) => Ok(Entry::texts(key, &texts)),
                    _ => Err(wrong("mixes types, expected a list of integers, of numbers or of texts")),
                }
            }
        }
    }
}

fn nested(key: &str) -> Error {
    Error::new(format!("field `{key}` has lists in lists, expected a list of values or of objects without lists"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flat(value: Value) -> Result<Vec<Entry>> {
        flatten(value.as_object().unwrap())
    }

    #[test]
    fn nested_objects_are_joined_and_lists_of_objects_turned() {
        let record = json!({
            "sent": "Ada saw it", "id": 7, "score": 0.5, "seen": true, "note": null, "spans": [0, 3], "empty": [],
            "subject": {"start": 1, "type": {"name": "person"}},
            "tokens": [{"1": {"start": 0, "end": 3}}, {"2": {"start": 4, "end": 7}}],
            "pairs": [{"dependent_index": 1, "governor_index": 2}, {"dependent_index": 2, "governor_index": 0}],
        });
        assert_eq!(
            flat(record).unwrap(),
            [
                Entry::integers("empty", &[]),
                Entry::integer("id", 7),
                Entry::integers("pairs.dependent_index", &[1, 2]),
                Entry::integers("pairs.governor_index", &[2, 0]),
                Entry::number("score", 0.5),
                Entry::boolean("seen", true),
                Entry::text("sent", "Ada saw it"),
                Entry::integers("spans", &[0, 3]),
                Entry::integer("subject.start", 1),
                Entry::text("subject.type.name", "person"),
                Entry::integers("tokens.1.end", &[3]),
                Entry::integers("tokens.1.start", &[0]),
                Entry::integers("tokens.2.end", &[7]),
                Entry::integers("tokens.2.start", &[4]),
            ]
        );
    }

    #[test]
    fn what_cannot_be_flat_is_refused_by_its_field() {
        let refused = |value| flat(value).unwrap_err().message().to_owned();
        assert_eq!(
            refused(json!({"a": [1, "b"]})),
            "field `a` mixes types, expected a list of integers, of numbers or of texts"
        );
        let nested = "has lists in lists, expected a list of values or of objects without lists";
        assert_eq!(refused(json!({"a": [{"b": [1]}]})), format!("field `a.b` {nested}"));
        assert_eq!(refused(json!({"a": [{"b": 1}, 2]})), format!("field `a` {nested}"));
        assert_eq!(
            refused(json!({"a": [[1]]})),
            "field `a` mixes types, expected a list of integers, of numbers or of texts"
        );
        assert_eq!(refused(json!({"a": u64::MAX})), "field `a` is 18446744073709551615, expected a smaller number");
    }
}
