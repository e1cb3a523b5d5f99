//! Finding phrases in sentences.

use std::ops::Range;

/// A text of a file as a message shows it: short, and without characters that a terminal obeys.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 48;
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        match character {
            _ if index == LONGEST => {
                shown.push('…');
                break;
            }
            '\t' => shown += "<TAB>",
            character if character.is_control() => shown.push('\u{fffd}'),
            character => shown.push(character),
        }
    }
    shown
}

/// Finds the first place of a phrase in a text, both as characters, where neither neighbour continues a word and nothing
/// of it lies in `but`: first as it is written, then whatever its capitals.
pub(super) fn find(text: &[char], phrase: &[char], but: Option<&Range<usize>>) -> Option<Range<usize>> {
    let same = |equal: fn(char, char) -> bool| {
        if phrase.is_empty() {
            return None;
        }
        text.windows(phrase.len()).enumerate().map(|(start, window)| (start..start + phrase.len(), window)).find_map(
            |(place, window)| {
                let clear = but.is_none_or(|but| place.end <= but.start || but.end <= place.start);
                let matches = || window.iter().zip(phrase).all(|(&a, &b)| equal(a, b));
                (clear && is_whole(text, &place) && matches()).then_some(place)
            },
        )
    };
    same(|a, b| a == b).or_else(|| same(|a, b| a == b || a.to_lowercase().eq(b.to_lowercase())))
}

/// Whether no word is cut at either end of a stretch.
fn is_whole(text: &[char], place: &Range<usize>) -> bool {
    let continues = |a: Option<&char>, b: Option<&char>| match (a, b) {
        (Some(a), Some(b)) => a.is_alphanumeric() && b.is_alphanumeric(),
        _ => false,
    };
    let before = place.start.checked_sub(1).and_then(|index| text.get(index));
    !continues(before, text.get(place.start))
        && !continues(place.end.checked_sub(1).and_then(|i| text.get(i)), text.get(place.end))
}
