//! What the paper's linguistic adapter was trained on: words as stretches of a sentence, and pairs of dependent and
//! governor.

use super::{Found, Queue};
use crate::data::object::{Object, as_index};
use crate::data::{Error, Gold, Labelled};
use serde_json::{Map, Value};

/// Makes a record. `tokens` is a list of objects with one field, the number of a word from 1, that has `start` and `end`
/// in characters; `pairs` has `dependent_index` and `governor_index`, 0 for the root.
pub(super) fn record(object: Object<'_>, queue: &mut Queue) -> Result<(), Error> {
    let sentence = object.filled_text("sent")?;
    let characters: Vec<char> = sentence.chars().collect();
    let words = words(object, &characters)?;
    let heads = heads(object, words.len())?;
    let mut fields = object.flat_without(&["sent", "tokens", "pairs"]);
    fields.insert("text".into(), sentence.into());
    fields.insert("words".into(), words.into());
    let gold = Gold::Heads { heads, relations: Vec::new() };
    queue.push_back(Ok(Found::Record(Labelled { fields, gold, at: object.at.clone() })));
    Ok(())
}

fn words(object: Object<'_>, characters: &[char]) -> Result<Vec<String>, Error> {
    let expected = "a list of `{\"1\": {\"start\": 0, \"end\": 3}}`, numbered from 1";
    let mut words = Vec::new();
    for token in object.list("tokens")? {
        let number = words.len() + 1;
        let stretch = || {
            let place = token.as_object()?.get(&number.to_string())?;
            Some((as_index(place.get("start")?)?, as_index(place.get("end")?)?))
        };
        let stretch = stretch().ok_or_else(|| object.wrong(&format!("tokens[{}]", number - 1), token, expected))?;
        object.check_stretch("tokens", stretch, characters.len(), "characters")?;
        words.push(characters.get(stretch.0..stretch.1).unwrap_or_default().iter().collect());
    }
    match words.is_empty() {
        true => Err(object.wrong("tokens", &Value::Array(Vec::new()), expected)),
        false => Ok(words),
    }
}

fn heads(object: Object<'_>, words: usize) -> Result<Vec<usize>, Error> {
    let expected = "one pair `{\"dependent_index\": 1, \"governor_index\": 2}` for each word";
    let mut heads: Vec<Option<usize>> = vec![None; words];
    for (index, pair) in object.list("pairs")?.iter().enumerate() {
        let numbers = |pair: &Map<String, Value>| {
            Some((as_index(pair.get("dependent_index")?)?, as_index(pair.get("governor_index")?)?))
        };
        let wrong = || object.wrong(&format!("pairs[{index}]"), pair, expected);
        let (dependent, governor) = pair.as_object().and_then(numbers).ok_or_else(wrong)?;
        let slot = dependent.checked_sub(1).and_then(|word| heads.get_mut(word)).ok_or_else(wrong)?;
        if governor > words || slot.is_some() {
            return Err(wrong());
        }
        *slot = Some(governor);
    }
    let missing = || object.wrong("pairs", &Value::Array(Vec::new()), expected);
    heads.into_iter().collect::<Option<_>>().ok_or_else(missing)
}
