//! A card as a person reads it.

use super::{Data, Epoch, Ingredient, Machine, Parameters, TrainedCard, duration, fence, grouped};
use kadapter_registry::Digest;
use std::time::Duration;

fn ingredient(name: &str, version: &str) -> Ingredient {
    Ingredient { name: name.to_owned(), version: Some(version.to_owned()), digest: Digest::of(name.as_bytes()) }
}

fn data(role: &str, used: u64, left_out: &[(&str, u64)]) -> Data {
    Data {
        role: role.to_owned(),
        file: format!("ewt-{role}.jsonl"),
        digest: Digest::of(role.as_bytes()),
        license: "CC-BY-SA-4.0".to_owned(),
        attribution: "Universal Dependencies English Web Treebank, https://universaldependencies.org".to_owned(),
        used,
        left_out: left_out.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        cut: vec![("the end of the text is past the longest segment".to_owned(), u64::from(role == "dev"))],
    }
}

fn epoch(epoch: f64, step: u64, loss: f64, accuracy: f64) -> Epoch {
    Epoch { epoch, step, loss, metrics: vec![("head accuracy".to_owned(), accuracy)] }
}

fn card() -> TrainedCard {
    let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    TrainedCard {
        name: "lab/linguistic".to_owned(),
        version: "1.0.0".to_owned(),
        license: "CC-BY-SA-4.0".to_owned(),
        summary: "Dependency syntax of English for a frozen RoBERTa".to_owned(),
        objective: "For each word, the position of its head was predicted from the adapter's features.".to_owned(),
        backbone: ingredient("kadapter/minilm-roberta", "1.0.0"),
        plugin: ingredient("kadapter-plugins/linguistic", "1.1.0"),
        parameters: Parameters { kept: 1_234_567, dropped: 89_000 },
        data: vec![
            data("train", 12_543, &[("a marker was lost by truncation", 3), ("malformed", 0)]),
            data("dev", 2001, &[]),
        ],
        hyper_parameters: [("learning rate", "1e-4, linear"), ("batch", "32 | records")].map(text).to_vec(),
        seeds: vec![("order and dropout".to_owned(), 42)],
        epochs: vec![epoch(1.0, 392, 1.25, 0.71), epoch(2.0, 784, 0.875, 0.78), epoch(2.5, 980, f64::NAN, 0.775)],
        chosen_step: 784,
        time: Duration::from_secs(3725),
        machine: Machine { processor: "a processor".to_owned(), cores: 2, device: None, ranks: 1 },
        recipe: "plugin = \"kadapter-plugins/linguistic\"\n\n[optimiser]\nrate = 1e-4\n".to_owned(),
        limits: vec!["English alone".to_owned(), "Sentences of more than 512 tokens\nwere left out".to_owned()],
    }
}

#[test]
fn a_card_says_what_where_from_how_and_how_well() {
    insta::assert_snapshot!(card().render());
}

#[test]
fn without_dev_data_the_card_says_so() {
    let bare = TrainedCard { epochs: Vec::new(), limits: Vec::new(), ..card() }.render();
    assert!(bare.contains("Nothing was measured") && !bare.contains("## Limits"), "{bare}");
}

#[test]
fn text_cannot_leave_its_place() {
    let recipe = "text = '''\n```\n# not a heading\n'''".to_owned();
    let rendered = TrainedCard { recipe, license: "a | b\n# c".to_owned(), ..card() }.render();
    assert!(rendered.contains("| Licence | a \\| b # c |"), "{rendered}");
    assert!(rendered.contains("````toml\ntext") && rendered.ends_with("'''\n````\n"), "{rendered}");
}

#[test]
fn numbers_are_easy_to_read() {
    assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(12_345_678)], ["0", "999", "1 000", "12 345 678"]);
    let times = [5, 65, 7260].map(|seconds| duration(Duration::from_secs(seconds)));
    assert_eq!(times, ["5 s", "1 min 5 s", "2 h 1 min"]);
    assert_eq!([fence("none"), fence("a ```` b")], ["```", "`````"]);
}
