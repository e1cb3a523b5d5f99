//! The objective on the SDK's reference engine; its numbers are compared with the official code's in `tests/all/objectives.rs`.

use super::Linguistic;
use super::objective::DependencyHeads;
use kadapter_plugin_api::reference::TrainingHarness;
use kadapter_plugin_api::{Backbone, Encoded, Entry, Example, Result};

fn harness(objective: impl IntoIterator<Item = Entry>) -> Result<TrainingHarness> {
    let adapter = [("size", 3), ("heads", 1), ("ffn", 4), ("layers", 1)].map(|(key, value)| Entry::integer(key, value));
    let mut config = vec![Entry::integer("max_length", 12)];
    config.extend(objective);
    TrainingHarness::new::<Linguistic, DependencyHeads>(adapter, config, &Backbone::new(4, 4, &[2]))
}

fn official() -> Vec<Entry> {
    vec![Entry::text("head", "official")]
}

fn biaffine() -> Vec<Entry> {
    vec![Entry::integer("arc_size", 5)]
}

fn words(words: &[&str], heads: &[i64]) -> Vec<Entry> {
    vec![Entry::texts("words", words), Entry::integers("heads", heads)]
}

/// The official format, flattened as hosts do it.
fn offsets(sent: &str, spans: &[(i64, i64)], governors: &[i64]) -> Vec<Entry> {
    let mut record = vec![Entry::text("sent", sent)];
    for (number, &(start, end)) in (1..).zip(spans) {
        record.push(Entry::integers(&format!("tokens.{number}.start"), &[start]));
        record.push(Entry::integer(&format!("tokens.{number}.end"), end));
    }
    let dependents: Vec<i64> = (1..).take(governors.len()).collect();
    record.push(Entry::integers("pairs.dependent_index", &dependents));
    record.push(Entry::integers("pairs.governor_index", governors));
    record
}

fn two(harness: &TrainingHarness) -> Vec<Example> {
    let records = [words(&["she", "reads", "old", "books"], &[2, 0, 4, 2]), words(&["he", "sleeps"], &[2, 0])];
    let keep: Vec<_> = records.iter().map(|record| harness.encode(record).unwrap()).collect();
    keep.into_iter()
        .filter_map(|encoded| if let Encoded::Example(example) = encoded { Some(example) } else { None })
        .collect()
}

fn reason(encoded: Result<Encoded>) -> String {
    match encoded.unwrap() {
        Encoded::LeftOut(reason) => reason,
        Encoded::Example(example) | Encoded::Cut(example, _) => panic!("{example:?}"),
    }
}

#[test]
fn every_parameter_moves_the_loss() {
    let features = || Entry::text("inputs", "normalized");
    let keep = || Entry::text("last_word", "keep");
    for config in [
        biaffine(),
        official(),
        [biaffine(), vec![features()]].concat(),
        [official(), vec![features(), keep()]].concat(),
    ] {
        let mut harness = harness(config.clone()).unwrap();
        let examples = [two(&harness), harness.encode_all(&[words(&["a", "b", "c"], &[0, 1, 1])]).unwrap()].concat();
        let idle = harness.idle_parameters(&examples).unwrap();
        // A key's bias adds the same to every score of a row, which softmax takes out again.
        let other: Vec<_> = idle.into_iter().filter(|name| !name.ends_with("key.bias")).collect();
        assert!(other.is_empty(), "{config:?}: {other:?}");
    }
}

#[test]
fn both_heads_learn_and_say_so() {
    for config in [biaffine(), [official(), vec![Entry::text("last_word", "keep")]].concat()] {
        let mut harness = harness(config).unwrap();
        let examples = two(&harness);
        assert_eq!(examples.len(), 2);
        let before = harness.loss(&examples).unwrap().0;
        harness.descend(&examples, 40, 0.3).unwrap();
        let after = harness.loss(&examples).unwrap().0;
        assert!(after < before / 2.0, "{before} {after}");
        let metrics = harness.metrics(&harness.tally(&examples).unwrap()).unwrap();
        assert_eq!((metrics[0].name(), metrics[0].value()), ("uas", 1.0));
    }
}

