//! Functions of one float, written so that a loop over them becomes vector code: no branch, no table, no call.
//!
//! `FMA` says whether a fused multiply-add is one instruction (see [`super::kernel::Vectorised`]). The polynomials are minimax
//! fits of this project's own; errors were measured over dense grids against float64.

/// `a · b + c`.
#[inline(always)]
pub(super) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// A polynomial, coefficients from the constant up.
#[inline(always)]
fn polynomial<const FMA: bool, const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    let mut sum = coefficients[N - 1];
    for &coefficient in coefficients[..N - 1].iter().rev() {
        sum = fma::<FMA>(sum, x, coefficient);
    }
    sum
}

/// `e^x` for `x <= 0`; relative error 2e-7. Exactly 0 below -87.33, where the result is no normal number; NaN stays NaN.
#[inline(always)]
pub(super) fn exp_nonpositive<const FMA: bool>(x: f32) -> f32 {
    const SMALLEST: f32 = -87.33;
    /// Adding it rounds to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts; the first has trailing zeros, so that small multiples are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 7] =
        [1.0, 1.0, 0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_717_5, 0.001_381_463_3];

    let bounded = if x < SMALLEST { SMALLEST } else { x };
    let shifted = fma::<FMA>(bounded, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let rest = fma::<FMA>(whole, -LN_2_LOW, fma::<FMA>(whole, -LN_2_HIGH, bounded));
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let value = polynomial::<FMA, 7>(&COEFFICIENTS, rest) * power;
    if x < SMALLEST { 0.0 } else { value }
}

/// `x/2 · (1 + erf(x/√2))`; absolute error below 6e-7.
#[inline(always)]
pub(super) fn gelu_erf<const FMA: bool>(x: f32) -> f32 {
    x * normal_cdf::<FMA>(x)
}

/// [`gelu_erf`] and its slope `Φ(x) + x · φ(x)`, with the normal distribution `Φ` and its density `φ`; the slope's absolute error
/// is below 1e-6.
#[inline(always)]
pub(super) fn gelu_erf_sloped<const FMA: bool>(x: f32) -> (f32, f32) {
    /// `1 / √(2π)`.
    const DENSITY: f32 = 0.398_942_3;
    let below = normal_cdf::<FMA>(x);
    (x * below, fma::<FMA>(x * DENSITY, exp_nonpositive::<FMA>(-0.5 * x * x), below))
}

/// From here on the upper tail of the normal distribution counts as 0 (it is 1.9e-8).
const END: f32 = 5.5;

/// The share `Φ(x)` of the normal distribution below `x`; absolute error below 1e-7.
#[inline(always)]
fn normal_cdf<const FMA: bool>(x: f32) -> f32 {
    /// The upper tail `erfc(a/√2)/2` as a polynomial in `2a/END - 1`.
    const TAIL: [f32; 16] = [
        0.002_979_768_4,
        -0.025_008_15,
        0.094_558_86,
        -0.206_805_18,
        0.271_867_1,
        -0.177_187_32,
        -0.051_200_867,
        0.218_465_82,
        -0.163_833_26,
        -0.034_738_433,
        0.134_717_17,
        -0.049_781_76,
        -0.044_928_45,
        0.030_994_53,
        0.005_839_199_8,
        -0.005_939_035_7,
    ];
    let size = x.abs();
    let bounded = if size > END { END } else { size };
    let tail = polynomial::<FMA, 16>(&TAIL, fma::<FMA>(bounded, 2.0 / END, -1.0));
    let tail = if size >= END { 0.0 } else { tail };
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    let power = exp_nonpositive::<FMA>(-x.abs());
    let upper = 1.0 / (1.0 + power);
    if x < 0.0 { power * upper } else { upper }
}

/// The tanh approximation of the Gaussian error linear unit: `x/2 · (1 + tanh z) = x · sigmoid(2z)`.
#[inline(always)]
pub(super) fn gelu_tanh<const FMA: bool>(x: f32) -> f32 {
    /// `2 · √(2/π)`.
    const FACTOR: f32 = 1.595_769;
    x * sigmoid::<FMA>(FACTOR * fma::<FMA>(0.044_715 * x * x, x, x))
}

/// The slope of [`gelu_tanh`].
#[inline(always)]
pub(super) fn gelu_tanh_slope<const FMA: bool>(x: f32) -> f32 {
    /// `2 · √(2/π)`.
    const FACTOR: f32 = 1.595_769;
    let square = x * x;
    let share = sigmoid::<FMA>(FACTOR * fma::<FMA>(0.044_715 * square, x, x));
    let inner = FACTOR * fma::<FMA>(0.134_145, square, 1.0);
    share * fma::<FMA>(x * (1.0 - share), inner, 1.0)
}

/// The hyperbolic tangent; relative error below 3e-7.
#[inline(always)]
pub(super) fn tanh<const FMA: bool>(x: f32) -> f32 {
    /// Below this size the quotient of exponentials would cancel.
    const SMALL: f32 = 0.625;
    const COEFFICIENTS: [f32; 5] = [-0.333_332_84, 0.133_314_91, -0.053_743_497, 0.020_650_579, -0.005_717_037];
    let size = x.abs();
    let power = exp_nonpositive::<FMA>(-2.0 * size);
    let large = ((1.0 - power) / (1.0 + power)).copysign(x);
    let square = x * x;
    let small = fma::<FMA>(x * square, polynomial::<FMA, 5>(&COEFFICIENTS, square), x);
    if size < SMALL { small } else { large }
}

/// How many partial sums a reduction keeps: independent of the processor, so that only fusing tells two of them apart.
const LANES: usize = 32;

/// The sum of `term(x)` over a row.
#[inline(always)]
pub(super) fn sum(row: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum = term(*sum, x);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum = term(*sum, x);
    }
    halved(sums)
}

/// The sum of partial sums, halves added to halves.
#[inline(always)]
fn halved(mut sums: [f32; LANES]) -> f32 {
    for half in [16, 8, 4, 2, 1] {
        let (left, right) = sums.split_at_mut(half);
        for (left, right) in left.iter_mut().zip(right) {
            *left += *right;
        }
    }
    sums[0]
}

/// The scalar product of two rows.
#[inline(always)]
pub(super) fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum = fma::<FMA>(a, b, *sum);
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum = fma::<FMA>(a, b, *sum);
    }
    halved(sums)
}

/// The largest value of a row, NaN left out; negative infinity for an empty one.
#[inline(always)]
pub(super) fn maximum(row: &[f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (largest, &x) in largest.iter_mut().zip(chunk) {
            *largest = if x > *largest { x } else { *largest };
        }
    }
    for (largest, &x) in largest.iter_mut().zip(rest) {
        *largest = if x > *largest { x } else { *largest };
    }
    largest.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}
