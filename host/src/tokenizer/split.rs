//! Cuts a text at its special tokens, the first step of the official `tokenize`.

use std::collections::HashMap;
use std::ops::Range;

/// A stretch of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// A special token, whole.
    Special { id: u32, bytes: Range<usize> },
    /// What stands between two special tokens, stripped and not empty.
    Text { text: &'t str, start: usize },
}

impl Part<'_> {
    /// Where it stands in the text, in bytes.
    pub(super) fn bytes(&self) -> Range<usize> {
        match self {
            Self::Special { bytes, .. } => bytes.clone(),
            Self::Text { text, start } => *start..*start + text.len(),
        }
    }
}

/// Finds special tokens, the longest one where several begin.
pub(super) struct Splitter {
    by_first_byte: HashMap<u8, Vec<(String, u32)>>,
}

impl Splitter {
    /// Takes the tokens that stay whole; one given twice counts once.
    pub(super) fn new(tokens: impl Iterator<Item = (String, u32)>) -> Self {
        let mut by_first_byte: HashMap<u8, Vec<(String, u32)>> = HashMap::new();
        for token in tokens {
            if let Some(&first) = token.0.as_bytes().first() {
                by_first_byte.entry(first).or_default().push(token);
            }
        }
        for tokens in by_first_byte.values_mut() {
            tokens.sort_by(|(left, _), (right, _)| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
            tokens.dedup();
        }
        Self { by_first_byte }
    }

    /// Cuts `text`, in order. Stretches of white space are left out.
    pub(super) fn parts<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        let (mut stretch, mut at) = (0, 0);
        while let Some(&byte) = text.as_bytes().get(at) {
            // A token is valid UTF-8, so one that matches here also begins and ends at character boundaries.
            let rest = &text.as_bytes()[at..];
            let candidates = self.by_first_byte.get(&byte).map_or(&[][..], Vec::as_slice);
            match candidates.iter().find(|(token, _)| rest.starts_with(token.as_bytes())) {
                Some((token, id)) => {
                    push_text(&mut parts, text, stretch..at);
                    let end = at + token.len();
                    parts.push(Part::Special { id: *id, bytes: at..end });
                    (stretch, at) = (end, end);
                }
                None => at += 1,
            }
        }
        push_text(&mut parts, text, stretch..text.len());
        parts
    }
}

fn push_text<'t>(parts: &mut Vec<Part<'t>>, text: &'t str, bytes: Range<usize>) {
    let stretch = &text[bytes.clone()];
    let without_head = stretch.trim_start_matches(is_space);
    let start = bytes.start + (stretch.len() - without_head.len());
    let text = without_head.trim_end_matches(is_space);
    if !text.is_empty() {
        parts.push(Part::Text { text, start });
    }
}

/// Is white space to Python's `str.strip`: Unicode's, and the four ASCII separators.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}
