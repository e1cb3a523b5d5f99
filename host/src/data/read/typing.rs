//! OpenEntity and FIGER: a sentence, a mention in characters, its labels.

use super::{Found, Queue};
use crate::data::object::Object;
use crate::data::{Error, Gold, Labelled};

/// Makes a record.
pub(super) fn record(object: Object<'_>, queue: &mut Queue) -> Result<(), Error> {
    check_mention(object)?;
    let labels = object.texts("labels")?.into_iter().map(str::to_owned).collect();
    let fields = object.flat_without(&["labels"]);
    queue.push_back(Ok(Found::Record(Labelled { fields, gold: Gold::Labels(labels), at: object.at.clone() })));
    Ok(())
}

/// Checks the sentence and the mention in it.
pub(super) fn check_mention(object: Object<'_>) -> Result<(), Error> {
    let name = if object.has("text") && !object.has("sent") { "text" } else { "sent" };
    let length = object.filled_text(name)?.chars().count();
    object.check_stretch("end", (object.index("start")?, object.index("end")?), length, "characters")
}
