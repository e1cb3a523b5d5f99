//! The card of a trained adapter, the README of its package: what it is, what it was trained on and how, what it reached, and what
//! it is not for.

mod machine;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use kadapter_registry::Digest;

pub use machine::Machine;

/// Everything that a card says. Texts are Markdown, and end without a full stop where they are one sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedCard {
    /// `namespace/name`.
    pub name: String,
    /// The version of the package.
    pub version: String,
    /// The licence of the weights.
    pub license: String,
    /// One sentence: what kind of knowledge this adapter brings.
    pub summary: String,
    /// The objective, in a paragraph: what was predicted from what.
    pub objective: String,
    /// The frozen backbone.
    pub backbone: Ingredient,
    /// The plugin that implements the adapter and its objective.
    pub plugin: Ingredient,
    /// Numbers that are part of the package, and those that were trained beside them and left behind.
    pub parameters: Parameters,
    /// The data, in the order in which they were read.
    pub data: Vec<Data>,
    /// Hyper-parameters and their values, defaults included.
    pub hyper_parameters: Vec<(String, String)>,
    /// Seeds by what they are for.
    pub seeds: Vec<(String, u64)>,
    /// What was measured in the course of training.
    pub epochs: Vec<Epoch>,
    /// The step whose weights are in the package.
    pub chosen_step: u64,
    /// How long training took, all parts of an interrupted run together.
    pub time: Duration,
    /// Where it was trained.
    pub machine: Machine,
    /// The recipe, as it was read.
    pub recipe: String,
    /// What the adapter is not for, or was not tried on.
    pub limits: Vec<String>,
}

/// A package that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingredient {
    /// `namespace/name`, or the path of a local one.
    pub name: String,
    /// Its version, where it has one.
    pub version: Option<String>,
    /// The digest of its weights or of its library.
    pub digest: Digest,
}

/// Counts of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// In the package.
    pub kept: u64,
    /// Of the objective's head, which is dropped after training.
    pub dropped: u64,
}

/// A data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// What it is for: `train`, `dev`.
    pub role: String,
    /// The file's name, without the place where it happened to lie.
    pub file: String,
    /// Its digest.
    pub digest: Digest,
    /// Its licence.
    pub license: String,
    /// Whom the licence asks to name, and where the data come from.
    pub attribution: String,
    /// Records that were used.
    pub used: u64,
    /// Records that were not, by reason: malformed, a marker lost by truncation, an unknown label.
    pub left_out: Vec<(String, u64)>,
    /// Records that were used and lost a part of themselves, by reason: a text that was cut, a marker in what was cut off.
    pub cut: Vec<(String, u64)>,
}

/// What was measured at the end of an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Epoch {
    /// Passes over the data so far.
    pub epoch: f64,
    /// Updates of the parameters so far.
    pub step: u64,
    /// Mean loss on the training data since the row before.
    pub loss: f64,
    /// Metrics on the dev data by name.
    pub metrics: Vec<(String, f64)>,
}

impl TrainedCard {
    /// The card as Markdown.
    pub fn render(&self) -> String {
        let mut card = String::new();
        // A `String` takes everything.
        let _ = self.write(&mut card);
        card
    }

    fn write(&self, card: &mut String) -> std::fmt::Result {
        writeln!(card, "# {}\n\n{}.\n\n{}\n", self.name, self.summary.trim(), self.objective.trim())?;
        let rows = [
            ("Version", self.version.clone()),
            ("Licence", self.license.clone()),
            ("Backbone", self.backbone.text()),
            ("Plugin", self.plugin.text()),
            ("Parameters", self.parameters.text()),
            ("Trained", format!("{} on {}", duration(self.time), self.machine)),
        ];
        writeln!(card, "| | |\n| --- | --- |")?;
        for (name, value) in rows {
            writeln!(card, "| {name} | {} |", cell(&value))?;
        }
        self.write_data(card)?;
        self.write_training(card)?;
        self.write_metrics(card)?;
        if !self.limits.is_empty() {
            writeln!(card, "\n## Limits\n")?;
            for limit in &self.limits {
                writeln!(card, "- {}", one_line(limit))?;
            }
        }
        let fence = fence(&self.recipe);
        writeln!(card, "\n## Recipe\n\n`kadapter train adapter` made this package from:\n\n{fence}toml")?;
        writeln!(card, "{}\n{fence}", self.recipe.trim_end())
    }

