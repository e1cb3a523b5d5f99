//! The features that the official converters make of the official data formats, exactly.

use serde_json::Value;

use super::{build, json, list, spec};
use crate::task::{Compat, Encoding, Error, Kind, Position, Record, Task, TaskSpec};
use crate::tokenizer::Tokenizer;

/// Encodes every record of a list; records that the official code skips are left out and counted.
fn encode_all(task: &dyn Task, tokenizer: &Tokenizer, records: &Value) -> (Vec<Encoding>, usize) {
    let mut skipped = 0;
    let mut encodings = Vec::new();
    for record in records.as_array().unwrap() {
        match task.encode(tokenizer, &Record::from_value(record.clone()).unwrap()) {
            Ok(encoding) => encodings.push(encoding),
            Err(error) => {
                assert!(error.is_skip(), "{error}");
                skipped += 1;
            }
        }
    }
    (encodings, skipped)
}

/// Pads as the pipeline does with `compat = "official"` and compares ids and mask.
fn assert_padded(task: &dyn Task, segment: &[u32], expected: &Value) {
    let mut ids = segment.to_vec();
    ids.resize(task.max_length(), task.pad_id());
    assert_eq!(ids, list::<u32>(&expected["input_ids"]));
    let mask: Vec<usize> = (0..task.max_length()).map(|row| usize::from(row < segment.len())).collect();
    assert_eq!(mask, list::<usize>(&expected["input_mask"]));
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn official_spec(kind: Kind, max_length: usize, options: &str) -> TaskSpec {
    TaskSpec { compat: Compat::Official, ..spec(kind, max_length, options) }
}

fn assert_relation(name: &str, rule: &str, skipped: usize) {
    let expected = &json("data/features.json")[name];
    let options = format!("marker_overflow = \"{rule}\"");
    let length = index(&expected["max_seq_length"]);
    let (tokenizer, task) = build(&official_spec(Kind::RelationClassification, length, &options));
    let (encodings, left_out) = encode_all(&*task, &tokenizer, &json(&format!("data/{name}.json")));
    assert_eq!(left_out, skipped);
    let expected = expected["features"].as_array().unwrap();
    assert_eq!(encodings.len(), expected.len());
    for (encoding, expected) in encodings.iter().zip(expected) {
        assert_eq!(encoding.segments.len(), 1);
        assert_padded(&*task, &encoding.segments[0], expected);
        let rows = ["subj_special_start", "obj_special_start"].map(|name| Position::first(index(&expected[name])));
        assert_eq!(encoding.reads, [rows]);
    }
}

#[test]
fn trex_features_are_official() {
    assert_relation("trex", "skip", 1);
}

#[test]
fn tacred_features_are_official() {
    assert_relation("tacred", "minus10", 0);
}

#[test]
fn another_overflow_rule_would_not_be_official() {
    let (tokenizer, task) = build(&official_spec(Kind::RelationClassification, 32, "marker_overflow = \"minus10\""));
    assert_eq!(encode_all(&*task, &tokenizer, &json("data/trex.json")).1, 0);
    let (tokenizer, task) = build(&official_spec(Kind::RelationClassification, 32, "marker_overflow = \"skip\""));
    assert_eq!(encode_all(&*task, &tokenizer, &json("data/tacred.json")).1, 1);
}

#[test]
fn overflowing_markers_follow_their_rule() {
    // `far` words before the object put its marker at row far + 4: <s> @ river @ then the words.
    let record = |far: usize| format!("<e1>river</e1> {}<e2>Ada</e2>", "river ".repeat(far));
    let row = |rule: &str, far: usize| {
        let spec = official_spec(Kind::RelationClassification, 16, &format!("marker_overflow = \"{rule}\""));
        super::encode(&spec, &record(far)).map(|encoding| {
            assert!(encoding.segments[0].len() <= 16);
            encoding.reads[0][1].row
        })
    };
    for rule in ["error", "skip", "minus10"] {
        assert_eq!(row(rule, 10).unwrap(), 14, "{rule}: the last token of the text");
    }
    assert!(matches!(row("error", 11), Err(Error::MarkerLost { entity: "object", position: 15, limit: 16 })));
    assert_eq!(row("skip", 11).unwrap(), 15, "reads `</s>`");
    assert_eq!(row("minus10", 11).unwrap(), 15, "reads `</s>`");
    assert!(matches!(row("skip", 12), Err(Error::Skipped { entity: "object", position: 16, limit: 16 })));
    assert!(matches!(row("minus10", 12), Err(Error::MarkerLost { position: 16, .. })));
    assert_eq!(row("minus10", 13).unwrap(), 6);
}

fn assert_typing(name: &str) {
    let expected = &json("data/features.json")[name];
    let (tokenizer, task) = build(&official_spec(Kind::EntityTyping, index(&expected["max_seq_length"]), ""));
    let (encodings, skipped) = encode_all(&*task, &tokenizer, &json(&format!("data/{name}.json")));
    assert_eq!(skipped, 0);
    let expected = expected["features"].as_array().unwrap();
    assert_eq!(encodings.len(), expected.len());
    for (encoding, expected) in encodings.iter().zip(expected) {
        assert_padded(&*task, &encoding.segments[0], expected);
        assert_eq!(encoding.reads, [[Position::first(index(&expected["start"]))]]);
    }
}

#[test]
fn openentity_features_are_official() {
    assert_typing("openentity");
}

#[test]
fn figer_features_are_official() {
    assert_typing("figer");
}

#[test]
fn cosmosqa_features_are_official() {
    let expected = &json("data/features.json")["cosmosqa"];
    let length = index(&expected["max_seq_length"]);
    let (tokenizer, task) = build(&official_spec(Kind::MultipleChoice, length, "pad_id = 0"));
    assert_eq!(task.pad_id(), 0);
    let lines = String::from_utf8(super::official_bytes("data/cosmosqa.jsonl")).unwrap();
    let expected = expected["features"].as_array().unwrap();
    assert_eq!(lines.lines().count(), expected.len());
    for (line, expected) in lines.lines().zip(expected) {
        let encoding = task.encode(&tokenizer, &Record::parse(line).unwrap()).unwrap();
        let choices = expected["choices"].as_array().unwrap();
        assert_eq!(encoding.segments.len(), choices.len());
        for (segment, choice) in encoding.segments.iter().zip(choices) {
            assert_padded(&*task, segment, choice);
        }
        let rows: Vec<_> = (0..choices.len()).map(|segment| vec![Position { segment, row: 0 }]).collect();
        assert_eq!(encoding.reads, rows);
    }
}
