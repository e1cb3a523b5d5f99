//! The invariants of ARCHITECTURE.md, each as a test that fails when it is broken.

use kadapter_host::pipeline::{Job, Plan, Settings};
use kadapter_host::task::{Answer, Compat, Record};
use kadapter_registry::Digest;
use kadapter_registry::package::{Fusion, TaskKind};
use kadapter_tests::world::{HeadCase, open_plan};
use kadapter_tests::{Cases, World, assert_close};

fn head<'a>(name: &'a str, stack: &'a [&'a str], fusion: Fusion) -> HeadCase<'a> {
    HeadCase {
        name,
        prefix: "tacred/",
        kind: TaskKind::RelationClassification,
        labels: 42,
        stack,
        fusion,
        options: "",
        max_length: 48,
    }
}

fn features(task: &str, stack: &[&str]) -> String {
    format!("[tasks.{task}]\nkind = \"features\"\nstack = {stack:?}\nfusion = \"concat\"\n")
}

fn vectors(answer: Answer) -> Vec<f32> {
    match answer {
        Answer::Features(answer) => answer.tokens.into_iter().flat_map(|token| token.vector).collect(),
        other => panic!("{other:?}"),
    }
}

/// 1. The backbone's bytes never change.
#[test]
fn the_backbone_is_the_same_after_use() {
    let (cases, world) = (Cases::official(), World::with_adapters());
    let manifest = world.manifest("p", &["fac"], "");
    let resolved = world.resolve(&manifest);
    let before = Digest::of(&std::fs::read(&resolved.backbone.weights.path).unwrap());
    let opened = world.open(&manifest, Compat::Masked);
    let first = opened.runner.forward(&cases.input("trex"), None).unwrap().hidden;
    let second = opened.runner.forward(&cases.input("trex"), None).unwrap().hidden;
    assert_eq!(first, second);
    assert_eq!(before, Digest::of(&std::fs::read(&resolved.backbone.weights.path).unwrap()));
    assert_eq!(before, world.backbone);
}

/// 2. No information flows between adapters: beside a third one, the other two are the same to the last bit.
#[test]
fn a_third_adapter_changes_no_bit_of_the_others() {
    let (cases, mut world) = (Cases::official(), World::with_adapters());
    world.add_bottleneck("third");
    let forward = |name: &str, adapters: &[&str]| {
        let opened = world.open(&world.manifest(name, adapters, ""), Compat::Masked);
        opened.runner.forward(&cases.input("trex"), None).unwrap()
    };
    let (two, three) = (forward("two", &["fac", "lin"]), forward("three", &["fac", "lin", "third"]));
    assert_eq!(two.hidden, three.hidden);
    assert_eq!(three.adapters.len(), 3);
    for (name, values) in &two.adapters {
        let (_, beside) = three.adapters.iter().find(|(found, _)| found == name).unwrap();
        assert!(values == beside, "{name} is another beside a third adapter");
    }
    let (_, third) = three.adapters.iter().find(|(name, _)| name == "third").unwrap();
    assert!(third.iter().any(|&value| value != 0.0));
}

/// 3. One backbone pass per batch and one pass of each distinct adapter, however many tasks.
#[test]
fn eight_tasks_take_one_pass() {
    let mut world = World::with_adapters();
    let both: &[&str] = &["fac", "lin"];
    world.add_head(head("concat", both, Fusion::Concat));
    world.add_head(head("sum", both, Fusion::Add));
    let mut tasks = String::new();
    for task in 0..8 {
        let package = if task % 2 == 0 { "concat" } else { "sum" };
        tasks += &format!(
            "[tasks.task{task}]\npackage = \"official/{package}\"\nversion = \"^1\"\nstack = [\"fac\", \"lin\"]\n"
        );
    }
    let manifest = world.manifest("p", both, &tasks);
    let plan = Plan::all(&world.resolve(&manifest)).unwrap();
    let opened = open_plan(plan, Settings::default());
    let record = Record::from_text("<e1>Ada Quill</e1> painted the <e2>river</e2> .").unwrap();
    let jobs: Vec<_> = (0..8).map(|task| Job { record: &record, task }).collect();
    let answers = opened.runner.answer(&jobs);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let stats = opened.runner.stats();
    assert_eq!((stats.backbone_passes, stats.segments), (1, 1));
    assert_eq!(stats.adapter_passes.into_iter().collect::<Vec<_>>(), [("fac".to_owned(), 1), ("lin".to_owned(), 1)]);
}

