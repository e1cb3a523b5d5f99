//! What a head is to find in a labelled record.

use super::super::{AnswerRule, Error, Target};
use crate::data::{Gold, Labelled, Labels, Place, SpanGold};
use crate::task::{Compat, Encoding, Kind, Record, TaskSpec};
use crate::tokenizer::Tokenizer;
use crate::tokenizer::fixture::{official, word_piece};
use serde_json::{Map, Value, json};
use std::path::Path;

const LABELS: [&str; 3] = ["a", "b", "c"];
const EXCLUSIVE: AnswerRule = AnswerRule { force_top: false, exclusive: true, max_answer_tokens: None };
/// As long as no context here.
const ROOM: usize = 48;

/// A record as it is encoded, cut to so many tokens.
fn encoding(tokenizer: &Tokenizer, kind: Kind, max_length: usize, fields: Value) -> Encoding {
    let labels = if kind.has_labels() { LABELS.map(str::to_owned).to_vec() } else { Vec::new() };
    let (options, compat) = (toml::Table::new(), Compat::Masked);
    let spec = TaskSpec { kind, labels, max_length: Some(max_length), options, compat, truncate: true };
    let task = spec.build(tokenizer, ROOM).unwrap();
    task.encode(tokenizer, &Record::from_value(fields).unwrap()).unwrap()
}

fn labelled(gold: Gold) -> Labelled {
    let at = Place { path: Path::new("data.jsonl").into(), line: 3, record: 3 };
    Labelled { fields: Map::new(), gold, at }
}

/// What is to be found in a record of a kind.
fn target(kind: Kind, rule: AnswerRule, gold: Gold) -> Result<Target, Error> {
    let fields = match kind {
        Kind::RelationClassification => json!({ "text": "<e1>Ada</e1> the <e2>river</e2>" }),
        Kind::EntityTyping => json!({ "text": "the river", "start": 4, "end": 9 }),
        Kind::MultipleChoice => json!({ "context": "the river", "question": "the sea", "answers": ["the Elm", "Ada"] }),
        Kind::Span => json!({ "question": "the sea", "context": "the river Elm" }),
        _ => json!({ "text": "the river" }),
    };
    let encoding = encoding(&official(), kind, ROOM, fields);
    let labels = Labels::new(LABELS.map(str::to_owned));
    Target::of(kind, &labels, rule, &labelled(gold), &encoding)
}

fn names(labels: &[&str]) -> Gold {
    Gold::Labels(labels.iter().map(|&label| label.to_owned()).collect())
}

fn label(label: &str) -> Gold {
    Gold::Label(label.to_owned())
}

/// The first and the last token that answers a question of one token about a context, and the text of the stretch between them.
fn found(max_length: usize, context: &str, golds: &[(&str, Option<usize>)]) -> Option<(u32, u32, String)> {
    let fields = json!({ "question": "the", "context": context });
    let encoding = encoding(&word_piece(), Kind::Span, max_length, fields);
    let spans = golds.iter().map(|&(text, start)| SpanGold { text: text.to_owned(), start }).collect();
    let (labels, labelled) = (Labels::new(Vec::new()), labelled(Gold::Spans(spans)));
    let target = Target::of(Kind::Span, &labels, AnswerRule::default(), &labelled, &encoding).unwrap();
    let (first, last) = target.stretch()?;
    let (_, tokens) = encoding.context().unwrap();
    let (start, end) = (tokens[first as usize].start, tokens[last as usize].end);
    Some((first, last, context.chars().skip(start).take(end - start).collect()))
}

fn stretch(first: u32, last: u32, text: &str) -> Option<(u32, u32, String)> {
    Some((first, last, text.to_owned()))
}

/// Tokens: the, river, ##s, flow, ., the, river.
#[test]
fn an_answer_is_the_tokens_that_it_covers() {
    let context = "the rivers flow . the river";
    for (text, start, expected) in [
        ("rivers", None, stretch(1, 2, "rivers")),
        ("rivers flow", Some(4), stretch(1, 3, "rivers flow")),
        // Without a place the first one is meant.
        ("the", None, stretch(0, 0, "the")),
        ("the", Some(18), stretch(5, 5, "the")),
        ("river", None, stretch(1, 1, "river")),
        ("river", Some(22), stretch(6, 6, "river")),
        // Of a token there is no part.
        ("low", None, stretch(3, 3, "flow")),
        (context, None, stretch(0, 6, context)),
    ] {
        assert_eq!(found(ROOM, context, &[(text, start)]), expected, "{text} at {start:?}");
    }
}

#[test]
fn an_answer_is_found_by_characters_not_bytes() {
    // Counted in bytes, `elm` would begin where `river` does.
    for start in [None, Some(10)] {
        assert_eq!(found(ROOM, "éé éé the elm river", &[("elm", start)]), stretch(3, 3, "elm"), "{start:?}");
    }
}

#[test]
fn of_several_answers_the_first_that_stands_in_the_context_is_learned() {
    let context = "the river elm";
    assert_eq!(found(ROOM, context, &[("flow", None), ("elm", None), ("river", None)]), stretch(2, 2, "elm"));
    assert_eq!(found(ROOM, context, &[("flow", None)]), None);
    assert_eq!(found(ROOM, context, &[]), None);
}

