//! From a record's JSON to the flat fields that cross the boundary to a plugin.

use kadapter_plugin_api::Entry;
use serde_json::{Map, Value};

/// The fields of a record. Nested objects are joined with dots; a list of objects becomes one list per key; what is null, or a list
/// that mixes types, is left out.
pub(super) fn entries(fields: &Map<String, Value>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(fields.len());
    add(&mut entries, "", fields);
    entries
}

fn add(entries: &mut Vec<Entry>, prefix: &str, fields: &Map<String, Value>) {
    for (name, value) in fields {
        let key = format!("{prefix}{name}");
        match value {
            Value::Null => {}
            Value::Bool(value) => entries.push(Entry::boolean(&key, *value)),
            Value::Number(number) => entries.extend(match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Some(Entry::integer(&key, integer)),
                (None, number) => number.map(|number| Entry::number(&key, number)),
            }),
            Value::String(text) => entries.push(Entry::text(&key, text)),
            Value::Object(fields) => add(entries, &format!("{key}."), fields),
            Value::Array(values) => list(entries, &key, values),
        }
    }
}

fn list(entries: &mut Vec<Entry>, key: &str, values: &[Value]) {
    if let Some(objects) = values.iter().map(Value::as_object).collect::<Option<Vec<_>>>()
        && let Some(first) = objects.first()
    {
        // One list per key of the first; a column that some object lacks is no list.
        for name in first.keys() {
            if let Some(column) = objects.iter().map(|object| object.get(name).cloned()).collect::<Option<Vec<_>>>() {
                list(entries, &format!("{key}.{name}"), &column);
            }
        }
        return;
    }
    let integers: Option<Vec<i64>> = values.iter().map(Value::as_i64).collect();
    let numbers: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
    let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
    entries.extend(match (integers, numbers, texts) {
        (Some(integers), ..) => Some(Entry::integers(key, &integers)),
        (_, Some(numbers), _) => Some(Entry::numbers(key, &numbers)),
        (.., Some(texts)) => Some(Entry::texts(key, &texts)),
        _ => None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use kadapter_plugin_api::Record;

    #[test]
    fn nested_fields_are_joined_and_lists_of_objects_turned() {
        let text = r#"{"a": {"b": 1, "c": null}, "w": [{"head": 2, "form": "x"}, {"head": 0, "form": "y"}], "n": [1, 2.5], "m": [1, "x"], "e": []}"#;
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else { unreachable!() };
        let entries = entries(&fields);
        let record = Record::new(&entries);
        assert_eq!(record.integer("a.b").unwrap(), 1);
        assert_eq!(record.integers("w.head").unwrap(), [2, 0]);
        assert_eq!(record.texts("w.form").unwrap(), ["x", "y"]);
        assert_eq!(record.numbers("n").unwrap(), [1.0, 2.5]);
        assert!(record.texts("e").unwrap().is_empty());
        assert!(!record.has("m") && !record.has("a.c"));
    }
}
