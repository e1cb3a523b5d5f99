//! Between the bytes of a file and `f32`.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use kadapter_registry::tensors::Dtype;

use super::error::Error;

/// Values converted at a time: their 16-bit copy stays in the first-level cache.
const BLOCK: usize = 2048;
/// The exponent bits, all set in infinities and NaNs alone.
const EXPONENT_32: u32 = 0x7f80_0000;
const EXPONENT_F16: u16 = 0x7c00;
const EXPONENT_BF16: u16 = 0x7f80;

/// Whether weights may have this type.
#[must_use]
pub fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64)
}

/// Appends the values in `bytes` (little-endian, whole values) to `values`, which holds the tensor's values before them.
///
/// `tensor` names the tensor in errors.
///
/// # Errors
///
/// [`Error::NotFloat`] by type, [`Error::NotFinite`] by value (also for an F64 that is infinite as `f32`).
pub fn decode_f32(tensor: &str, dtype: Dtype, bytes: &[u8], values: &mut Vec<f32>) -> Result<(), Error> {
    let first = values.len();
    let finite = match dtype {
        Dtype::F32 => {
            values.extend(bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)));
            false
        }
        Dtype::F16 => {
            decode_halves(bytes, values, EXPONENT_F16, f16::from_bits, HalfFloatSliceExt::convert_to_f32_slice)
        }
        Dtype::BF16 => {
            decode_halves(bytes, values, EXPONENT_BF16, bf16::from_bits, HalfFloatSliceExt::convert_to_f32_slice)
        }
        #[expect(clippy::cast_possible_truncation, reason = "computing is done in f32")]
        Dtype::F64 => {
            values.extend(bytes.as_chunks().0.iter().map(|&chunk| f64::from_le_bytes(chunk) as f32));
            false
        }
        found => return Err(Error::NotFloat { tensor: tensor.to_owned(), found }),
    };
    // 16-bit values were checked as they were, at half the cost; when one is not finite, this finds it.
    if finite { Ok(()) } else { check_finite(tensor, first, &values[first..]) }
}

/// Converts 16-bit values block by block, so that `half` can use the CPU's own conversion. Tells whether all are finite.
fn decode_halves<T: Copy + Default>(
    bytes: &[u8],
    values: &mut Vec<f32>,
    exponent: u16,
    load: impl Fn(u16) -> T,
    convert: impl Fn(&[T], &mut [f32]),
) -> bool {
    let (chunks, _) = bytes.as_chunks::<2>();
    let mut halves = [T::default(); BLOCK];
    let mut infinite = 0;
    for block in chunks.chunks(BLOCK) {
        for (half, chunk) in halves.iter_mut().zip(block) {
            let bits = u16::from_le_bytes(*chunk);
            infinite |= u16::from(bits & exponent == exponent);
            *half = load(bits);
        }
        let start = values.len();
        values.resize(start + block.len(), 0.0);
        convert(&halves[..block.len()], &mut values[start..]);
    }
    infinite == 0
}

/// Checks that every value is finite; `first` is the index of the first one in its tensor.
///
/// # Errors
///
/// [`Error::NotFinite`] with the first value that is not.
pub fn check_finite(tensor: &str, first: usize, values: &[f32]) -> Result<(), Error> {
    for (block, start) in values.chunks(BLOCK).zip((first..).step_by(BLOCK)) {
        // Without an early exit, so that it is computed many values at a time.
        let infinite =
            block.iter().fold(0, |infinite, value| infinite | u32::from(value.to_bits() & EXPONENT_32 == EXPONENT_32));
        if infinite != 0
            && let Some((offset, &value)) = block.iter().enumerate().find(|(_, value)| !value.is_finite())
        {
            return Err(Error::NotFinite { tensor: tensor.to_owned(), index: start + offset, value });
        }
    }
    Ok(())
}

