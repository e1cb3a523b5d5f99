//! Dependency trees: how many words got their governor.

use super::ratio;

/// Unlabelled and labelled attachment scores, over words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attachment {
    words: u64,
    attached: u64,
    labelled: u64,
}

impl Attachment {
    /// Counts a sentence: governors from 1 (0 for the root) and relations. Where relations are left empty, or a prediction is
    /// missing, no word is right in that respect.
    pub fn add(&mut self, gold: (&[usize], &[String]), predicted: (&[usize], &[String])) {
        for (word, head) in gold.0.iter().enumerate() {
            let attached = predicted.0.get(word) == Some(head);
            let named = gold.1.get(word).is_some_and(|relation| predicted.1.get(word) == Some(relation));
            self.words += 1;
            self.attached += u64::from(attached);
            self.labelled += u64::from(attached && named);
        }
    }

    /// How many words were counted.
    pub fn words(&self) -> u64 {
        self.words
    }

    /// The share of words with the right governor (UAS).
    pub fn unlabelled(&self) -> f64 {
        ratio(self.attached, self.words)
    }

    /// The share of words with the right governor and the right relation to it (LAS).
    pub fn labelled(&self) -> f64 {
        ratio(self.labelled, self.words)
    }
}
