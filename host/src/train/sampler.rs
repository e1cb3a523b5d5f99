//! The order of examples: permutations and batches that the seed and the epoch decide, and nothing else.

use kadapter_plugin_api::random::Random;

/// Batches whose examples are sorted by length together, so that a batch has similar lengths and epochs still differ.
const BATCHES_PER_BUCKET: usize = 64;

/// How examples become batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// What the order comes from.
    pub seed: u64,
    /// Examples of a batch.
    pub batch: usize,
    /// Whether examples of similar length go into one batch.
    pub bucket: bool,
}

impl Sampler {
    /// Updates of an epoch.
    pub fn batches(&self, examples: usize) -> usize {
        examples.div_ceil(self.batch.max(1))
    }

    /// The batches of an epoch, each the numbers of its examples; `lengths` are their tokens. Every example is in exactly one.
    pub fn epoch(&self, epoch: usize, lengths: &[u32]) -> Vec<Vec<u32>> {
        let mut random = Random::named(self.seed, &format!("epoch {epoch}"));
        let mut order: Vec<u32> = (0..u32::try_from(lengths.len()).unwrap_or(u32::MAX)).collect();
        shuffle(&mut order, &mut random);
        let batch = self.batch.max(1);
        if !self.bucket {
            return order.chunks(batch).map(<[u32]>::to_vec).collect();
        }
        let mut batches: Vec<Vec<u32>> = Vec::with_capacity(self.batches(lengths.len()));
        for bucket in order.chunks_mut(batch * BATCHES_PER_BUCKET) {
            // Stable, so that equal lengths stay in the order of the permutation.
            bucket.sort_by_key(|&example| lengths[example as usize]);
            batches.extend(bucket.chunks(batch).map(<[u32]>::to_vec));
        }
        shuffle(&mut batches, &mut random);
        batches
    }
}

/// Fisher and Yates.
pub fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        // Of 2^64 values the remainder's bias is far below anything that shows.
        let other = usize::try_from(random.next_u64() % (last as u64 + 1)).unwrap_or(0);
        items.swap(last, other);
    }
}

/// The examples of a batch that a process computes: every `size`-th, so that lengths are spread evenly.
pub fn share(batch: &[u32], rank: usize, size: usize) -> Vec<u32> {
    batch.iter().copied().skip(rank).step_by(size.max(1)).collect()
}

/// Cuts what a process computes into `parts` of similar size; none is empty.
pub fn parts(examples: &[u32], parts: usize) -> Vec<&[u32]> {
    if examples.is_empty() {
        return Vec::new();
    }
    examples.chunks(examples.len().div_ceil(parts.max(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_example_is_in_one_batch(
            lengths in proptest::collection::vec(1_u32..100, 1..500),
            batch in 1_usize..40,
            bucket: bool,
            size in 1_usize..5,
        ) {
            let sampler = Sampler { seed: 7, batch, bucket };
            let batches = sampler.epoch(3, &lengths);
            prop_assert_eq!(batches.len(), sampler.batches(lengths.len()));
            let mut seen: Vec<u32> = batches
                .iter()
                .flat_map(|batch| (0..size).flat_map(|rank| share(batch, rank, size)).collect::<Vec<_>>())
                .collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
            prop_assert_eq!(batches, sampler.epoch(3, &lengths));
        }
    }

    #[test]
    fn seeds_and_epochs_differ() {
        let lengths = vec![5; 100];
        let sampler = |seed| Sampler { seed, batch: 10, bucket: true };
        assert_ne!(sampler(1).epoch(0, &lengths), sampler(2).epoch(0, &lengths));
        assert_ne!(sampler(1).epoch(0, &lengths), sampler(1).epoch(1, &lengths));
    }

    #[test]
    fn buckets_keep_lengths_together() {
        let lengths: Vec<u32> = (0..640).map(|example| example * 37 % 101 + 1).collect();
        let spread = |bucket| -> u32 {
            let sampler = Sampler { seed: 1, batch: 32, bucket };
            let of = |batch: &Vec<u32>| {
                let of_batch = || batch.iter().map(|&example| lengths[example as usize]);
                of_batch().max().unwrap_or(0) - of_batch().min().unwrap_or(0)
            };
            sampler.epoch(0, &lengths).iter().map(of).sum()
        };
        assert!(spread(true) * 4 < spread(false));
    }
}
