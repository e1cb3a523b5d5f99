//! The relations, and what becomes of a record whose relation is none of them.

use kadapter_plugin_api::{Config, Error, Result};
use std::collections::BTreeMap;

/// The relations by their class numbers.
#[derive(Debug)]
pub(crate) struct Labels {
    classes: BTreeMap<String, i64>,
    skips_unknown: bool,
}

impl Labels {
    /// Reads `labels` and `unknown_label`.
    pub(crate) fn from_config(config: &Config) -> Result<Self> {
        let labels = config.texts("labels")?;
        if labels.len() < 2 {
            return Err(Error::config(format!(
                "`labels` names {} relations, expected at least 2: the values of `relation` in the data",
                labels.len()
            )));
        }
        let mut classes = BTreeMap::new();
        for (class, label) in (0..).zip(labels) {
            if let Some((label, _)) = classes.get_key_value(&label) {
                return Err(Error::config(format!("`labels` names `{label}` twice, expected each relation once")));
            }
            classes.insert(label, class);
        }
        let skips_unknown = match config.text_or("unknown_label", "error")?.as_str() {
            "error" => false,
            "skip" => true,
            other => return Err(Error::config(format!("`unknown_label` is `{other}`, expected `error` or `skip`"))),
        };
        Ok(Self { classes, skips_unknown })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.classes.len()
    }

    /// The class of a relation; none where a record with this one is to be left out.
    pub(crate) fn class(&self, relation: &str) -> Result<Option<i64>> {
        match self.classes.get(relation) {
            Some(&class) => Ok(Some(class)),
            None if self.skips_unknown => Ok(None),
            None => Err(Error::new(format!(
                "the relation is `{relation}`, expected one of the {} in `labels`; `unknown_label = \"skip\"` leaves such records out",
                self.len()
            ))),
        }
    }
}
