//! From an `[adapter.config]` table to the flat entries that cross the boundary.

use kadapter_plugin_api::{Entry, Error, Result};
use toml::Value;

/// Joins the keys of nested tables with dots.
pub(super) fn flatten(config: &toml::Table) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    add(&mut entries, "", config)?;
    Ok(entries)
}

fn add(entries: &mut Vec<Entry>, prefix: &str, table: &toml::Table) -> Result<()> {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        entries.push(match value {
            Value::Table(table) => {
                add(entries, &format!("{key}."), table)?;
                continue;
            }
            Value::String(text) => Entry::text(&key, text),
            Value::Integer(integer) => Entry::integer(&key, *integer),
            Value::Float(number) => Entry::number(&key, *number),
            Value::Boolean(boolean) => Entry::boolean(&key, *boolean),
            Value::Array(values) => list(&key, values)?,
            Value::Datetime(_) => return Err(Error::config(format!("`{key}` is a date, expected a text in quotes"))),
        });
    }
    Ok(())
}

fn list(key: &str, values: &[Value]) -> Result<Entry> {
    let integers: Option<Vec<_>> = values.iter().map(Value::as_integer).collect();
    let texts: Option<Vec<_>> = values.iter().map(Value::as_str).collect();
    #[expect(clippy::cast_precision_loss, reason = "configuration integers are small")]
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|integer| integer as f64));
    let numbers: Option<Vec<_>> = values.iter().map(number).collect();
    match (integers, numbers, texts) {
        (Some(integers), ..) => Ok(Entry::integers(key, &integers)),
        (_, Some(numbers), _) => Ok(Entry::numbers(key, &numbers)),
        (.., Some(texts)) => Ok(Entry::texts(key, &texts)),
        _ => Err(Error::config(format!("`{key}` mixes types, expected a list of integers, of numbers or of texts"))),
    }
}