/// Appends `values` to `bytes` as `dtype` (F32, F16, BF16 or F64), little-endian, rounded to nearest even.
///
/// `first` is the index of the first value in its tensor.
///
/// # Errors
///
/// [`Error::OutOfRange`] for a finite value that becomes infinite, [`Error::NotFloat`].
pub fn encode_f32(tensor: &str, dtype: Dtype, first: usize, values: &[f32], bytes: &mut Vec<u8>) -> Result<(), Error> {
    let fits = |wide: f32, narrow: bool, index: usize| {
        if narrow || !wide.is_finite() {
            Ok(())
        } else {
            Err(Error::OutOfRange { tensor: tensor.to_owned(), index: first + index, value: wide, dtype })
        }
    };
    bytes.reserve(values.len() * dtype.size());
    match dtype {
        Dtype::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Dtype::F64 => bytes.extend(values.iter().flat_map(|value| f64::from(*value).to_le_bytes())),
        Dtype::F16 => {
            for (index, &value) in values.iter().enumerate() {
                let half = f16::from_f32(value);
                fits(value, half.is_finite(), index)?;
                bytes.extend(half.to_le_bytes());
            }
        }
        Dtype::BF16 => {
            for (index, &value) in values.iter().enumerate() {
                let half = bf16::from_f32(value);
                fits(value, half.is_finite(), index)?;
                bytes.extend(half.to_le_bytes());
            }
        }
        found => return Err(Error::NotFloat { tensor: tensor.to_owned(), found }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        // Exact in every type; more than a block, so that the seams are seen.
        let values: Vec<f32> = (0..5000_i16).map(|index| f32::from(index % 255 - 127) / 8.0).collect();
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
            let mut bytes = Vec::new();
            encode_f32("x", dtype, 0, &values, &mut bytes).unwrap();
            assert_eq!(bytes.len(), values.len() * dtype.size());
            let mut back = Vec::new();
            decode_f32("x", dtype, &bytes, &mut back).unwrap();
            assert_eq!(back, values, "{dtype}");
        }
    }

    /// Every half there is, against the definition: sign, 2^exponent, fraction.
    #[test]
    fn halves_are_read_by_the_book() {
        let finite: Vec<u16> = (0..=u16::MAX).filter(|bits| bits & EXPONENT_F16 != EXPONENT_F16).collect();
        let bytes: Vec<u8> = finite.iter().copied().flat_map(u16::to_le_bytes).collect();
        let mut found = Vec::new();
        decode_f32("x", Dtype::F16, &bytes, &mut found).unwrap();
        for (bits, value) in finite.into_iter().zip(found) {
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 0x3ff) / 1024.0);
            let magnitude = match exponent {
                0 => fraction * 2.0_f32.powi(-14),
                _ => (1.0 + fraction) * 2.0_f32.powi(exponent - 15),
            };
            let expected = if bits >> 15 == 1 { -magnitude } else { magnitude };
            assert_eq!(value.to_bits(), expected.to_bits(), "{bits:#06x}");
        }
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let mut values = vec![1.0; 5000];
        check_finite("x", 0, &values).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            values[4321] = bad;
            let error = check_finite("x", 7, &values).unwrap_err();
            match error {
                Error::NotFinite { index, value, .. } => {
                    assert_eq!((index, value.to_bits()), (4328, bad.to_bits()));
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn halves_that_are_not_finite_are_named() {
        for (dtype, bits) in
            [(Dtype::F16, 0x7c00_u16), (Dtype::F16, 0xfe00), (Dtype::BF16, 0xff80), (Dtype::BF16, 0x7fc0)]
        {
            let mut bytes = vec![0; 10_000];
            bytes[8000..8002].copy_from_slice(&bits.to_le_bytes());
            let error = decode_f32("x", dtype, &bytes, &mut vec![0.0; 3]).unwrap_err();
            assert!(matches!(error, Error::NotFinite { index: 4003, .. }), "{error}");
        }
        let error = decode_f32("x", Dtype::F64, &1e300_f64.to_le_bytes(), &mut Vec::new()).unwrap_err();
        assert!(matches!(error, Error::NotFinite { index: 0, .. }), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut bytes = Vec::new();
        let error = encode_f32("x", Dtype::F16, 10, &[1.0, 70_000.0], &mut bytes).unwrap_err();
        insta::assert_snapshot!(error, @"Tensor `x` has the value 70000 at index 11, which F16 cannot hold");
        assert!(encode_f32("x", Dtype::BF16, 0, &[f32::MAX], &mut bytes).is_err());
        assert!(encode_f32("x", Dtype::I64, 0, &[1.0], &mut bytes).is_err());
        assert!(decode_f32("x", Dtype::I64, &[0; 8], &mut Vec::new()).is_err());
    }
}
