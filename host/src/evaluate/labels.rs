//! The labels of data against those of a task.

use crate::data::{Error, Source};
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
    /// Reads the labels of all records.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn of(task: &str, labels: &[String], sources: &[Source]) -> Result<Self, Error> {
        let known: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
        let (mut found, mut only_data) = (BTreeSet::new(), BTreeMap::new());
        for source in sources {
            for record in source.records() {
                let record = record?;
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
