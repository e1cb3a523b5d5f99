//! Labelled records as token segments, rows to read and targets.

use super::{Error, PreparedTask, Reading, Target, TaskRecipe};
use crate::task::{self, Encoding, Record};
use crate::tokenizer::Tokenizer;
use kadapter_registry::Digest;
use kadapter_registry::digest::Hasher;
use std::collections::BTreeMap;

/// Records of one split, encoded for a task.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Per record its segments and the rows of them that the head reads.
    pub encodings: Vec<Encoding>,
    /// Per record what the head is to find.
    pub targets: Vec<Target>,
    /// Per record the key by which it is chosen or folded: its sentence.
    pub keys: Vec<String>,
    /// Per record what it has in common with those that it is not independent of: its sentence, or what the test data is held out by.
    pub clusters: Vec<String>,
    /// What became of the records.
    pub report: EncodeReport,
}

/// How many records were taken and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodeReport {
    /// Records that are trained on or judged.
    pub taken: u64,
    /// Records that were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
}

impl Encoded {
    /// A digest of all segments, reads and their order: what features depend on, beside the networks.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        let mut number = |value: usize| hasher.update(&(value as u64).to_le_bytes());
        for encoding in &self.encodings {
            number(encoding.segments.len());
            for segment in &encoding.segments {
                number(segment.len());
                segment.iter().for_each(|&id| number(id as usize));
            }
            number(encoding.reads.len());
            for position in encoding.reads.iter().flatten() {
                number(position.segment);
                number(position.row);
            }
        }
        hasher.finish().0
    }
}

/// Encodes records. What the task's kind leaves out by its rules (a marker that was cut off under T-REx's rule, an answer that is
/// not in the context) is counted; with `skip_bad` so is every record that cannot be encoded.
///
/// # Errors
/// When a record cannot be read or encoded, its gold answer does not fit the task, or there is none left.
pub fn encode(
    tokenizer: &Tokenizer,
    prepared: &PreparedTask,
    what: &str,
    mut records: Reading,
    recipe: &TaskRecipe,
) -> Result<Encoded, Error> {
    let (task, labels) = (&*prepared.task, &prepared.labels);
    let mut encoded = Encoded::default();
    let mut left_out = |reason: &str| {
        *encoded.report.left_out.entry(reason.to_owned()).or_default() += 1;
    };
    for labelled in records.by_ref() {
        let labelled = labelled?;
        let record = Record::from_value(serde_json::Value::Object(labelled.fields.clone()));
        let encoding = match record.and_then(|record| task.encode(tokenizer, &record)) {
            Ok(encoding) => encoding,
            Err(task::Error::Skipped { entity, .. }) => {
                left_out(&format!("the {entity}'s marker is past the longest input"));
                continue;
            }
            Err(_) if recipe.skip_bad => {
                left_out("the record cannot be encoded");
                continue;
            }
            Err(source) => return Err(Error::Encode { at: labelled.at, source: Box::new(source) }),
        };
        match Target::of(task.kind(), labels, prepared.rule, &labelled, &encoding)? {
            Some(target) => {
                encoded.keys.push(labelled.sentence());
                encoded.clusters.push(labelled.key_by(recipe.together()));
                encoded.encodings.push(encoding);
                encoded.targets.push(target);
            }
            None => left_out(super::target::NO_ANSWER),
        }
    }
    let counts = records.counts();
    for (reason, count) in &counts.left_out {
        *encoded.report.left_out.entry(reason.to_string()).or_default() += count;
    }
    if counts.bad > 0 {
        *encoded.report.left_out.entry("the record cannot be read".to_owned()).or_default() += counts.bad;
    }
    encoded.report.taken = encoded.targets.len() as u64;
    if encoded.targets.is_empty() { Err(Error::NoRecords { what: what.to_owned() }) } else { Ok(encoded) }
}
