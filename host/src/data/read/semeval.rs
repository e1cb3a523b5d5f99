//! SemEval-2010 task 8: blocks of a numbered sentence in quotes, its relation, a comment, a blank line.
//!
//! ```text
//! 8001<TAB>"The most common <e1>audits</e1> were about <e2>waste</e2> and recycling."
//! Message-Topic(e1,e2)
//! Comment: Assuming an audit = an audit document.
//! ```

use super::{Found, Queue, Reader};
use crate::data::lines::{Line, Lines};
use crate::data::{Error, Format, Gold, Labelled, Place};
use serde_json::Map;
use std::path::Path;
use std::sync::Arc;

/// The blocks of a file.
pub(super) struct Semeval {
    path: Arc<Path>,
    lines: Lines,
    records: u64,
}

impl Semeval {
    pub(super) fn new(path: Arc<Path>, lines: Lines) -> Self {
        Self { path, lines, records: 0 }
    }

    fn place(&self, line: u64) -> Place {
        Place { path: Arc::clone(&self.path), line, record: self.records }
    }

    /// The next line that is neither blank nor a comment.
    fn telling_line(&mut self) -> Result<Option<Line>, Error> {
        while let Some(line) = self.lines.next()? {
            if !line.is_blank() && !line.bytes().starts_with(b"Comment:") {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }
}

impl Reader for Semeval {
    fn read(&mut self, queue: &mut Queue) -> Result<bool, Error> {
        let Some(sentence) = self.telling_line()? else { return Ok(false) };
        self.records += 1;
        let at = self.place(sentence.number);
        let (id, text) = match sentence.text(&at).and_then(|line| split(line, &at)) {
            Ok(parts) => parts,
            Err(error) => {
                // What follows may be this sentence's relation or a sentence: `split` tells with the next call.
                queue.push_back(Err(error));
                return Ok(true);
            }
        };
        let relation = self.lines.next()?.filter(|line| !line.is_blank());
        let label = match &relation {
            None => Err(structure(at.clone(), "no relation behind the sentence".into())),
            Some(line) => {
                let place = self.place(line.number);
                line.text(&place).map(str::trim).and_then(|label| match is_relation(label) {
                    true => Ok(label.to_owned()),
                    false => Err(structure(place.clone(), format!("`{}`", shortened(label)))),
                })
            }
        };
        queue.push_back(label.map(|label| {
            let fields = Map::from_iter([("id".to_owned(), id.into()), ("text".to_owned(), text.into())]);
            Found::Record(Labelled { fields, gold: Gold::Label(label), at })
        }));
        Ok(true)
    }
}

/// A number, a tab, a sentence in quotes with both entities.
fn split(line: &str, at: &Place) -> Result<(String, String), Error> {
    let wrong = || structure(at.clone(), format!("`{}`", shortened(line)));
    let (id, sentence) = line.split_once('\t').ok_or_else(wrong)?;
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let sentence = sentence.trim();
    let sentence = sentence.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(sentence);
    if ["<e1>", "</e1>", "<e2>", "</e2>"].iter().any(|tag| !sentence.contains(tag)) {
        return Err(wrong());
    }
    Ok((id.to_owned(), sentence.to_owned()))
}

/// `Name(e1,e2)`, `Name(e2,e1)`, or a word such as `Other`.
fn is_relation(label: &str) -> bool {
    let name = label.strip_suffix("(e1,e2)").or_else(|| label.strip_suffix("(e2,e1)")).unwrap_or(label);
    !name.is_empty() && name.chars().all(|character| character.is_alphanumeric() || matches!(character, '-' | '_'))
}

fn structure(at: Place, found: String) -> Error {
    let expected = "a numbered sentence with `<e1>…</e1>` and `<e2>…</e2>`, then its relation on a line of its own";
    Error::Structure { at, format: Format::Semeval, found, expected }
}

fn shortened(text: &str) -> String {
    crate::data::text::shortened(text)
}
