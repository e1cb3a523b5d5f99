//! The objective on the SDK's reference engine; its numbers are compared with the official code's in `tests/all/objectives.rs`.

use super::Factual;
use super::objective::RelationClassification;
use kadapter_plugin_api::reference::TrainingHarness;
use kadapter_plugin_api::{Backbone, Encoded, Entry, Example, Result};

fn harness(objective: impl IntoIterator<Item = Entry>) -> Result<TrainingHarness> {
    let adapter = [("size", 3), ("heads", 1), ("ffn", 4), ("layers", 1)].map(|(key, value)| Entry::integer(key, value));
    let mut config = vec![Entry::texts("labels", &["born", "capital", "river"])];
    config.extend(objective);
    TrainingHarness::new::<Factual, RelationClassification>(adapter, config, &Backbone::new(4, 4, &[2]))
}

fn record(text: &str, relation: &str) -> Vec<Entry> {
    vec![Entry::text("text", text), Entry::text("relation", relation)]
}

fn three(harness: &TrainingHarness) -> Vec<Example> {
    let records = [
        record("<e1>Ada</e1> was born in <e2>London</e2> .", "born"),
        record("<e2>France</e2> has <e1>Paris</e1>", "capital"),
        record("The <e1>Elm</e1> flows through <e2>Norvia</e2>", "river"),
    ];
    harness.encode_all(&records).unwrap()
}

#[test]
fn every_parameter_moves_the_loss() {
    for inputs in ["both", "features", "normalized"] {
        let mut harness = harness([Entry::text("inputs", inputs)]).unwrap();
        let examples = three(&harness);
        let idle = harness.idle_parameters(&examples).unwrap();
        // A key's bias adds the same to every score of a row, which softmax takes out again.
        let (key, other): (Vec<_>, Vec<_>) = idle.into_iter().partition(|name| name.ends_with("key.bias"));
        assert!(other.is_empty(), "{inputs}: {other:?} (and {key:?})");
    }
}

#[test]
fn it_learns_and_says_so() {
    let mut harness = harness([]).unwrap();
    let examples = three(&harness);
    let before = harness.loss(&examples).unwrap();
    harness.descend(&examples, 50, 0.2).unwrap();
    let after = harness.loss(&examples).unwrap();
    assert!(after.0 < before.0 / 4.0, "{before:?} {after:?}");
    assert_eq!(after.1, 3.0);
    let metrics = harness.metrics(&harness.tally(&examples).unwrap()).unwrap();
    let metrics: Vec<_> = metrics.iter().map(|metric| (metric.name(), metric.value())).collect();
    assert_eq!(metrics, [("accuracy", 1.0), ("macro_f1", 1.0)]);
}

#[test]
fn macro_f1_is_the_mean_over_labels_that_occur() {
    let harness = harness([]).unwrap();
    // Four examples: `born` right once, chosen twice, true once; `capital` right once, chosen twice, true three times; `river` never.
    let metrics = harness.metrics(&[4.0, 2.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0]).unwrap();
    assert_eq!(metrics[0].value(), 0.5);
    assert!((metrics[1].value() - (2.0 / 3.0 + 2.0 / 5.0) / 2.0).abs() < 1e-12);
    let error = harness.metrics(&[1.0]).unwrap_err();
    assert_eq!(error.message(), "the tally has 1 numbers, expected 11");
}

#[test]
fn the_three_formats_of_a_record_give_one_example() {
    let harness = harness([]).unwrap();
    let words = vec![
        Entry::texts("token", &["In", "Rome", "lives", "Ada"]),
        Entry::integer("subj_start", 3),
        Entry::integer("subj_end", 3),
        Entry::integer("obj_start", 1),
        Entry::integer("obj_end", 1),
        Entry::text("relation", "born"),
    ];
    let spans = vec![
        Entry::text("text", "In Rome lives Ada"),
        Entry::integers("subject", &[14, 17]),
        Entry::integers("object", &[3, 7]),
        Entry::text("relation", "born"),
    ];
    let examples = harness.encode_all(&[words, spans, record("In <e2>Rome</e2> lives <e1>Ada</e1>", "born")]).unwrap();
    assert_eq!(examples[0], examples[1]);
    assert_eq!(examples[0], examples[2]);
    let rows: Vec<_> = examples[0].places().iter().map(|place| place.row).collect();
    assert_eq!((rows, examples[0].targets(), examples[0].tokens()), (vec![6, 2], &[0][..], 10));
}