#[test]
fn every_answer_is_right_and_one_that_is_not_where_it_says_is_refused() {
    let gold = |golds: &[(&str, Option<usize>)]| {
        let spans = golds.iter().map(|&(text, start)| SpanGold { text: text.to_owned(), start }).collect();
        target(Kind::Span, AnswerRule::default(), Gold::Spans(spans))
    };
    let two = gold(&[("the", None), ("the", Some(0)), ("the river", None), (" ", None), ("sea", None)]).unwrap();
    let Target::Spans(stretches) = &two else { panic!("{two:?}") };
    assert_eq!(stretches.len(), 2, "equal ones count once, blank and absent ones not");
    assert!(stretches.iter().all(|&(first, last)| two.is(&Target::Span(first, last))) && !two.is(&Target::Span(9, 9)));
    assert_eq!(
        gold(&[("river ", Some(4))]).unwrap(),
        gold(&[("river", Some(4))]).unwrap(),
        "white space around it is none of it"
    );
    for start in [0, 5, usize::MAX] {
        let error = gold(&[("river", Some(start))]).unwrap_err();
        let expected = format!(
            "data.jsonl:3: answer `river` does not stand at character {start} of the context, where `answer_start` says"
        );
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().unwrap().contains("not bytes"));
    }
}

/// Question and special tokens take four of seven.
#[test]
fn an_answer_that_was_cut_off_is_none() {
    let context = "the river elm flow";
    assert_eq!(found(ROOM, context, &[("elm flow", None)]), stretch(2, 3, "elm flow"));
    assert_eq!(found(7, context, &[("river elm", None)]), stretch(1, 2, "river elm"));
    for start in [None, Some(14)] {
        assert_eq!(found(7, context, &[("flow", start)]), None, "{start:?}");
    }
    // A part of it is not the answer, neither of words nor of a word.
    assert_eq!(found(7, context, &[("elm flow", None)]), None);
    assert_eq!(found(7, "the elm rivers", &[("rivers", None)]), None);
    assert_eq!(found(7, "the elm rivers", &[("elm river", None)]), stretch(1, 2, "elm river"));
    assert_eq!(found(7, context, &[("elm flow", None), ("river", None)]), stretch(1, 1, "river"));
}

#[test]
fn labels_are_places_among_those_of_the_task() {
    for kind in [Kind::RelationClassification, Kind::SequenceClassification] {
        assert_eq!(target(kind, AnswerRule::default(), label("b")).unwrap(), Target::Class(1), "{kind}");
    }
    let typing = |labels: &[&str]| target(Kind::EntityTyping, AnswerRule::default(), names(labels)).unwrap();
    assert_eq!(typing(&["c", "a", "c"]), Target::Classes(vec![0, 2]));
    assert_eq!(typing(&[]), Target::Classes(Vec::new()));
}

#[test]
fn labels_that_exclude_one_another_are_one() {
    let typing = |labels: &[&str]| target(Kind::EntityTyping, EXCLUSIVE, names(labels));
    assert_eq!(typing(&["c"]).unwrap(), Target::Class(2));
    for labels in [&["a", "b"] as &[&str], &[]] {
        let error = typing(labels).unwrap_err();
        let expected = format!(
            "data.jsonl:3: the mention has {} labels, expected one, since labels exclude one another",
            labels.len()
        );
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().unwrap().contains("exclusive"));
    }
}

#[test]
fn a_label_that_the_task_lacks_is_refused() {
    let rule = AnswerRule::default();
    for refused in [
        target(Kind::RelationClassification, rule, label("d")),
        target(Kind::SequenceClassification, rule, label("d")),
        target(Kind::EntityTyping, rule, names(&["a", "d"])),
        target(Kind::EntityTyping, EXCLUSIVE, names(&["d"])),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.to_string(), "data.jsonl:3: label `d` is not among the task's 3 labels");
        assert!(error.hint().is_some());
    }
}

#[test]
fn the_right_choice_is_one_of_the_answers() {
    let choice = |answer| target(Kind::MultipleChoice, AnswerRule::default(), Gold::Choice(answer));
    assert_eq!([choice(0).unwrap(), choice(1).unwrap()], [Target::Unit(0), Target::Unit(1)]);
    let error = choice(2).unwrap_err();
    assert_eq!(error.to_string(), "data.jsonl:3: answer 2 is right, expected one of 2 answers, counted from 0");
    assert!(error.hint().is_some());
}

#[test]
fn a_gold_answer_of_another_kind_is_refused() {
    for (kind, gold, found) in [
        (Kind::Span, label("a"), "one label"),
        (Kind::MultipleChoice, names(&["a"]), "a list of labels"),
        (Kind::EntityTyping, label("a"), "one label"),
        (Kind::SequenceClassification, Gold::Choice(0), "the index of an answer"),
        (Kind::RelationClassification, Gold::Spans(Vec::new()), "answers in a context"),
    ] {
        let error = target(kind, AnswerRule::default(), gold).unwrap_err();
        let expected =
            format!("data.jsonl:3: the gold answer is {found}, which tasks of kind `{kind}` do not learn from");
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some());
    }
}
