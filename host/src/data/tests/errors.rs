//! What is said about bad files: file, line, what was expected, what to do.

use super::read;
use crate::data::{Error, Format, Labels, Options, Source};
use crate::task::MAX_RECORD_BYTES;
use std::sync::Arc;

/// The one error of bytes, its cause and its hint.
fn said(format: Format, bytes: &[u8]) -> String {
    let (mut found, _) = read(format, Options::default(), bytes);
    show(&found.pop().expect("an error").expect_err("an error"))
}

fn show(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    format!("{error}{cause}{hint}")
}

#[test]
fn errors_name_place_and_cure() {
    insta::assert_snapshot!(said(Format::Json, b""), @r#"
    `data` is empty, expected at least one record of format `json`
      hint: a record of format `json`: {"text": "<e1>Ada</e1> was born in <e2>London</e2>.", "label": "place of birth"}
    "#);
    insta::assert_snapshot!(said(Format::Json, b"{\"text\": \"a\", \"label\": \"l\"}\n{\"text\": \"a\"}"), @r#"
    data:2: field `label` is missing, expected the gold answer in `label`, `labels`, `relation`, `answer`, `answers` or `heads` (format `json`)
      hint: a record of format `json`: {"text": "<e1>Ada</e1> was born in <e2>London</e2>.", "label": "place of birth"}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Json, b"{\"text\": \"a\", \"label\": \"l\"}\n{text}"), @r#"
    data:2: Could not read the JSON of a record of format `json`: key must be a string at line 1 column 2
      hint: a record of format `json`: {"text": "<e1>Ada</e1> was born in <e2>London</e2>.", "label": "place of birth"}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Json, b"{\"text\": \"a\", \"label\": \"l\"}\n\xff"), @r"
    data:2: byte 1 of the record is not UTF-8, expected text in UTF-8
      hint: convert it: `iconv -f LATIN1 -t UTF-8 FILE`
    ");
    insta::assert_snapshot!(said(Format::Json, b"[1, 2]"), @r#"
    data:1: found `1`, expected an object, `{…}` (format `json`)
      hint: a record of format `json`: {"text": "<e1>Ada</e1> was born in <e2>London</e2>.", "label": "place of birth"}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Json, b"[{\"text\": \"a\", \"label\": \"l\"} x"), @r#"
    data:1 (record 2): found `x`, expected `,` or `]` behind an item of the list (format `json`)
      hint: a record of format `json`: {"text": "<e1>Ada</e1> was born in <e2>London</e2>.", "label": "place of birth"}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Json, b"[{\"text\": \"a\", \"label\": \"l\"}"), @r#"
    data:1 (record 2): found the end of the file, expected `,` or `]` behind an item of the list (format `json`)
      hint: a record of format `json`: {"text": "<e1>Ada</e1> was born in <e2>London</e2>.", "label": "place of birth"}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Tacred, b"{\"token\": [\"a\"], \"subj_start\": 0, \"subj_end\": 1}"), @r#"
    data:1: `subj_end` ends at 2 of 1 words, expected a stretch that begins before it ends and lies in them (format `tacred`)
      hint: a record of format `tacred`: {"token": ["Ada", "left", "London"], "subj_start": 0, "subj_end": 0, "obj_start": 2, "obj_end": 2, "relation": "no_relation"}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Semeval, b"1\t\"The <e1>lid</e1> fell.\"\nOther"), @r#"
    data:1: found `1<TAB>"The <e1>lid</e1> fell."`, expected a numbered sentence with `<e1>…</e1>` and `<e2>…</e2>`, then its relation on a line of its own (format `semeval`)
      hint: a record of format `semeval`: 1<TAB>"The <e1>lid</e1> of the <e2>pot</e2> fell.", then `Component-Whole(e1,e2)`; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Semeval, b"1\t\"<e1>a</e1> <e2>b</e2>\"\nNo label, a sentence"), @r#"
    data:2: found `No label, a sentence`, expected a numbered sentence with `<e1>…</e1>` and `<e2>…</e2>`, then its relation on a line of its own (format `semeval`)
      hint: a record of format `semeval`: 1<TAB>"The <e1>lid</e1> of the <e2>pot</e2> fell.", then `Component-Whole(e1,e2)`; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Fewrel, b"{\"P1\": [{\"tokens\": [\"a\"], \"h\": [\"a\", \"Q1\", [[4]]], \"t\": [\"a\", \"Q1\", [[0]]]}]}"), @r#"
    data:1: `h` ends at 5 of 1 words, expected a stretch that begins before it ends and lies in them (format `fewrel`)
      hint: a record of format `fewrel`: {"P19": [{"tokens": ["Ada", "left", "London"], "h": ["ada", "Q7259", [[0]]], "t": ["london", "Q84", [[2]]]}]}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Cosmosqa, b"id,context\n1,a"), @r#"
    data:1: field `question` is missing, expected a column of that name (format `cosmosqa`)
      hint: a record of format `cosmosqa`: {"context": "It rained.", "question": "Why is it wet?", "answer0": "The rain.", "answer1": "The sun.", "label": "0"}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Cosmosqa, b"context,question,answer0,answer1,label\nc,q,x,y,7"), @r#"
    data:2: field `label` is the text `7`, expected the index of one of the answers, from 0 (format `cosmosqa`)
      hint: a record of format `cosmosqa`: {"context": "It rained.", "question": "Why is it wet?", "answer0": "The rain.", "answer1": "The sun.", "label": "0"}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::Conllu, b"1\tAda\t_\t_\t_\t_\t0\troot\t_"), @r"
    data:1: found 9 columns, expected ten columns, tab-separated (format `conllu`)
      hint: a record of format `conllu`: 1<TAB>Go<TAB>go<TAB>VERB<TAB>_<TAB>_<TAB>0<TAB>root<TAB>_<TAB>_; or name another with `--format`
    ");
    insta::assert_snapshot!(said(Format::TrexTable, b"P1\tQ1\tQ2\ta\tb\tno mask"), @r"
    data:1: found `no mask`, expected a sentence with `[MASK]` in place of the object (format `trex-table`)
      hint: a record of format `trex-table`: P19<TAB>Q7259<TAB>Q84<TAB>Ada<TAB>London<TAB>Ada was born in [MASK].; or name another with `--format`
    ");
    insta::assert_snapshot!(said(Format::Lama, b"{\"obj_label\": \"a\"}"), @r#"
    data:1: field `masked_sentences` is missing, expected a list with a sentence (format `lama`)
      hint: a record of format `lama`: {"masked_sentences": ["Ada was born in [MASK]."], "obj_label": "London"}; or name another with `--format`
    "#);
    insta::assert_snapshot!(said(Format::OpenEntity, "{\"sent\": \"Ada\", \"start\": 2, \"end\": 9, \"labels\": []}".as_bytes()), @r#"
    data:1: `end` ends at 9 of 3 characters, expected a stretch that begins before it ends and lies in them (format `openentity`)
      hint: a record of format `openentity`: {"sent": "Ada wrote it.", "start": 0, "end": 3, "labels": ["person"]}; or name another with `--format`
    "#);
}

#[test]
fn a_file_that_is_not_there_or_tells_nothing() {
    let new = |path: &std::path::Path| Source::new(path, None, Options::default()).expect_err("an error");
    insta::assert_snapshot!(show(&new("nowhere.jsonl".as_ref())), @"
    Could not open `nowhere.jsonl`: No such file or directory (os error 2)
      hint: correct the path; those in a recipe are relative to the recipe's folder
    ");
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("data.txt");
    std::fs::write(&path, "Once upon a time\n").unwrap();
    insta::assert_snapshot!(show(&new(&path)).replace(folder.path().to_str().unwrap(), "DIR"), @r"
    Could not tell the format of `DIR/data.txt`: its first line is that of no known format
      hint: name it with `--format`, one of `json`, `tacred`, `semeval`, `fewrel`, `openentity`, `cosmosqa`, `squad`, `conllu`, `conllu-words`, `lin-adapter`, `trex-table`, `wordnet-table`, `wordnet-defined`, `lama`
    ");
    insta::assert_snapshot!(show(&"tacredd".parse::<Format>().expect_err("an error")), @r"
    no format is named `tacredd`, expected one of `json`, `tacred`, `semeval`, `fewrel`, `openentity`, `cosmosqa`, `squad`, `conllu`, `conllu-words`, `lin-adapter`, `trex-table`, `wordnet-table`, `wordnet-defined`, `lama`
      hint: let the file tell its format, or name one of these with `--format`
    ");
}

#[test]
fn an_unknown_label_names_its_neighbours() {
    let labels = ["Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)", "Other", "Entity-Origin(e1,e2)"].map(String::from);
    let options = Options { labels: Some(Arc::new(Labels::new(labels))), ..Options::default() };
    let text = b"{\"text\": \"a\", \"label\": \"Other\"}\n{\"text\": \"a\", \"label\": \"cause-effect(e1, e2)\"}";
    let (found, _) = read(Format::Json, options.clone(), text);
    insta::assert_snapshot!(show(found[1].as_ref().expect_err("an error")), @r"
    data:2: label `cause-effect(e1, e2)` is unknown, expected one of 4 labels, nearest `Cause-Effect(e1,e2)`, `Cause-Effect(e2,e1)`, `Entity-Origin(e1,e2)`
      hint: compare the labels with those of the head: `kadapter info NS/NAME`, or leave such records out with `--skip-bad`
    ");
    let (found, counts) = read(Format::Json, Options { skip_bad: true, ..options }, text);
    assert_eq!((found.len(), counts.bad), (1, 1));
}

/// What is too long is passed over whole, in lines, lists and tables, and the next record is read.
#[test]
fn a_record_that_is_too_long_costs_only_itself() {
    let good = "{\"text\": \"a\", \"label\": \"l\"}";
    let long = |bytes: usize| format!("{{\"text\": \"{}\", \"label\": \"l\"}}", "x".repeat(bytes));
    for bytes in [MAX_RECORD_BYTES - 60, MAX_RECORD_BYTES, 20 * MAX_RECORD_BYTES] {
        for (format, text) in [
            (Format::Json, format!("{}\n{good}\n", long(bytes))),
            (Format::Json, format!("[{}, {good}]", long(bytes))),
            (Format::Cosmosqa, format!("context,question,answer0,label\n\"{}\",q,a,0\nc,q,a,0", "x".repeat(bytes))),
        ] {
            let (found, counts) = read(format, Options { skip_bad: true, ..Options::default() }, text.as_bytes());
            let expected = if bytes < MAX_RECORD_BYTES { (2, 0) } else { (1, 1) };
            assert_eq!((found.len(), counts.bad), expected, "{format} {bytes}");
            let too_large = |error: &String| error.contains("expected a record of at most");
            assert!(counts.first_bad.is_none_or(|error| too_large(&error)));
        }
    }
}

#[test]
fn bad_records_are_counted_and_passed_over_where_asked() {
    let text =
        "{\"text\": \"a\", \"label\": \"l\"}\nnonsense\n{\"text\": \"a\"}\n{\"text\": \"b\", \"label\": \"l\"}\n";
    let (found, counts) = read(Format::Json, Options { skip_bad: true, ..Options::default() }, text.as_bytes());
    assert!(found.iter().all(Result::is_ok));
    assert_eq!((counts.read, counts.bad), (2, 2));
    assert!(counts.first_bad.unwrap().starts_with("data:2: "));
    let (found, _) = read(Format::Json, Options::default(), text.as_bytes());
    assert!(matches!(found.as_slice(), [Ok(_), Err(_)]), "the first error ends the stream");
}

#[test]
fn a_compressed_file_that_is_cut_short_is_an_error() {
    let folder = tempfile::TempDir::new().unwrap();
    for name in ["semeval.txt.xz", "semeval.txt.gz"] {
        let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/labelled").join(name);
        let bytes = std::fs::read(sample).unwrap();
        for length in [8, bytes.len() / 2, bytes.len() - 9] {
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes[..length]).unwrap();
            let source =
                Source { path, format: Format::Semeval, options: Options { skip_bad: true, ..Options::default() } };
            let error = source.records().find_map(Result::err).expect("an error");
            assert!(matches!(error, Error::Read { .. }), "{length}: {error}");
        }
    }
}