#[test]
fn the_biaffine_head_reads_first_sub_words_and_the_root() {
    let harness = harness(biaffine()).unwrap();
    // A word of two tokens: "New York" stands in the record as one.
    let examples = harness.encode_all(&[words(&["New York", "is", "big"], &[3, 3, 0])]).unwrap();
    let rows: Vec<_> = examples[0].places().iter().map(|place| place.row).collect();
    // <s> New York is big </s>
    assert_eq!((rows, examples[0].targets(), examples[0].tokens()), (vec![1, 3, 4], &[4, 4, 0][..], 6));
    assert_eq!(harness.loss(&examples).unwrap().1, 3.0);
}

#[test]
fn official_and_plain_records_give_one_example() {
    let harness = harness(biaffine()).unwrap();
    let plain = words(&["Ada", "saw", "it"], &[2, 0, 2]);
    let official = offsets("Ada saw it", &[(0, 3), (4, 7), (8, 10)], &[2, 0, 2]);
    let examples = harness.encode_all(&[plain, official]).unwrap();
    assert_eq!(examples[0], examples[1]);
}

#[test]
fn the_quirks_are_switches() {
    let encode = |more: &[(&str, &str)], record: &[Entry]| {
        let more = more.iter().map(|(key, value)| Entry::text(key, value));
        harness(official().into_iter().chain(more)).unwrap().encode(record)
    };
    let targets = |more: &[(&str, &str)], record: &[Entry]| match encode(more, record).unwrap() {
        Encoded::Example(example) | Encoded::Cut(example, _) => example.targets().to_vec(),
        Encoded::LeftOut(reason) => panic!("{reason}"),
    };
    // <s> New York is big </s>: the class of `is` is 4 + 1 if `big` governs it.
    let record = words(&["New York", "is", "big"], &[2, 0, 2]);
    assert_eq!(targets(&[], &record), [0, 4, 1, 4, 0, 0]);
    assert_eq!(targets(&[("label_slots", "first_subword")], &record), [0, 4, 0, 1, 4, 0]);
    assert_eq!(targets(&[("loss_slots", "words")], &record), [-1, 4, 1, 4, -1, -1]);
    let last = words(&["New York", "is", "big"], &[3, 3, 0]);
    assert_eq!(reason(encode(&[], &last)), "the last word governs another, which the official code leaves out");
    assert_eq!(targets(&[("last_word", "keep")], &last), [0, 5, 5, 1, 0, 0]);
}

