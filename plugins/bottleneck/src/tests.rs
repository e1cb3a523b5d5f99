//! The objective on the SDK's reference engine.

use super::{Bottleneck, ShuffledWords};
use kadapter_plugin_api::reference::TrainingHarness;
use kadapter_plugin_api::{Backbone, Encoded, Entry, Result};

fn harness(objective: impl IntoIterator<Item = Entry>) -> Result<TrainingHarness> {
    let backbone = Backbone::new(6, 4, &[0, 2]);
    TrainingHarness::new::<Bottleneck, ShuffledWords>([Entry::integer("size", 3)], objective, &backbone)
}

fn records() -> Vec<Vec<Entry>> {
    ["the cat sat on the mat", "one two three four", "a b"].map(|text| vec![Entry::text("text", text)]).to_vec()
}

#[test]
fn it_learns_and_every_parameter_takes_part() {
    let mut harness = harness([]).unwrap();
    let examples = harness.encode_all(&records()).unwrap();
    assert_eq!(harness.idle_parameters(&examples).unwrap(), [""; 0]);
    let before = harness.loss(&examples).unwrap().0;
    harness.descend(&examples, 30, 0.5).unwrap();
    let after = harness.loss(&examples).unwrap();
    assert!(after.0 < before / 2.0, "{before} {after:?}");
    assert_eq!(after.1, 12.0);
    let metrics = harness.metrics(&harness.tally(&examples).unwrap()).unwrap();
    assert!(metrics[0].name() == "f1" && metrics[0].value() > 0.9, "{metrics:?}");
}

#[test]
fn words_change_places_and_none_is_lost() {
    let harness = harness([Entry::number("share", 1.0)]).unwrap();
    let examples = harness.encode_all(&records()).unwrap();
    // All words of "one two three four" went one place on.
    let segment: Vec<u32> = examples[1].segments().next().unwrap().to_vec();
    assert_eq!((segment.len(), examples[1].targets()), (6, &[1, 1, 1, 1][..]));
    // Two words "the" of the first text may meet: then one of them is where it was.
    assert!(examples[0].targets().iter().all(|&target| target == 0 || target == 1));
    assert_eq!(harness.encode_all(&records()).unwrap(), examples);
}

#[test]
fn texts_without_two_words_are_left_out_and_wrong_ones_refused() {
    let harness = harness([]).unwrap();
    for text in ["", "word", "same same"] {
        let encoded = harness.encode(&[Entry::text("text", text)]).unwrap();
        assert!(
            matches!(encoded, Encoded::LeftOut(reason) if reason == "no two words of it can change places"),
            "{text}"
        );
    }
    let error = harness.encode(&[Entry::integer("text", 1)]).unwrap_err();
    assert_eq!(error.message(), "field `text` is an integer, expected a text");
}

#[test]
fn a_wrong_share_is_refused() {
    let error = super::tests::harness([Entry::number("share", 0.0)]).unwrap_err();
    assert_eq!(error.message(), "`share` is 0, expected more than 0 and at most 1");
}
