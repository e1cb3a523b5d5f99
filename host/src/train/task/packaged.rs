//! Heads as the pipeline runs them: over the adapters' features themselves.

use super::{Member, TrainedHead};

impl TrainedHead {
    /// The same head with [`Member::Adapter`] in place of [`Member::Learned`]. What reads `a - Σ h_t` reads `a`, and the first layer's
    /// weights of the blocks `h_t` make up for it, so that every logit stays:
    ///
    /// ```text
    /// W_t S_t(h) + W_p S_p(a - h)  =  (W_t - D) S_t(h) + W_p S_p(a) + D · shift_t        D = W_p ⊙ scale_p / scale_t
    /// ```
    #[must_use]
    pub fn packaged(&self) -> Self {
        let mut head = self.clone();
        let (hidden, width) = (self.spec.hidden, self.spec.width());
        let layer = if self.spec.head.dense { "head.dense" } else { "head.out" };
        let values = |head: &Self, name: &str| {
            let found = head.parameters.iter().find(|(declared, _)| declared.name == name);
            found.map(|(_, values)| values.clone()).unwrap_or_default()
        };
        for (place, member) in self.spec.stack.iter().enumerate() {
            let Member::Learned { name, taps } = member else { continue };
            head.spec.stack[place] = Member::Adapter(name.clone());
            let own_block = 1 + self.spec.taps.len() + place;
            let own_scale = values(self, &format!("fusion.{name}.weight"));
            for tap in taps {
                let Some(at) = self.spec.taps.iter().position(|own| own == tap) else { continue };
                let tap_block = 1 + at;
                let scale = values(self, &format!("fusion.states.{tap}.weight"));
                let shift = values(self, &format!("fusion.states.{tap}.bias"));
                let (mut weight, mut bias) =
                    (values(&head, &format!("{layer}.weight")), values(&head, &format!("{layer}.bias")));
                let inputs = self.spec.head.reads_per_unit * width;
                for (row, bias) in weight.chunks_exact_mut(inputs).zip(&mut bias) {
                    for read in row.chunks_exact_mut(width) {
                        for column in 0..hidden {
                            let moved = read[own_block * hidden + column] * own_scale[column] / scale[column];
                            read[tap_block * hidden + column] -= moved;
                            *bias += moved * shift[column];
                        }
                    }
                }
                for (declared, values) in &mut head.parameters {
                    if declared.name == format!("{layer}.weight") {
                        *values = std::mem::take(&mut weight);
                    } else if declared.name == format!("{layer}.bias") {
                        *values = std::mem::take(&mut bias);
                    }
                }
            }
        }
        head
    }
}
