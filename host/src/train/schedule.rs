//! The learning rate of each update: linear warm-up, then linear decay to zero (official `WarmupLinearSchedule`).

/// `k / warmup` while `k < warmup`, then `(total - k) / (total - warmup)`, never below 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearSchedule {
    /// The highest learning rate.
    pub peak: f64,
    /// Updates until the peak is reached.
    pub warmup: u64,
    /// Updates until the rate is zero.
    pub total: u64,
    /// Which factor an update uses.
    pub index: ScheduleIndex,
}

/// Which factor `λ` the `k`-th update uses, `k` counted from 1. The official scripts differ: those that step the schedule before the
/// optimiser use `λ(k)`, the others `λ(k - 1)`, so that with warm-up their first update has rate 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScheduleIndex {
    /// `λ(k)`: pre-training, FIGER, `CosmosQA`.
    #[default]
    ScheduleFirst,
    /// `λ(k - 1)`: TACRED, `OpenEntity`.
    OptimizerFirst,
}

impl LinearSchedule {
    /// The learning rate of an update, the first being number 1.
    pub fn rate(&self, update: u64) -> f64 {
        let step = match self.index {
            ScheduleIndex::ScheduleFirst => update,
            ScheduleIndex::OptimizerFirst => update.saturating_sub(1),
        };
        self.peak * self.factor(step)
    }

    /// The factor `λ(k)`.
    #[expect(clippy::cast_precision_loss, reason = "numbers of updates are far below 2^53")]
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            step as f64 / self.warmup.max(1) as f64
        } else {
            self.total.saturating_sub(step) as f64 / self.total.saturating_sub(self.warmup).max(1) as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: LinearSchedule =
        LinearSchedule { peak: 0.001, warmup: 2, total: 6, index: ScheduleIndex::ScheduleFirst };

    /// The rates that the official `fac-adapter.py` used (recorded with it: warm-up 2, 6 updates, peak 0.001).
    #[test]
    fn follows_the_official_pretraining_script() {
        let rates: Vec<f64> = (1..=6).map(|update| SCHEDULE.rate(update)).collect();
        assert_eq!(rates, [0.0005, 0.001, 0.00075, 0.0005, 0.00025, 0.0]);
    }

    #[test]
    fn the_other_order_starts_at_zero() {
        let schedule = LinearSchedule { index: ScheduleIndex::OptimizerFirst, ..SCHEDULE };
        let rates: Vec<f64> = (1..=6).map(|update| schedule.rate(update)).collect();
        assert_eq!(rates, [0.0, 0.0005, 0.001, 0.00075, 0.0005, 0.00025]);
    }

    #[test]
    fn without_warmup_it_only_falls_and_stays_at_zero() {
        let schedule = LinearSchedule { warmup: 0, ..SCHEDULE };
        assert_eq!(schedule.factor(0), 1.0);
        assert_eq!(schedule.factor(6), 0.0);
        assert_eq!(schedule.factor(100), 0.0);
        let all_warmup = LinearSchedule { warmup: 6, ..SCHEDULE };
        assert_eq!(all_warmup.factor(6), 0.0, "no division by zero");
    }
}
