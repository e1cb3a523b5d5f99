//! Samples of every format as files, compressed or not: the format is told, and the records are what they should be.

use kadapter_host::data::{Error, Format, Gold, Labelled, Options, Reason, SeenSentences, Source};
use kadapter_host::task::Record;
use kadapter_tests::paths;
use serde_json::{Value, json};

fn source(name: &str, format: Option<Format>) -> Source {
    Source::new(paths::data(name), format, Options::default()).unwrap()
}

fn records(name: &str) -> (Format, Vec<Labelled>) {
    let source = source(name, None);
    (source.format, source.records().collect::<Result<_, _>>().unwrap())
}

#[test]
fn every_sample_tells_its_format_and_is_read() {
    for (name, format, count) in [
        ("labelled/semeval.txt", Format::Semeval, 12),
        ("labelled/semeval.txt.xz", Format::Semeval, 12),
        ("labelled/semeval.txt.gz", Format::Semeval, 12),
        ("labelled/fewrel.json", Format::Fewrel, 3),
        ("labelled/cosmosqa.csv", Format::Cosmosqa, 2),
        ("labelled/squad.json", Format::Squad, 3),
        ("labelled/spans.jsonl", Format::Json, 2),
        ("labelled/trees.conllu", Format::Conllu, 2),
        ("labelled/trex.tsv", Format::TrexTable, 2),
        ("labelled/wordnet.tsv", Format::WordnetTable, 1),
        ("labelled/lama.jsonl", Format::Lama, 3),
        ("labelled/plain.jsonl", Format::Json, 7),
        ("official/data/tacred.json", Format::Tacred, 5),
        ("official/data/trex.json", Format::Tacred, 6),
        ("official/data/openentity.json", Format::OpenEntity, 6),
        ("official/data/figer.json", Format::OpenEntity, 7),
        ("official/data/cosmosqa.jsonl", Format::Cosmosqa, 3),
        ("official/data/find_head.json", Format::LinAdapter, 5),
    ] {
        let (told, found) = records(name);
        assert_eq!((told, found.len()), (format, count), "{name}");
        for record in &found {
            assert!(record.at.path.ends_with(name.rsplit('/').next().unwrap()), "{name}");
            let flat = |value: &Value| !value.is_object() && !value.is_null() && !value.is_boolean();
            assert!(record.flat().values().all(flat), "{name}");
            assert!(Record::from_value(Value::Object(record.fields.clone())).is_ok(), "{name}");
        }
    }
}

#[test]
fn compression_changes_nothing() {
    let strip = |name: &str| -> Vec<_> {
        records(name).1.into_iter().map(|record| (record.fields, record.gold, record.at.line)).collect()
    };
    let plain = strip("labelled/semeval.txt");
    assert_eq!(plain, strip("labelled/semeval.txt.xz"));
    assert_eq!(plain, strip("labelled/semeval.txt.gz"));
    assert_eq!(
        plain[9].0["text"],
        "The <e1>teacher</e1> looked at the <e2>clock</e2> and said \"not yet\" to the class."
    );
    assert_eq!((plain[9].1.clone(), plain[9].2), (Gold::Label("Other".into()), 37));
}

#[test]
fn records_are_what_tasks_encode() {
    let (_, fewrel) = records("labelled/fewrel.json");
    assert_eq!(fewrel[1].gold, Gold::Label("P19".into()));
    let words = &fewrel[1].fields;
    assert_eq!(
        ["subj_start", "subj_end", "obj_start", "obj_end"].map(|name| words[name].as_u64().unwrap()),
        [3, 4, 1, 1]
    );
    assert_eq!((fewrel[2].gold.clone(), fewrel[2].at.line), (Gold::Label("P177".into()), 3));

    let (_, cosmosqa) = records("labelled/cosmosqa.csv");
    assert_eq!(cosmosqa[0].fields["context"], "Ada said \"up, now\" , packed her paints\nand left before dawn .");
    assert_eq!((cosmosqa[0].gold.clone(), cosmosqa[1].gold.clone()), (Gold::Choice(0), Gold::Choice(2)));
    assert_eq!(cosmosqa[1].at.line, 4);

    let (_, squad) = records("labelled/squad.json");
    let Gold::Spans(spans) = &squad[1].gold else { panic!("spans are expected") };
    let context: Vec<char> = squad[1].fields["context"].as_str().unwrap().chars().collect();
    let start = spans[0].start.unwrap();
    assert_eq!(context[start..start + 9].iter().collect::<String>(), spans[0].text);
    assert_eq!(squad[2].gold, Gold::Spans(Vec::new()));

    let (_, trees) = records("labelled/trees.conllu");
    assert_eq!(trees[0].fields["words"], json!(["Ada", "did", "n't", "see", "him", "."]));
    assert_eq!(
        (trees[0].fields["doc"].as_str(), trees[1].fields["text"].as_str()),
        (Some("letters"), Some("Rain again"))
    );

    let (_, lama) = records("labelled/lama.jsonl");
    let texts: Vec<_> = lama.iter().map(|record| record.fields["text"].as_str().unwrap()).collect();
    assert_eq!(
        texts,
        ["Ada Quill was born in [MASK] .", "The river near the sea is [MASK].", "The capital of Norvia is [MASK]."]
    );
}

#[test]
fn what_a_format_leaves_out_is_counted() {
    for (name, reason) in [
        ("labelled/trex.tsv", Reason::SubjectNotFound),
        ("labelled/wordnet.tsv", Reason::HeadNotFound),
        ("labelled/lama.jsonl", Reason::NotOneMask),
    ] {
        let mut records = source(name, None).records();
        assert!(records.by_ref().all(|record| record.is_ok()));
        assert_eq!(records.counts().left_out[&reason], 1, "{name}");
    }
    assert_eq!(source("labelled/wordnet.tsv", Some(Format::WordnetDefined)).records().count(), 2);
}

#[test]
fn the_wrong_format_is_said_and_never_panics() {
    for name in ["labelled/semeval.txt", "labelled/fewrel.json", "labelled/trees.conllu", "labelled/cosmosqa.csv"] {
        for format in Format::ALL {
            let source = source(name, Some(format));
            let read: Result<Vec<_>, Error> = source.records().collect();
            let told = Source::new(&source.path, None, Options::default()).unwrap().format;
            // A treebank may be read by sentences or by words.
            let other = [told, format] == [Format::Conllu, Format::ConlluWords];
            assert_eq!(read.is_ok(), told == format || other, "{name} as {format}");
        }
    }
}

#[test]
fn sentences_of_an_evaluation_are_found_in_training_data() {
    let seen = SeenSentences::of(&[source("official/data/tacred.json", None)]).unwrap();
    let (_, tacred) = records("official/data/tacred.json");
    assert!(tacred.iter().all(|record| seen.has(record)));
    let (_, semeval) = records("labelled/semeval.txt");
    assert!(!semeval.iter().any(|record| seen.has(record)));
}
