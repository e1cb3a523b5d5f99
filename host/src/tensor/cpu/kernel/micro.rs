//! The innermost loops of a product: one tile of the result in registers.
//!
//! A tile of `ROWS` rows and one panel of columns starts from `init` (a bias, zeros, or what is there already) and adds
//! `a[r, i] · b[i, j]` for `i` ascending, with one rounding per step where the processor fuses. Every tile height does the same
//! to an element, which is why a row in a batch has the bits of the row alone.
//!
//! The `TRANSPOSED` versions read `a` by columns, `a[i, r] · b[i, j]`: what a product needs whose left-hand side lies transposed.

use super::isa::Shape;

/// One call of a microkernel. All strides are in floats.
pub(super) struct Call {
    /// Steps: columns of `a`, rows of `b`.
    pub(super) depth: usize,
    /// `ROWS` rows of at least `depth` floats; transposed, `depth` rows of at least `ROWS` floats.
    pub(super) a: *const f32,
    pub(super) a_stride: usize,
    /// `depth` rows of a whole panel's columns.
    pub(super) b: *const f32,
    pub(super) b_stride: usize,
    /// `ROWS` rows of a whole panel's columns, written.
    pub(super) c: *mut f32,
    pub(super) c_stride: usize,
    /// `ROWS` rows of a whole panel's columns to start from; stride 0 starts every row from the same floats.
    pub(super) init: *const f32,
    pub(super) init_stride: usize,
}

/// A microkernel for one tile height.
///
/// # Safety
/// The pointers are valid for what [`Call`] says, and the processor has the instructions.
pub(super) type Micro = unsafe fn(&Call);

/// Two vectors per row: `ROWS · 2` accumulators, two vectors of `b`, one broadcast of `a`.
macro_rules! microkernel {
    ($name:ident, $features:literal, $lanes:literal, $zero:ident, $load:ident, $store:ident, $broadcast:ident, $fma:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        unsafe fn $name<const ROWS: usize, const TRANSPOSED: bool>(call: &Call) {
            use std::arch::x86_64::{$broadcast, $fma, $load, $store, $zero};
            let mut sums = [[$zero(); 2]; ROWS];
            let (across, along) = if TRANSPOSED { (1, call.a_stride) } else { (call.a_stride, 1) };
            // SAFETY: the caller of a `Micro` guarantees `ROWS` rows of two vectors at `init` and `c`, `ROWS` rows of `depth`
            // floats at `a` (or `depth` rows of `ROWS`), and `depth` rows of two vectors at `b`.
            unsafe {
                for row in 0..ROWS {
                    sums[row][0] = $load(call.init.add(row * call.init_stride));
                    sums[row][1] = $load(call.init.add(row * call.init_stride + $lanes));
                }
                let (mut a, mut b) = (call.a, call.b);
                for _ in 0..call.depth {
                    let (left, right) = ($load(b), $load(b.add($lanes)));
                    for row in 0..ROWS {
                        let x = $broadcast(*a.add(row * across));
                        sums[row][0] = $fma(x, left, sums[row][0]);
                        sums[row][1] = $fma(x, right, sums[row][1]);
                    }
                    a = a.wrapping_add(along);
                    b = b.wrapping_add(call.b_stride);
                }
                for row in 0..ROWS {
                    $store(call.c.add(row * call.c_stride), sums[row][0]);
                    $store(call.c.add(row * call.c_stride + $lanes), sums[row][1]);
                }
            }
        }
    };
}

microkernel!(
    avx2,
    "avx2,fma",
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps
);
microkernel!(
    avx512,
    "avx512f,avx2,fma",
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps
);

/// Columns of a portable tile.
const PORTABLE_COLUMNS: usize = 16;

unsafe fn portable<const ROWS: usize, const TRANSPOSED: bool>(call: &Call) {
    const FMA: bool = cfg!(target_arch = "aarch64");
    let (across, along) = if TRANSPOSED { (1, call.a_stride) } else { (call.a_stride, 1) };
    let mut sums = [[0.0_f32; PORTABLE_COLUMNS]; ROWS];
    // SAFETY: the caller of a `Micro` guarantees `ROWS` rows of a panel's columns at `init` and `c`, `ROWS` rows of `depth` floats
    // at `a` (or `depth` rows of `ROWS`), and `depth` rows of a panel's columns at `b`; unaligned arrays of floats are read and
    // written as such.
    unsafe {
        for (row, sums) in sums.iter_mut().enumerate() {
            *sums = call.init.add(row * call.init_stride).cast::<[f32; PORTABLE_COLUMNS]>().read();
        }
        for step in 0..call.depth {
            let b = call.b.add(step * call.b_stride).cast::<[f32; PORTABLE_COLUMNS]>().read();
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = *call.a.add(row * across + step * along);
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = if FMA { x.mul_add(b, *sum) } else { x * b + *sum };
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            call.c.add(row * call.c_stride).cast::<[f32; PORTABLE_COLUMNS]>().write(*sums);
        }
    }
}

/// The microkernels of a shape, one for each tile height.
macro_rules! heights {
    ($kernel:ident, $transposed:literal, $($rows:literal)+) => { &[$($kernel::<$rows, $transposed>),+] };
}

/// 4 x 16: what 16 or 32 vectors of 128 bits hold.
pub(super) const PORTABLE: Shape = Shape {
    columns: PORTABLE_COLUMNS,
    microkernels: heights!(portable, false, 1 2 3 4),
    transposed: heights!(portable, true, 1 2 3 4),
};

/// 6 x 16: 12 sums, 2 vectors of weights, 1 broadcast of 16 registers.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: Shape = Shape {
    columns: 16,
    microkernels: heights!(avx2, false, 1 2 3 4 5 6),
    transposed: heights!(avx2, true, 1 2 3 4 5 6),
};

/// 12 x 32: 24 sums, 2 vectors of weights, broadcasts from memory, of 32 registers. Taller tiles have been seen to spill.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX512: Shape = Shape {
    columns: 32,
    microkernels: heights!(avx512, false, 1 2 3 4 5 6 7 8 9 10 11 12),
    transposed: heights!(avx512, true, 1 2 3 4 5 6 7 8 9 10 11 12),
};
