//! Arbitrary records: no panic, and an encoding that keeps its promises whatever was said.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BACKBONE_LIMIT, spec};
use crate::task::{Answer, Compat, Encoding, Kind, Readable, Record, Task, TaskSpec};
use crate::tokenizer::Tokenizer;
use crate::tokenizer::fixture::{official, word_piece};

/// The tasks that share a tokenizer.
type Tasks = (Tokenizer, Vec<Box<dyn Task>>);

/// Both tokenizers with every kind, compatibility and cutting.
static TASKS: LazyLock<Vec<Tasks>> = LazyLock::new(|| {
    [official(), word_piece()]
        .into_iter()
        .map(|tokenizer| {
            let mut tasks = Vec::new();
            for kind in Kind::ALL {
                for (compat, truncate) in [
                    (Compat::Masked, false),
                    (Compat::Masked, true),
                    (Compat::Official, false),
                    (Compat::Official, true),
                ] {
                    let rules: &[&str] = match kind {
                        Kind::RelationClassification => {
                            &["", "marker_overflow = \"skip\"", "marker_overflow = \"minus10\""]
                        }
                        _ => &[""],
                    };
                    for (rule, length) in rules.iter().flat_map(|rule| [(rule, 4), (rule, 9), (rule, 24)]) {
                        let spec = TaskSpec { compat, truncate, ..spec(kind, length, rule) };
                        tasks.push(spec.build(&tokenizer, BACKBONE_LIMIT).unwrap());
                    }
                }
            }
            (tokenizer, tasks)
        })
        .collect()
});

/// Text with the markup that the kinds read, in any order.
fn text() -> impl Strategy<Value = String> {
    const TAGS: &[&str] = &["<e1>", "</e1>", "<e2>", "</e2>", "<e>", "</e>", "|||", "||", "</s>", "[SEP]", "@", " "];
    let fragment = prop_oneof![
        2 => prop::sample::select(TAGS).prop_map(str::to_owned),
        2 => "[a-z ]{1,12}",
        1 => Just("É 雪\u{0}\u{1c}İ👩‍👩‍👧".to_owned()),
        1 => any::<String>(),
    ];
    prop::collection::vec(fragment, 0..12).prop_map(|fragments| fragments.concat())
}

/// Text that one kind or another can read.
fn well_formed() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => "[a-zÉ雪 ]{0,40}", 1 => Just("\u{1}\u{300}".to_owned())];
    (0..5_usize, prop::collection::vec(part, 5)).prop_map(|(form, parts)| match (form, parts.as_slice()) {
        (0, [a, b, c, d, e]) => format!("{a}<e1>{b}</e1>{c}<e2>{d}</e2>{e}"),
        (1, [a, b, c, d, e]) => format!("{a}<e2>{b}</e2>{c}<e1>{d}</e1>{e}"),
        (2, [a, b, c, ..]) => format!("{a}<e>{b}</e>{c}"),
        (3, [a, b, c, d, e]) => format!("{a}|||{b}|||{c}||{d}||{e}"),
        (_, [a, b, ..]) => format!("{a}|||{b}"),
        _ => String::new(),
    })
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (0..20_u64).prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

/// Objects with the fields of every kind, some of them absent.
fn fields() -> impl Strategy<Value = Value> {
    let text = || prop_oneof![text(), well_formed()];
    let words = prop::collection::vec(text(), 0..20);
    (text(), words, prop::collection::vec(number(), 8), any::<u32>()).prop_map(|(text, words, numbers, absent)| {
        let answers = words.iter().take(4).cloned().collect::<Vec<_>>();
        let mut record = json!({
            "text": text, "sent": text, "context": text, "question": "the river", "answers": answers, "token": words,
            "answer0": text, "answer1": numbers[0],
            "subj_start": numbers[0], "subj_end": numbers[1], "obj_start": numbers[2], "obj_end": numbers[3],
            "subject": [numbers[4], numbers[5]], "object": [numbers[6], numbers[7]],
            "start": numbers[4], "end": numbers[5],
        });
        if let Value::Object(fields) = &mut record {
            let mut bit = 0;
            fields.retain(|_, _| {
                bit += 1;
                absent >> bit & 1 == 0
            });
        }
        record
    })
}

/// Checks what the pipeline relies on, and decodes.
fn check(task: &dyn Task, tokenizer: &Tokenizer, encoding: &Encoding) {
    let outputs = task.head().map_or(3, |head| head.outputs);
    let reads = task.head().map_or(1, |head| head.reads_per_unit);
    assert!(!encoding.segments.is_empty() && !encoding.reads.is_empty());
    for segment in &encoding.segments {
        assert!(segment.len() >= 2 && segment.len() <= task.max_length(), "{task:?} {segment:?}");
        assert_eq!((segment[0], *segment.last().unwrap()), (tokenizer.bos(), tokenizer.eos()));
        assert!(segment.iter().all(|&id| id <= tokenizer.highest_id()));
    }
    for unit in &encoding.reads {
        assert_eq!(unit.len(), reads);
        for position in unit {
            assert!(position.row < encoding.segments[position.segment].len(), "{task:?} {position:?}");
        }
    }
    let logits: Vec<f32> =
        (0..encoding.reads.len() * outputs).map(|index| ((index * 7919) % 31) as f32 - 15.0).collect();
    let answer = task.decode(encoding, &logits).unwrap();
    let _ = Readable(&answer).to_string();
    serde_json::to_string(&answer).unwrap();
    if let Answer::Span(span) = answer {
        assert!(span.start < span.end, "{span:?}");
        assert_eq!(span.text.chars().count(), span.end - span.start);
    }
}

/// Drives one record through every task and counts the encodings.
fn drive(record: &Record) -> usize {
    let mut encoded = 0;
    for (tokenizer, tasks) in TASKS.iter() {
        for task in tasks {
            match task.encode(tokenizer, record) {
                Ok(encoding) => {
                    check(&**task, tokenizer, &encoding);
                    encoded += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    let _ = error.hint();
                }
            }
        }
    }
    encoded
}

proptest! {
    #[test]
    fn any_text_is_encoded_or_refused(text in prop_oneof![text(), well_formed()]) {
        if let Ok(record) = Record::parse(&text) {
            drive(&record);
        }
        if let Ok(record) = Record::from_text(&text) {
            drive(&record);
        }
    }

    #[test]
    fn any_object_is_encoded_or_refused(value in fields()) {
        if let Ok(record) = Record::from_value(value) {
            drive(&record);
        }
    }
}

/// The two properties above would hold of tasks that refuse everything.
#[test]
fn well_formed_records_are_encoded() {
    let relation = drive(&Record::from_text("the <e1>river</e1> <e2>Elm</e2>").unwrap());
    let choice = drive(&Record::from_text("the river ||| the sea ||| the town || the barn").unwrap());
    assert!(relation >= 2 * 4 * (3 + 2) && choice >= 2 * 4 * (1 + 2), "{relation} {choice}");
}
