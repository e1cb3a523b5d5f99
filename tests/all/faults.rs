//! Plugins that fail: an answer to the request that met them, and nothing else notices.

use kadapter_host::Error;
use kadapter_host::pipeline::{Job, Opened, Plan, Settings};
use kadapter_host::task::{Answer, Record};
use kadapter_tests::World;
use kadapter_tests::world::open_plan;
use std::error::Error as _;

fn features(task: &str, stack: &[&str]) -> String {
    format!("[tasks.{task}]\nkind = \"features\"\nstack = {stack:?}\nfusion = \"concat\"\n")
}

/// A project with a good task on `fac`, and one on an adapter with this fault.
fn open(fault: &str) -> (World, Opened) {
    let mut world = World::with_adapters();
    world.add_faulty("bad", fault);
    let tasks = features("good", &["fac"]) + &features("poor", &["bad"]);
    let manifest = world.manifest("p", &["fac", "bad"], &tasks);
    let opened = open_plan(Plan::all(&world.resolve(&manifest)).unwrap(), Settings::default());
    (world, opened)
}

/// The answers of both tasks to one text.
fn ask(opened: &Opened) -> (Result<Answer, Error>, Result<Answer, Error>) {
    let record = Record::from_text("Ada saw the river .").unwrap();
    let place = |name: &str| opened.runner.plan().tasks.iter().position(|task| task.name == name).unwrap();
    let jobs = [Job { record: &record, task: place("good") }, Job { record: &record, task: place("poor") }];
    let mut answers = opened.runner.answer(&jobs).into_iter();
    (answers.next().unwrap(), answers.next().unwrap())
}

fn sentence(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if !text.ends_with(&error.to_string()) {
            text += &format!(": {error}");
        }
        cause = error.source();
    }
    text
}

#[test]
fn without_a_fault_both_tasks_answer() {
    let (_world, opened) = open("none");
    let (good, poor) = ask(&opened);
    assert!(good.is_ok() && poor.is_ok());
}

#[test]
fn a_panic_in_build_or_forward_is_an_answer() {
    for (fault, place, said) in
        [("panic-build", "build", "built to panic"), ("panic-forward", "forward", "run to panic")]
    {
        let (_world, opened) = open(fault);
        for _ in 0..2 {
            let (good, poor) = ask(&opened);
            assert!(good.is_ok(), "{fault}: {good:?}");
            let said_by_host = sentence(&poor.unwrap_err());
            assert!(said_by_host.contains(&format!("the adapter panicked in `{place}`: {said}")), "{said_by_host}");
            assert!(said_by_host.contains("`bad`") && said_by_host.contains("lib.rs:"), "{said_by_host}");
        }
    }
}

#[test]
fn an_error_of_the_plugin_is_passed_on() {
    let (_world, opened) = open("error-build");
    let (good, poor) = ask(&opened);
    assert!(good.is_ok());
    insta::assert_snapshot!(sentence(&poor.unwrap_err()), @"adapter `bad` refused to be built by plugin `plugins/faulty 1.0.0`: `fault` is error-build, expected none");
    let (_world, opened) = open("error-forward");
    let (good, poor) = ask(&opened);
    assert!(good.is_ok());
    insta::assert_snapshot!(sentence(&poor.unwrap_err()), @"adapter `bad` failed: run to fail");
}

#[test]
fn a_wrong_shape_or_op_is_named() {
    let (_world, opened) = open("wrong-shape");
    let (good, poor) = ask(&opened);
    assert!(good.is_ok());
    let said = sentence(&poor.unwrap_err());
    assert!(
        said.contains("the adapter gave [") && said.contains("one feature row of the hidden size per token"),
        "{said}"
    );
    let (_world, opened) = open("wrong-op");
    let said = sentence(&ask(&opened).1.unwrap_err());
    assert!(said.contains("`matmul`: the inner dimensions of"), "{said}");
}

#[test]
fn features_that_are_not_finite_are_no_answer() {
    let (_world, opened) = open("not-finite");
    let (good, poor) = ask(&opened);
    assert!(good.is_ok());
    let said = sentence(&poor.unwrap_err());
    assert!(said.contains("not finite") || said.contains("finite"), "{said}");
}

#[test]
fn a_panic_in_drop_stays_in_the_plugin() {
    let (_world, opened) = open("panic-drop");
    let (good, poor) = ask(&opened);
    assert!(good.is_ok() && poor.is_ok());
    drop(opened);
    // The process lives, and opens the same plugin again.
    let (_world, opened) = open("panic-drop");
    assert!(ask(&opened).1.is_ok());
}

/// Tensors that are not the network's, each named.
#[test]
fn weights_that_do_not_fit_are_named() {
    let right: &[f32] = &[1.0; 32];
    type Tensors<'a> = &'a [(&'a str, &'a [usize], &'a [f32])];
    let cases: [(&str, Tensors<'_>, &str); 3] = [
        ("missing", &[("other", &[32], right)], "lack 1 of 1 tensors: `gain`"),
        (
            "extra",
            &[("gain", &[32], right), ("more", &[32], right)],
            "1 tensors that its network does not declare: `more`",
        ),
        ("shape", &[("gain", &[4, 8], right)], "tensor `gain` of adapter `bad` has shape [4, 8], expected [32]"),
    ];
    for (what, tensors, expected) in cases {
        let mut world = World::with_adapters();
        world.add_adapter("bad", "faulty", &[4], "", tensors);
        let manifest =
            world.manifest("p", &["fac", "bad"], &(features("good", &["fac"]) + &features("poor", &["bad"])));
        let opened = open_plan(Plan::all(&world.resolve(&manifest)).unwrap(), Settings::default());
        let (good, poor) = ask(&opened);
        assert!(good.is_ok(), "{what}");
        let said = sentence(&poor.unwrap_err());
        assert!(said.contains(expected), "{what}: {said}");
    }
}

#[test]
fn taps_beyond_the_backbone_are_refused() {
    let mut world = World::with_adapters();
    world.add_adapter("bad", "faulty", &[5], "", &[("gain", &[32], &[1.0; 32])]);
    let manifest = world.manifest("p", &["fac", "bad"], &(features("good", &["fac"]) + &features("poor", &["bad"])));
    let opened = open_plan(Plan::all(&world.resolve(&manifest)).unwrap(), Settings::default());
    let (good, poor) = ask(&opened);
    assert!(good.is_ok());
    insta::assert_snapshot!(sentence(&poor.unwrap_err()), @"adapter `bad` taps hidden state 5, expected 0 to 4: the backbone has 4 layers");
}