    fn write_data(&self, card: &mut String) -> std::fmt::Result {
        writeln!(card, "\n## Data\n\n| For | File | SHA-256 | Records used | Left out | Licence |")?;
        writeln!(card, "| --- | --- | --- | --: | --: | --- |")?;
        for data in &self.data {
            let left_out: u64 = data.left_out.iter().map(|(_, count)| count).sum();
            let (role, file, license) = (cell(&data.role), cell(&data.file), cell(&data.license));
            let digest = data.digest.hex();
            writeln!(card, "| {role} | {file} | `{digest}` | {} | {left_out} | {license} |", grouped(data.used))?;
        }
        self.write_losses(card, "Records were left out because of:", |data| &data.left_out)?;
        self.write_losses(card, "Of records that were used a part was lost:", |data| &data.cut)?;
        writeln!(card, "\n### Attribution\n")?;
        let mut said = BTreeSet::new();
        for data in &self.data {
            if said.insert(data.attribution.trim()) {
                writeln!(card, "- {}", one_line(&data.attribution))?;
            }
        }
        Ok(())
    }

    /// Counts by reason, of every file that has any.
    fn write_losses(
        &self,
        card: &mut String,
        title: &str,
        counts: impl Fn(&Data) -> &[(String, u64)],
    ) -> std::fmt::Result {
        let mut title = Some(title);
        for data in &self.data {
            for (reason, count) in counts(data).iter().filter(|(_, count)| *count > 0) {
                if let Some(title) = title.take() {
                    writeln!(card, "\n{title}\n")?;
                }
                writeln!(card, "- {} ({}): {count}", one_line(reason), one_line(&data.file))?;
            }
        }
        Ok(())
    }

    fn write_training(&self, card: &mut String) -> std::fmt::Result {
        writeln!(card, "\n## Training\n\n| Hyper-parameter | Value |\n| --- | --- |")?;
        for (name, value) in &self.hyper_parameters {
            writeln!(card, "| {} | {} |", cell(name), cell(value))?;
        }
        for (purpose, seed) in &self.seeds {
            writeln!(card, "| Seed: {} | {seed} |", cell(purpose))?;
        }
        Ok(())
    }

    fn write_metrics(&self, card: &mut String) -> std::fmt::Result {
        writeln!(card, "\n## Metrics\n")?;
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.epochs.iter().flat_map(|epoch| &epoch.metrics) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        if self.epochs.is_empty() {
            return writeln!(card, "Nothing was measured: the recipe names no dev data.");
        }
        let titles: String = names.iter().map(|name| format!(" dev {} |", cell(name))).collect();
        writeln!(card, "| Epoch | Step | Training loss |{titles}")?;
        writeln!(card, "| --: | --: | --: |{}", " --: |".repeat(names.len()))?;
        for epoch in &self.epochs {
            let mark = if epoch.step == self.chosen_step { "**" } else { "" };
            let number = |value: Option<f64>| {
                value.filter(|value| value.is_finite()).map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
            };
            let passes = format!("{:.2}", epoch.epoch);
            let passes = passes.trim_end_matches('0').trim_end_matches('.');
            write!(card, "| {mark}{passes}{mark} | {mark}{}{mark} | {} |", epoch.step, number(Some(epoch.loss)))?;
            for name in &names {
                let value = epoch.metrics.iter().find(|(found, _)| found == name).map(|(_, value)| *value);
                write!(card, " {mark}{}{mark} |", number(value))?;
            }
            writeln!(card)?;
        }
        writeln!(card, "\nThe package has the weights of step {}.", self.chosen_step)
    }
}

impl Ingredient {
    fn text(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        format!("{}{version} (`{}`)", self.name, self.digest)
    }
}

impl Parameters {
    fn text(self) -> String {
        let dropped = if self.dropped > 0 {
            format!("; {} more of the objective's head were dropped after training", grouped(self.dropped))
        } else {
            String::new()
        };
        format!("{}{dropped}", grouped(self.kept))
    }
}

/// Text that stays in its cell of a table.
fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

/// Text that stays on its line.
fn one_line(text: &str) -> String {
    text.trim().replace(['\n', '\r'], " ")
}

/// A fence that the text does not end.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat((longest + 1).max(3))
}

/// Digits in threes.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A time as a person says it.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests;
