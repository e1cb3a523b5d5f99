//! TACRED and T-REx-rc: words, entities as word indices with their ends inclusive, and a relation.

use super::{Found, Queue};
use crate::data::object::Object;
use crate::data::{Error, Gold, Labelled};

/// Makes a record.
pub(super) fn record(object: Object<'_>, queue: &mut Queue) -> Result<(), Error> {
    check_words(object)?;
    let label = object.filled_text("relation")?.to_owned();
    let fields = object.flat_without(&["relation"]);
    queue.push_back(Ok(Found::Record(Labelled { fields, gold: Gold::Label(label), at: object.at.clone() })));
    Ok(())
}

/// Checks `token` and the entities in it.
pub(super) fn check_words(object: Object<'_>) -> Result<(), Error> {
    let words = object.texts("token")?.len();
    for (start, end) in [("subj_start", "subj_end"), ("obj_start", "obj_end")] {
        let stretch = (object.index(start)?, object.index(end)?.saturating_add(1));
        object.check_stretch(end, stretch, words, "words")?;
    }
    Ok(())
}
