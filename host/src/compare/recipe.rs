//! What is compared: the recipe of `kadapter compare`.
//!
//! ```toml
//! [registries] … [backbone] … [adapters] …       # as in a manifest
//!
//! [compare]
//! seeds = 5
//! fractions = [1.0, 0.1]
//!
//! [training]                                     # of every head; a task may say otherwise
//! epochs = 20
//! [grid]                                         # tried one with another, the best on development data is taken
//! weight_decay = [0.01, 0.1]
//!
//! [[conditions]]
//! name = "factual"
//! stack = ["factual"]
//! fusion = "blocks"
//! taps = [0, 3, 5]
//! [[conditions]]
//! control = "taps"                               # the name is the control's where none is given
//! stack = ["factual"]
//! fusion = "blocks"
//! taps = [0, 3, 5]
//!
//! [tasks.semeval]
//! kind = "relation-classification"
//! train = "train.txt.xz"
//! dev = { share = 0.1 }
//! test = "test.txt.xz"
//! ```

use crate::train::task::{Error, Grid, HeadSettings, LessTaps, TaskRecipe};
use kadapter_registry::Alias;
use kadapter_registry::package::Fusion;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A recipe of a comparison.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// How often and on how much.
    #[serde(default)]
    pub compare: Extent,
    /// What `--quick` changes.
    #[serde(default)]
    pub quick: Quick,
    /// How heads are trained.
    #[serde(default)]
    pub training: HeadSettings,
    /// Settings that are tried one with another.
    #[serde(default)]
    pub grid: Grid,
    /// What is compared.
    pub conditions: Vec<ConditionRecipe>,
    /// What it is compared on.
    pub tasks: BTreeMap<String, TaskRecipe>,
    #[serde(default, rename = "project")]
    _project: IgnoredAny,
    #[serde(rename = "registries")]
    _registries: IgnoredAny,
    #[serde(rename = "backbone")]
    _backbone: IgnoredAny,
    #[serde(default, rename = "adapters")]
    _adapters: IgnoredAny,
}

/// How often and on how much.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extent {
    /// The seeds, or how many: 1, 2, …
    pub seeds: Seeds,
    /// Shares of the training data.
    pub fractions: Vec<f64>,
    /// Replicates of the bootstrap.
    pub replicates: usize,
    /// Untrained adapters that a `random` control has; the seeds take them in turn.
    pub random_adapters: usize,
}

/// Seeds by name or by number.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Seeds {
    /// So many: 1, 2, …
    Count(u64),
    /// These.
    These(Vec<u64>),
}

/// What `--quick` changes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quick {
    /// The seeds.
    pub seeds: Seeds,
    /// Shares of the training data.
    pub fractions: Vec<f64>,
    /// Replicates of the bootstrap.
    pub replicates: usize,
    /// The most records of each split.
    pub records: usize,
    /// The most epochs.
    pub epochs: usize,
}

/// A condition as the recipe has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionRecipe {
    /// Its name; the stack's or the control's where there is none.
    pub name: Option<String>,
    /// Names of `[adapters]` in the order of fusion; for `taps` and `random` those that it is a control for.
    #[serde(default)]
    pub stack: Vec<Alias>,
    /// How features come together.
    #[serde(default)]
    pub fusion: Fusion,
    /// Hidden states that the fusion reads beside the last.
    #[serde(default)]
    pub taps: Vec<usize>,
    /// Under `blocks`: which adapters the head learns from as what they add to the sum of their taps.
    #[serde(default)]
    pub less_taps: LessTaps,
    /// Which control it is.
    pub control: Option<Control>,
}

/// The controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// The backbone alone.
    None,
    /// A learned mix of the hidden states that the adapters read, in their place.
    Taps,
    /// Untrained adapters of the same plugin and configuration.
    Random,
    /// Adapters that were trained with permuted labels.
    Shuffled,
}

