//! Sums whose bits do not depend on anything but the values and the order of the ranks.

/// A number that is added up in `f64`.
pub(super) trait Summand: Copy + Default {
    fn widen(self) -> f64;
    fn narrow(sum: f64) -> Self;
}

impl Summand for f32 {
    fn widen(self) -> f64 {
        self.into()
    }

    #[expect(clippy::cast_possible_truncation, reason = "gradients are f32: the sum is rounded once")]
    fn narrow(sum: f64) -> Self {
        sum as Self
    }
}

impl Summand for f64 {
    fn widen(self) -> f64 {
        self
    }

    fn narrow(sum: f64) -> Self {
        sum
    }
}

/// Adds up the parts of all ranks, which lie one after the other in `parts`, in their order.
pub(super) fn in_rank_order<T: Summand>(parts: &[T], sums: &mut [T]) {
    if sums.is_empty() {
        return;
    }
    let length = sums.len();
    for (place, sum) in sums.iter_mut().enumerate() {
        let mut values = parts.iter().skip(place).step_by(length).map(|value| value.widen());
        // Not from zero, which would turn -0 into 0.
        let first = values.next().unwrap_or_default();
        *sum = T::narrow(values.fold(first, |sum, value| sum + value));
    }
}

/// How `length` values are shared out: each of `size` ranks adds up as many, the last ones some that are made up.
#[cfg(any(feature = "mpi", feature = "nccl", test))]
pub(super) fn share(length: usize, size: usize) -> usize {
    length.div_ceil(size.max(1))
}

#[cfg(test)]
mod tests {
    use super::{in_rank_order, share};

    #[test]
    fn each_place_is_added_up_in_order() {
        let mut sums = [0.0_f32; 2];
        in_rank_order(&[1e8, -0.0, 1.0, -0.0, -1e8, -0.0], &mut sums);
        assert_eq!(sums.map(f32::to_bits), [1.0_f32, -0.0].map(f32::to_bits));
        in_rank_order::<f64>(&[], &mut []);
    }

    #[test]
    fn shares_cover_everything() {
        assert_eq!([share(0, 2), share(1, 2), share(4, 2), share(5, 2), share(7, 3)], [0, 1, 2, 3, 3]);
    }
}
