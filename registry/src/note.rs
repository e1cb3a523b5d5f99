//! Notes: what is said about a release after it was published, each written once and never changed.

use std::fmt;

use crate::key::KeyId;

/// The longest note, in bytes: a minisign signature has 300, a yank with a long reason a thousand.
pub const MAX_NOTE: u64 = 64 * 1024;
/// The last time that a note may have, in milliseconds since 1970.
pub const MAX_TIME: u64 = 999_999_999_999_999;
/// The most digits of such a time.
const MAX_DIGITS: usize = 15;

/// The name of a note.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// A signature of the record's bytes by this key, as `minisign` writes it.
    Signature(KeyId),
    /// A yank, or the end of one, said at a time by the holder of a key, or by nobody in particular.
    Yank {
        /// When, in milliseconds since 1970.
        at: u64,
        /// Whose signature it bears; none when it bears none.
        key: Option<KeyId>,
    },
}

impl Note {
    /// The note's file name: `<key id>.minisig`, `<milliseconds>-<key id>.json` or `<milliseconds>-unsigned.json`.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self {
            Self::Signature(key) => format!("{key}.minisig"),
            Self::Yank { at, key: Some(key) } => format!("{at}-{key}.json"),
            Self::Yank { at, key: None } => format!("{at}-unsigned.json"),
        }
    }

    /// Reads a file name back; none for another spelling and for anything else.
    #[must_use]
    pub fn from_file_name(text: &str) -> Option<Self> {
        let note = if let Some(key) = text.strip_suffix(".minisig") {
            Self::Signature(key.parse().ok()?)
        } else {
            let (at, key) = text.strip_suffix(".json")?.split_once('-')?;
            if at.len() > MAX_DIGITS {
                return None;
            }
            let key = if key == "unsigned" { None } else { Some(key.parse().ok()?) };
            Self::Yank { at: at.parse().ok()?, key }
        };
        (note.file_name() == text).then_some(note)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.file_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_else_is() {
        let key: KeyId = "0123456789ABCDEF".parse().unwrap();
        let notes =
            [Note::Signature(key.clone()), Note::Yank { at: 17, key: Some(key) }, Note::Yank { at: 0, key: None }];
        for note in notes {
            assert_eq!(Note::from_file_name(&note.file_name()), Some(note));
        }
        for other in ["x.minisig", "0123456789abcdef.minisig", "017-unsigned.json", "-unsigned.json", "17.json", ""] {
            assert_eq!(Note::from_file_name(other), None, "{other}");
        }
    }
}