/// A recipe that cannot be run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum RecipeError {
    #[error("`{file}` is not a recipe")]
    Toml {
        file: String,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("Could not read the recipe `{file}`")]
    Io {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the recipe has no {what}, expected at least one")]
    Nothing { what: &'static str },
    #[error("two conditions are named `{name}`")]
    Twice { name: String },
    #[error("condition `{name}` stacks `{adapter}`, which `[adapters]` does not name")]
    UnknownAdapter { name: String, adapter: Alias },
    #[error("`less_taps` of `{name}` names `{adapter}`, expected names of its stack")]
    LessTaps { name: String, adapter: Alias },
    #[error("condition `{name}` is the control `{control}` and has {found}, expected {expected}")]
    ControlStack { name: String, control: &'static str, found: &'static str, expected: &'static str },
    #[error("task `{task}` has {found}, expected `test` (and perhaps `dev`), or `folds` alone")]
    Test { task: String, found: &'static str },
    #[error("the task has folds, which only `kadapter compare` makes")]
    Folds,
    #[error("the grid has {found} combinations for condition `{name}`, expected at most {limit}")]
    Grid { name: String, found: usize, limit: usize },
}

/// The most combinations of a grid: all of them are trained for every run.
const MAX_GRID: usize = 512;

impl RecipeError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Toml { .. } => "see `docs/training-tasks.md`, or the recipes that come with kadapter".into(),
            Self::Io { .. } => return None,
            Self::Nothing { what: "seed" } => "write `seeds = 5` in `[compare]`".into(),
            Self::Nothing { what: "share of the training data" } => "write `fractions = [1.0]` in `[compare]`".into(),
            Self::Nothing { what: "task" } => "add one under `[tasks.NAME]`".into(),
            Self::Nothing { .. } => "add one: `[[conditions]]` with `stack = [\"NAME\"]`".into(),
            Self::Twice { .. } => "give one of them another `name`".into(),
            Self::UnknownAdapter { adapter, .. } => {
                format!("add it: `{adapter} = {{ package = \"NS/NAME\", version = \"^1\" }}` in `[adapters]`")
            }
            Self::LessTaps { .. } => "correct the name, or write `less_taps = true` for all of the stack".into(),
            Self::ControlStack { control: "none", .. } => "leave `stack` out".into(),
            Self::ControlStack { .. } => "name the adapters that it is a control for: `stack = [\"NAME\"]`".into(),
            Self::Test { .. } => "add `test = \"FILE\"`, `test = { share = 0.2 }` or `folds = 5`".into(),
            Self::Folds => "leave `folds` out; name test data with `test`, or leave it out too".into(),
            Self::Grid { .. } => "shorten the lists in `[grid]`".into(),
        })
    }
}

impl Default for Extent {
    fn default() -> Self {
        Self { seeds: Seeds::Count(5), fractions: vec![1.0], replicates: 10_000, random_adapters: 1 }
    }
}

impl Default for Quick {
    fn default() -> Self {
        Self { seeds: Seeds::Count(2), fractions: vec![1.0], replicates: 500, records: 200, epochs: 3 }
    }
}

impl Seeds {
    /// The seeds.
    #[must_use]
    pub fn list(&self) -> Vec<u64> {
        match self {
            Self::Count(count) => (1..=*count).collect(),
            Self::These(seeds) => seeds.clone(),
        }
    }
}

impl Control {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Taps => "taps",
            Self::Random => "random",
            Self::Shuffled => "shuffled",
        }
    }
}

