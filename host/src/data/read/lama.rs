//! LAMA: a sentence with `[MASK]`, or two entities and a template, and the word that belongs there.
//!
//! | corpus | sentence | relation |
//! | --- | --- | --- |
//! | Google-RE | the template of its relation, as in LAMA's own runs | `pred` |
//! | T-REx | the first of `evidences`; probes put templates in its place | `predicate_id` |
//! | SQuAD, ConceptNet | the first of `masked_sentences` | `pred`, or none |

use super::{Found, Queue};
use crate::data::object::Object;
use crate::data::{Error, Gold, Labelled, Reason};
use serde_json::{Map, Value};

/// What stands for the word to find.
pub(in crate::data) const MASK: &str = "[MASK]";

/// The templates with which LAMA probes Google-RE.
const GOOGLE_RE: [(&str, &str); 3] = [
    ("/people/person/place_of_birth", "[X] was born in [Y] ."),
    ("/people/person/date_of_birth", "[X] (born [Y])."),
    ("/people/deceased_person/place_of_death", "[X] died in [Y] ."),
];

/// Makes a record.
pub(super) fn record(object: Object<'_>, queue: &mut Queue) -> Result<(), Error> {
    let filler = object.filled_text("obj_label")?.to_owned();
    let relation = ["pred", "predicate_id", "relation"].into_iter().find(|name| object.has(name));
    let relation = relation.map(|name| object.text(name)).transpose()?;
    let template = match object.has("template") {
        true => Some(object.filled_text("template")?),
        false => GOOGLE_RE.iter().find(|(name, _)| Some(*name) == relation).map(|(_, template)| *template),
    };
    let text = match template {
        Some(template) => template.replace("[Y]", MASK).replace("[X]", object.filled_text("sub_label")?),
        None => masked_sentence(object)?.to_owned(),
    };
    if text.matches(MASK).count() != 1 {
        queue.push_back(Ok(Found::LeftOut(Reason::NotOneMask)));
        return Ok(());
    }
    let mut fields = Map::from_iter([("text".to_owned(), Value::from(text))]);
    if let Some(relation) = relation {
        fields.insert("relation".into(), relation.into());
    }
    for (name, alias) in [("sub_label", "subject"), ("uuid", "id"), ("id", "id")] {
        if let Some(Value::String(value)) = object.fields.get(name) {
            fields.insert(alias.to_owned(), value.as_str().into());
        }
    }
    queue.push_back(Ok(Found::Record(Labelled { fields, gold: Gold::Filler(filler), at: object.at.clone() })));
    Ok(())
}

/// The first sentence of those that the record has.
fn masked_sentence(object: Object<'_>) -> Result<&str, Error> {
    if object.has("evidences") && !object.has("masked_sentences") {
        let expected = "a list whose items have `masked_sentence`";
        return object.read("evidences", expected, |value| value.as_array()?.first()?.get("masked_sentence")?.as_str());
    }
    object.read("masked_sentences", "a list with a sentence", |value| value.as_array()?.first()?.as_str())
}