#[test]
fn a_mention_alone_has_one_marker_and_its_kind() {
    let harness = harness([]).unwrap();
    let mention = |field: &str, start: i64, end: i64| {
        let place = [Entry::integer("start", start), Entry::integer("end", end)];
        harness.encode(
            &[vec![Entry::text(field, "In Rome lives Ada"), Entry::text("label", "river")], place.into()].concat(),
        )
    };
    for field in ["text", "sent"] {
        let Encoded::Example(example) = mention(field, 3, 7).unwrap() else { panic!("left out") };
        // <s> In @ Rome @ lives Ada </s>: both places are the marker's.
        let rows: Vec<_> = example.places().iter().map(|place| place.row).collect();
        assert_eq!((rows, example.targets(), example.tokens()), (vec![2, 2], &[2][..], 8));
    }
    let refused = |start, end| mention("text", start, end).unwrap_err().message().to_owned();
    assert_eq!(refused(3, 3), "the mention is 3 to 3, expected it to begin before it ends");
    assert_eq!(refused(2, 3), "the mention is blank, expected a text");
    assert_eq!(refused(3, 18), "the mention ends at 18, expected at most the text's 17 characters");
}

#[test]
fn several_mentions_of_a_text_are_all_marked_and_read() {
    let harness = harness([]).unwrap();
    let mentions = |starts: &[i64], ends: &[i64], labels: &[&str]| {
        harness.encode(&[
            Entry::text("text", "In Rome lives Ada"),
            Entry::integers("starts", starts),
            Entry::integers("ends", ends),
            Entry::texts("labels", labels),
        ])
    };
    // <s> In @ Rome @ lives @ Ada @ </s>, in the order of the record.
    for (starts, ends, labels, rows, targets) in [
        ([3, 14], [7, 17], ["river", "born"], [2, 2, 6, 6], [2, 0]),
        ([14, 3], [17, 7], ["born", "river"], [6, 6, 2, 2], [0, 2]),
    ] {
        let Encoded::Example(example) = mentions(&starts, &ends, &labels).unwrap() else { panic!("left out") };
        let found: Vec<_> = example.places().iter().map(|place| place.row).collect();
        assert_eq!((&found[..], example.targets(), example.tokens()), (&rows[..], &targets[..], 10));
    }
    let refused = |starts: &[i64], ends: &[i64], labels: &[&str]| {
        mentions(starts, ends, labels).unwrap_err().message().to_owned()
    };
    let overlap = "the mentions `Rome` and `me lives Ada` overlap, expected stretches apart";
    assert_eq!(refused(&[3, 5], &[7, 17], &["river", "born"]), overlap);
    let twice = "the mentions `Rome` and `Rome` overlap, expected stretches apart";
    assert_eq!(refused(&[3, 3], &[7, 7], &["river", "born"]), twice);
    assert_eq!(
        refused(&[3], &[7], &["river", "born"]),
        "the record has 2 labels, expected 1: one for each mention, or that of two entities"
    );
    assert_eq!(
        refused(&[3, 14], &[7], &["river"]),
        "the record has 2 `starts` and 1 `ends`, expected as many of both, and at least one"
    );
    assert_eq!(
        refused(&[], &[], &[]),
        "the record has 0 `starts` and 0 `ends`, expected as many of both, and at least one"
    );
    assert_eq!(refused(&[-1], &[7], &["river"]), "`starts` has -1, expected integers of at least 0");
}

#[test]
fn kinds_and_relations_are_learned_together() {
    let mut harness = harness([]).unwrap();
    let mention = vec![
        Entry::text("text", "the long Elm"),
        Entry::integer("start", 9),
        Entry::integer("end", 12),
        Entry::text("label", "river"),
    ];
    let mentions = vec![
        Entry::text("text", "Paris and the Seine"),
        Entry::integers("starts", &[0, 14]),
        Entry::integers("ends", &[5, 19]),
        Entry::texts("labels", &["capital", "river"]),
    ];
    let records = [record("<e1>Ada</e1> was born in <e2>London</e2> .", "born"), mention, mentions];
    let examples = harness.encode_all(&records).unwrap();
    harness.descend(&examples, 50, 0.2).unwrap();
    assert_eq!(harness.loss(&examples).unwrap().1, 4.0);
    let metrics = harness.metrics(&harness.tally(&examples).unwrap()).unwrap();
    assert_eq!(metrics[0].value(), 1.0);
}

#[test]
fn types_stand_in_the_markers_where_they_are_asked_for() {
    let harness = harness([Entry::boolean("typed_markers", true)]).unwrap();
    let mut typed = record("<e1>Ada</e1> likes <e2>Rome</e2>", "born");
    let refused = harness.encode(&typed).unwrap_err();
    assert!(refused.message().starts_with("the record has no field `subj_type`, expected a text"), "{refused}");
    typed.extend([Entry::text("subj_type", "PERSON"), Entry::text("obj_type", "BIG_CITY")]);
    let examples = harness.encode_all(&[typed]).unwrap();
    let mention = ["starts", "ends"].map(|field| Entry::integers(field, &[i64::from(field == "ends") * 3]));
    let mention = [vec![Entry::text("text", "Ada"), Entry::text("label", "born")], mention.into()].concat();
    let refused = harness.encode(&mention).unwrap_err();
    assert!(refused.message().starts_with("the record marks mentions, which have no types yet"), "{refused}");
    // <s> @ * person * Ada @ likes # ^ big city ^ Rome # </s>
    let rows: Vec<_> = examples[0].places().iter().map(|place| place.row).collect();
    assert_eq!((rows, examples[0].tokens()), (vec![1, 8], 16));
}

