//! CoNLL-U: a word per line in ten columns, a blank line behind each sentence.
//!
//! Multiword tokens (`3-4`) and empty nodes (`5.1`) are no words of the tree and are passed over.

use super::{Found, Queue, Reader};
use crate::data::lines::{Line, Lines};
use crate::data::text::shortened;
use crate::data::{Error, Format, Gold, Labelled, Place};
use crate::task::MAX_RECORD_BYTES;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// What all records of one sentence may hold together.
const MOST_WORDS_BYTES: u64 = 64 << 20;

/// The sentences of a file.
pub(super) struct Conllu {
    path: Arc<Path>,
    lines: Lines,
    format: Format,
    records: u64,
    document: Option<String>,
}

/// A sentence while it is read.
#[derive(Default)]
struct Sentence {
    text: Option<String>,
    id: Option<String>,
    words: Vec<String>,
    heads: Vec<usize>,
    relations: Vec<String>,
    bytes: u64,
}

impl Conllu {
    pub(super) fn new(path: Arc<Path>, lines: Lines, format: Format) -> Self {
        Self { path, lines, format, records: 0, document: None }
    }

    /// Takes up a line; comments and words of the tree say something.
    fn take(&mut self, line: &Line, at: &Place, sentence: &mut Sentence) -> Result<(), Error> {
        let text = line.text(at)?;
        sentence.bytes += text.len() as u64;
        if sentence.bytes > MAX_RECORD_BYTES as u64 {
            return Err(Error::TooLarge { at: at.clone(), bytes: sentence.bytes, limit: MAX_RECORD_BYTES });
        }
        if let Some(comment) = text.strip_prefix('#') {
            if let Some((name, value)) = comment.split_once('=') {
                match name.trim() {
                    "text" => sentence.text = Some(value.trim().to_owned()),
                    "sent_id" => sentence.id = Some(value.trim().to_owned()),
                    "newdoc id" => self.document = Some(value.trim().to_owned()),
                    _ => {}
                }
            }
            return Ok(());
        }
        let columns: Vec<&str> = text.split('\t').collect();
        let wrong = |found: String, expected| Error::Structure { at: at.clone(), format: self.format, found, expected };
        let [id, word, _, _, _, _, head, relation, _, _] = columns.as_slice() else {
            return Err(wrong(format!("{} columns", columns.len()), "ten columns, tab-separated"));
        };
        if id.contains(['-', '.']) {
            return Ok(());
        }
        if id.parse() != Ok(sentence.words.len() + 1) {
            return Err(wrong(format!("word `{}`", shortened(id)), "words numbered from 1 without a gap"));
        }
        let head = head
            .parse()
            .map_err(|_| wrong(format!("head `{}`", shortened(head)), "the number of the head, 0 for the root"))?;
        sentence.words.push((*word).to_owned());
        sentence.heads.push(head);
        sentence.relations.push((*relation).to_owned());
        Ok(())
    }

    fn finish(&self, sentence: Sentence, at: Place) -> Result<Vec<Labelled>, Error> {
        let words = sentence.words.len();
        let wrong = |found, expected| Error::Structure { at: at.clone(), format: self.format, found, expected };
        if words == 0 {
            return Err(wrong("a sentence without words".into(), "ten columns for each word"));
        }
        if let Some(head) = sentence.heads.iter().find(|&&head| head > words) {
            return Err(wrong(
                format!("head {head} in a sentence of {words} words"),
                "the number of a word, 0 for the root",
            ));
        }
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        if let Some(id) = sentence.id {
            put("sent_id", id.into());
        }
        if let Some(document) = &self.document {
            put("doc", document.as_str().into());
        }
        if self.format == Format::ConlluWords {
            // Every word has the sentence again.
            let bytes = sentence.bytes.saturating_mul(words as u64);
            if bytes > MOST_WORDS_BYTES {
                return Err(Error::TooLarge { at, bytes, limit: MOST_WORDS_BYTES as usize });
            }
            return Ok(words_of(&fields, &sentence.words, sentence.relations, &at));
        }
        fields.insert("text".to_owned(), sentence.text.unwrap_or_else(|| sentence.words.join(" ")).into());
        fields.insert("words".to_owned(), sentence.words.into());
        let gold = Gold::Heads { heads: sentence.heads, relations: sentence.relations };
        Ok(vec![Labelled { fields, gold, at }])
    }
}

/// A record for each word: the words joined by spaces, where the word stands in them (characters), its number, and its relation.
fn words_of(fields: &Map<String, Value>, words: &[String], relations: Vec<String>, at: &Place) -> Vec<Labelled> {
    let text = words.join(" ");
    let mut start = 0;
    let word = |(number, (word, relation)): (usize, (&String, String))| {
        let end = start + word.chars().count();
        let mut fields = fields.clone();
        let stretch = [("start", start), ("end", end), ("word", number)];
        fields.extend(stretch.map(|(name, value)| (name.to_owned(), value.into())));
        fields.insert("text".to_owned(), text.as_str().into());
        start = end + 1;
        Labelled { fields, gold: Gold::Labels(vec![relation]), at: at.clone() }
    };
    (1..).zip(words.iter().zip(relations)).map(word).collect()
}

impl Reader for Conllu {
    fn read(&mut self, queue: &mut Queue) -> Result<bool, Error> {
        let (mut sentence, mut start, mut failed) = (Sentence::default(), None, None);
        let ended = loop {
            let Some(line) = self.lines.next()? else { break true };
            if line.is_blank() {
                break false;
            }
            if start.is_none() {
                self.records += 1;
            }
            let first = *start.get_or_insert(line.number);
            let at = Place { path: Arc::clone(&self.path), line: line.number, record: self.records };
            if failed.is_none()
                && let Err(error) = self.take(&line, &at, &mut sentence)
            {
                failed = Some(error);
                // The rest of the sentence is passed over.
                sentence = Sentence::default();
            }
            debug_assert!(first <= line.number);
        };
        if let Some(line) = start {
            let at = Place { path: Arc::clone(&self.path), line, record: self.records };
            match failed.map_or_else(|| self.finish(sentence, at), Err) {
                Ok(records) => queue.extend(records.into_iter().map(|record| Ok(Found::Record(record)))),
                Err(error) => queue.push_back(Err(error)),
            }
        }
        Ok(!ended)
    }
}
