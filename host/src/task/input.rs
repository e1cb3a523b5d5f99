//! Records: one text or one JSON object, and typed access to its fields.

use serde_json::{Map, Value};

use super::{Error, Kind};

/// The largest record that is read, in bytes: hundreds of times what any backbone takes, small enough to be tokenised.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// The input of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A text, with the markup that the kind of task reads (`<e1>…</e1>`, `|||`).
    Text(String),
    /// The fields of a JSON object. Fields that the kind does not read are left alone.
    Fields(Map<String, Value>),
}

impl Record {
    /// Reads an argument or a line: JSON if it begins with `{` or `"`, else a text as it stands.
    ///
    /// # Errors
    ///
    /// When it is empty, too large, or begins like JSON and is none.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        match line.trim_start().as_bytes().first() {
            Some(b'{' | b'"') if line.len() <= MAX_RECORD_BYTES => {
                let value = serde_json::from_str(line).map_err(|source| Error::RecordNotJson { source })?;
                Self::from_value(value)
            }
            _ => Self::from_text(line),
        }
    }

    /// Takes a text as it stands, whatever it begins with.
    ///
    /// # Errors
    ///
    /// When it is empty or too large.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        check_size(text.len())?;
        match text.trim().is_empty() {
            true => Err(Error::Empty { kind: None, what: "record" }),
            false => Ok(Self::Text(text.to_owned())),
        }
    }

    /// Takes a JSON value: an object, or a text.
    ///
    /// # Errors
    ///
    /// When it is anything else, empty or too large.
    pub fn from_value(value: Value) -> Result<Self, Error> {
        match value {
            Value::String(text) => Self::from_text(&text),
            Value::Object(fields) if fields.is_empty() => Err(Error::Empty { kind: None, what: "record" }),
            Value::Object(fields) => {
                check_size(fields.iter().map(|(name, value)| name.len() + text_bytes(value)).sum())?;
                Ok(Self::Fields(fields))
            }
            other => Err(Error::RecordType { found: type_of(&other) }),
        }
    }
}

fn check_size(bytes: usize) -> Result<(), Error> {
    match bytes > MAX_RECORD_BYTES {
        true => Err(Error::RecordTooLarge { bytes, limit: MAX_RECORD_BYTES }),
        false => Ok(()),
    }
}

/// How much text a value holds. Nesting is bounded by the JSON reader.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(|value| 1 + text_bytes(value)).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + text_bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The fields of a record, read as one kind of task reads them.
#[derive(Clone, Copy)]
pub(super) struct Fields<'r> {
    kind: Kind,
    fields: &'r Map<String, Value>,
}

impl<'r> Fields<'r> {
    /// Reads `fields` for `kind`.
    pub(super) fn new(kind: Kind, fields: &'r Map<String, Value>) -> Self {
        Self { kind, fields }
    }

    /// Whether the record has the field.
    pub(super) fn has(self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Reads a text that says something.
    pub(super) fn text(self, name: &'static str) -> Result<&'r str, Error> {
        let text = self.expect(name, "a text", self.value(name)?, Value::as_str)?;
        match text.trim().is_empty() {
            true => Err(Error::Empty { kind: Some(self.kind), what: name }),
            false => Ok(text),
        }
    }

    /// Reads a text under the first of `names` that the record has.
    pub(super) fn text_of(self, names: [&'static str; 2]) -> Result<&'r str, Error> {
        self.text(if self.has(names[0]) || !self.has(names[1]) { names[0] } else { names[1] })
    }

    /// Reads a text of any content under a name made at run time.
    pub(super) fn any_text(self, name: &str) -> Result<&'r str, Error> {
        self.expect(name, "a text", self.value(name)?, Value::as_str)
    }

    /// Reads a position.
    pub(super) fn index(self, name: &'static str) -> Result<usize, Error> {
        self.expect(name, "a whole number from 0", self.value(name)?, as_index)
    }

    /// Reads `[start, end]`.
    pub(super) fn pair(self, name: &'static str) -> Result<(usize, usize), Error> {
        self.expect(name, "two whole numbers from 0", self.value(name)?, |value| match value.as_array()?.as_slice() {
            [start, end] => Some((as_index(start)?, as_index(end)?)),
            _ => None,
        })
    }

    /// Reads a list of texts.
    pub(super) fn texts(self, name: &'static str) -> Result<Vec<&'r str>, Error> {
        self.expect(name, "a list of texts", self.value(name)?, |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    fn value(self, name: &str) -> Result<&'r Value, Error> {
        let missing = || Error::FieldMissing { kind: self.kind, field: name.to_owned() };
        self.fields.get(name).ok_or_else(missing)
    }

    fn expect<T>(
        self,
        name: &str,
        expected: &'static str,
        value: &'r Value,
        read: impl FnOnce(&'r Value) -> Option<T>,
    ) -> Result<T, Error> {
        read(value).ok_or_else(|| Error::FieldType {
            kind: self.kind,
            field: name.to_owned(),
            expected,
            found: describe(value),
        })
    }
}

fn as_index(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

/// Names a value: a number as it stands, else its type.
fn describe(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("`{number}`"),
        other => type_of(other).to_owned(),
    }
}
