//! LAMA's file of relations: JSON lines that name a relation and its template.

use crate::data;
use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Bytes of the file; LAMA's has 13 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// What is read of a line.
#[derive(Deserialize)]
struct Relation {
    relation: String,
    template: String,
}

/// Reads the templates, by relation.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let io = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let mut text = String::new();
    data::open_bytes(path)?.take(MAX_BYTES).read_to_string(&mut text).map_err(io)?;
    let mut templates = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |found: String| Error::Input {
            what: "the file of templates",
            found: format!("`{}`, line {number}: {found}", path.display()),
            expected: "`{\"relation\": \"P19\", \"template\": \"[X] was born in [Y] .\"}`".into(),
            hint: "use LAMA's `relations.jsonl`".into(),
        };
        let Relation { relation, template } = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        if template.matches("[X]").count() != 1 || template.matches("[Y]").count() != 1 {
            return Err(wrong(format!("template `{template}` without one `[X]` and one `[Y]`")));
        }
        templates.insert(relation, template);
    }
    Ok(templates)
}
