//! Strided windows on a storage: checked against it, and made contiguous.

use super::error::Error;
use super::value::{StorageMention, TensorMention};

/// Where a tensor's values lie in its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// First byte, counted from the start of the storage.
    pub(super) start: u64,
    /// Bytes from the first to the last value; 0 for an empty tensor.
    pub(super) span: u64,
    /// Values of the tensor.
    pub(super) count: u64,
    /// The values lie side by side in row-major order.
    pub(super) contiguous: bool,
}

/// Bytes of the whole storage.
pub(super) fn storage_bytes(storage: &StorageMention<'_>) -> Option<u64> {
    storage.length.checked_mul(unit(storage))
}

/// Bytes of one element of the storage; untyped storages count bytes.
fn unit(storage: &StorageMention<'_>) -> u64 {
    storage.dtype.map_or(1, |dtype| dtype.size() as u64)
}

/// Checks a tensor against its storage.
///
/// # Errors
///
/// [`Error::OutsideStorage`] when any value lies outside, or when the tensor has more values than the storage (an
/// `expand`ed tensor is the only honest way to get there, and lets a small file claim any amount of memory).
pub(super) fn window(name: &str, tensor: &TensorMention, storage: &StorageMention<'_>) -> Result<Window, Error> {
    let outside = |what: &str| Error::OutsideStorage { tensor: name.to_owned(), what: what.to_owned() };
    let overflow = || outside("its size is not a number that any file has");
    let size = tensor.dtype.size() as u64;
    let visible = storage.visible.checked_mul(unit(storage)).ok_or_else(overflow)?;

    let count = tensor.shape.iter().try_fold(1_u64, |count, &length| count.checked_mul(length)).ok_or_else(overflow)?;
    if count.checked_mul(size).ok_or_else(overflow)? > visible {
        return Err(outside(&format!("it has {count} values of {size} bytes, the storage {visible} bytes")));
    }
    let first = tensor.offset.checked_mul(size).ok_or_else(overflow)?;
    let last = (count > 0)
        .then(|| {
            tensor.shape.iter().zip(&tensor.strides).try_fold(0_u64, |last, (&length, &stride)| {
                last.checked_add(length.saturating_sub(1).checked_mul(stride)?)
            })
        })
        .map(|last| last.ok_or_else(overflow))
        .transpose()?;
    let span = match last {
        Some(last) => last.checked_add(1).and_then(|values| values.checked_mul(size)).ok_or_else(overflow)?,
        None => 0,
    };
    let end = first.checked_add(span).ok_or_else(overflow)?;
    if end > visible {
        return Err(outside(&format!("it reaches to byte {end}, the storage has {visible}")));
    }
    let start =
        storage.start.checked_mul(unit(storage)).and_then(|start| start.checked_add(first)).ok_or_else(overflow)?;
    Ok(Window { start, span, count, contiguous: is_contiguous(&tensor.shape, &tensor.strides) })
}

/// Whether the strides are those of a row-major array; dimensions of length 1 may have any.
fn is_contiguous(shape: &[u64], strides: &[u64]) -> bool {
    let mut expected = 1_u64;
    shape.iter().zip(strides).rev().all(|(&length, &stride)| {
        let fits = length == 1 || stride == expected;
        expected = expected.saturating_mul(length);
        fits
    })
}

/// Copies the values of a window in row-major order: `source` is the window's span, `size` the bytes of a value.
///
/// `None` when a value lies outside `source`, which [`window`] has ruled out.
pub(super) fn gather(tensor: &TensorMention, size: usize, source: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let shape: Vec<usize> = tensor.shape.iter().map(|&length| usize::try_from(length).ok()).collect::<Option<_>>()?;
    let strides: Vec<usize> =
        tensor.strides.iter().map(|&stride| usize::try_from(stride).ok()).collect::<Option<_>>()?;
    if shape.contains(&0) {
        return Some(());
    }
    let mut index = vec![0_usize; shape.len()];
    loop {
        let element: usize = index.iter().zip(&strides).map(|(index, stride)| index * stride).sum();
        out.extend_from_slice(source.get(element * size..)?.get(..size)?);
        // Counts up like an odometer, last dimension first.
        let mut dimension = shape.len();
        loop {
            let Some(next) = dimension.checked_sub(1) else { return Some(()) };
            dimension = next;
            index[dimension] += 1;
            if index[dimension] < shape[dimension] {
                break;
            }
            index[dimension] = 0;
        }
    }
}
