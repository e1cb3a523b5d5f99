//! Telling the format of a file by its name and its first record.

use super::input;
use super::json::Cursor;
use super::lines::Lines;
use super::{Error, Format, Place};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// Fields of an object that are looked at; a format is told by its first few.
const FIELDS: usize = 64;

/// Tells a file's format.
pub(super) fn detect(path: &Path) -> Result<Format, Error> {
    let unclear = |found| Error::FormatUnclear { path: path.to_owned(), found };
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return Err(unclear("it can be read only once"));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".xz").or_else(|| name.strip_suffix(".gz")).unwrap_or(name);
    if name.ends_with(".conllu") {
        return Ok(Format::Conllu);
    }
    let shared: Arc<Path> = path.into();
    let mut cursor = Cursor::new(Arc::clone(&shared), Format::Json, input::open(path)?);
    cursor.skip_mark()?;
    match cursor.peek()? {
        None => Err(Error::Empty { path: path.to_owned(), format: Format::Json }),
        Some(b'[') => {
            cursor.expect(b'[', "`[`")?;
            match cursor.peek()? {
                Some(b'{') => object(&mut cursor),
                _ => Err(unclear("a list whose first item is no object")),
            }
        }
        Some(b'{') => object(&mut cursor),
        Some(_) => lines(&shared, unclear),
    }
}

/// By the fields of the first object. It is walked through, since a whole FewRel file is one.
fn object(cursor: &mut Cursor) -> Result<Format, Error> {
    let mut fields = Map::new();
    cursor.expect(b'{', "`{`")?;
    let mut first = true;
    while fields.len() < FIELDS && cursor.item(first, b'}', "`,` or `}` behind a field")? {
        let name = cursor.name()?;
        if first && cursor.peek()? == Some(b'[') {
            cursor.expect(b'[', "`[`")?;
            let nested = cursor.peek()? == Some(b'{');
            if nested {
                let (at, raw) = cursor.value()?;
                let example = raw.parse(&at, Format::Json)?;
                let has = |name: &str| example.get(name).is_some();
                if has("tokens") && has("h") && has("t") {
                    return Ok(Format::Fewrel);
                }
                if name == "data" && (has("paragraphs") || has("title")) {
                    return Ok(Format::Squad);
                }
            }
            // Not a corpus in one object: the rest of the list is of no interest.
            let mut first = !nested;
            while cursor.item(first, b']', "`,` or `]` behind an item of the list")? {
                cursor.skip()?;
                first = false;
            }
        } else if name == "data" && fields.contains_key("version") {
            return Ok(Format::Squad);
        } else {
            cursor.skip()?;
        }
        first = false;
        fields.insert(name, Value::Null);
    }
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    Ok(if has(&["token", "subj_start", "relation"]) {
        Format::Tacred
    } else if has(&["sent", "tokens", "pairs"]) {
        Format::LinAdapter
    } else if has(&["sent", "start", "end", "labels"]) {
        Format::OpenEntity
    } else if has(&["obj_label", "masked_sentences"]) || has(&["obj_label", "sub_label"]) {
        Format::Lama
    } else if has(&["context", "question", "answer0"]) {
        Format::Cosmosqa
    } else {
        Format::Json
    })
}

/// By the first line that is not blank.
fn lines(path: &Arc<Path>, unclear: impl Fn(&'static str) -> Error) -> Result<Format, Error> {
    let mut lines = Lines::new(Arc::clone(path), input::open(path)?);
    while let Some(line) = lines.next()? {
        if line.is_blank() {
            continue;
        }
        let at = Place { path: Arc::clone(path), line: line.number, record: 1 };
        let text = line.text(&at)?;
        let columns: Vec<&str> = text.split('\t').collect();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        return match columns.as_slice() {
            [number, sentence] if digits(number) && sentence.contains("<e1>") => Ok(Format::Semeval),
            [relation, _, _, _, _, sentence]
                if relation.strip_prefix('P').is_some_and(digits) && sentence.contains("[MASK]") =>
            {
                Ok(Format::TrexTable)
            }
            [synset, file, ..] if columns.len() == 6 && digits(file) && synset.get(1..).is_some_and(digits) => {
                Ok(Format::WordnetTable)
            }
            [only] if only.starts_with('#') => Ok(Format::Conllu),
            columns if columns.len() == 10 && columns[0] == "1" => Ok(Format::Conllu),
            [only] if only.split(',').any(|name| name.trim_matches('"') == "answer0") => Ok(Format::Cosmosqa),
            _ => Err(unclear("its first line is that of no known format")),
        };
    }
    Err(Error::Empty { path: path.to_path_buf(), format: Format::Json })
}
