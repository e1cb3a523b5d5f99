//! Reads the free table `[task.options]` of a package: known names and types only.

use toml::{Table, Value};

use super::{Error, Kind};

/// The options of one task, none of them unknown to its kind.
pub(super) struct Options<'t> {
    kind: Kind,
    table: &'t Table,
}

impl<'t> Options<'t> {
    /// Takes the table if the kind knows every name in it.
    pub(super) fn new(kind: Kind, table: &'t Table, known: &[&'static str]) -> Result<Self, Error> {
        match table.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(Self { kind, table }),
            Some(unknown) => {
                let mut known = known.to_vec();
                known.sort_unstable();
                Err(Error::OptionUnknown { kind, option: unknown.clone(), known })
            }
        }
    }

    /// The kind whose options these are.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Reads a text.
    pub(super) fn string(&self, name: &'static str) -> Result<Option<&'t str>, Error> {
        let read = |value: &'t Value| value.as_str().ok_or_else(|| self.wrong_type(name, "a text", value));
        self.table.get(name).map(read).transpose()
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(&self, name: &'static str) -> Result<Option<bool>, Error> {
        let read = |value: &Value| value.as_bool().ok_or_else(|| self.wrong_type(name, "`true` or `false`", value));
        self.table.get(name).map(read).transpose()
    }

    /// Reads a whole number from `least` to `most`.
    pub(super) fn integer(&self, name: &'static str, least: u32, most: u32) -> Result<Option<u32>, Error> {
        let read = |value: &Value| {
            let number = value.as_integer().ok_or_else(|| self.wrong_type(name, "a whole number", value))?;
            let number = u32::try_from(number).ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| self.wrong_value(name, format!("a number from {least} to {most}"), value))
        };
        self.table.get(name).map(read).transpose()
    }

    /// Reads one of several words.
    pub(super) fn one_of<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(text) = self.string(name)? else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                Err(self.wrong_value(name, words.join(" or "), &Value::String(text.to_owned())))
            }
        }
    }

    fn wrong_type(&self, option: &'static str, expected: &'static str, found: &Value) -> Error {
        Error::OptionType { kind: self.kind, option, expected, found: found.type_str() }
    }

    fn wrong_value(&self, option: &'static str, expected: String, found: &Value) -> Error {
        let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        Error::OptionValue { kind: self.kind, option, expected, found }
    }
}
