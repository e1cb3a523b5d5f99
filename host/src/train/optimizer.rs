//! AdamW as the official code computes it, on the device, and clipping by the global norm.
//!
//! ```text
//! m ← β₁ m + (1 - β₁) g        v ← β₂ v + (1 - β₂) g²        t ← t + 1
//! p ← p - lr · √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)         (ε on the uncorrected root)
//! p ← p - lr · decay · p                                      (after the update, of the updated value)
//! ```
//!
//! This is `pytorch_transformers` 1.2's AdamW, not PyTorch's. Each parameter counts its own updates: one without a gradient is left
//! alone, its `t` included.

use crate::tensor::derivatives::{AdamWUpdate, Derivatives};
use crate::tensor::tape::{Gradients, Trainable};
use kadapter_plugin_api::{Error, Result};
use std::fmt;

/// The numbers of [`AdamW`]; the defaults are those of every official script.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// β₁, the share of the first moment that is kept.
    pub beta1: f64,
    /// β₂, the share of the second moment that is kept.
    pub beta2: f64,
    /// ε.
    pub epsilon: f64,
    /// Weight decay; names that contain `bias` or `LayerNorm.weight` do not decay.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// The state of AdamW for one [`Trainable`].
pub struct AdamW<E: Derivatives> {
    config: AdamWConfig,
    moments: Vec<Moments<E>>,
}

struct Moments<E: Derivatives> {
    updates: u64,
    /// First and second; `None` until the first update.
    tensors: Option<[E::Tensor; 2]>,
}

/// What a checkpoint keeps of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterState {
    /// Updates so far.
    pub updates: u64,
    /// The first moment `m`, row-major.
    pub first: Vec<f32>,
    /// The second moment `v`, row-major.
    pub second: Vec<f32>,
}

impl<E: Derivatives> AdamW<E> {
    /// An optimiser that has made no update yet.
    pub fn new(config: AdamWConfig, trainable: &Trainable<E>) -> Self {
        let moments = std::iter::repeat_with(|| Moments { updates: 0, tensors: None }).take(trainable.len()).collect();
        Self { config, moments }
    }

    /// The numbers it was made with.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// One update of every parameter that has a gradient: `rate` is the learning rate, `gradient_scale` what the gradients are
    /// multiplied by first ([`clip_coefficient`], or 1).
    ///
    /// # Errors
    /// When `trainable` is not what the optimiser was made for, or the device fails.
    pub fn update(
        &mut self,
        engine: &E,
        trainable: &Trainable<E>,
        gradients: &Gradients<E>,
        rate: f64,
        gradient_scale: f64,
    ) -> Result<()> {
        self.check(trainable)?;
        for (index, (moments, declared)) in self.moments.iter_mut().zip(trainable.declared()).enumerate() {
            let (Some(gradient), Some(param)) = (gradients.get(trainable, index), trainable.param(index)) else {
                continue;
            };
            let [rows, columns] = engine.shape(gradient);
            let [first, second] = match &mut moments.tensors {
                Some(tensors) => tensors,
                empty => empty.insert([engine.zeros(rows, columns)?, engine.zeros(rows, columns)?]),
            };
            let update = update(&self.config, moments.updates + 1, rate, gradient_scale, decays(&declared.name));
            param.update(|value| engine.adamw(value, first, second, gradient, &update))?;
            moments.updates += 1;
        }
        Ok(())
    }

    /// What a checkpoint keeps, for each parameter in order; `None` for those that had no update yet.
    ///
    /// # Errors
    /// When the device fails.
    pub fn state(&self, engine: &E) -> Result<Vec<Option<ParameterState>>> {
        let read = |moments: &Moments<E>| {
            let Some([first, second]) = &moments.tensors else {
                return Ok(None);
            };
            let (first, second) = (engine.read_f32(first)?, engine.read_f32(second)?);
            Ok(Some(ParameterState { updates: moments.updates, first, second }))
        };
        self.moments.iter().map(read).collect()
    }

    /// Goes on from a checkpoint: what [`AdamW::state`] gave for the same parameters.
    ///
    /// # Errors
    /// When the state is not of these parameters, or the device fails; the optimiser is unchanged then.
    pub fn restore(&mut self, engine: &E, trainable: &Trainable<E>, state: Vec<Option<ParameterState>>) -> Result<()> {
        self.check(trainable)?;
        if state.len() != self.moments.len() {
            return Err(Error::new(format!(
                "the optimiser state has {} parameters, expected {}",
                state.len(),
                self.moments.len()
            )));
        }
        let mut restored = Vec::with_capacity(state.len());
        for (state, declared) in state.into_iter().zip(trainable.declared()) {
            let Some(ParameterState { updates, first, second }) = state else {
                restored.push(Moments { updates: 0, tensors: None });
                continue;
            };
            let [rows, columns] = match *declared.shape {
                [rows, columns] => [rows, columns],
                _ => [1, declared.shape.iter().product()],
            };
            if first.len() != rows * columns || second.len() != rows * columns {
                return Err(Error::shape(format!(
                    "the optimiser state of `{}` has {} and {} values, expected {rows} x {columns}",
                    declared.name,
                    first.len(),
                    second.len()
                )));
            }
            let tensors = [engine.from_f32(rows, columns, first)?, engine.from_f32(rows, columns, second)?];
            restored.push(Moments { updates, tensors: Some(tensors) });
        }
        self.moments = restored;
        Ok(())
    }

    fn check(&self, trainable: &Trainable<E>) -> Result<()> {
        if trainable.len() == self.moments.len() {
            Ok(())
        } else {
            Err(Error::new(format!(
                "the optimiser was made for {} parameters, found {}",
                self.moments.len(),
                trainable.len()
            )))
        }
    }
}

impl<E: Derivatives> fmt::Debug for AdamW<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AdamW")
            .field("config", &self.config)
            .field("parameters", &self.moments.len())
            .finish_non_exhaustive()
    }
}

/// What clipping multiplies gradients by: `largest / (norm + 1e-6)` if that is below 1, else 1 (PyTorch's `clip_grad_norm_`).
pub fn clip_coefficient(norm: f64, largest: f64) -> f64 {
    (largest / (norm + 1e-6)).min(1.0)
}

/// Whether weight decay applies to a parameter of this name.
pub fn decays(name: &str) -> bool {
    !name.contains("bias") && !name.contains("LayerNorm.weight")
}

#[expect(clippy::cast_possible_truncation, reason = "the device computes in f32")]
fn update(config: &AdamWConfig, time: u64, rate: f64, gradient_scale: f64, decays: bool) -> AdamWUpdate {
    let time = i32::try_from(time).unwrap_or(i32::MAX);
    let (beta1, beta2) = (config.beta1, config.beta2);
    AdamWUpdate {
        gradient_scale: gradient_scale as f32,
        beta1: beta1 as f32,
        beta2: beta2 as f32,
        first_share: (1.0 - beta1) as f32,
        second_share: (1.0 - beta2) as f32,
        epsilon: config.epsilon as f32,
        step: (rate * (1.0 - beta2.powi(time)).sqrt() / (1.0 - beta1.powi(time))) as f32,
        decay: if decays { (rate * config.weight_decay) as f32 } else { 0.0 },
    }
}

#[cfg(test)]
mod tests;
