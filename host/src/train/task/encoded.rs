//! Labelled records as token segments, rows to read and targets.

use super::target::NO_ANSWER;
use super::{Error, PreparedTask, Reading, SplitName, Target, TaskRecipe};
use crate::task::{self, Encoding, Record};
use crate::tokenizer::Tokenizer;
use kadapter_registry::Digest;
use kadapter_registry::digest::Hasher;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records of one split, encoded for a task.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Per record its segments and the rows of them that the head reads.
    pub encodings: Vec<Encoding>,
    /// Per record what the head is to find.
    pub targets: Vec<Target>,
    /// Per record the key by which it is chosen or folded: its sentence.
    pub keys: Vec<Arc<str>>,
    /// Per record what it has in common with those that it is not independent of: its sentence, or what the test data is held out by.
    pub clusters: Vec<Arc<str>>,
    /// What became of the records.
    pub report: EncodeReport,
}

/// How many records were taken and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EncodeReport {
    /// Records that are trained on or judged.
    #[serde(rename = "records")]
    pub taken: u64,
    /// Records that were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Those among the taken that were longer than the task takes and were cut.
    pub cut: u64,
    /// Those among the taken that every answer to is judged as wrong: no right one stands in the context as it was encoded.
    pub unanswerable: u64,
}

impl EncodeReport {
    /// What was lost of the records, a line each.
    pub fn losses(&self) -> impl Iterator<Item = String> + '_ {
        let left_out = self.left_out.iter().map(|(reason, count)| format!("{count} left out: {reason}"));
        let cut = (self.cut > 0).then(|| format!("{} cut: longer than the task takes", self.cut));
        let wrong = (self.unanswerable > 0).then(|| format!("{} judged as wrong: {NO_ANSWER}", self.unanswerable));
        left_out.chain(cut).chain(wrong)
    }
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

/// Encodes records. What the task's kind leaves out by its rules (a marker that was cut off under T-REx's rule, in training data an
/// answer that is not in the context) is counted; with `skip_bad` so is every record that cannot be encoded or contradicts itself.
///
/// # Errors
/// When a record cannot be read or encoded, its gold answer does not fit the task, or there is none left.
pub fn encode(
    tokenizer: &Tokenizer,
    prepared: &PreparedTask,
    split: SplitName,
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
        let encode = |record: Record| {
            let encoding = task.encode(tokenizer, &record)?;
            // What was cut fills its segment, most of it at least; shorter ones are not encoded twice.
            let fills = encoding.segments.iter().any(|segment| 2 * segment.len() >= task.max_length());
            let uncut = prepared.uncut.as_ref().filter(|_| fills);
            let cut = uncut.is_some_and(|uncut| uncut.is_too_long(tokenizer, &record));
            Ok((encoding, cut))
        };
        let (encoding, cut) = match record.and_then(encode) {
            Ok(encoded) => encoded,
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
        match Target::of(task.kind(), labels, prepared.rule, &labelled, &encoding) {
            Ok(target) if !target.is_learnable() && split == SplitName::Train && recipe.folds.is_none() => {
                left_out(NO_ANSWER);
            }
            Ok(target) => {
                encoded.report.unanswerable += u64::from(!target.is_learnable());
                let key: Arc<str> = labelled.sentence().into();
                // Where both are the sentence, it is kept once.
                let cluster = labelled.key_by(recipe.together());
                encoded.clusters.push(if *cluster == *key { Arc::clone(&key) } else { cluster.into() });
                encoded.keys.push(key);
                encoded.report.cut += u64::from(cut);
                encoded.encodings.push(encoding);
                encoded.targets.push(target);
            }
            // A record's own fault, not that of the recipe.
            Err(Error::AnswerElsewhere { .. } | Error::AnswerOutside { .. } | Error::NotOneLabel { .. })
                if recipe.skip_bad =>
            {
                left_out("its gold answer contradicts it");
            }
            Err(error) => return Err(error),
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
    if encoded.targets.is_empty() {
        let losses = encoded.report.losses().collect::<Vec<_>>().join("; ");
        let why = if losses.is_empty() { losses } else { format!(" ({losses})") };
        return Err(Error::NoRecords { what: format!("{}{why}", split.data()) });
    }
    Ok(encoded)
}
