//! Means, deviations and the paired bootstrap over test records and over seeds.
//!
//! A **system** is a task trained several times, once per seed, and tested on the same records each time. A replicate draws records
//! and seeds with replacement, the same ones for every system, and computes every system's mean score on them; so what is compared is
//! how systems differ on equal data, and both sources of chance count: which records were tested, and which seeds were trained with
//! (Koehn 2004; Berg-Kirkpatrick et al. 2012; seeds resampled as in Dror et al. 2019). Records that belong together (of one sentence,
//! of one subject) are drawn together, since they are not independent (Cameron et al. 2008).
//!
//! The **p value** of "a is better than b" is the share of replicates in which it is not, `(1 + #{a* ≤ b*}) / (1 + replicates)`:
//! one-sided, never 0. "Better than every control" is tested as the worst p value against one of them (intersection-union test), so
//! that it needs no correction for how many controls there are.

use super::{Metric, Tally};
use kadapter_plugin_api::random::Random;
use std::collections::HashMap;

/// A system's outcomes: per seed, per test record what it adds to the metric's sums. The records are the same for all seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct System {
    /// Per seed, per record.
    pub seeds: Vec<Vec<Tally>>,
}

/// How often, and from which seed, is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Replicates.
    pub replicates: usize,
    /// The seed of the drawing: the same seed gives the same p values.
    pub seed: u64,
}

/// Every system's score in every replicate.
#[derive(Clone, Debug, PartialEq)]
pub struct Replicates(Vec<Vec<f64>>);

/// How two systems differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The mean of the differences over replicates.
    pub mean: f64,
    /// The stretch in which 95 % of them lie.
    pub interval: [f64; 2],
    /// The p value of "the first is better".
    pub p: f64,
}

/// The mean of some numbers; 0 of none.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / count(values.len()) }
}

/// The sample's standard deviation (`n - 1`); 0 of fewer than two.
#[must_use]
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / count(values.len() - 1)).sqrt()
}

/// The number of each record's cluster, counted from 0 in the order in which clusters come.
pub(crate) fn numbered<'a>(clusters: impl Iterator<Item = &'a str>) -> Vec<u32> {
    let mut numbers = HashMap::new();
    clusters
        .map(|cluster| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(cluster).or_insert(next)
        })
        .collect()
}

impl System {
    /// The metric of each seed.
    #[must_use]
    pub fn scores(&self, metric: &Metric) -> Vec<f64> {
        self.seeds.iter().map(|tallies| metric.of_tallies(tallies)).collect()
    }
}

impl Bootstrap {
    /// Draws replicates of systems that were tested on the same records. A system with fewer seeds than another draws from those
    /// that it has. `clusters` has the number, counted from 0, of each record's cluster: those of one are drawn together.
    #[must_use]
    pub fn draw(&self, metric: &Metric, systems: &[System], clusters: &[u32]) -> Replicates {
        let seeds = systems.iter().map(|system| system.seeds.len()).max().unwrap_or(0);
        if seeds == 0 || clusters.is_empty() {
            return Replicates(vec![Vec::new(); systems.len()]);
        }
        let flat: Vec<Vec<Flat>> =
            systems.iter().map(|system| system.seeds.iter().map(|tallies| Flat::of(tallies)).collect()).collect();
        let threads =
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(self.replicates.max(1));
        let share = self.replicates.div_ceil(threads);
        let parts: Vec<Vec<Vec<f64>>> = std::thread::scope(|scope| {
            let part = |thread: usize| {
                let replicates = thread * share..((thread + 1) * share).min(self.replicates);
                let flat = &flat;
                scope.spawn(move || {
                    replicates.map(|replicate| self.replicate(replicate, metric, flat, seeds, clusters)).collect()
                })
            };
            let handles: Vec<_> = (0..threads).map(part).collect();
            handles.into_iter().map(|handle| handle.join().unwrap_or_default()).collect()
        });
        let mut scores = vec![Vec::with_capacity(self.replicates); systems.len()];
        for replicate in parts.into_iter().flatten() {
            for (scores, score) in scores.iter_mut().zip(replicate) {
                scores.push(score);
            }
        }
        Replicates(scores)
    }