impl ConditionRecipe {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        let stack = || self.stack.iter().map(Alias::as_str).collect::<Vec<_>>().join("+");
        match (&self.name, self.control) {
            (Some(name), _) => name.clone(),
            (None, Some(control)) => control.name().to_owned(),
            (None, None) if self.stack.is_empty() => format!("{} of hidden states", self.fusion),
            (None, None) => stack(),
        }
    }
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// When it cannot be read, a key is unknown, or a rule is broken.
    pub fn read(path: &Path) -> Result<Self, RecipeError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| RecipeError::Io { file: file.clone(), source })?;
        Self::from_toml(&file, &text)
    }

    /// Reads a recipe's text.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn from_toml(file: &str, text: &str) -> Result<Self, RecipeError> {
        let recipe: Self = toml::from_str(text)
            .map_err(|source| RecipeError::Toml { file: file.to_owned(), source: Box::new(source) })?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Puts what `--quick` says in place of the extent.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.compare.seeds = self.quick.seeds.clone();
        self.compare.fractions.clone_from(&self.quick.fractions);
        self.compare.replicates = self.quick.replicates;
        self
    }

    /// The settings that are tried on a task under a condition.
    ///
    /// # Errors
    /// When a setting makes no sense, or there are too many combinations.
    pub fn settings(
        &self,
        task: &TaskRecipe,
        condition: &ConditionRecipe,
        quick: bool,
    ) -> Result<Vec<HeadSettings>, Error> {
        let mut base = task.settings(&self.training)?;
        if quick {
            base.epochs = base.epochs.min(self.quick.epochs);
        }
        let all = task.grid.as_ref().unwrap_or(&self.grid).expand(&base, condition.fusion, condition.stack.len());
        if all.len() > MAX_GRID {
            let (found, limit) = (all.len(), MAX_GRID);
            let error = RecipeError::Grid { name: condition.name(), found, limit };
            return Err(crate::Error::from(error).into());
        }
        for settings in &all {
            settings.check()?;
        }
        Ok(all)
    }

    fn check(&self) -> Result<(), RecipeError> {
        let nothing = |what| Err(RecipeError::Nothing { what });
        if self.conditions.is_empty() {
            return nothing("condition");
        }
        if self.tasks.is_empty() {
            return nothing("task");
        }
        if self.compare.seeds.list().is_empty() || self.quick.seeds.list().is_empty() {
            return nothing("seed");
        }
        if self.compare.fractions.is_empty() || self.quick.fractions.is_empty() {
            return nothing("share of the training data");
        }
        let mut names = std::collections::BTreeSet::new();
        for condition in &self.conditions {
            let name = condition.name();
            let wrong = |control: Control, found, expected| {
                Err(RecipeError::ControlStack { name: name.clone(), control: control.name(), found, expected })
            };
            match condition.control {
                Some(control @ Control::None) if !condition.stack.is_empty() => {
                    return wrong(control, "a stack", "none");
                }
                Some(control @ (Control::Taps | Control::Random | Control::Shuffled)) if condition.stack.is_empty() => {
                    return wrong(control, "no stack", "the adapters that it is a control for");
                }
                _ => {}
            }
            if let Some(adapter) = condition.less_taps.stranger(&condition.stack) {
                return Err(RecipeError::LessTaps { name, adapter: adapter.clone() });
            }
            if !names.insert(name.clone()) {
                return Err(RecipeError::Twice { name });
            }
        }
        for (task, compared) in &self.tasks {
            let refuse = |found| Err(RecipeError::Test { task: task.clone(), found });
            match (&compared.test, compared.folds) {
                (None, None) => return refuse("neither test data nor folds"),
                (Some(_), Some(_)) => return refuse("test data and folds"),
                (None, Some(folds)) if folds < 3 => return refuse("fewer than 3 folds, of which one is to choose by"),
                (None, Some(_)) if compared.dev.is_some() => {
                    return refuse("development data and folds, of which one is to choose by");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "[registries]\nk = \"r\"\n[backbone]\npackage = \"k/b\"\nversion = \"^1\"\n";
    const TASK: &str = "[tasks.t]\nkind = \"span\"\ntrain = \"a.json\"\nfolds = 5\n";

    fn read(rest: &str) -> Result<Recipe, RecipeError> {
        Recipe::from_toml("recipe.toml", &format!("{START}{rest}"))
    }

    fn refused(rest: &str) -> String {
        let error = read(rest).unwrap_err();
        assert!(error.hint().is_some());
        error.to_string()
    }

    #[test]
    fn a_recipe_is_read_and_its_grid_is_every_combination() {
        let recipe = read(&format!(
            "[grid]\nweight_decay = [0.1, 1.0]\ngate = [0.0, 0.5, 1.0]\n[training]\nepochs = 7\n\
             [[conditions]]\nstack = [\"a\", \"b\"]\nfusion = \"blocks\"\ntaps = [0]\n[[conditions]]\ncontrol = \"none\"\n\
             {TASK}[tasks.t.training]\nbatch = 8\n"
        ))
        .unwrap();
        let names: Vec<String> = recipe.conditions.iter().map(ConditionRecipe::name).collect();
        assert_eq!(names, ["a+b", "none"]);
        let task = &recipe.tasks["t"];
        let settings = |condition: usize, quick| recipe.settings(task, &recipe.conditions[condition], quick).unwrap();
        let all = settings(0, false);
        assert_eq!(all.len(), 2 * 3 * 3);
        assert!(all.iter().all(|settings| settings.gates.len() == 2 && settings.batch == 8 && settings.epochs == 7));
        let mut different: Vec<String> = all.iter().map(|settings| format!("{settings:?}")).collect();
        different.dedup();
        assert_eq!(different.len(), all.len());
        assert_eq!(settings(1, false).len(), 2);
        assert_eq!(settings(1, true)[0].epochs, 3);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let condition = "[[conditions]]\nstack = [\"a\"]\n";
        assert_eq!(refused(&format!("{condition}{condition}{TASK}")), "two conditions are named `a`");
        assert_eq!(
            refused(&format!("[[conditions]]\ncontrol = \"taps\"\n{TASK}")),
            "condition `taps` is the control `taps` and has no stack, expected the adapters that it is a control for"
        );
        assert_eq!(
            refused(&format!("[[conditions]]\ncontrol = \"none\"\nstack = [\"a\"]\n{TASK}")),
            "condition `none` is the control `none` and has a stack, expected none"
        );
        assert_eq!(
            refused(&format!("[[conditions]]\nstack = [\"a\"]\nless_taps = [\"a\", \"b\"]\n{TASK}")),
            "`less_taps` of `a` names `b`, expected names of its stack"
        );
        assert_eq!(
            refused(&format!("{condition}{}", TASK.replace("folds = 5\n", ""))),
            "task `t` has neither test data nor folds, expected `test` (and perhaps `dev`), or `folds` alone"
        );
        for (from, to) in [("folds = 5", "folds = 2"), ("folds = 5", "folds = 5\ndev = { share = 0.1 }")] {
            let said = refused(&format!("{condition}{}", TASK.replace(from, to)));
            assert!(said.contains("folds, of which one is to choose by"), "{said}");
        }
        let slip = TASK.replace("\"a.json\"", "{ path = \"a.json\", slices = [0.0, 0.5] }");
        for (text, key) in
            [(format!("{condition}{slip}"), "slices"), (format!("{condition}{TASK}[traning]\n"), "traning")]
        {
            let error = read(&text).unwrap_err();
            assert!(error.to_string().ends_with("is not a recipe"), "{error}");
            let reason = std::error::Error::source(&error).unwrap().to_string();
            assert!(reason.contains(&format!("unknown field `{key}`")), "{reason}");
        }
        assert_eq!(
            refused(&format!("[compare]\nseeds = []\n{condition}{TASK}")),
            "the recipe has no seed, expected at least one"
        );
    }
}