#[test]
fn sentences_that_cannot_be_used_are_left_out_for_a_constant_reason() {
    let long: Vec<String> = (0..10).map(|word| format!("w{word}")).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let record = words(&long, &[0, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    // Twelve tokens: one too many for the official code, which leaves out at `max_length` already.
    assert_eq!(reason(harness(official()).unwrap().encode(&record)), "the sentence is longer than `max_length`");
    assert!(matches!(harness(biaffine()).unwrap().encode(&record), Ok(Encoded::Example(_))));
    let shorter = [biaffine(), vec![Entry::integer("max_length", 11)]].concat();
    assert_eq!(reason(harness(shorter).unwrap().encode(&record)), "the sentence is longer than `max_length`");
    let blank = words(&["a", " "], &[0, 1]);
    assert_eq!(reason(harness(biaffine()).unwrap().encode(&blank)), "a word has no token in the backbone's vocabulary");
    let orphan = offsets("a b", &[(0, 1), (2, 3)], &[0]);
    assert_eq!(reason(harness(biaffine()).unwrap().encode(&orphan)), "a word has no head");
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let harness = harness(biaffine()).unwrap();
    let refuse = |record: &[Entry]| harness.encode(record).unwrap_err().message().to_owned();
    assert_eq!(refuse(&words(&["a", "b"], &[0])), "`heads` has 1 numbers, expected one for each of 2 words");
    assert_eq!(refuse(&words(&["a", "b"], &[0, 3])), "the head of word 2 is 3, expected 0 (the root) to 2");
    assert_eq!(refuse(&words(&["a", "b"], &[0, 2])), "the head of word 2 is the word itself, expected another");
    assert_eq!(refuse(&words(&["a", "b"], &[0, -1])), "field `heads` has -1, expected numbers of at least 0");
    assert_eq!(refuse(&words(&[], &[])), "the sentence has no words, expected at least one");
    let outside = offsets("ab", &[(0, 3)], &[0]);
    assert_eq!(refuse(&outside), "word 1 is characters 0 to 3, expected a stretch of the sentence's 2");
    assert_eq!(
        refuse(&[Entry::text("text", "a")]),
        "the record has no field `sent`, expected a text; it has [\"text\"]"
    );
    for (entry, expected) in [
        (Entry::text("head", "linear"), "`head` is `linear`, expected `biaffine` or `official`"),
        (
            Entry::text("label_slots", "word_slot"),
            "unknown configuration key `label_slots`, expected only `arc_size`, `deprels`, `dropout`, `head`, `inputs`, `label_size`, `markers`, `max_length`, `object_marker`, `subject_marker`",
        ),
    ] {
        assert_eq!(super::tests::harness([entry]).unwrap_err().message(), expected);
    }
    let official =
        super::tests::harness(official().into_iter().chain([Entry::text("last_word", "maybe")])).unwrap_err();
    assert_eq!(official.message(), "`last_word` is `maybe`, expected `drop` or `keep`");
}

fn with_labels(mut record: Vec<Entry>, labels: &[&str]) -> Vec<Entry> {
    record.push(Entry::texts("deprels", labels));
    record
}

#[test]
fn labels_are_scored_where_they_are_asked_for() {
    let deprels = Entry::texts("deprels", &["root", "subj", "obj"]);
    let config = [biaffine(), vec![deprels, Entry::integer("label_size", 3)]].concat();
    let mut harness = harness(config).unwrap();
    let record = words(&["she", "reads", "books"], &[2, 0, 2]);
    let examples = harness.encode_all(&[with_labels(record.clone(), &["subj", "root", "obj"])]).unwrap();
    assert_eq!(examples[0].targets(), [2, 0, 2, 1, 0, 2]);
    let other: Vec<_> =
        harness.idle_parameters(&examples).unwrap().into_iter().filter(|name| !name.ends_with("key.bias")).collect();
    assert!(other.is_empty(), "{other:?}");
    harness.descend(&examples, 40, 0.1).unwrap();
    let metrics = harness.metrics(&harness.tally(&examples).unwrap()).unwrap();
    let metrics: Vec<_> = metrics.iter().map(|metric| (metric.name(), metric.value())).collect();
    assert_eq!(metrics, [("uas", 1.0), ("las", 1.0)]);

    let refuse =
        |labels: &[&str]| harness.encode(&with_labels(record.clone(), labels)).unwrap_err().message().to_owned();
    assert_eq!(refuse(&["subj"]), "`deprels` has 1 labels, expected one for each of 3 words");
    assert_eq!(
        refuse(&["subj", "root", "det"]),
        "the label is `det`, expected one of the 3 in `deprels` of the configuration"
    );
}

#[test]
fn markers_stand_around_a_word_and_ask_for_its_head() {
    let harness = harness([biaffine(), vec![Entry::number("markers", 1.0)]].concat()).unwrap();
    let plain = super::tests::harness(biaffine()).unwrap();
    let mut marked = 0;
    for sentence in [["she", "reads", "books"], ["New York", "is", "big"], ["a", "b", "c"]] {
        let record = words(&sentence, &[2, 0, 2]);
        let (with, without) =
            (harness.encode_all(std::slice::from_ref(&record)).unwrap(), plain.encode_all(&[record]).unwrap());
        let (with, without) = (&with[0], &without[0]);
        assert_eq!(with.tokens(), without.tokens() + 2);
        assert_eq!((with.places().len(), with.numbers()), (4, &[1.0, 1.0, 1.0, 0.0][..]));
        let (tokens, marker) = (with.segments().next().unwrap(), with.places()[3].row as usize);
        let word = (0..3).find(|&word| with.places()[word].row as usize == marker + 1).unwrap();
        assert_eq!(with.targets()[3], with.targets()[word]);
        // The same words, and the same marker behind as before.
        let mut left = tokens.to_vec();
        let opening = left.remove(marker);
        let closing = left.iter().position(|&token| token == opening).unwrap();
        left.remove(closing);
        assert_eq!(left.len(), without.segments().next().unwrap().len());
        marked += 1;
    }
    assert_eq!(marked, 3);
    let metrics = harness.metrics(&[3.0, 3.0, 0.0, 1.0, 0.0]).unwrap();
    let names: Vec<_> = metrics.iter().map(|metric| (metric.name(), metric.value())).collect();
    assert_eq!(names, [("uas", 1.0), ("marker_uas", 0.0)]);
    let wrong = super::tests::harness([Entry::number("markers", 1.5)]).unwrap_err();
    assert_eq!(wrong.message(), "`markers` is 1.5, expected a share from 0 to 1");
}
