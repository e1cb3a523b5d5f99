//! Typed access to the fields of a JSON record.

use super::text::shortened;
use super::{Error, Format, Place};
use serde_json::{Map, Value};

/// A JSON object of a file.
#[derive(Clone, Copy)]
pub(super) struct Object<'o> {
    pub(super) at: &'o Place,
    pub(super) format: Format,
    pub(super) fields: &'o Map<String, Value>,
}

impl<'o> Object<'o> {
    /// Reads a value that must be an object.
    pub(super) fn new(at: &'o Place, format: Format, value: &'o Value) -> Result<Self, Error> {
        match value {
            Value::Object(fields) => Ok(Self { at, format, fields }),
            other => {
                Err(Error::Structure { at: at.clone(), format, found: describe(other), expected: "an object, `{…}`" })
            }
        }
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// A text, perhaps empty.
    pub(super) fn text(self, name: &'static str) -> Result<&'o str, Error> {
        self.read(name, "a text", Value::as_str)
    }

    /// A text that says something.
    pub(super) fn filled_text(self, name: &'static str) -> Result<&'o str, Error> {
        let expected = "a text that is not blank";
        self.read(name, expected, |value| value.as_str().filter(|text| !text.trim().is_empty()))
    }

    /// A whole number.
    pub(super) fn index(self, name: &'static str) -> Result<usize, Error> {
        self.read(name, "a whole number from 0", as_index)
    }

    /// A whole number, perhaps written as a text.
    pub(super) fn index_or_text(self, name: &'static str) -> Result<usize, Error> {
        self.read(name, "the index of one of the answers, from 0", |value| match value {
            Value::String(text) => text.trim().parse().ok(),
            value => as_index(value),
        })
    }

    /// A list of texts.
    pub(super) fn texts(self, name: &'static str) -> Result<Vec<&'o str>, Error> {
        self.read(name, "a list of texts", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// A list of whole numbers.
    pub(super) fn indices(self, name: &'static str) -> Result<Vec<usize>, Error> {
        self.read(name, "a list of whole numbers from 0", |value| value.as_array()?.iter().map(as_index).collect())
    }

    /// A list of anything.
    pub(super) fn list(self, name: &'static str) -> Result<&'o [Value], Error> {
        self.read(name, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// `read` of a field that must be there.
    pub(super) fn read<T>(
        self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'o Value) -> Option<T>,
    ) -> Result<T, Error> {
        let value = self.fields.get(name).ok_or_else(|| self.missing(name, expected))?;
        read(value).ok_or_else(|| self.wrong(name, value, expected))
    }

    pub(super) fn missing(self, field: &'static str, expected: &'static str) -> Error {
        Error::FieldMissing { at: self.at.clone(), format: self.format, field, expected }
    }

    pub(super) fn wrong(self, field: &str, value: &Value, expected: &'static str) -> Error {
        let (at, format, field) = (self.at.clone(), self.format, field.to_owned());
        Error::FieldType { at, format, field, found: describe(value), expected }
    }

    /// Checks a stretch of words or characters, its end exclusive.
    pub(super) fn check_stretch(
        self,
        field: &'static str,
        (start, end): (usize, usize),
        length: usize,
        unit: &'static str,
    ) -> Result<(), Error> {
        match start < end && end <= length {
            true => Ok(()),
            false => Err(Error::Outside { at: self.at.clone(), format: self.format, field, end, length, unit }),
        }
    }

    /// The fields that are flat (texts, numbers, lists of them), without those named.
    pub(super) fn flat_without(self, names: &[&str]) -> Map<String, Value> {
        let flat = |value: &Value| match value {
            Value::Array(values) => values.iter().all(|value| value.is_string() || value.is_number()),
            value => value.is_string() || value.is_number(),
        };
        let keep = |(name, value): &(&String, &Value)| !names.contains(&name.as_str()) && flat(value);
        self.fields.iter().filter(keep).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

pub(super) fn as_index(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

/// Names a value: numbers and texts as they stand, else its type.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "true or false".into(),
        Value::Number(number) => format!("`{number}`"),
        Value::String(text) if text.trim().is_empty() => "a blank text".into(),
        Value::String(text) => format!("the text `{}`", shortened(text)),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}
