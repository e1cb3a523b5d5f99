//! What hidden states depend on beside the tokens, and the type in which they are kept.

use std::fmt;
use std::str::FromStr;

use half::f16;
use half::slice::HalfFloatSliceExt;
use kadapter_registry::Digest;
use serde::{Deserialize, Serialize};

use super::error::CacheError;

/// Values converted at a time: their 16-bit copy stays in the first-level cache.
pub(super) const BLOCK: usize = 2048;

/// The type in which values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheDtype {
    /// Exact.
    F32,
    /// Rounded to 11 significant bits, in half the room.
    #[default]
    F16,
}

impl CacheDtype {
    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Makes fresh values what they would be after a way through the cache, so that no bit of a run depends on what was cached.
    ///
    /// `F32` leaves them; `F16` takes the nearest half, ties to even. Finite values beyond ±65504 become that, so that a large
    /// state does not become an infinity; infinities and NaNs stay, to be found by whoever looks for them.
    pub fn round(self, values: &mut [f32]) {
        if self == Self::F16 {
            let mut halves = [f16::ZERO; BLOCK];
            for block in values.chunks_mut(BLOCK) {
                let halves = &mut halves[..block.len()];
                to_halves(block, halves);
                halves.convert_to_f32_slice(block);
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

/// At most [`BLOCK`] values to the nearest halves, finite ones to finite ones.
pub(super) fn to_halves(values: &[f32], halves: &mut [f16]) {
    const MOST: f32 = 65504.0;
    let mut bounded = [0.0_f32; BLOCK];
    let bounded = &mut bounded[..values.len()];
    for (to, from) in bounded.iter_mut().zip(values) {
        *to = if from.is_infinite() { *from } else { from.clamp(-MOST, MOST) };
    }
    halves.convert_from_f32_slice(bounded);
}

impl fmt::Display for CacheDtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for CacheDtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::F32, Self::F16]
            .into_iter()
            .find(|dtype| dtype.name() == text)
            .ok_or_else(|| format!("Could not read the type of the tap cache `{text}`, expected `f32` or `f16`"))
    }
}

/// Whose hidden states a cache holds, which of them, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheIdentity {
    /// The digest of the backbone's weights.
    pub backbone: Digest,
    /// Indices of the hidden states that are kept, in the order in which they are given and taken.
    pub taps: Vec<usize>,
    /// Width of a hidden state.
    pub hidden: usize,
    /// The type in which values are kept.
    pub dtype: CacheDtype,
    /// What else changes bits of the states: the device, padding as the official code pads, and the like.
    pub variant: String,
}

impl CacheIdentity {
    pub(super) fn check(&self) -> Result<(), CacheError> {
        if self.taps.is_empty() || self.hidden == 0 {
            return Err(CacheError::Empty { taps: self.taps.len(), hidden: self.hidden });
        }
        Ok(())
    }

    /// `identity.toml`.
    pub(super) fn text(&self) -> String {
        format!(
            "# Hidden states of a frozen backbone, kept by `kadapter train`. Safe to remove while nothing trains.\n\
             backbone = \"{}\"\ntaps = {:?}\nhidden = {}\ndtype = \"{}\"\nvariant = {:?}\n",
            self.backbone, self.taps, self.hidden, self.dtype, self.variant
        )
    }

    /// A folder's name that no other identity has.
    pub(super) fn folder_name(&self) -> String {
        format!("{}-{}", self.backbone.short(), Digest::of(self.text().as_bytes()).short())
    }
}
