//! Which vector instructions this processor has, and safe functions compiled for them.

use super::micro::{self, Micro};

/// A set of instructions that the engine has code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Isa {
    /// What every processor of the target has; the compiler vectorises for its baseline (on AArch64 that is NEON).
    Portable,
    /// 256-bit vectors with fused multiply-add: `avx2` and `fma`.
    Avx2,
    /// 512-bit vectors: `avx512f` beside [`Isa::Avx2`].
    Avx512,
}

/// What a product needs to know of an instruction set: the tile that its microkernels compute.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Columns of a tile, and so of a panel of packed weights.
    pub(super) columns: usize,
    /// `microkernels[r - 1]` computes a tile of `r` rows.
    pub(super) microkernels: &'static [Micro],
    /// The same for a left-hand side that lies transposed.
    pub(super) transposed: &'static [Micro],
}

impl Isa {
    /// The best set that this processor has.
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// Every set that this processor has, the best last.
    pub fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            if std::arch::is_x86_feature_detected!("avx512f") {
                return &[Self::Portable, Self::Avx2, Self::Avx512];
            }
            return &[Self::Portable, Self::Avx2];
        }
        &[Self::Portable]
    }

    /// This set if the processor has it, otherwise the best one that it has.
    pub(in super::super) fn or_available(self) -> Self {
        if Self::available().contains(&self) { self } else { Self::detect() }
    }

    pub(super) fn shape(self) -> Shape {
        match self {
            Self::Portable => micro::PORTABLE,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => micro::AVX2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => micro::AVX512,
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => micro::PORTABLE,
        }
    }

    /// Runs a function in the version that was compiled for this set.
    pub(in super::super) fn vectorise<V: Vectorised>(self, work: V) -> V::Output {
        match self.or_available() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `or_available` returned this set because the processor reported it.
            Self::Avx2 => unsafe { avx2(work) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 => unsafe { avx512(work) },
            _ => work.run::<{ cfg!(target_arch = "aarch64") }>(),
        }
    }
}

/// Work on slices that is worth compiling once per instruction set.
///
/// `run` and what it calls must be `#[inline(always)]`, so that the code lands inside the function that enables the
/// instructions.
pub(in super::super) trait Vectorised {
    /// What the work returns.
    type Output;
    /// Does the work; `FMA` says whether a fused multiply-add is one instruction.
    fn run<const FMA: bool>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<V: Vectorised>(work: V) -> V::Output {
    work.run::<true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn avx512<V: Vectorised>(work: V) -> V::Output {
    work.run::<true>()
}
