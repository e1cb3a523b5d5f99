//! Decoding: the official predictions from the official logits, and the rules that they do not reach.

use serde_json::Value;

use super::{build, encode, json, list, numbered, spec};
use crate::task::{Answer, Error, Kind, Readable, TaskSpec, TypingAnswer};
use crate::tokenizer::fixture::official_bytes;

/// Reads one f32 tensor of `cases.safetensors` as its last dimension and its numbers.
fn tensor(name: &str) -> (usize, Vec<f32>) {
    let file = official_bytes("cases.safetensors");
    let header = usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
    let (header, data) = file[8..].split_at(header);
    let entry = &serde_json::from_slice::<Value>(header).unwrap()[name];
    assert_eq!(entry["dtype"], "F32", "{name}");
    let offsets: Vec<usize> = list(&entry["data_offsets"]);
    let bytes = data[offsets[0]..offsets[1]].chunks_exact(4);
    let numbers = bytes.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    (*list::<usize>(&entry["shape"]).last().unwrap(), numbers)
}

/// Decodes each row of `logits` as the answer to `record`, with `width` numbered labels where the kind has labels.
fn decode_rows(spec: &TaskSpec, record: &str, (width, logits): (usize, Vec<f32>)) -> Vec<Answer> {
    let labels = if spec.kind.has_labels() { numbered(width) } else { Vec::new() };
    let spec = TaskSpec { labels, ..spec.clone() };
    let (_, task) = build(&spec);
    let encoding = encode(&spec, record).unwrap();
    logits.chunks_exact(width).map(|row| task.decode(&encoding, row).unwrap()).collect()
}

fn indices(labels: &[String]) -> Vec<usize> {
    labels.iter().map(|label| label["label ".len()..].parse().unwrap()).collect()
}

const RELATION: &str = "<e1>Ada</e1> saw the <e2>river</e2>.";
const MENTION: &str = "<e>Ada</e> saw the river.";
const CHOICE: &str = "Ada saw it. ||| What? ||| the river || the sea || a barn || none";

