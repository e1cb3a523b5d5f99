//! Heads of the official tasks: logits from token ids, and the same answers from texts.

use kadapter_host::pipeline::Job;
use kadapter_host::task::{Answer, Compat, Record};
use kadapter_registry::package::{Fusion, TaskKind};
use kadapter_tests::world::{HeadCase, task_entry};
use kadapter_tests::{Cases, World, assert_close, paths};

const LOGITS: f32 = 1e-4;
const BOTH: &[&str] = &["fac", "lin"];

fn tacred<'a>(name: &'a str, fusion: Fusion) -> HeadCase<'a> {
    HeadCase {
        name,
        prefix: "tacred/",
        kind: TaskKind::RelationClassification,
        labels: 42,
        stack: BOTH,
        fusion,
        options: "marker_overflow = \"minus10\"",
        max_length: 32,
    }
}

fn typing<'a>(name: &'a str, prefix: &'a str, labels: usize, options: &'a str) -> HeadCase<'a> {
    HeadCase {
        name,
        prefix,
        kind: TaskKind::EntityTyping,
        labels,
        stack: BOTH,
        fusion: Fusion::Concat,
        options,
        max_length: 32,
    }
}

fn choice<'a>(name: &'a str, fusion: Fusion, options: &'a str) -> HeadCase<'a> {
    let kind = TaskKind::MultipleChoice;
    HeadCase { name, prefix: "cosmosqa/", kind, labels: 0, stack: BOTH, fusion, options, max_length: 44 }
}

fn world() -> World {
    let mut world = World::with_adapters();
    world.add_head(tacred("tacred-concat", Fusion::Concat));
    world.add_head(tacred("tacred-add", Fusion::Add));
    world.add_head(typing("openentity", "openentity/", 9, ""));
    world.add_head(typing("figer", "figer/", 7, "force_top = true"));
    world.add_head(choice("cosmosqa-concat", Fusion::Concat, "pad_id = 0"));
    world.add_head(choice("cosmosqa-add", Fusion::Add, "pad_id = 0\nextra_dense = true"));
    world
}

const TASKS: [&str; 6] = ["tacred-concat", "tacred-add", "openentity", "figer", "cosmosqa-concat", "cosmosqa-add"];

#[test]
fn logits_are_the_official_ones() {
    let (cases, world) = (Cases::official(), world());
    let tasks: String = TASKS.iter().map(|name| task_entry(name, BOTH)).collect();
    let opened = world.open(&world.manifest("p", BOTH, &tasks), Compat::Official);
    let subject_object: &[&str] = &["subj_start", "obj_start"];
    let readings: [(&str, &str, &[&str], &str); 6] = [
        ("tacred-concat", "tacred", subject_object, "tacred/concat/logits"),
        ("tacred-add", "tacred", subject_object, "tacred/add/logits"),
        ("openentity", "openentity", &["start"], "openentity/concat/logits"),
        ("figer", "figer", &["start"], "figer/concat/logits"),
        ("cosmosqa-concat", "cosmosqa", &[], "cosmosqa/concat/logits"),
        ("cosmosqa-add", "cosmosqa", &[], "cosmosqa/add/logits"),
    ];
    for (task, batch, slots, expected) in readings {
        let input = if slots.is_empty() { cases.input(batch) } else { cases.input_reading(batch, slots) };
        let (_, found) = opened.runner.forward(&input, Some(task)).unwrap().logits.unwrap();
        assert_close(task, &found, &cases.get(expected).f32(), LOGITS);
    }
}

/// The official data files through the whole pipeline, padding and all: text, markers, tokens, logits.
#[test]
fn texts_give_the_official_logits() {
    let (cases, world) = (Cases::official(), world());
    let tasks: String = TASKS.iter().map(|name| task_entry(name, BOTH)).collect();
    let opened = world.open(&world.manifest("p", BOTH, &tasks), Compat::Official);
    let files = [
        ("tacred-concat", "tacred.json", "tacred/concat/logits"),
        ("openentity", "openentity.json", "openentity/concat/logits"),
        ("figer", "figer.json", "figer/concat/logits"),
        ("cosmosqa-concat", "cosmosqa.jsonl", "cosmosqa/concat/logits"),
    ];
    for (task, file, expected) in files {
        let records = records(file);
        let place = opened.runner.plan().tasks.iter().position(|planned| planned.name == task).unwrap();
        let jobs: Vec<_> = records.iter().map(|record| Job { record, task: place }).collect();
        let found: Vec<f32> =
            opened.runner.answer(&jobs).into_iter().flat_map(|answer| logits(answer.unwrap())).collect();
        assert_close(task, &found, &cases.get(expected).f32(), LOGITS);
    }
}

fn records(file: &str) -> Vec<Record> {
    let text = std::fs::read_to_string(paths::data("official/data").join(file)).unwrap();
    let values: Vec<serde_json::Value> = match serde_json::from_str(&text) {
        Ok(serde_json::Value::Array(values)) => values,
        _ => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    };
    values.into_iter().map(|value| Record::from_value(value).unwrap()).collect()
}

/// Logits in the order of the head's outputs.
fn logits(answer: Answer) -> Vec<f32> {
    let mut scores = match answer {
        Answer::Relation(answer) => answer.scores,
        Answer::Typing(answer) => answer.scores,
        Answer::Choice(answer) => return answer.scores.iter().map(|score| score.logit).collect(),
        other => panic!("{other:?}"),
    };
    let number = |label: &str| label.strip_prefix("label ").unwrap().parse::<usize>().unwrap();
    scores.sort_by_key(|score| number(&score.label));
    scores.iter().map(|score| score.logit).collect()
}
