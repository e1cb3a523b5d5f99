//! What each format becomes, and where it is said to stand.

use super::{read, records};
use crate::data::{Format, Gold, Options, Reason};
use serde_json::json;

#[test]
fn arrays_and_lines_give_the_same_records() {
    let one = "{\"sent\": \"Ada wrote.\", \"start\": 0, \"end\": 3, \"labels\": [\"person\"], \"doc\": \"d\"}";
    let lines = format!("{one}\n\n{one}\r\n{one}");
    let array = format!("\u{feff} [{one},\n {one}  ,{one} ] \n");
    let (lines, array) = (records(Format::OpenEntity, &lines), records(Format::OpenEntity, &array));
    assert_eq!(lines.len(), 3);
    for (line, item) in lines.iter().zip(&array) {
        assert_eq!((&line.fields, &line.gold, line.at.record), (&item.fields, &item.gold, item.at.record));
    }
    assert_eq!(lines.iter().map(|record| record.at.line).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(array.iter().map(|record| record.at.line).collect::<Vec<_>>(), [1, 2, 2]);
    assert_eq!(array[2].at.to_string(), "data:2 (record 3)");
    assert_eq!(lines[0].gold, Gold::Labels(vec!["person".into()]));
    assert_eq!(lines[0].key(&["doc", "start", "none"]), "d\t0\t");
}

/// Brackets, quotes and escapes within texts are no structure, wherever the buffer ends.
#[test]
fn structure_in_texts_is_text() {
    let mut items = Vec::new();
    for length in 0..300 {
        let text = format!("{}]}}[{{\\\",\\\\", "x".repeat(length * 449 % 1000));
        items.push(format!("{{\"text\": \"{text}\", \"label\": \"l\"}}"));
    }
    let found = records(Format::Json, &format!("[{}]", items.join(",")));
    assert_eq!(found.len(), 300);
    assert!(found.iter().all(|record| record.fields["text"].as_str().unwrap().ends_with("]}[{\",\\")));
}

#[test]
fn plain_records_tell_their_kind() {
    let gold = |line: &str| records(Format::Json, line).remove(0).gold;
    assert_eq!(gold("{\"text\": \"a\", \"label\": \"l\"}"), Gold::Label("l".into()));
    assert_eq!(
        gold(
            "{\"token\": [\"a\", \"b\"], \"subj_start\": 0, \"subj_end\": 0, \"obj_start\": 1, \"obj_end\": 1, \"relation\": \"r\"}"
        ),
        Gold::Label("r".into())
    );
    assert_eq!(gold("{\"text\": \"a\", \"start\": 0, \"end\": 1, \"labels\": []}"), Gold::Labels(Vec::new()));
    assert_eq!(
        gold("{\"context\": \"c\", \"question\": \"q\", \"answers\": [\"x\", \"y\"], \"label\": 1}"),
        Gold::Choice(1)
    );
    assert_eq!(
        gold("{\"context\": \"c\", \"question\": \"q\", \"answer0\": \"x\", \"answer1\": \"y\", \"answer\": \"0\"}"),
        Gold::Choice(0)
    );
    assert!(
        matches!(gold("{\"context\": \"c\", \"question\": \"q\", \"answers\": [\"c\"]}"), Gold::Spans(spans) if spans[0].text == "c")
    );
    assert!(matches!(gold("{\"words\": [\"a\"], \"heads\": [0]}"), Gold::Heads { .. }));
}

#[test]
fn the_gold_answer_is_beside_the_fields_and_flat_among_them() {
    let record =
        records(Format::Json, "{\"text\": \"a\", \"label\": \"l\", \"nested\": {\"x\": 1}, \"ids\": [1, 2]}").remove(0);
    assert_eq!(json!(record.fields), json!({ "text": "a", "ids": [1, 2] }));
    assert_eq!(json!(record.flat()), json!({ "text": "a", "ids": [1, 2], "label": "l" }));
    let line =
        "{\"question\": \"q\", \"context\": \"c d\", \"answers\": [{\"text\": \"d\", \"answer_start\": 2}, \"c\"]}";
    let flat = records(Format::Squad, line).remove(0).flat();
    assert_eq!(
        json!(flat),
        json!({ "question": "q", "context": "c d", "answers": ["d", "c"], "answer_starts": [2, -1] })
    );
}

#[test]
fn a_tree_is_checked_and_what_is_no_word_is_passed_over() {
    let text = "# newdoc id = d\n# text = Ada didn't.\n1\tAda\t_\t_\t_\t_\t2\tnsubj\t_\t_\n2-3\tdidn't\t_\t_\t_\t_\t_\t_\t_\t_\n\
                2\tdid\t_\t_\t_\t_\t0\troot\t_\t_\n2.1\tx\t_\t_\t_\t_\t_\t_\t_\t_\n3\tn't\t_\t_\t_\t_\t2\tadvmod\t_\t_";
    let record = records(Format::Conllu, text).remove(0);
    assert_eq!(json!(record.fields), json!({ "text": "Ada didn't.", "words": ["Ada", "did", "n't"], "doc": "d" }));
    let relations = ["nsubj", "root", "advmod"].map(String::from).to_vec();
    assert_eq!(record.gold, Gold::Heads { heads: vec![2, 0, 2], relations });
    for wrong in [
        text.replace("\t0\troot", "\t4\troot"),
        text.replace("\n3\t", "\n4\t"),
        text.replace("\t2\tnsubj", "\tx\tnsubj"),
    ] {
        assert!(read(Format::Conllu, Options::default(), wrong.as_bytes()).0[0].is_err(), "{wrong}");
    }
}

#[test]
fn each_word_of_a_tree_is_a_mention_with_its_relation() {
    let text = "# sent_id = s\n1\tÅse\t_\t_\t_\t_\t2\tnsubj\t_\t_\n2\tdid\t_\t_\t_\t_\t0\troot\t_\t_\n";
    let found = records(Format::ConlluWords, text);
    let fields: Vec<_> = found.iter().map(|record| json!(record.flat())).collect();
    assert_eq!(
        fields,
        [
            json!({ "text": "Åse did", "start": 0, "end": 3, "word": 1, "labels": ["nsubj"], "sent_id": "s" }),
            json!({ "text": "Åse did", "start": 4, "end": 7, "word": 2, "labels": ["root"], "sent_id": "s" }),
        ]
    );
}

#[test]
fn slices_share_no_key_and_leave_none_out() {
    let lines: String =
        (0..400).map(|index| format!("{{\"text\": \"{}\", \"id\": {index}, \"label\": \"l\"}}\n", index / 2)).collect();
    let slice = |ends, by: &[&str]| {
        let by = by.iter().map(ToString::to_string).collect();
        let options = Options { slice: Some(crate::data::Slice::new(ends, by).unwrap()), ..Options::default() };
        let (found, counts) = read(Format::Json, options, lines.as_bytes());
        assert_eq!((counts.read + counts.elsewhere, counts.read), (400, found.len() as u64));
        found.into_iter().map(|record| record.unwrap().fields["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for by in [&[][..], &["text"], &["id"]] {
        let [first, second] = [slice([0.0, 0.25], by), slice([0.25, 1.0], by)];
        assert!((60..140).contains(&first.len()), "{first:?}");
        let mut both = [first.clone(), second].concat();
        both.sort_unstable();
        assert_eq!(both, (0..400).collect::<Vec<_>>());
        // Both records of a text are on one side, unless their own number decides.
        let together = first.chunks(2).all(|pair| pair[0] / 2 == pair[pair.len() - 1] / 2 && pair.len() == 2);
        assert_eq!(together, by != ["id"], "{first:?}");
    }
    for wrong in [[0.5, 0.5], [0.6, 0.5], [-0.1, 1.0], [0.0, 1.1], [f64::NAN, 1.0]] {
        assert!(crate::data::Slice::new(wrong, vec![]).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_subject_is_found_as_a_whole_word_outside_the_object() {
    let table = |subject: &str, object: &str, sentence: &str| {
        let line = format!("P1\tQ1\tQ2\t{subject}\t{object}\t{sentence}");
        let (mut found, counts) = read(Format::TrexTable, Options::default(), line.as_bytes());
        let spans = found.pop().map(|record| {
            let fields = record.unwrap().fields;
            (fields["text"].clone(), fields["subject"].clone(), fields["object"].clone())
        });
        (spans, counts.left_out.get(&Reason::SubjectNotFound).copied())
    };
    let found = |text: &str, subject: [usize; 2], object: [usize; 2]| {
        (Some((json!(text), json!(subject), json!(object))), None)
    };
    assert_eq!(
        table("Elm", "Maro", "Elms and the Elm at [MASK]."),
        found("Elms and the Elm at Maro.", [13, 16], [20, 24])
    );
    assert_eq!(table("Elm", "Maro", "The elm at [MASK]."), found("The elm at Maro.", [4, 7], [11, 15]));
    assert_eq!(table("Maro", "Port Maro", "[MASK], or Maro"), found("Port Maro, or Maro", [14, 18], [0, 9]));
    assert_eq!(table("É", "ö", "Ünd É [MASK]"), found("Ünd É ö", [4, 5], [6, 7]));
    assert_eq!(table("Maro", "Port Maro", "In [MASK]"), (None, Some(1)));
    assert_eq!(table("Elm", "Maro", "Elms of [MASK]"), (None, Some(1)));
}

#[test]
fn a_gloss_is_searched_or_given_its_head() {
    let line = "n1\t3\thypernym\tlamp\tdevice\ta device that gives light";
    let (found, counts) = read(Format::WordnetTable, Options::default(), line.as_bytes());
    assert!(found.is_empty());
    assert_eq!(counts.left_out[&Reason::HeadNotFound], 1);
    let record = records(Format::WordnetDefined, line).remove(0);
    assert_eq!(record.fields["text"], "lamp : a device that gives light");
    assert_eq!((&record.fields["subject"], &record.fields["object"]), (&json!([0, 4]), &json!([9, 15])));
}

#[test]
fn a_table_has_quotes_within_quotes_and_lines_within_cells() {
    let text = "\u{feff}id,context,question,answer0,answer1,label\n\
                1,\"a \"\"b\"\", c\nd\",q,x,y,1\n\n2,c,\"\"\"q\"\"\",x,y,\n3,c,q,x,y,0\n";
    let text = text.trim_start_matches('\u{feff}');
    let (found, counts) = read(Format::Cosmosqa, Options::default(), text.as_bytes());
    let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
    assert_eq!(found[0].fields["context"], "a \"b\", c\nd");
    assert_eq!(found.iter().map(|record| record.at.line).collect::<Vec<_>>(), [2, 6]);
    assert_eq!(found[0].gold, Gold::Choice(1));
    assert_eq!(counts.left_out[&Reason::NoGold], 1);
}

#[test]
fn a_nested_file_of_questions_streams() {
    let text = "{\"version\": {\"x\": [1]}, \"data\": [{\"title\": \"t\", \"paragraphs\": [{\"context\": \"c d\", \"qas\": [\
                {\"id\": \"1\", \"question\": \"q\", \"answers\": [{\"text\": \"d\", \"answer_start\": 2}]}, \
                {\"id\": \"2\", \"question\": \"r\", \"answers\": []}]}]}, {\"paragraphs\": [], \"title\": \"u\"}]}";
    let found = records(Format::Squad, text);
    assert_eq!(found.len(), 2);
    assert_eq!(json!(found[0].fields), json!({ "context": "c d", "id": "1", "question": "q" }));
    assert_eq!(found[1].gold, Gold::Spans(Vec::new()));
    assert_eq!((found[0].at.record, found[1].at.record), (1, 2));
}

#[test]
fn a_limit_ends_the_stream() {
    let options = Options { limit: Some(2), ..Options::default() };
    let (found, counts) = read(Format::Json, options, "{\"text\": \"a\", \"label\": \"l\"}\n".repeat(5).as_bytes());
    assert_eq!((found.len(), counts.read), (2, 2));
}
