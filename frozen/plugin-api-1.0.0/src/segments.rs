//! Ragged rows: where each text of a batch begins and ends.

use crate::{Error, Result};

/// The boundaries of a batch's segments, and which rows attention may look at.
///
/// A batch is one tensor `[total tokens, columns]`; segment `i` owns rows `range(i)`. There is no padding. Where padding has to
/// be imitated (the official code lets adapters attend to it), the host makes the pads real rows; rows that a computation
/// must not see as attention keys are *hidden*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    offsets: Vec<usize>,
    hidden: Option<Vec<bool>>,
}

impl Segments {
    /// Segments of the given lengths, in rows.
    ///
    /// # Errors
    /// When a length is zero: an empty segment has no row to attend to.
    pub fn new(lengths: impl IntoIterator<Item = usize>) -> Result<Self> {
        let mut offsets = vec![0];
        let mut total = 0_usize;
        for length in lengths {
            if length == 0 {
                return Err(Error::shape(format!("segment {} is empty, expected at least one row", offsets.len() - 1)));
            }
            total = total
                .checked_add(length)
                .ok_or_else(|| Error::shape("the batch has more rows than memory can address"))?;
            offsets.push(total);
        }
        Ok(Self { offsets, hidden: None })
    }

    /// The same segments with rows that attention must not look at: one flag per row, `true` hides it.
    ///
    /// # Errors
    /// When the number of flags is not the number of rows, or a segment would have no visible row left.
    pub fn with_hidden(mut self, hidden: Vec<bool>) -> Result<Self> {
        if hidden.len() != self.rows() {
            return Err(Error::shape(format!(
                "{} flags for hidden rows, expected one for each of {} rows",
                hidden.len(),
                self.rows()
            )));
        }
        if let Some(segment) = (0..self.count()).find(|&segment| hidden[self.range(segment)].iter().all(|&flag| flag)) {
            return Err(Error::shape(format!(
                "every row of segment {segment} is hidden, expected at least one visible row"
            )));
        }
        self.hidden = hidden.contains(&true).then_some(hidden);
        Ok(self)
    }

    /// How many segments there are.
    pub fn count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many rows all segments have together.
    pub fn rows(&self) -> usize {
        self.offsets[self.count()]
    }

    /// The rows of one segment. Out of range it is empty.
    pub fn range(&self, segment: usize) -> std::ops::Range<usize> {
        match (self.offsets.get(segment), self.offsets.get(segment + 1)) {
            (Some(&start), Some(&end)) => start..end,
            _ => 0..0,
        }
    }

    /// The rows of every segment, in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = std::ops::Range<usize>> + '_ {
        self.offsets.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// The longest segment, in rows.
    pub fn longest(&self) -> usize {
        self.ranges().map(|range| range.len()).max().unwrap_or(0)
    }

    /// Flags of the rows that attention must not look at, if there are any.
    pub fn hidden(&self) -> Option<&[bool]> {
        self.hidden.as_deref()
    }
}
