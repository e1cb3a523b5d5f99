//! Licences: SPDX expressions, checked for their grammar.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::text::{serde_as_string, shorten};

/// The longest expression, in bytes.
const MAX_LICENSE: usize = 200;

/// An SPDX licence expression such as `MIT OR Apache-2.0`, `CC-BY-NC-4.0` or `LicenseRef-corpus-agreement`.
///
/// The grammar is checked (SPDX 2.3, annex D), not the list of licences, which grows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct License(Box<str>);

impl License {
    /// The expression as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The licences that the expression names, without operators and exceptions.
    pub fn identifiers(&self) -> impl Iterator<Item = &str> {
        let mut words = tokens(&self.0);
        std::iter::from_fn(move || {
            loop {
                match words.next()? {
                    "(" | ")" | "AND" | "OR" => {}
                    "WITH" => {
                        words.next();
                    }
                    word => return Some(word),
                }
            }
        })
    }
}

/// Splits into words and parentheses.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_start_matches(' ');
    std::iter::from_fn(move || {
        let end = match rest.bytes().next()? {
            b'(' | b')' => 1,
            _ => rest.find([' ', '(', ')']).unwrap_or(rest.len()),
        };
        let (token, tail) = rest.split_at(end);
        rest = tail.trim_start_matches(' ');
        Some(token)
    })
}

fn is_identifier(word: &str) -> bool {
    let plain = word.strip_suffix('+').unwrap_or(word);
    !matches!(word, "AND" | "OR" | "WITH")
        && plain.starts_with(|c: char| c.is_ascii_alphanumeric())
        && plain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':'))
}

/// Follows the grammar with one counter for parentheses: a term, then `AND`, `OR` or the end.
fn is_expression(text: &str) -> bool {
    let mut open = 0_usize;
    let mut after_term = false;
    let mut words = tokens(text);
    while let Some(word) = words.next() {
        match (word, after_term) {
            ("(", false) => open += 1,
            (")", true) if open > 0 => open -= 1,
            ("AND" | "OR", true) => after_term = false,
            ("WITH", true) if words.next().is_some_and(is_identifier) => {}
            (word, false) if is_identifier(word) => after_term = true,
            _ => return false,
        }
    }
    after_term && open == 0
}

impl FromStr for License {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Name { what: "licence", value: shorten(text), problem };
        if text.len() > MAX_LICENSE {
            return Err(refuse("it is longer than 200 characters"));
        }
        if !is_expression(text) {
            return Err(refuse("it must be an SPDX expression, such as `MIT OR Apache-2.0`, or `LicenseRef-…`"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for License {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for License {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

serde_as_string!(License, "SPDX licence expression");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_from_prose() {
        for good in [
            "MIT",
            "MIT OR Apache-2.0",
            "(MIT OR GPL-2.0+) AND CC-BY-4.0",
            "GPL-3.0-only WITH Classpath-exception-2.0",
            "LicenseRef-x",
        ] {
            assert!(good.parse::<License>().is_ok(), "{good}");
        }
        for bad in ["", " ", "see README", "MIT OR", "AND MIT", "(MIT", "MIT)", "MIT WITH", "MIT\nX", "MIT MIT", "()"] {
            assert!(bad.parse::<License>().is_err(), "{bad}");
        }
    }

    #[test]
    fn identifiers_leave_out_operators_and_exceptions() {
        let license: License = "(MIT OR GPL-2.0+ WITH Foo-exception) AND CC-BY-4.0".parse().unwrap();
        assert_eq!(license.identifiers().collect::<Vec<_>>(), ["MIT", "GPL-2.0+", "CC-BY-4.0"]);
    }
}
