//! Records as objectives read them: the fields of one line of data.

use crate::{Entry, Error, Result};

/// One record of training data: named fields, each a text, a number, a truth value or a list.
///
/// The host reads files; nested data are flattened as configurations are: `{"subject": {"start": 1}}` has the field
/// `subject.start`, and a list of objects becomes one list per key, `[{"head": 2}, {"head": 0}]` under `words` the field `words.head`.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a>(&'a [Entry]);

impl<'a> Record<'a> {
    /// A record of these fields.
    pub fn new(fields: &'a [Entry]) -> Self {
        Self(fields)
    }

    /// Whether the record has the field.
    pub fn has(&self, field: &str) -> bool {
        self.find(field).is_some()
    }

    /// A text.
    ///
    /// # Errors
    /// When the field is missing or something else; likewise for every getter below.
    pub fn text(&self, field: &str) -> Result<&'a str> {
        self.expect(field, "a text", Entry::as_text)
    }

    /// An integer.
    ///
    /// # Errors
    /// As [`Record::text`].
    pub fn integer(&self, field: &str) -> Result<i64> {
        self.expect(field, "an integer", Entry::as_integer)
    }

    /// An integer of at least 0: an index, an offset.
    ///
    /// # Errors
    /// As [`Record::text`].
    pub fn index(&self, field: &str) -> Result<usize> {
        self.expect(field, "an integer of at least 0", |entry| {
            entry.as_integer().and_then(|integer| usize::try_from(integer).ok())
        })
    }

    /// A number; integers count.
    ///
    /// # Errors
    /// As [`Record::text`].
    pub fn number(&self, field: &str) -> Result<f64> {
        self.expect(field, "a number", Entry::as_number)
    }

    /// A list of texts.
    ///
    /// # Errors
    /// As [`Record::text`].
    pub fn texts(&self, field: &str) -> Result<Vec<&'a str>> {
        self.expect(field, "a list of texts", Entry::as_texts)
    }

    /// A list of integers.
    ///
    /// # Errors
    /// As [`Record::text`].
    pub fn integers(&self, field: &str) -> Result<&'a [i64]> {
        self.expect(field, "a list of integers", Entry::as_integers)
    }

    /// A list of numbers.
    ///
    /// # Errors
    /// As [`Record::text`].
    pub fn numbers(&self, field: &str) -> Result<&'a [f64]> {
        self.expect(field, "a list of numbers", Entry::as_numbers)
    }

    fn find(&self, field: &str) -> Option<&'a Entry> {
        self.0.iter().find(|entry| entry.key() == field)
    }

    fn expect<T>(&self, field: &str, expected: &str, read: impl FnOnce(&'a Entry) -> Option<T>) -> Result<T> {
        let Some(entry) = self.find(field) else {
            let known: Vec<_> = self.0.iter().map(Entry::key).collect();
            return Err(Error::new(format!(
                "the record has no field `{field}`, expected {expected}; it has {known:?}"
            )));
        };
        read(entry).ok_or_else(|| Error::new(format!("field `{field}` is {}, expected {expected}", entry.kind())))
    }
}
