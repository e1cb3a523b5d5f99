//! Settings that are chosen on development data: every combination is trained, the best is kept.

use super::HeadSettings;
use kadapter_registry::package::Fusion;
use serde::Deserialize;

/// Settings that are tried one with another; what is empty stays as `[training]` says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grid {
    /// See [`HeadSettings::learning_rate`].
    pub learning_rate: Vec<f64>,
    /// See [`HeadSettings::penalty`].
    pub penalty: Vec<f64>,
    /// See [`HeadSettings::weight_decay`].
    pub weight_decay: Vec<f64>,
    /// See [`HeadSettings::dropout`].
    pub dropout: Vec<f32>,
    /// See [`HeadSettings::fusion_dropout`].
    pub fusion_dropout: Vec<f32>,
    /// Under `blocks`: gates of each member of the stack, in every combination ([`HeadSettings::gates`]).
    pub gate: Vec<f64>,
}

impl Grid {
    /// Every combination, in a fixed order, for a fusion and a stack of so many members.
    #[must_use]
    pub fn expand(&self, base: &HeadSettings, fusion: Fusion, members: usize) -> Vec<HeadSettings> {
        let mut all = vec![base.clone()];
        each(&mut all, &self.learning_rate, |settings, &value| settings.learning_rate = value);
        each(&mut all, &self.weight_decay, |settings, &value| settings.weight_decay = value);
        each(&mut all, &self.dropout, |settings, &value| settings.dropout = value);
        each(&mut all, &self.fusion_dropout, |settings, &value| settings.fusion_dropout = value);
        if fusion == Fusion::Blocks && !self.gate.is_empty() {
            for member in 0..members {
                each(&mut all, &self.gate, |settings, &value| {
                    settings.gates.truncate(member);
                    settings.gates.push(value);
                });
            }
        }
        // Last, so that solutions of one gate are found one after another.
        each(&mut all, &self.penalty, |settings, &value| settings.penalty = value);
        all
    }
}

fn each<T>(all: &mut Vec<HeadSettings>, values: &[T], set: impl Fn(&mut HeadSettings, &T)) {
    if values.is_empty() {
        return;
    }
    let mut expanded = Vec::with_capacity(all.len() * values.len());
    for settings in all.iter() {
        for value in values {
            let mut settings = settings.clone();
            set(&mut settings, value);
            expanded.push(settings);
        }
    }
    *all = expanded;
}
