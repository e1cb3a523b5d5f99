//! Forms of records, cutting, options, and the messages for what is wrong with them.

use super::{BACKBONE_LIMIT, build, encode, numbered, spec};
use crate::task::{Activation, Compat, Encoding, Error, HeadShape, Kind, Record, TaskSpec};
use crate::tokenizer::fixture::{official, word_piece};

const RELATION: Kind = Kind::RelationClassification;

/// The tokens of a segment as the vocabulary names them.
fn names(encoding: &Encoding, segment: usize) -> String {
    let tokenizer = official();
    let names: Vec<_> = encoding.segments[segment].iter().map(|&id| tokenizer.token_of(id).unwrap()).collect();
    names.join(" ")
}

/// The message and the hint for a record that is refused.
fn refusal(spec: &TaskSpec, record: &str) -> (String, String) {
    let error = encode(spec, record).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

#[test]
fn relation_records_of_all_forms_encode_alike() {
    let spec = spec(RELATION, 48, "");
    let forms = [
        "The <e1>river</e1> near <e2>Port Maro</e2> .",
        r#"{"text": "The <e1>river</e1> near <e2>Port Maro</e2> ."}"#,
        r#"{"text": "The river near Port Maro .", "subject": [4, 9], "object": [15, 24], "id": 7}"#,
        r#"{"token": ["The", "river", "near", "Port", "Maro", "."], "subj_start": 1, "subj_end": 1, "obj_start": 3, "obj_end": 4}"#,
    ];
    let first = encode(&spec, forms[0]).unwrap();
    assert_eq!(names(&first, 0), "<s> ĠThe @ Ġriver @ Ġnear # ĠPort ĠMaro # Ġ. </s>");
    assert_eq!(first.reads[0].iter().map(|read| read.row).collect::<Vec<_>>(), [2, 6]);
    for form in forms {
        assert_eq!(encode(&spec, form).unwrap(), first, "{form}");
    }
}

#[test]
fn an_object_before_its_subject_is_mirrored() {
    let encoding = encode(&spec(RELATION, 48, ""), "<e2>Maro</e2> and <e1>Ada</e1>").unwrap();
    assert_eq!(names(&encoding, 0), "<s> # ĠMaro # Ġand @ ĠAda @ </s>");
    assert_eq!(encoding.reads[0].iter().map(|read| read.row).collect::<Vec<_>>(), [5, 1], "subject, object");
}

#[test]
fn spans_count_characters_not_bytes() {
    let record = r#"{"text": "雪 é Ada saw Maro", "subject": [4, 7], "object": [12, 16]}"#;
    let encoding = encode(&spec(RELATION, 48, ""), record).unwrap();
    assert!(names(&encoding, 0).contains("@ ĠAda @"), "{}", names(&encoding, 0));
    let (message, _) = refusal(&spec(RELATION, 48, ""), &record.replace("16", "17"));
    assert_eq!(message, "The object ends at 17, the text has 16 characters");
}

#[test]
fn markers_are_options() {
    let spec = spec(RELATION, 48, "subject_marker = \"$\"\nobject_marker = \"Ġ#\"");
    let encoding = encode(&spec, "<e1>Ada</e1> <e2>Maro</e2>").unwrap();
    assert_eq!(names(&encoding, 0), "<s> $ ĠAda $ Ġ# ĠMaro Ġ# </s>");
}

#[test]
fn word_piece_relations_take_the_same_way() {
    let tokenizer = word_piece();
    let task = spec(RELATION, 48, "").build(&tokenizer, 48).unwrap();
    let record = Record::parse("The <e1>Rivers</e1> flow <e2>Elm</e2>.").unwrap();
    let encoding = task.encode(&tokenizer, &record).unwrap();
    assert_eq!(encoding.segments, [[2, 8, 5, 9, 10, 5, 12, 6, 11, 6, 7, 3]]);
    assert_eq!(encoding.reads[0].iter().map(|read| read.row).collect::<Vec<_>>(), [2, 7]);
}

#[test]
fn relation_records_that_contradict_themselves_are_refused() {
    let spec = spec(RELATION, 48, "");
    for (record, message) in [
        ("Ada saw Maro", "The text has no `<e1>`"),
        ("<e1>Ada</e1> saw <e2>Maro", "The text has no `</e2>`"),
        ("<e1>Ada</e1> <e1>saw</e1> <e2>Maro</e2>", "The text has `<e1>` 2 times, expected once"),
        ("</e1>Ada<e1> saw <e2>Maro</e2>", "`</e1>` stands before `<e1>`"),
        ("<e1>Ada <e2>saw</e2></e1> Maro", "The subject and the object overlap"),
        ("<e1>Ada <e2>saw</e1> Maro</e2>", "The subject and the object overlap"),
        ("<e1> </e1> saw <e2>Maro</e2>", "The subject is empty"),
        (r#"{"text": "Ada saw", "subject": [0, 3]}"#, "The record has no `object`"),
        (
            r#"{"text": "Ada saw", "subject": [3, 3], "object": [4, 7]}"#,
            "The subject must begin before it ends, found 3 to 3",
        ),
        (r#"{"text": "Ada saw", "subject": [0, 5], "object": [4, 7]}"#, "The subject and the object overlap"),
        (
            r#"{"text": "Ada saw", "subject": [0, -1], "object": [4, 7]}"#,
            "The field `subject` must be two whole numbers from 0, found a list",
        ),
        (
            r#"{"text": "Ada saw", "subject": 3.5, "object": [4, 7]}"#,
            "The field `subject` must be two whole numbers from 0, found `3.5`",
        ),
        (r#"{"subject": [0, 3], "object": [4, 7]}"#, "The record has no `text`"),
        (r#"{"text": " ", "subject": [0, 3], "object": [4, 7]}"#, "The text is empty"),
        (r#"{"token": ["Ada", 1], "subj_start": 0}"#, "The field `token` must be a list of texts, found a list"),
        (
            r#"{"token": ["Ada", "saw"], "subj_start": 0, "subj_end": 0, "obj_start": 1, "obj_end": 2}"#,
            "The object ends at 2, the text has 2 words",
        ),
        (
            r#"{"token": ["Ada", "saw"], "subj_start": 1, "subj_end": 0, "obj_start": 1, "obj_end": 1}"#,
            "The subject must begin before it ends, found 1 to 0",
        ),
    ] {
        let (found, hint) = refusal(&spec, record);
        assert_eq!(found, message, "{record}");
        assert!(hint.ends_with("\"object\": [16, 22]}`"), "{record}: {hint}");
    }
}

#[test]
fn records_that_are_none_are_refused() {
    for (record, message) in [
        ("", "The record is empty"),
        (" \n", "The record is empty"),
        ("{}", "The record is empty"),
        ("\"\"", "The record is empty"),
        ("{\"text\": ", "Could not read the record as JSON"),
    ] {
        assert_eq!(Record::parse(record).unwrap_err().to_string(), message, "{record:?}");
    }
    let list = Record::from_value(serde_json::json!([1])).unwrap_err();
    assert_eq!(list.to_string(), "The record must be a JSON object or a text, found a list");
    let large = "a ".repeat(1 << 20);
    assert!(matches!(Record::parse(&large), Err(Error::RecordTooLarge { bytes: 2097152, limit: 1048576 })));
    let large = serde_json::json!({"text": [{"deep": large}]});
    assert!(matches!(Record::from_value(large), Err(Error::RecordTooLarge { .. })));
    assert_eq!(Record::parse("\u{feff}\"{a}\"").unwrap(), Record::Text("{a}".to_owned()));
    assert_eq!(Record::from_text("{a").unwrap(), Record::Text("{a".to_owned()));
}

#[test]
fn long_relations_are_refused_or_cut() {
    let record = |before: usize| format!("{}<e1>Ada</e1> <e2>Maro</e2> the end", "the ".repeat(before));
    let refused = spec(RELATION, 16, "");
    assert_eq!(encode(&refused, &record(5)).unwrap().segments[0].len(), 16);
    let (message, hint) = refusal(&refused, &record(6));
    assert_eq!(message, "The text is longer than the backbone takes: 17 tokens, at most 16 are read");
    assert!(hint.ends_with("`--truncate`"), "{hint}");

    let cut = TaskSpec { truncate: true, ..refused };
    let encoding = encode(&cut, &record(10)).unwrap();
    assert_eq!((encoding.segments[0].len(), encoding.reads[0][1].row), (16, 14));
    assert_eq!(encoding.segments[0].last(), Some(&2));
    let (message, _) = refusal(&cut, &record(11));
    assert_eq!(message, "Could not cut the text to 16 tokens: the marker of the object is token 15");
}

#[test]
fn typing_keeps_a_window_around_the_mention() {
    let record = |before: usize, after: usize| format!("{}<e>Ada</e>{}", "the ".repeat(before), " of".repeat(after));
    let refused = spec(Kind::EntityTyping, 12, "");
    assert_eq!(
        refusal(&refused, &record(5, 5)).0,
        "The text is longer than the backbone takes: 15 tokens, at most 12 are read"
    );
    let cut = TaskSpec { truncate: true, ..refused };
    for (before, after, expected) in [(9, 9, (3, 4)), (1, 9, (1, 6)), (9, 1, (6, 1)), (9, 0, (7, 0)), (0, 9, (0, 7))] {
        let encoding = encode(&cut, &record(before, after)).unwrap();
        let mut tokens = vec!["<s>"];
        tokens.extend(vec!["Ġthe"; expected.0]);
        tokens.extend(["Ġ@", "ĠAda", "Ġ@"]);
        tokens.extend(vec!["Ġof"; expected.1]);
        tokens.push("</s>");
        assert_eq!(names(&encoding, 0), tokens.join(" "), "{before} {after}");
        assert_eq!(encoding.reads[0][0].row, 1 + expected.0);
    }
    let (message, _) = refusal(&cut, &format!("<e>{}</e>", "the ".repeat(9)));
    assert_eq!(message, "The mention alone is longer than the backbone takes: 13 tokens, at most 12 are read");
}

#[test]
fn choices_are_read_and_cut() {
    let refused = spec(Kind::MultipleChoice, 14, "");
    let text = encode(&refused, "the river ||| the sea ||| the town || the barn").unwrap();
    assert_eq!(names(&text, 1), "<s> Ġthe Ġriver </s> Ġthe Ġsea </s> Ġthe Ġbarn </s>");
    for object in [
        r#"{"context": "the river", "question": "the sea", "answers": ["the town", "the barn"]}"#,
        r#"{"context": "the river", "question": "the sea", "answer0": "the town", "answer1": "the barn", "label": "0"}"#,
    ] {
        assert_eq!(encode(&refused, object).unwrap(), text);
    }
    let long = format!("the sea ||| the ||| {} || of", "the ".repeat(12));
    assert_eq!(
        refusal(&refused, &long).0,
        "The text is longer than the backbone takes: 19 tokens, at most 14 are read"
    );
    let cut = TaskSpec { truncate: true, ..refused };
    assert_eq!(
        names(&encode(&cut, &long).unwrap(), 0),
        format!("<s> Ġthe Ġsea </s> Ġthe </s>{} </s>", " Ġthe".repeat(7))
    );
    // Six tokens each and room for eleven: the second is shortened.
    let tied = "the river the river the river ||| the sea ||| the town of || of";
    let (context, rest) = ("Ġthe Ġriver Ġthe Ġriver Ġthe Ġriver", "Ġthe Ġsea </s> Ġthe Ġtown");
    assert_eq!(names(&encode(&cut, tied).unwrap(), 0), format!("<s> {context} </s> {rest} </s>"));
    let lost = format!("{} ||| {} ||| sea || of", "the ".repeat(9), "the ".repeat(9));
    assert_eq!(refusal(&cut, &lost).0, "Could not cut the text to 14 tokens: nothing would be left of answer 0");
    for (record, message) in [
        ("a ||| b", "The text has 2 parts between `|||`, expected 3"),
        ("a ||| b ||| c", "The record has 1 answers, expected 2 to 64"),
        ("a ||| b ||| c || ", "The answer is empty"),
        ("a ||| ||| c || d", "The question is empty"),
        (r#"{"context": "a", "question": "b"}"#, "The record has no `answers`"),
        (
            r#"{"context": "a", "question": "b", "answer0": "c", "answer2": "d"}"#,
            "The record has 1 answers, expected 2 to 64",
        ),
        (r#"{"context": "a", "question": "b", "answer0": 3}"#, "The field `answer0` must be a text, found `3`"),
    ] {
        assert_eq!(refusal(&cut, record).0, message, "{record}");
    }
}

#[test]
fn spans_are_read_and_cut() {
    let refused = spec(Kind::Span, 10, "");
    let text = encode(&refused, "the sea ||| the river Elm ").unwrap();
    assert_eq!(names(&text, 0), "<s> Ġthe Ġsea </s> Ġthe Ġriver ĠElm </s>");
    assert_eq!(text.reads.iter().map(|unit| unit[0].row).collect::<Vec<_>>(), [4, 5, 6]);
    let object = r#"{"question": "the sea", "context": "the river Elm"}"#;
    assert_eq!(encode(&refused, object).unwrap(), text);
    let long = format!("the sea ||| {}", "river ".repeat(9));
    assert_eq!(
        refusal(&refused, &long).0,
        "The text is longer than the backbone takes: 14 tokens, at most 10 are read"
    );
    let cut = TaskSpec { truncate: true, ..refused };
    let encoding = encode(&cut, &long).unwrap();
    assert_eq!((encoding.segments[0].len(), encoding.reads.len()), (10, 5));
    let (message, _) = refusal(&cut, &format!("{} ||| river", "the ".repeat(7)));
    assert_eq!(message, "The question alone is longer than the backbone takes: 11 tokens, at most 10 are read");
    assert_eq!(refusal(&cut, "only a question").0, "The text has 1 parts between `|||`, expected 2");
}

#[test]
fn descriptions_are_checked() {
    let refusal = |spec: TaskSpec| {
        let error = spec.build(&official(), BACKBONE_LIMIT).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    };
    let (message, hint) = refusal(spec(RELATION, 48, "marker = \"@\""));
    assert_eq!(message, "A task of kind `relation-classification` has no option `marker`");
    assert_eq!(
        hint,
        "its options are `activation`, `dense`, `marker_overflow`, `object_marker`, `pad_id`, `subject_marker`"
    );
    for (kind, options, message) in [
        (
            RELATION,
            "subject_marker = 3",
            "The option `subject_marker` of a task of kind `relation-classification` must be a text, found integer",
        ),
        (
            RELATION,
            "subject_marker = \"[E1]\"",
            "The marker `[E1]` (`subject_marker`) is not in the backbone's vocabulary",
        ),
        (
            RELATION,
            "marker_overflow = \"cut\"",
            "The option `marker_overflow` of a task of kind `relation-classification` must be `error` or `minus10` or `skip`, found `cut`",
        ),
        (
            RELATION,
            "pad_id = 513",
            "The option `pad_id` of a task of kind `relation-classification` must be a number from 0 to 512, found `513`",
        ),
        (Kind::EntityTyping, "marker = \" \"", "The marker ` ` (`marker`) is not in the backbone's vocabulary"),
        (
            Kind::EntityTyping,
            "force_top = 1",
            "The option `force_top` of a task of kind `entity-typing` must be `true` or `false`, found integer",
        ),
        (
            Kind::Span,
            "max_answer_tokens = 0",
            "The option `max_answer_tokens` of a task of kind `span` must be a number from 1 to 65536, found `0`",
        ),
        (
            Kind::MultipleChoice,
            "activation = \"tanh\"",
            "A task of kind `multiple-choice` has an `activation` but no dense layer before it",
        ),
        (Kind::Features, "dense = true", "A task of kind `features` has no option `dense`"),
    ] {
        assert_eq!(refusal(spec(kind, 48, options)).0, message);
    }
    let labelled = |kind, labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        refusal(TaskSpec { labels, ..spec(kind, 48, "") }).0
    };
    assert_eq!(labelled(RELATION, &[]), "A task of kind `relation-classification` needs labels and has none");
    assert_eq!(labelled(RELATION, &["a", "b", "a"]), "The label `a` stands twice in the task's labels");
    assert_eq!(labelled(Kind::Span, &["a"]), "A task of kind `span` has no labels and was given 1");
    assert_eq!(refusal(spec(RELATION, 3, "")).0, "The task's `max_length` is 3, at least 4 tokens are needed");
    let official = TaskSpec { compat: Compat::Official, ..spec(RELATION, 64, "") };
    let (message, hint) = refusal(official);
    assert_eq!(message, "The task pads to `max_length` = 64 tokens, the backbone takes 48");
    assert!(hint.contains("`max_length = 48`"));
    assert_eq!(build(&spec(RELATION, 64, "")).1.max_length(), 48);
    assert_eq!(build(&TaskSpec::features(Compat::Official, true)).1.max_length(), 48);
}

#[test]
fn heads_follow_the_description() {
    let head = |kind, options| build(&spec(kind, 48, options)).1.head();
    let shape =
        |reads_per_unit, dense, activation, outputs| Some(HeadShape { reads_per_unit, dense, activation, outputs });
    assert_eq!(head(RELATION, ""), shape(2, true, Activation::None, 3));
    assert_eq!(head(Kind::EntityTyping, ""), shape(1, true, Activation::None, 3));
    assert_eq!(head(Kind::MultipleChoice, ""), shape(1, false, Activation::None, 1));
    assert_eq!(head(Kind::Span, ""), shape(1, false, Activation::None, 2));
    assert_eq!(head(Kind::SequenceClassification, "activation = \"tanh\""), shape(1, true, Activation::Tanh, 3));
    assert_eq!(head(Kind::SequenceClassification, "dense = false"), shape(1, false, Activation::None, 3));
    assert_eq!(head(Kind::Features, ""), None);
}

#[test]
fn kinds_have_one_word_each() {
    for kind in Kind::ALL {
        assert_eq!(kind.as_str().parse::<Kind>().unwrap(), kind);
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        let spec = TaskSpec { labels: if kind.has_labels() { numbered(2) } else { Vec::new() }, ..spec(kind, 48, "") };
        assert_eq!(build(&spec).1.kind(), kind);
    }
    let error = "relation".parse::<Kind>().unwrap_err();
    assert_eq!(error.to_string(), "There is no kind of task called `relation`");
    assert!(error.hint().unwrap().contains("`relation-classification`"));
}
