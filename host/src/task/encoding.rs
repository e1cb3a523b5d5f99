//! What a task asks the pipeline to compute.

use std::ops::Range;

/// Token segments of one record and the rows of them that the head reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoding {
    /// Token ids, special tokens included, padding not.
    pub segments: Vec<Vec<u32>>,
    /// One entry per unit, a unit being one row of the head's input: the features at these positions, side by side. All
    /// units of an encoding read equally many.
    pub reads: Vec<Vec<Position>>,
    /// What decoding needs to know of the record.
    pub(super) details: Details,
}

impl Encoding {
    /// The context of a question and, per unit, the characters of it that the token covers; `None` for kinds without.
    pub fn context(&self) -> Option<(&str, &[Range<usize>])> {
        match &self.details {
            Details::Span { context, tokens } => Some((context, tokens)),
            _ => None,
        }
    }
}

/// A token of an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Index into [`Encoding::segments`].
    pub segment: usize,
    /// Index into that segment.
    pub row: usize,
}

impl Position {
    /// Names a token of the first segment.
    pub(super) fn first(row: usize) -> Self {
        Self { segment: 0, row }
    }
}

/// What an answer says about its record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Details {
    Relation {
        subject: String,
        object: String,
    },
    Typing {
        mention: String,
    },
    Choice {
        answers: Vec<String>,
    },
    /// The context and, per unit, the characters of it that the token covers.
    Span {
        context: String,
        tokens: Vec<Range<usize>>,
    },
    Sequence,
    /// Per unit, the token and the characters of the text that it covers.
    Features {
        tokens: Vec<(String, Range<usize>)>,
    },
}