/// 3, continued: two names of one release are one adapter.
#[test]
fn one_release_under_two_names_runs_once() {
    let world = World::with_adapters();
    let manifest = world.manifest("p", &["fac"], &(features("a", &["fac"]) + &features("b", &["twin"])));
    let text = std::fs::read_to_string(&manifest).unwrap();
    let twin = "[adapters]\ntwin = { package = \"official/fac\", version = \"^1\" }\n";
    std::fs::write(&manifest, text.replace("[adapters]\n", twin)).unwrap();
    let opened = open_plan(Plan::all(&world.resolve(&manifest)).unwrap(), Settings::default());
    let record = Record::from_text("Ada saw the river .").unwrap();
    let answers = opened.runner.answer(&[Job { record: &record, task: 0 }, Job { record: &record, task: 1 }]);
    let [first, second] = answers.try_into().unwrap();
    assert_eq!(vectors(first.unwrap()), vectors(second.unwrap()));
    assert_eq!(opened.runner.stats().adapter_passes.values().sum::<u64>(), 1);
}

/// 4. A row in a batch equals the row alone, also where an adapter runs over a part of the batch.
#[test]
fn a_text_in_a_batch_equals_the_text_alone() {
    let mut world = World::with_adapters();
    world.add_bottleneck("third");
    let tasks = features("a", &["fac", "third"]) + &features("b", &["lin"]);
    let opened = world.open(&world.manifest("p", &["fac", "lin", "third"], &tasks), Compat::Masked);
    let texts = [
        "Ada Quill painted the river.",
        "The",
        "The storms of 1901 hit Port Maro hard, and the old quiet painter left the town .",
        "She works for Maro Press",
        "café — 雪",
    ];
    let records: Vec<_> = texts.iter().map(|text| Record::from_text(text).unwrap()).collect();
    // Every other text goes to the other task, so that each adapter reads a part of the rows.
    let jobs: Vec<_> = records.iter().enumerate().map(|(index, record)| Job { record, task: index % 2 }).collect();
    let together = opened.runner.answer(&jobs);
    assert_eq!(opened.runner.stats().backbone_passes, 1);
    for (job, together) in jobs.iter().zip(together) {
        let alone = opened.runner.answer(std::slice::from_ref(job)).remove(0).unwrap();
        assert_close("features", &vectors(together.unwrap()), &vectors(alone), 1e-5);
    }
}

/// 4, continued: a token budget changes how many passes there are, not what they give.
#[test]
fn small_batches_give_the_same_answers_in_the_same_order() {
    let world = World::with_adapters();
    let manifest = world.manifest("p", &["fac"], &features("a", &["fac"]));
    let records: Vec<_> = (1..12).map(|length| Record::from_text(&"river ".repeat(length)).unwrap()).collect();
    let jobs: Vec<_> = records.iter().map(|record| Job { record, task: 0 }).collect();
    let answers = |budget: usize| {
        let settings = Settings { max_batch_tokens: budget, ..Settings::default() };
        let opened = open_plan(Plan::all(&world.resolve(&manifest)).unwrap(), settings);
        let answers: Vec<_> = opened.runner.answer(&jobs).into_iter().map(|answer| vectors(answer.unwrap())).collect();
        (answers, opened.runner.stats().backbone_passes)
    };
    let ((small, many), (large, one)) = (answers(20), answers(2048));
    assert_eq!(one, 1);
    assert!(many > 3, "{many} passes");
    for (small, large) in small.iter().zip(&large) {
        assert_close("features", small, large, 1e-5);
    }
}
