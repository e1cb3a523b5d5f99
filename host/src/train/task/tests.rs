//! Heads on features that are made up: what each kind can learn, and what must never change.

mod columns;
mod gradients;
mod learning;
mod metrics;
mod ridge;
mod splits;
mod targets;

use super::{Column, Feature, FeatureSet, HeadSpec, LessTaps, Member, Target};
use crate::task::{Activation, HeadShape, Kind};
use crate::tensor::cpu::{CpuConfig, CpuEngine};
use kadapter_plugin_api::random::Random;
use kadapter_registry::package::Fusion;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

const HIDDEN: usize = 16;
const CLASSES: usize = 3;

fn engine(threads: usize) -> CpuEngine {
    CpuEngine::new(CpuConfig { threads: NonZeroUsize::new(threads).unwrap(), ..CpuConfig::default() })
}

fn head_of(kind: Kind) -> HeadShape {
    let (reads_per_unit, dense, outputs) = match kind {
        Kind::RelationClassification => (2, true, CLASSES),
        Kind::MultipleChoice => (1, false, 1),
        Kind::Span => (1, false, 2),
        _ => (1, true, CLASSES),
    };
    HeadShape { reads_per_unit, dense, activation: Activation::None, outputs }
}

fn spec(kind: Kind, fusion: Fusion, stack: &[&str]) -> HeadSpec {
    HeadSpec {
        fusion,
        taps: if fusion.mixes_taps() { vec![0, 2] } else { Vec::new() },
        stack: stack.iter().map(|name| Member::Adapter((*name).to_owned())).collect(),
        head: head_of(kind),
        kind,
        extra: false,
        hidden: HIDDEN,
    }
}

/// Records of a kind with features of two adapters, two taps and the last state. What is right shows in adapter `a` alone: rows of
/// the right class, answer or token have a large number in a column of their own. All else is noise.
fn records(kind: Kind, count: usize, seed: u64) -> FeatureSet {
    let mut random = Random::new(seed);
    let head = head_of(kind);
    let (mut starts, mut targets, mut signal) = (vec![0], Vec::new(), Vec::new());
    let below = |random: &mut Random, limit: usize| (random.next_u64() % limit as u64) as usize;
    for _ in 0..count {
        let units = match kind {
            Kind::MultipleChoice => 2 + below(&mut random, 3),
            Kind::Span => 3 + below(&mut random, 6),
            _ => 1,
        };
        let mut marks: Vec<Vec<usize>> = vec![Vec::new(); units];
        targets.push(match kind {
            Kind::EntityTyping => {
                let classes: Vec<u32> = (0..CLASSES as u32).filter(|_| random.uniform() < 0.5).collect();
                marks[0] = classes.iter().map(|class| *class as usize).collect();
                Target::Classes(classes)
            }
            Kind::MultipleChoice => {
                let right = below(&mut random, units);
                marks[right].push(0);
                Target::Unit(right as u32)
            }
            Kind::Span => {
                let first = below(&mut random, units);
                let last = first + below(&mut random, units - first);
                marks[first].push(0);
                marks[last].push(1);
                Target::Spans(vec![(first as u32, last as u32)])
            }
            _ => {
                let class = below(&mut random, CLASSES);
                marks[0].push(class);
                Target::Class(class as u32)
            }
        });
        starts.push(starts.last().unwrap() + units);
        // Every read of a unit shows it.
        signal.extend(marks.into_iter().flat_map(|mark| vec![mark; head.reads_per_unit]));
    }
    let mut column = |strength: f32| {
        let mut values = Vec::with_capacity(signal.len() * HIDDEN);
        for marks in &signal {
            let mut row: Vec<f32> = (0..HIDDEN).map(|_| random.normal() as f32 * 0.5).collect();
            for &mark in marks {
                row[mark] += strength;
            }
            values.extend(row);
        }
        Arc::new(Column::in_memory(HIDDEN, values))
    };
    let adapter = |name: &str| Feature::Adapter(name.to_owned());
    let columns = BTreeMap::from([
        (Feature::Last, column(0.0)),
        (Feature::Tap(0), column(0.0)),
        (Feature::Tap(2), column(0.0)),
        (adapter("a"), column(4.0)),
        (adapter("b"), column(0.0)),
    ]);
    FeatureSet {
        kind,
        hidden: HIDDEN,
        reads: head.reads_per_unit,
        columns,
        starts: starts.into(),
        keys: targets.iter().enumerate().map(|(place, _)| place.to_string().into()).collect(),
        clusters: targets.iter().enumerate().map(|(place, _)| place.to_string().into()).collect(),
        targets: targets.into(),
        report: Default::default(),
    }
}

#[test]
fn less_taps_is_of_all_or_of_names_of_the_stack() {
    #[derive(serde::Deserialize)]
    struct Recipe {
        less_taps: LessTaps,
    }
    let read = |value: &str| toml::from_str::<Recipe>(&format!("less_taps = {value}")).map(|recipe| recipe.less_taps);
    let stack = ["a", "b"].map(|name| name.parse().unwrap());
    for (value, expected) in [
        ("true", LessTaps::All(true)),
        ("false", LessTaps::default()),
        (r#"["b"]"#, LessTaps::Of(vec!["b".parse().unwrap()])),
    ] {
        let read = read(value).unwrap();
        assert_eq!(read, expected);
        assert_eq!(read.stranger(&stack), None);
        assert_eq!([read.is_of("a"), read.is_of("b")], [value == "true", value != "false"]);
    }
    let refused = read("3").unwrap_err().message().to_owned();
    assert_eq!(refused, "expected `true`, `false`, or a list of names of the stack");
    assert_eq!(read(r#"["a", "c"]"#).unwrap().stranger(&stack), Some(&"c".parse().unwrap()));
}