#[test]
fn relations_are_the_official_predictions() {
    let cases = json("cases.json");
    for (name, expected) in [
        ("trex/fac/logits", &cases["fac_pretraining"]["predictions"]),
        ("tacred/concat/logits", &cases["tacred"]["concat"]["predictions"]),
        ("tacred/add/logits", &cases["tacred"]["add"]["predictions"]),
    ] {
        let answers = decode_rows(&spec(Kind::RelationClassification, 48, ""), RELATION, tensor(name));
        let chosen: Vec<usize> = answers
            .iter()
            .map(|answer| match answer {
                Answer::Relation(answer) => {
                    assert_eq!((answer.subject.as_str(), answer.object.as_str()), ("Ada", "river"));
                    assert_eq!(answer.scores[0].label, answer.label);
                    let total: f32 = answer.scores.iter().map(|score| score.probability).sum();
                    assert!((total - 1.0).abs() < 1e-4, "{total}");
                    indices(std::slice::from_ref(&answer.label))[0]
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(chosen, list::<usize>(expected), "{name}");
    }
}

fn typings(options: &str, logits: (usize, Vec<f32>)) -> Vec<Vec<usize>> {
    let answers = decode_rows(&spec(Kind::EntityTyping, 48, options), MENTION, logits);
    let chosen = answers.iter().map(|answer| match answer {
        Answer::Typing(TypingAnswer { labels, .. }) => indices(labels),
        other => panic!("{other:?}"),
    });
    chosen.collect()
}

#[test]
fn figer_types_are_the_official_predictions() {
    let cases = json("cases.json");
    let predicted: Vec<Vec<usize>> = list(&cases["figer"]["predicted"]);
    assert_eq!(typings("force_top = true", tensor("figer/concat/logits")), predicted);

    let case = &cases["metrics"]["entity_typing"];
    let rows: Vec<Vec<f32>> = list(&case["logits"]);
    let logits = (rows[0].len(), rows.concat());
    let predicted: Vec<Vec<usize>> = list(&case["figer_prediction_rule"]["predicted"]);
    assert_eq!(typings("force_top = true", logits.clone()), predicted);

    // OpenEntity may choose nothing; the official micro figures follow from what is chosen.
    let chosen = typings("", logits);
    assert!(chosen.iter().any(Vec::is_empty));
    let gold: Vec<Vec<usize>> = list(&case["labels"]);
    let hits: usize = chosen.iter().zip(&gold).flat_map(|(row, gold)| row.iter().map(|&label| gold[label])).sum();
    let predicted: usize = chosen.iter().map(Vec::len).sum();
    let wanted: usize = gold.iter().flatten().sum();
    let official: Vec<f64> = list(&case["openentity"]["loose_micro_prf"]);
    assert!((hits as f64 / predicted as f64 - official[0]).abs() < 1e-12);
    assert!((hits as f64 / wanted as f64 - official[1]).abs() < 1e-12);
}

#[test]
fn choices_are_the_official_predictions() {
    let cases = json("cases.json");
    for mode in ["concat", "add"] {
        let answers =
            decode_rows(&spec(Kind::MultipleChoice, 48, ""), CHOICE, tensor(&format!("cosmosqa/{mode}/logits")));
        let chosen: Vec<usize> = answers
            .iter()
            .map(|answer| match answer {
                Answer::Choice(answer) => {
                    assert_eq!(answer.text, ["the river", "the sea", "a barn", "none"][answer.answer]);
                    answer.answer
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(chosen, list::<usize>(&cases["cosmosqa"][mode]["predictions"]), "{mode}");
    }
}

/// Decodes a span over the context `the river Elm .` with one start and one end logit raised per pair.
fn span(options: &str, raised: &[(usize, f32, f32)]) -> (String, usize, usize) {
    let spec = spec(Kind::Span, 48, options);
    let (_, task) = build(&spec);
    let encoding = encode(&spec, "what ||| \u{3000} the river Elm . ").unwrap();
    assert_eq!(encoding.reads.len(), 4);
    let mut logits = vec![0.0; 8];
    for &(token, start, end) in raised {
        (logits[2 * token], logits[2 * token + 1]) = (start, end);
    }
    match task.decode(&encoding, &logits).unwrap() {
        Answer::Span(answer) => (answer.text, answer.start, answer.end),
        other => panic!("{other:?}"),
    }
}

#[test]
fn spans_are_sliced_from_the_context() {
    assert_eq!(span("", &[(1, 5.0, 0.0), (2, 0.0, 5.0)]), ("river Elm".to_owned(), 4, 13));
    assert_eq!(span("", &[(1, 5.0, 4.0), (0, 0.0, 8.0)]), ("river".to_owned(), 4, 9), "an end before the start");
    assert_eq!(span("", &[(0, 5.0, 0.0), (3, 0.0, 5.0)]), ("the river Elm .".to_owned(), 0, 15));
    assert_eq!(span("max_answer_tokens = 3", &[(0, 5.0, 1.0), (3, 0.0, 5.0)]), ("the".to_owned(), 0, 3));
}

#[test]
fn a_span_neither_begins_nor_ends_with_white_space() {
    let spec = spec(Kind::Span, 48, "");
    let (_, task) = build(&spec);
    // Two spaces: `Ġriver`, `Ġ`, `ĠElm`.
    let encoding = encode(&spec, "what ||| river  Elm").unwrap();
    let answer = task.decode(&encoding, &[0.0, 0.0, 9.0, 9.0, 0.0, 1.0]).unwrap();
    let Answer::Span(answer) = answer else { panic!("{answer:?}") };
    assert_eq!((answer.text.as_str(), answer.score), ("river  Elm", 1.0));
}

#[test]
fn features_keep_every_row_with_its_token() {
    let spec = TaskSpec::features(crate::task::Compat::Masked, false);
    let (_, task) = build(&spec);
    let encoding = encode(&spec, "the river").unwrap();
    assert_eq!((task.head(), encoding.reads.len()), (None, 4));
    let answer = task.decode(&encoding, &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]).unwrap();
    let Answer::Features(features) = &answer else { panic!("{answer:?}") };
    let rows: Vec<_> = features
        .tokens
        .iter()
        .map(|token| (token.token.as_str(), token.start, token.end, token.vector.as_slice()))
        .collect();
    assert_eq!(
        rows,
        [
            ("<s>", 0, 0, &[0.0, 0.5][..]),
            ("Ġthe", 0, 3, &[1.0, 1.5]),
            ("Ġriver", 4, 9, &[2.0, 2.5]),
            ("</s>", 9, 9, &[3.0, 3.5]),
        ]
    );
    let uneven = task.decode(&encoding, &[0.0; 9]).unwrap_err();
    assert!(matches!(uneven, Error::LogitsCount { expected: 8, found: 9, .. }), "{uneven}");
}

#[test]
fn wrong_numbers_are_refused() {
    let spec = spec(Kind::SequenceClassification, 48, "");
    let (_, task) = build(&spec);
    let encoding = encode(&spec, "the river").unwrap();
    let error = |logits: &[f32]| task.decode(&encoding, logits).unwrap_err().to_string();
    assert_eq!(error(&[0.0; 2]), "The head of a task of kind `sequence-classification` gave 2 numbers, expected 3");
    assert_eq!(
        error(&[0.0, f32::NAN, 0.0]),
        "The head of a task of kind `sequence-classification` gave a number that is not finite (number 1)"
    );
    let foreign = encode(&super::spec(Kind::EntityTyping, 48, ""), MENTION).unwrap();
    assert!(matches!(task.decode(&foreign, &[0.0; 3]), Err(Error::ForeignEncoding { .. })));
}

#[test]
fn extreme_logits_stay_probabilities() {
    let logits = (3, vec![f32::MAX, f32::MIN, 0.0]);
    let answers = decode_rows(&spec(Kind::SequenceClassification, 48, ""), "the river", logits);
    let Answer::Sequence(answer) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!((answer.label.as_str(), answer.probability), ("label 0", 1.0));
    // Ties keep the order of the labels.
    let answers = decode_rows(&spec(Kind::SequenceClassification, 48, ""), "the river", (3, vec![1.0; 3]));
    let Answer::Sequence(answer) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!(answer.label, "label 0");
}

#[test]
fn answers_read_well_and_serialise() {
    let answers = decode_rows(&spec(Kind::RelationClassification, 48, ""), RELATION, (3, vec![0.0, 2.0, 1.0]));
    assert_eq!(
        Readable(&answers[0]).to_string(),
        "label 1  (Ada -> river)\n  0.665  label 1\n  0.245  label 2\n  0.090  label 0"
    );
    let value = serde_json::to_value(&answers[0]).unwrap();
    assert_eq!((&value["kind"], &value["label"]), (&"relation-classification".into(), &"label 1".into()));
    assert_eq!(value["scores"].as_array().unwrap().len(), 3);

    let hostile = "<e>\u{1b}[31mAda\u{202e}</e> saw it.";
    let answers = decode_rows(&spec(Kind::EntityTyping, 48, ""), hostile, (3, vec![-1.0; 3]));
    let shown = Readable(&answers[0]).to_string();
    assert!(shown.starts_with("no label  (\\u{1b}[31mAda\\u{202e})"), "{shown}");
}

#[test]
fn exclusive_types_have_one_answer_whose_scores_add_up() {
    let rows = (3, vec![-1.0, -0.5, -2.0, 4.0, 0.5, 0.4]);
    let answers = decode_rows(&spec(Kind::EntityTyping, 48, "exclusive = true"), MENTION, rows);
    let found: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Typing(TypingAnswer { labels, scores, .. }) => {
                let sum: f32 = scores.iter().map(|score| score.probability).sum();
                assert!((sum - 1.0).abs() < 1e-6, "{sum}");
                assert_eq!(scores[0].label, labels[0]);
                indices(labels)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, [[1], [0]]);
}
