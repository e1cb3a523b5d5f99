//! Text at the edge: newtypes as strings in TOML and JSON, located parse errors, suggestions, shortened quotations.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::error::Error;

/// The longest quotation of a foreign value in a message, in characters.
const QUOTED: usize = 80;

/// Implements `Serialize` by `Display` and `Deserialize` by `FromStr`, for newtypes that are strings on disk.
macro_rules! serde_as_string {
    ($type:ty, $expecting:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<$type, E> {
                        value.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}
pub(crate) use serde_as_string;

/// Quotes at most [`QUOTED`] characters of a foreign value, control characters escaped.
pub(crate) fn shorten(value: &str) -> String {
    let mut short = String::new();
    for (count, character) in value.chars().enumerate() {
        if count == QUOTED {
            short.push('…');
            break;
        }
        if character.is_control() { short.extend(character.escape_default()) } else { short.push(character) }
    }
    short
}

/// Writes names for a message: `` `a`, `b` and `c` ``, or `nothing`.
pub(crate) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = items.into_iter().map(|item| format!("`{item}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Finds the known word that `word` was probably meant to be, or none when all are far away.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters with swapped neighbours counted once; long words are cut at [`QUOTED`].
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(QUOTED).collect();
    let right: Vec<char> = right.chars().take(QUOTED).collect();
    let mut before_last = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1; right.len() + 1];
        for (j, b) in right.iter().enumerate() {
            let swapped = i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b;
            row[j + 1] = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if swapped {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

/// Reads TOML into `T`; an error names `file`, the line, and the known key nearest to an unknown one.
pub(crate) fn from_toml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
        let problem = error.message().trim().replace('\n', ", ");
        let (problem, suggestion) = reword(problem);
        Error::Toml { file: file.to_owned(), line, problem, suggestion }
    })
}

/// Reads the top-level `schema` before anything else, so that a newer file is called newer, not wrong.
pub(crate) fn check_schema(file: &str, text: &str, known: u32) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    struct Schema {
        schema: u32,
    }
    let Schema { schema } = from_toml(file, text)?;
    if schema == known { Ok(()) } else { Err(Error::Schema { file: file.to_owned(), found: schema, known }) }
}

/// Puts serde's "unknown field" and "unknown variant" into the project's words and finds what was meant.
fn reword(problem: String) -> (String, Option<String>) {
    let (noun, prefix) = match problem.split_once(' ') {
        Some(("unknown", rest)) if rest.starts_with("field `") => ("key", "field `"),
        Some(("unknown", rest)) if rest.starts_with("variant `") => ("value", "variant `"),
        Some(("missing", rest)) if rest.starts_with("field `") => {
            let reworded = rest.replacen("field", "the key", 1);
            return (format!("{reworded} is missing"), None);
        }
        _ => return (problem, None),
    };
    let mut quoted = problem.split('`').skip(1).step_by(2);
    debug_assert!(problem.contains(prefix), "the prefix was matched above");
    let Some(found) = quoted.next() else { return (problem, None) };
    let known: Vec<&str> = quoted.collect();
    let suggestion = nearest(found, known.iter().copied()).map(str::to_owned);
    let reworded = format!("unknown {noun} `{}`, expected one of {}", shorten(found), known.join(", "));
    (reworded, suggestion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("versoin", ["package", "version", "stack"]), Some("version"));
        assert_eq!(nearest("satck", ["package", "version", "stack"]), Some("stack"));
        assert_eq!(nearest("quux", ["package", "version", "stack"]), None);
    }

    #[test]
    fn quotations_are_bounded_and_escaped() {
        assert_eq!(shorten("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(shorten(&"x".repeat(500)).chars().count(), QUOTED + 1);
    }
}
