//! The official losses of heads and their gradients (spec section 5), on the features of the official tiny model.

use kadapter_host::pipeline::Runner;
use kadapter_host::task::{Activation, Compat, HeadShape, Kind};
use kadapter_host::tensor::cpu::{CpuConfig, CpuEngine};
use kadapter_host::train::task::{Column, EncodeReport, Feature, FeatureSet, HeadSpec, Member, Target, gradients};
use kadapter_host::weights::Reader;
use kadapter_registry::package::Fusion;
use kadapter_tests::{Cases, World, paths};
use std::collections::BTreeMap;
use std::sync::Arc;

const BOTH: &[&str] = &["fac", "lin"];
const HIDDEN: usize = 32;
/// Losses and norms are recorded from float32 arithmetic.
const TOLERANCE: f64 = 2e-4;

/// A head of the fixture.
struct Case {
    /// The batch, and what stands before the head's tensors.
    batch: &'static str,
    kind: Kind,
    fusion: Fusion,
    /// The slots that a unit reads, by the names of the fixture; slot 0 where there is none.
    slots: &'static [&'static str],
    /// Units of a record.
    units: usize,
    head: HeadShape,
    extra: bool,
    loss: f64,
}

fn head(reads_per_unit: usize, dense: bool, outputs: usize) -> HeadShape {
    HeadShape { reads_per_unit, dense, activation: Activation::None, outputs }
}

/// Rows of a batch that a head reads, and what is right.
fn features(runner: &dyn Runner, cases: &Cases, case: &Case) -> FeatureSet {
    let input = cases.input(case.batch);
    let output = runner.forward(&input, None).unwrap();
    let slots: Vec<Vec<usize>> =
        case.slots.iter().map(|slot| cases.get(&format!("{}/{slot}", case.batch)).slots()).collect();
    let column = |values: &[f32]| {
        let mut rows = Vec::new();
        for row in 0..input.batch {
            let reads = slots.iter().map(|slots| slots[row]);
            let reads: Vec<usize> = if slots.is_empty() { vec![0] } else { reads.collect() };
            for slot in reads {
                let start = (row * input.length + slot) * HIDDEN;
                rows.extend_from_slice(&values[start..start + HIDDEN]);
            }
        }
        Arc::new(Column::in_memory(HIDDEN, rows))
    };
    let mut columns = BTreeMap::from([(Feature::Last, column(output.hidden.last().unwrap()))]);
    for (name, values) in &output.adapters {
        columns.insert(Feature::Adapter(name.clone()), column(values));
    }
    let labels = cases.get(&format!("{}/labels", case.batch));
    let class = |value: &f64| *value as u32;
    let targets: Vec<Target> = match case.kind {
        Kind::EntityTyping => {
            let row =
                |row: &[f64]| (0..).zip(row).filter(|(_, value)| **value == 1.0).map(|(place, _)| place).collect();
            labels.values.chunks_exact(case.head.outputs).map(row).map(Target::Classes).collect()
        }
        Kind::MultipleChoice => labels.values.iter().map(class).map(Target::Unit).collect(),
        _ => labels.values.iter().map(class).map(Target::Class).collect(),
    };
    FeatureSet {
        kind: case.kind,
        hidden: HIDDEN,
        reads: case.head.reads_per_unit,
        columns,
        starts: (0..=targets.len()).map(|record| record * case.units).collect(),
        keys: targets.iter().map(|_| "".into()).collect(),
        clusters: targets.iter().map(|_| "".into()).collect(),
        targets: targets.into(),
        report: EncodeReport::default(),
    }
}

/// The official name of a tensor.
fn official(case: &Case, name: &str) -> String {
    let out = if case.kind == Kind::MultipleChoice { "classifier" } else { "out_proj" };
    let (layer, part) = name.rsplit_once('.').unwrap();
    let layer = match layer {
        "fusion.fac" => "task_dense_fac",
        "fusion.lin" => "task_dense_lin",
        "fusion.fac.extra" => "fac_adapter.task_dense",
        "fusion.lin.extra" => "lin_adapter.task_dense",
        "fusion.out" => "task_dense",
        "head.dense" => "dense",
        "head.out" => out,
        other => panic!("{other}"),
    };
    format!("{layer}.{part}")
}