    /// Every system's score in one replicate, which depends on its number and the seed alone.
    fn replicate(
        &self,
        number: usize,
        metric: &Metric,
        systems: &[Vec<Flat>],
        seeds: usize,
        clusters: &[u32],
    ) -> Vec<f64> {
        let mut random = Random::named(self.seed, &format!("replicate {number}"));
        let mut below = |limit: usize| {
            // Far fewer than 2^32 records: multiplying is as even as drawing again.
            usize::try_from((u128::from(random.next_u64()) * limit as u128) >> 64).unwrap_or(0)
        };
        let count = clusters.iter().max().map_or(0, |last| *last as usize + 1);
        let mut drawn = vec![0_u32; count];
        (0..count).for_each(|_| drawn[below(count)] += 1);
        let weights: Vec<u32> = clusters.iter().map(|&cluster| drawn[cluster as usize]).collect();
        let mut chosen = vec![0_u32; seeds];
        (0..seeds).for_each(|_| chosen[below(seeds)] += 1);
        let score = |system: &Vec<Flat>| {
            let (mut total, mut times) = (0.0, 0_u32);
            for (seed, &count) in chosen.iter().enumerate().filter(|(_, count)| **count > 0) {
                if let Some(flat) = system.get(seed % system.len().max(1)) {
                    total += f64::from(count) * metric.score(&flat.sums(metric.sums(), &weights));
                    times += count;
                }
            }
            total / f64::from(times.max(1))
        };
        systems.iter().map(score).collect()
    }
}

impl Replicates {
    /// How one system differs from another, by their places.
    #[must_use]
    pub fn difference(&self, first: usize, second: usize) -> Difference {
        let mut differences: Vec<f64> = self.0[first].iter().zip(&self.0[second]).map(|(a, b)| a - b).collect();
        differences.sort_by(f64::total_cmp);
        let not_better = differences.iter().filter(|difference| **difference <= 0.0).count();
        let at = |share: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
            let place = (share * count(differences.len().saturating_sub(1))).round() as usize;
            differences.get(place).copied().unwrap_or(0.0)
        };
        Difference {
            mean: mean(&differences),
            interval: [at(0.025), at(0.975)],
            p: (1.0 + count(not_better)) / (1.0 + count(differences.len())),
        }
    }
}

/// Tallies side by side, so that summing them is one walk through memory.
struct Flat {
    /// Where each record's entries end.
    ends: Vec<u32>,
    entries: Tally,
}

impl Flat {
    fn of(tallies: &[Tally]) -> Self {
        let mut flat = Self { ends: Vec::with_capacity(tallies.len()), entries: Vec::new() };
        for tally in tallies {
            flat.entries.extend(tally.iter().filter(|(_, amount)| *amount != 0.0));
            flat.ends.push(u32::try_from(flat.entries.len()).unwrap_or(u32::MAX));
        }
        flat
    }

    fn sums(&self, length: usize, weights: &[u32]) -> Vec<f64> {
        let mut sums = vec![0.0; length];
        let mut start = 0;
        for (&end, &weight) in self.ends.iter().zip(weights) {
            let end = end as usize;
            if weight > 0 {
                for &(place, amount) in &self.entries[start..end] {
                    sums[place as usize] += f64::from(weight) * amount;
                }
            }
            start = end;
        }
        sums
    }
}

fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::task::Target;

    const BOOTSTRAP: Bootstrap = Bootstrap { replicates: 4000, seed: 1 };

    /// Answers to records of which the class is 0: right ones are 0, wrong ones are 1.
    fn system(seeds: &[Vec<bool>]) -> System {
        let tally = |right: &bool| Metric::Accuracy.tally(&Target::Class(0), &Target::Class(u32::from(!right)));
        System { seeds: seeds.iter().map(|records| records.iter().map(tally).collect()).collect() }
    }

    /// Every record a cluster of its own.
    fn apart(systems: &[System]) -> Vec<u32> {
        (0..).take(systems[0].seeds[0].len()).collect()
    }

    /// Every `n`-th record wrong, from `first` on.
    fn wrong_every(records: usize, n: usize, first: usize) -> Vec<bool> {
        (0..records).map(|record| record % n != first).collect()
    }

    #[test]
    fn means_and_deviations_are_those_of_a_known_sample() {
        let sample = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&sample), 5.0);
        assert!((deviation(&sample) - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!((mean(&[]), deviation(&[]), deviation(&[3.0])), (0.0, 0.0, 0.0));
    }

    #[test]
    fn equal_systems_do_not_differ() {
        let systems = [system(&[wrong_every(200, 4, 0)]), system(&[wrong_every(200, 4, 0)])];
        let difference = BOOTSTRAP.draw(&Metric::Accuracy, &systems, &apart(&systems)).difference(0, 1);
        assert_eq!((difference.mean, difference.interval, difference.p), (0.0, [0.0, 0.0], 1.0));
    }

    /// The standard error of a bootstrapped accuracy is that of the binomial distribution, √(p(1 - p)/n).
    #[test]
    fn the_spread_of_an_accuracy_is_the_binomial_one() {
        let systems = [system(&[wrong_every(400, 4, 0)]), system(&[vec![false; 400]])];
        let replicates = BOOTSTRAP.draw(&Metric::Accuracy, &systems, &apart(&systems));
        let (expected, found) = ((0.75_f64 * 0.25 / 400.0).sqrt(), deviation(&replicates.0[0]));
        assert!((found / expected - 1.0).abs() < 0.05, "{found} {expected}");
        let difference = replicates.difference(0, 1);
        assert!((difference.mean - 0.75).abs() < 2e-3, "{difference:?}");
        let normal = [0.75 - 1.96 * expected, 0.75 + 1.96 * expected];
        for (found, expected) in difference.interval.iter().zip(normal) {
            assert!((found - expected).abs() < 5e-3, "{difference:?}");
        }
        assert!((difference.p - 1.0 / 4001.0).abs() < 1e-12);
    }

    /// Of 300 records the first system has 12 right that the second has wrong, the second 4 that the first has wrong. The sign test's
    /// one-sided p is about 0.038; the bootstrap's is near.
    #[test]
    fn a_paired_difference_has_the_p_value_of_the_sign_test() {
        let first: Vec<bool> = (0..300).map(|record| !(12..16).contains(&record) && record < 250).collect();
        let second: Vec<bool> = (0..300).map(|record| !(0..12).contains(&record) && record < 250).collect();
        let systems = [system(&[first]), system(&[second])];
        let difference = BOOTSTRAP.draw(&Metric::Accuracy, &systems, &apart(&systems)).difference(0, 1);
        assert!((difference.mean - 8.0 / 300.0).abs() < 1e-3, "{difference:?}");
        assert!((0.01..0.06).contains(&difference.p), "{difference:?}");
    }

    /// Seeds that disagree widen the interval: what only one lucky seed shows is not significant.
    #[test]
    fn one_lucky_seed_is_not_enough() {
        let plain = || wrong_every(1000, 4, 0);
        let lucky = system(&[wrong_every(1000, 10, 0), wrong_every(1000, 3, 0), wrong_every(1000, 3, 0)]);
        let steady = system(&[plain(), plain(), plain()]);
        let systems = [lucky, steady.clone()];
        let difference = BOOTSTRAP.draw(&Metric::Accuracy, &systems, &apart(&systems)).difference(0, 1);
        assert!(difference.p > 0.1, "{difference:?}");
        let better = system(&[wrong_every(1000, 5, 0), wrong_every(1000, 5, 0), wrong_every(1000, 5, 0)]);
        let systems = [better, steady];
        let difference = BOOTSTRAP.draw(&Metric::Accuracy, &systems, &apart(&systems)).difference(0, 1);
        assert!(difference.p < 0.01, "{difference:?}");
    }

    #[test]
    fn replicates_depend_on_the_seed_alone_and_seeds_differ() {
        let systems = [system(&[wrong_every(100, 7, 1)]), system(&[wrong_every(100, 6, 2)])];
        let draw = |seed| Bootstrap { replicates: 100, seed }.draw(&Metric::Accuracy, &systems, &apart(&systems));
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    /// Records that are right and wrong together say as much as one of them: ten of each cluster have √10 times the spread.
    #[test]
    fn records_of_a_cluster_count_once() {
        let systems = [system(&[(0..400).map(|record| record / 10 % 4 != 0).collect()])];
        let clusters: Vec<u32> = (0..400).map(|record| record / 10).collect();
        let spread = |clusters: &[u32]| deviation(&BOOTSTRAP.draw(&Metric::Accuracy, &systems, clusters).0[0]);
        let ratio = spread(&clusters) / spread(&apart(&systems));
        assert!((ratio / 10.0_f64.sqrt() - 1.0).abs() < 0.05, "{ratio}");
    }

    /// A metric that is no mean of its records' is computed anew in every replicate.
    #[test]
    fn f1_is_computed_of_resampled_sums() {
        let metric = Metric::MicroF1 { without: Some(0) };
        let tally = |gold, answer| metric.tally(&Target::Class(gold), &Target::Class(answer));
        // 50 right, 25 missed, 25 false alarms, 100 rightly passed over: P = R = 2/3.
        let records = [(1, 1, 50), (1, 0, 25), (0, 1, 25), (0, 0, 100)];
        let tallies: Vec<Tally> =
            records.iter().flat_map(|&(gold, answer, times)| vec![tally(gold, answer); times]).collect();
        let system = System { seeds: vec![tallies] };
        assert!((system.scores(&metric)[0] - 2.0 / 3.0).abs() < 1e-12);
        let systems = [system];
        let replicates = BOOTSTRAP.draw(&metric, &systems, &apart(&systems));
        assert!((mean(&replicates.0[0]) - 2.0 / 3.0).abs() < 5e-3);
        let spread = deviation(&replicates.0[0]);
        assert!((0.03..0.06).contains(&spread), "{spread}");
    }
}
