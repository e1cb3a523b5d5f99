//! The labels of data against those of a task.

use super::EvaluateError;
use crate::data::Source;
use crate::error::Error;
use crate::metric::check_gold;
use crate::task::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// What two sets of labels do not share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The task.
    pub task: String,
    /// Labels that only the data has, and where each stands first.
    pub only_data: BTreeMap<String, String>,
    /// Labels that only the task has, in its order.
    pub only_task: Vec<String>,
}

impl Difference {
    /// Reads the labels of all records, which are for a task of this kind.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or a gold answer is not one to the kind of task.
    pub fn of(task: &str, kind: Kind, labels: &[String], sources: &[Source]) -> Result<Self, Error> {
        let known: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
        let (mut found, mut only_data) = (BTreeSet::new(), BTreeMap::new());
        for source in sources {
            for record in source.records() {
                let record = record?;
                check_gold(kind, &record.gold)
                    .map_err(|source| EvaluateError::Unscorable { at: record.at.clone(), source })?;
                for label in record.labels() {
                    if let Some(&label) = known.get(label.as_str()) {
                        found.insert(label);
                    } else if !only_data.contains_key(label) {
                        only_data.insert(label.clone(), record.at.to_string());
                    }
                }
            }
        }
        let only_task = labels.iter().filter(|label| !found.contains(label.as_str())).cloned().collect();
        Ok(Self { task: task.to_owned(), only_data, only_task })
    }
}