fn head_tensors() -> BTreeMap<String, Vec<f32>> {
    let mut reader = Reader::open(&paths::data("official/heads.safetensors"), None).unwrap();
    let mut tensors = BTreeMap::new();
    while let Some(tensor) = reader.next_tensor().unwrap() {
        let name = tensor.info().name.clone();
        tensors.insert(name, tensor.read_f32().unwrap());
    }
    tensors
}

#[test]
fn losses_and_gradients_are_the_official_ones() {
    let (cases, world, tensors) = (Cases::official(), World::with_adapters(), head_tensors());
    let recorded: serde_json::Value =
        serde_json::from_slice(&std::fs::read(paths::data("official/cases.json")).unwrap()).unwrap();
    let loss = |path: &str| recorded.pointer(path).unwrap().as_f64().unwrap();
    let subject_object: &[&str] = &["subj_start", "obj_start"];
    let tacred = |fusion, path| Case {
        batch: "tacred",
        kind: Kind::RelationClassification,
        fusion,
        slots: subject_object,
        units: 1,
        head: head(2, true, 42),
        extra: false,
        loss: loss(path),
    };
    let cosmos = |fusion, path| Case {
        batch: "cosmosqa",
        kind: Kind::MultipleChoice,
        fusion,
        slots: &[],
        units: 4,
        head: head(1, false, 1),
        extra: true,
        loss: loss(path),
    };
    let typing = |batch, outputs, path| Case {
        batch,
        kind: Kind::EntityTyping,
        fusion: Fusion::Concat,
        slots: &["start"],
        units: 1,
        head: head(1, true, outputs),
        extra: false,
        loss: loss(path),
    };
    let all = [
        tacred(Fusion::Concat, "/tacred/concat/loss"),
        tacred(Fusion::Add, "/tacred/add/loss"),
        typing("openentity", 9, "/openentity/loss"),
        typing("figer", 7, "/figer/loss"),
        cosmos(Fusion::Concat, "/cosmosqa/concat/loss"),
        cosmos(Fusion::Add, "/cosmosqa/add/loss"),
    ];
    let task = "[tasks.features]\nkind = \"features\"\nstack = [\"fac\", \"lin\"]\nfusion = \"concat\"\n";
    let opened = world.open(&world.manifest("p", BOTH, task), Compat::Official);
    let engine = CpuEngine::new(CpuConfig::default());
    for case in &all {
        let set = features(&*opened.runner, &cases, case);
        let spec = HeadSpec {
            fusion: case.fusion,
            taps: Vec::new(),
            stack: BOTH.iter().map(|name| Member::Adapter((*name).to_owned())).collect(),
            head: case.head,
            kind: case.kind,
            extra: case.extra,
            hidden: HIDDEN,
        };
        let declared = spec.declared();
        let values = declared
            .iter()
            .map(|declared| tensors[&format!("{}/{}", case.batch, official(case, &declared.name))].clone())
            .collect();
        let found = gradients(&engine, &spec, values, &set.all()).unwrap();
        let what = format!("{}, {}", case.batch, case.fusion);
        assert!(
            (f64::from(found.loss) - case.loss).abs() <= TOLERANCE * case.loss,
            "{what}: {} {}",
            found.loss,
            case.loss
        );
        let Some(norms) = recorded.pointer(&format!("/{}/{}/head_grad_norms", case.batch, case.fusion)) else {
            continue;
        };
        assert_eq!(norms.as_object().unwrap().len(), declared.len(), "{what}");
        for (declared, gradient) in declared.iter().zip(&found.gradients) {
            let squares = gradient.as_ref().unwrap().iter().map(|value| f64::from(*value).powi(2));
            let (found, expected) =
                (squares.sum::<f64>().sqrt(), norms[official(case, &declared.name)].as_f64().unwrap());
            assert!((found - expected).abs() <= TOLERANCE * expected, "{what}, {}: {found} {expected}", declared.name);
        }
    }
}