#[test]
fn markers_that_were_cut_off_follow_the_rule() {
    let long = record("one two three four <e1>five</e1> six <e2>seven</e2>", "born");
    // The subject's marker is token 5, the object's 9.
    let encoded = |rule: &str, length: i64| {
        harness([Entry::text("marker_overflow", rule), Entry::integer("max_length", length)]).unwrap().encode(&long)
    };
    let left_out = |encoded: Result<Encoded>| match encoded.unwrap() {
        Encoded::LeftOut(reason) => reason,
        Encoded::Example(example) | Encoded::Cut(example, _) => panic!("{example:?}"),
    };
    let cut = |encoded: Result<Encoded>| match encoded.unwrap() {
        Encoded::Cut(example, reason) => (example.places()[1].row, reason),
        other => panic!("{other:?}"),
    };
    let moved = "a marker is past the longest segment, another token is read for it";
    assert_eq!(cut(encoded("skip", 10)), (9, moved.into()), "the closing token");
    assert_eq!(left_out(encoded("skip", 9)), "a marker is past the longest segment");
    let longer = record("one two three four <e1>five</e1> six seven eight nine ten <e2>eleven</e2>", "born");
    let minus10 = [Entry::text("marker_overflow", "minus10"), Entry::integer("max_length", 12)];
    assert_eq!(cut(harness(minus10).unwrap().encode(&longer)), (2, moved.into()), "the object's is token 13");
    assert_eq!(
        encoded("error", 10).unwrap_err().message(),
        "the marker of the object is token 9, expected it among the first 9 of `max_length` 10"
    );
    assert_eq!(cut(encoded("error", 11)), (9, "the end of the text is past the longest segment".into()));
    assert!(matches!(encoded("error", 64), Ok(Encoded::Example(_))));
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let refused = |entry: Entry| harness([entry]).unwrap_err().message().to_owned();
    for (entry, expected) in [
        (
            Entry::texts("labels", &["one"]),
            "`labels` names 1 relations, expected at least 2: the values of `relation` in the data",
        ),
        (Entry::texts("labels", &["a", "b", "a"]), "`labels` names `a` twice, expected each relation once"),
        (Entry::integer("max_length", 2), "`max_length` is 2, expected at least 3"),
        (Entry::text("inputs", "none"), "`inputs` is `none`, expected `both`, `features` or `normalized`"),
        (Entry::number("dropout", 1.0), "`dropout` is 1, expected at least 0 and below 1"),
        (Entry::text("marker_overflow", "cut"), "`marker_overflow` is `cut`, expected `skip`, `error` or `minus10`"),
        (Entry::number("blank", -0.5), "`blank` is -0.5, expected a share from 0 to 1"),
        (Entry::text("unknown_label", "drop"), "`unknown_label` is `drop`, expected `error` or `skip`"),
    ] {
        assert_eq!(refused(entry), expected);
    }
    let encode = |objective: Option<Entry>, record: &[Entry]| harness(objective).unwrap().encode(record);
    let record = record("<e1>Ada</e1> <e2>Rome</e2>", "spouse");
    assert_eq!(
        encode(None, &record).unwrap_err().message(),
        "the relation is `spouse`, expected one of the 3 in `labels`; `unknown_label = \"skip\"` leaves such records out"
    );
    let skipped = encode(Some(Entry::text("unknown_label", "skip")), &record).unwrap();
    assert!(matches!(skipped, Encoded::LeftOut(reason) if reason == "the relation is not among the labels"));
    assert_eq!(
        encode(
            Some(Entry::text("subject_marker", "two words")),
            &super::tests::record("<e1>a</e1> <e2>b</e2>", "born")
        )
        .unwrap_err()
        .message(),
        "the vocabulary has no token `two words`, expected a token as `tokenizer.json` spells it"
    );
    assert_eq!(
        encode(Some(Entry::integer("max_length", 513)), &record).unwrap_err().message(),
        "`max_length` is 513, expected at most the 512 tokens that the backbone takes"
    );
}

#[test]
fn entities_are_blanked_by_the_share_and_always_alike() {
    let mask = 4;
    let count = |share: f64| -> usize {
        let harness = harness([Entry::number("blank", share)]).unwrap();
        let records: Vec<_> =
            (0..100).map(|at| record(&format!("<e1>Ada</e1> saw <e2>New York</e2> {at} times"), "born")).collect();
        let examples = harness.encode_all(&records).unwrap();
        assert_eq!(examples, harness.encode_all(&records).unwrap());
        for example in &examples {
            let segment = example.segments().next().unwrap();
            // The subject's marker stays before what it marks.
            assert_eq!((example.places()[0].row, segment[1] == segment[3]), (1, true));
        }
        examples.iter().flat_map(Example::segments).flatten().filter(|&&token| token == mask).count()
    };
    assert_eq!((count(0.0), count(1.0)), (0, 200));
    let half = count(0.5);
    assert!((70..130).contains(&half), "{half}");
}
