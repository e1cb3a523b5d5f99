//! Plain objects: the fields of a task as [`task`](crate::task) encodes them, and the gold answer beside them.

use super::{Found, Queue, choice, relation, span, typing};
use crate::data::object::Object;
use crate::data::{Error, Gold, Labelled};
use serde_json::Value;

/// Makes a record. Which kind it is of, its fields say.
pub(super) fn record(object: Object<'_>, queue: &mut Queue) -> Result<(), Error> {
    if object.has("heads") {
        return tree(object, queue);
    }
    if object.has("question") || object.has("context") {
        // The answers to choose from stand beside a label; those that are right stand alone.
        let chosen = object.has("label") || object.has("answer0") || (object.has("answers") && object.has("answer"));
        return if chosen { choice::record(object, queue) } else { span::record(object, queue) };
    }
    if object.has("labels") {
        if object.has("start") || object.has("end") {
            return typing::record(object, queue);
        }
        let labels = object.texts("labels")?.into_iter().map(str::to_owned).collect();
        return labelled(object, "labels", Gold::Labels(labels), queue);
    }
    let name = if object.has("relation") && !object.has("label") { "relation" } else { "label" };
    if !object.has(name) {
        return Err(
            object.missing("label", "the gold answer in `label`, `labels`, `relation`, `answer`, `answers` or `heads`")
        );
    }
    let label = object.filled_text(name)?.to_owned();
    if object.has("token") {
        relation::check_words(object)?;
    }
    labelled(object, name, Gold::Label(label), queue)
}

/// A record about a text.
fn labelled(object: Object<'_>, gold_name: &str, gold: Gold, queue: &mut Queue) -> Result<(), Error> {
    if object.has("token") {
        relation::check_words(object)?;
    } else {
        let name = if object.has("sent") && !object.has("text") { "sent" } else { "text" };
        let length = object.filled_text(name)?.chars().count();
        for entity in ["subject", "object"] {
            if object.has(entity) {
                let stretch = object.indices(entity)?;
                let [start, end] = stretch.as_slice() else {
                    return Err(object.wrong(entity, &object.fields[entity], "`[start, end]`, in characters"));
                };
                object.check_stretch(entity, (*start, *end), length, "characters")?;
            }
        }
    }
    let fields = object.flat_without(&[gold_name]);
    queue.push_back(Ok(Found::Record(Labelled { fields, gold, at: object.at.clone() })));
    Ok(())
}

/// A dependency tree.
fn tree(object: Object<'_>, queue: &mut Queue) -> Result<(), Error> {
    let words = object.texts("words")?.len();
    let heads = object.indices("heads")?;
    let relations = match object.has("deprels") {
        true => object.texts("deprels")?.into_iter().map(str::to_owned).collect(),
        false => Vec::new(),
    };
    let fits = words > 0 && heads.len() == words && heads.iter().all(|&head| head <= words);
    if !fits || !(relations.is_empty() || relations.len() == words) {
        let found = Value::Array(Vec::new());
        return Err(object.wrong("heads", &found, "the number of a word, 0 for the root, for each of `words`"));
    }
    let fields = object.flat_without(&["heads", "deprels"]);
    queue.push_back(Ok(Found::Record(Labelled {
        fields,
        gold: Gold::Heads { heads, relations },
        at: object.at.clone(),
    })));
    Ok(())
}
