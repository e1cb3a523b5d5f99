//! Multiple choice: which of several answers to a question about a context is right (CosmosQA).
//!
//! ```text
//! <s> context </s> question </s> answer 0 </s>        one segment per answer
//! <s> context </s> question </s> answer 1 </s>
//! ^ read
//! ```
//!
//! `question </s> answer` is tokenised as one text. A segment that is too long is refused; where it may be cut, and
//! with `compat = "official"`, the longer of context and `question </s> answer` loses its last token until they fit,
//! the second where both are equal.
//!
//! A record is a text `context ||| question ||| answer || answer || …`, or an object with `context`, `question` and
//! either `answers` as a list or `answer0`, `answer1`, ….
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `dense`, `activation` | `false`, `none` | the head's first layer |
//! | `pad_id` | the tokenizer's | what pads a segment; the official CosmosQA code uses 0 |

use super::encoding::Details;
use super::input::Fields;
use super::options::Options;
use super::{
    Answer, ChoiceAnswer, Encoding, Error, Frame, HeadShape, Kind, LabelScore, Position, Record, Task, markup, score,
};
use crate::tokenizer::Tokenizer;

const KIND: Kind = Kind::MultipleChoice;

/// Fewer is no choice.
const MIN_ANSWERS: usize = 2;

/// Each answer is a whole segment, so one record of more would crowd out a batch.
const MAX_ANSWERS: usize = 64;

/// The task.
#[derive(Debug)]
pub(super) struct Choice {
    frame: Frame,
}

/// A record of this kind.
struct Question<'r> {
    context: &'r str,
    question: &'r str,
    answers: Vec<&'r str>,
}

impl Choice {
    /// The options of this kind.
    pub(super) const OPTIONS: [&str; 2] = HeadShape::OPTIONS;

    /// Makes the task.
    pub(super) fn new(frame: Frame, options: &Options<'_>) -> Result<Self, Error> {
        Ok(Self { frame: frame.with_head(HeadShape::from_options(options, 1, false, 1)?) })
    }

    /// The segment of one answer.
    fn segment(
        &self,
        tokenizer: &Tokenizer,
        context: &[u32],
        question: &str,
        (index, answer): (usize, &str),
    ) -> Result<Vec<u32>, Error> {
        let answer_tokens = markup::tokens(tokenizer, "answer", answer)?.len();
        let second = tokenizer.pieces(&format!("{question} {} {answer}", tokenizer.eos_text()))?;
        let (limit, tokens) = (self.frame.max_length, context.len() + second.len() + 3);
        let official = self.frame.is_official();
        if tokens > limit && !official && !self.frame.truncate {
            return Err(Error::TooLong { tokens, limit });
        }
        let (first_length, second_length) = longest_first(context.len(), second.len(), limit.saturating_sub(3));
        if !official && second.len() - second_length >= answer_tokens {
            return Err(Error::AnswerLost { answer: index, limit });
        }
        let mut segment = Vec::with_capacity(first_length + second_length + 3);
        segment.push(tokenizer.bos());
        segment.extend_from_slice(&context[..first_length]);
        segment.push(tokenizer.eos());
        segment.extend_from_slice(&second[..second_length]);
        segment.push(tokenizer.eos());
        Ok(segment)
    }
}

/// Shortens the longer of two lengths by one until both fit `room`, the second where they are equal.
fn longest_first(mut first: usize, mut second: usize, room: usize) -> (usize, usize) {
    while first + second > room {
        if first > second {
            first -= 1;
        } else {
            second -= 1;
        }
    }
    (first, second)
}

impl Task for Choice {
    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn encode(&self, tokenizer: &Tokenizer, record: &Record) -> Result<Encoding, Error> {
        let Question { context, question, answers } = Question::of(record)?;
        let context = tokenizer.pieces(context)?;
        let segments: Vec<Vec<u32>> = answers
            .iter()
            .enumerate()
            .map(|(index, answer)| self.segment(tokenizer, &context, question, (index, answer)))
            .collect::<Result<_, _>>()?;
        let reads = (0..segments.len()).map(|segment| vec![Position { segment, row: 0 }]).collect();
        let answers = answers.into_iter().map(|answer| answer.trim().to_owned()).collect();
        Ok(Encoding { segments, reads, details: Details::Choice { answers } })
    }

    fn decode(&self, encoding: &Encoding, logits: &[f32]) -> Result<Answer, Error> {
        let Details::Choice { answers } = &encoding.details else {
            return Err(Error::ForeignEncoding { kind: KIND });
        };
        score::check(KIND, logits, answers.len(), 1)?;
        let scores: Vec<LabelScore> = answers
            .iter()
            .zip(logits)
            .zip(score::softmax(logits))
            .map(|((answer, &logit), probability)| LabelScore { label: answer.clone(), logit, probability })
            .collect();
        let few = Error::AnswerCount { found: scores.len(), least: MIN_ANSWERS, most: MAX_ANSWERS };
        let answer = score::argmax(logits).ok_or(few)?;
        let (text, probability) = (scores[answer].label.clone(), scores[answer].probability);
        Ok(Answer::Choice(ChoiceAnswer { answer, text, probability, scores }))
    }
}

impl<'r> Question<'r> {
    fn of(record: &'r Record) -> Result<Self, Error> {
        let question = match record {
            Record::Text(text) => Self::of_text(text)?,
            Record::Fields(fields) => Self::of_fields(Fields::new(KIND, fields))?,
        };
        markup::not_blank(KIND, "context", question.context)?;
        markup::not_blank(KIND, "question", question.question)?;
        for answer in &question.answers {
            markup::not_blank(KIND, "answer", answer)?;
        }
        match question.answers.len() {
            MIN_ANSWERS..=MAX_ANSWERS => Ok(question),
            found => Err(Error::AnswerCount { found, least: MIN_ANSWERS, most: MAX_ANSWERS }),
        }
    }

    fn of_text(text: &'r str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split("|||").collect();
        let &[context, question, answers] = parts.as_slice() else {
            return Err(Error::Parts { kind: KIND, separator: "|||", expected: "3", found: parts.len() });
        };
        Ok(Self { context, question, answers: answers.split("||").collect() })
    }

    fn of_fields(fields: Fields<'r>) -> Result<Self, Error> {
        let answers = match fields.has("answer0") && !fields.has("answers") {
            true => (0..=MAX_ANSWERS)
                .map(|index| format!("answer{index}"))
                .take_while(|name| fields.has(name))
                .map(|name| fields.any_text(&name))
                .collect::<Result<_, _>>()?,
            false => fields.texts("answers")?,
        };
        Ok(Self { context: fields.text("context")?, question: fields.text("question")?, answers })
    }
}
