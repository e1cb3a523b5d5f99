//! How a head is trained.

use super::Error;
use crate::train::optimizer::AdamWConfig;
use crate::train::schedule::ScheduleIndex;
use serde::{Deserialize, Serialize};

/// How a head is trained; the defaults are for frozen features, the official scripts' numbers are for a backbone that trains too
/// (spec section 5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadSettings {
    /// How the head is found.
    pub solver: Solver,
    /// `ridge`'s λ, by which squared weights count beside the mean squared error.
    pub penalty: f64,
    /// Records in a batch.
    pub batch: usize,
    /// Times that every record is seen.
    pub epochs: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// The share of the updates in which the rate rises to it; it falls to 0 over the rest.
    pub warmup: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// AdamW's β₁ and β₂.
    pub betas: [f64; 2],
    /// AdamW's ε.
    pub epsilon: f64,
    /// The largest norm of all gradients together; none where it is not clipped.
    pub clip: Option<f64>,
    /// Dropout before the head's last layer.
    pub dropout: f32,
    /// Dropout of what goes into the fusion's layers.
    pub fusion_dropout: f32,
    /// Whether the scales of `blocks` and the norms of `gated` come from the training data: mean 0 and deviation 1 in every column.
    pub standardise: bool,
    /// Under `blocks`, how far each member of the stack is let in, a factor of its scales: 0 not at all. The last stands for the
    /// members behind it; all 1 where there is none.
    pub gates: Vec<f64>,
    /// Where several combinations of gates are tried: how sure development data must be that the best head with more open gates is
    /// better than the best with fewer, a share of bootstrap replicates up to 0.999. 0: the highest score is taken, by chance or not.
    pub gate_confidence: f64,
    /// Epochs without a better dev score after which training stops; to the end where there is none.
    pub patience: Option<usize>,
    /// Whether the first update has rate 0, as in the official scripts for TACRED and OpenEntity (spec section 3.3).
    pub optimizer_first: bool,
}

/// How a head is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// By gradient steps on the official loss.
    #[default]
    Adamw,
    /// In closed form, by ridge regression onto the right answers: for heads of one layer under `blocks`. The other settings but
    /// `penalty`, `standardise` and `gates` do not count.
    Ridge,
}

impl Default for HeadSettings {
    fn default() -> Self {
        Self {
            solver: Solver::Adamw,
            penalty: 0.1,
            batch: 32,
            epochs: 20,
            learning_rate: 1e-3,
            warmup: 0.06,
            weight_decay: 0.01,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            clip: Some(1.0),
            dropout: 0.1,
            fusion_dropout: 0.0,
            standardise: true,
            gates: Vec::new(),
            gate_confidence: 0.0,
            patience: Some(5),
            optimizer_first: false,
        }
    }
}

impl HeadSettings {
    /// Refuses numbers that nothing can be trained with.
    ///
    /// # Errors
    /// Names the first such number.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |name, found: String, expected| Err(Error::Setting { name, found, expected });
        let share = |value: f64| (0.0..1.0).contains(&value);
        if self.batch == 0 {
            return refuse("batch", "0".into(), "at least 1");
        }
        if !(self.penalty.is_finite() && self.penalty > 0.0) {
            return refuse("penalty", self.penalty.to_string(), "a number above 0");
        }
        if self.epochs == 0 {
            return refuse("epochs", "0".into(), "at least 1");
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return refuse("learning_rate", self.learning_rate.to_string(), "a number above 0");
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return refuse("warmup", self.warmup.to_string(), "a share from 0 to 1");
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return refuse("weight_decay", self.weight_decay.to_string(), "a number from 0 on");
        }
        if !self.betas.iter().all(|&beta| share(beta)) {
            return refuse("betas", format!("{:?}", self.betas), "two numbers from 0 to below 1");
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return refuse("epsilon", self.epsilon.to_string(), "a number above 0");
        }
        if self.clip.is_some_and(|clip| !(clip.is_finite() && clip > 0.0)) {
            return refuse("clip", format!("{:?}", self.clip), "a number above 0");
        }
        if !self.gates.iter().all(|gate| gate.is_finite() && *gate >= 0.0) {
            return refuse("gates", format!("{:?}", self.gates), "numbers from 0 on");
        }
        if !(0.0..=0.999).contains(&self.gate_confidence) {
            return refuse("gate_confidence", self.gate_confidence.to_string(), "a share from 0 to 0.999");
        }
        for (name, value) in [("dropout", self.dropout), ("fusion_dropout", self.fusion_dropout)] {
            if !share(f64::from(value)) {
                return refuse(name, value.to_string(), "a probability from 0 to below 1");
            }
        }
        Ok(())
    }

    /// How many of so many members are let in.
    pub(super) fn open_gates(&self, members: usize) -> usize {
        (0..members).filter(|&member| self.gate_of(member) > 0.0).count()
    }

    pub(super) fn gate_of(&self, member: usize) -> f64 {
        self.gates.get(member).or(self.gates.last()).copied().unwrap_or(1.0)
    }

    pub(super) fn adamw(&self) -> AdamWConfig {
        let [beta1, beta2] = self.betas;
        AdamWConfig { beta1, beta2, epsilon: self.epsilon, weight_decay: self.weight_decay }
    }

    pub(super) fn schedule_index(&self) -> ScheduleIndex {
        if self.optimizer_first { ScheduleIndex::OptimizerFirst } else { ScheduleIndex::ScheduleFirst }
    }
}
