//! Answers to questions, compared as SQuAD compares them.

use super::ratio;
use std::collections::HashMap;

/// Exact match and F1, each the best over the gold answers of a question, averaged over questions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spans {
    questions: u64,
    exact: u64,
    f1: f64,
}

impl Spans {
    /// Counts a question. One without gold answers is answered rightly by saying nothing (SQuAD 2.0).
    pub fn add<'g>(&mut self, golds: impl IntoIterator<Item = &'g str>, predicted: &str) {
        let golds: Vec<&str> = golds.into_iter().collect();
        let golds = if golds.is_empty() { vec![""] } else { golds };
        self.questions += 1;
        self.exact += u64::from(golds.iter().any(|gold| exact_match(gold, predicted)));
        self.f1 += golds.iter().map(|gold| f1(gold, predicted)).fold(0.0, f64::max);
    }

    /// How many questions were counted.
    pub fn questions(&self) -> u64 {
        self.questions
    }

    /// The share of questions whose answer is one of the gold ones, normalised.
    pub fn exact_match(&self) -> f64 {
        ratio(self.exact, self.questions)
    }

    /// The mean F1 of words.
    pub fn f1(&self) -> f64 {
        if self.questions == 0 { 0.0 } else { self.f1 / self.questions as f64 }
    }
}

/// An answer in lower case without ASCII punctuation, without `a`, `an` and `the`, its words joined by single spaces.
pub fn normalise(answer: &str) -> String {
    let lower = answer.to_lowercase();
    let bare: String = lower.chars().filter(|character| !character.is_ascii_punctuation()).collect();
    // An article is a whole word as a regular expression sees it (`\b(a|an|the)\b`), between white space or other signs.
    let mut kept = String::with_capacity(bare.len());
    let mut word = String::new();
    for character in bare.chars().chain([' ']) {
        if character.is_alphanumeric() || character == '_' {
            word.push(character);
            continue;
        }
        if !matches!(word.as_str(), "a" | "an" | "the") {
            kept += &word;
        } else {
            kept.push(' ');
        }
        word.clear();
        kept.push(character);
    }
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether two answers are the same, normalised.
pub fn exact_match(gold: &str, predicted: &str) -> bool {
    normalise(gold) == normalise(predicted)
}

/// The F1 of the words that two answers share, each as often as both have it. Where one has no words, 1 if neither has, else 0.
pub fn f1(gold: &str, predicted: &str) -> f64 {
    let (gold, predicted) = (normalise(gold), normalise(predicted));
    let (gold, predicted): (Vec<_>, Vec<_>) = (gold.split(' ').collect(), predicted.split(' ').collect());
    let (gold, predicted) = (without_blanks(gold), without_blanks(predicted));
    if gold.is_empty() || predicted.is_empty() {
        return f64::from(u8::from(gold.len() == predicted.len()));
    }
    let mut left: HashMap<&str, u64> = HashMap::new();
    for word in &gold {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0;
    for word in &predicted {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    super::Prf::of_counts(shared, predicted.len() as u64, gold.len() as u64).f1
}

fn without_blanks(words: Vec<&str>) -> Vec<&str> {
    words.into_iter().filter(|word| !word.is_empty()).collect()
}
