//! Which elements dropout drops: a hash of where an element stands, not the next number of a sequence.

use std::sync::Arc;

/// Where the masks of one training step come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutStream {
    /// Different seeds give independent masks; the same seed gives the same ones.
    pub seed: u64,
}

impl DropoutStream {
    /// The stream of one step of a run: every step has masks of its own, whichever process computes it.
    #[must_use]
    pub fn at_step(self, step: u64) -> Self {
        Self { seed: mix(self.seed ^ mix(step.wrapping_add(STEP))) }
    }
}

/// The fractional part of the golden ratio in 64 bits, SplitMix64's step.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: every bit of the result depends on every bit of `x`.
#[inline(always)]
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The mask of one dropout call.
///
/// A row's 64-bit state is mixed from the stream, the number of the call on its tape and the row's key; an element's 32 bits are
/// mixed from the row's state and its column, with 32-bit operations that every vector unit has. Both mixers are full avalanche.
#[derive(Clone, Debug)]
pub struct MaskSpec {
    stream: u64,
    keys: Option<Arc<[u64]>>,
    probability: f32,
}

/// The state of one row of a mask.
#[derive(Clone, Copy, Debug)]
pub(in crate::tensor) struct RowMask {
    low: u32,
    high: u32,
    threshold: u32,
}

impl MaskSpec {
    /// The mask of the dropout call with this number; `keys` name the rows (`None`: by their numbers); `probability` is that of
    /// being dropped, at least 0 and below 1.
    pub fn new(stream: DropoutStream, call: u64, keys: Option<Arc<[u64]>>, probability: f32) -> Self {
        let stream = mix(stream.seed.wrapping_add(mix(call.wrapping_mul(STEP).wrapping_add(STEP))));
        Self { stream, keys, probability }
    }

    /// What kept elements are multiplied by: one over the probability of being kept.
    pub fn scale(&self) -> f32 {
        1.0 / (1.0 - self.probability)
    }

    /// Whether an element is kept.
    pub fn keeps(&self, row: usize, column: u32) -> bool {
        self.row(row).keeps(column)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of 2^32, and the two halves of a state"
    )]
    pub(in crate::tensor) fn row(&self, row: usize) -> RowMask {
        let key = self.keys.as_ref().and_then(|keys| keys.get(row).copied()).unwrap_or(row as u64);
        let state = mix(self.stream ^ mix(key.wrapping_add(STEP)));
        RowMask {
            low: state as u32,
            high: (state >> 32) as u32,
            threshold: (f64::from(self.probability) * f64::from(u32::MAX)).round() as u32,
        }
    }
}

impl RowMask {
    /// Whether the element in this column is kept.
    #[inline(always)]
    pub(in crate::tensor) fn keeps(self, column: u32) -> bool {
        let mut x = column.wrapping_mul(0x9e37_79b9).wrapping_add(self.low);
        x = (x ^ (x >> 16)).wrapping_mul(0x21f0_aaad) ^ self.high;
        x = (x ^ (x >> 15)).wrapping_mul(0xd35a_2d97);
        (x ^ (x >> 15)) >= self.threshold
    }
}
