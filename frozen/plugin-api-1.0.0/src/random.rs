//! Reproducible initial values: the same name and seed give the same numbers on every machine.

use crate::{Init, ParamSpec};

/// SplitMix64: tiny, fast and good enough to initialise weights.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream for one named thing under a seed, independent of the order in which things are made.
    #[must_use]
    pub fn named(seed: u64, name: &str) -> Self {
        // FNV-1a
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self(seed ^ hash)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `[0, 1)`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// The initial values of a declared parameter, row-major.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "parameters are f32")]
pub fn initial_values(spec: &ParamSpec, seed: u64) -> Vec<f32> {
    let mut random = Random::named(seed, spec.name());
    let count = spec.shape().iter().product();
    match spec.init() {
        Init::Constant(value) => vec![value; count],
        Init::Normal(deviation) => (0..count).map(|_| (random.normal() * f64::from(deviation)) as f32).collect(),
        Init::Uniform(bound) => {
            (0..count).map(|_| ((2.0 * random.uniform() - 1.0) * f64::from(bound)) as f32).collect()
        }
    }
}
