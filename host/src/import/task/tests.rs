//! The official fixtures' heads: five tasks, both fusions.

use kadapter_registry::Digest;

use super::super::tests::{backbone, data, files, identity, publishable, tensors};
use super::*;

fn alias(name: &str) -> Alias {
    name.parse().unwrap()
}

fn variant(prefix: &str, stack: &[&str], fusion: Fusion) -> VariantSource {
    VariantSource {
        file: data("official/heads.safetensors"),
        prefix: prefix.to_owned(),
        stack: stack.iter().map(|name| alias(name)).collect(),
        fusion,
    }
}

fn options(kind: TaskKind, labels: usize, variants: Vec<VariantSource>) -> Options {
    let need = |name: &str| AdapterNeed {
        package: format!("kadapter/{name}").parse().unwrap(),
        release: Digest::of(name.as_bytes()),
    };
    let used: Vec<Alias> = variants.iter().flat_map(|variant| variant.stack.clone()).collect();
    Options {
        kind,
        labels: (0..labels).map(|label| format!("label {label}")).collect(),
        max_length: 48,
        options: toml::Table::new(),
        backbone: backbone(),
        adapters: used.into_iter().map(|name| (name.clone(), need(name.as_str()))).collect(),
        slots: [("fac", "factual"), ("lin", "linguistic")].map(|(slot, name)| (slot.to_owned(), alias(name))).into(),
        variants,
        storage: Storage::Keep,
    }
}

fn refusal(options: &Options) -> String {
    let place = tempfile::tempdir().unwrap();
    let error = import(&identity("kadapter/task"), &place.path().join("out"), options).unwrap_err();
    assert_eq!(files(place.path()), [""; 0], "something was left behind");
    error.to_string()
}

const BOTH: [&str; 2] = ["factual", "linguistic"];

#[test]
fn a_package_holds_a_variant_per_stack() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let variants = vec![
        variant("tacred/", &BOTH, Fusion::Concat),
        variant("tacred/", &["linguistic"], Fusion::Concat),
        variant("tacred/", &["factual"], Fusion::Add),
        variant("tacred/", &[], Fusion::Concat),
    ];
    let report =
        import(&identity("kadapter/task"), &out, &options(TaskKind::RelationClassification, 42, variants)).unwrap();
    assert_eq!(report.sources.len(), 1);
    assert!(report.dropped.contains(&"figer/dense.bias".to_owned()));
    assert_eq!(
        files(&out),
        [
            "README.md",
            "factual+linguistic.safetensors",
            "factual.safetensors",
            "kadapter-package.toml",
            "linguistic.safetensors",
            "none.safetensors"
        ]
    );
    let official = tensors(&data("official/heads.safetensors"));
    let both = tensors(&out.join("factual+linguistic.safetensors"));
    for (name, old) in [
        ("fusion.factual", "task_dense_fac"),
        ("fusion.linguistic", "task_dense_lin"),
        ("fusion.out", "task_dense"),
        ("head.dense", "dense"),
        ("head.out", "out_proj"),
    ] {
        for part in ["weight", "bias"] {
            assert!(both[&format!("{name}.{part}")] == official[&format!("tacred/{old}.{part}")], "{name}.{part}");
        }
    }
    assert_eq!(both.len(), 10);
    let names = |file: &str| tensors(&out.join(file)).into_keys().collect::<Vec<_>>();
    let head = ["head.dense.bias", "head.dense.weight", "head.out.bias", "head.out.weight"];
    assert_eq!(names("none.safetensors"), head);
    assert_eq!(names("factual.safetensors"), head);
    assert_eq!(
        names("linguistic.safetensors"),
        [&["fusion.linguistic.bias", "fusion.linguistic.weight"][..], &head].concat()
    );
    let Content::Task(task) = publishable(&out).content else { panic!("not a task") };
    assert_eq!(task.variants.len(), 4);
    assert_eq!(task.variants[0].stack, BOTH.map(alias));
    assert_eq!(task.options.get(EXTRA), None);
}

#[test]
fn every_official_head_is_imported() {
    let place = tempfile::tempdir().unwrap();
    for (prefix, kind, labels, count) in [
        ("openentity/", TaskKind::EntityTyping, 9, 10),
        ("figer/", TaskKind::EntityTyping, 7, 10),
        ("cosmosqa/", TaskKind::MultipleChoice, 0, 12),
    ] {
        let out = place.path().join(prefix.trim_end_matches('/'));
        let options = options(kind, labels, vec![variant(prefix, &BOTH, Fusion::Concat)]);
        let report = import(&identity("kadapter/task"), &out, &options).unwrap();
        assert_eq!(report.weights[0].tensors, count, "{prefix}");
        let Content::Task(task) = publishable(&out).content else { panic!("not a task") };
        assert_eq!(task.options.contains_key(EXTRA), prefix == "cosmosqa/");
    }
    let cosmos = tensors(&place.path().join("cosmosqa/factual+linguistic.safetensors"));
    let official = tensors(&data("official/heads.safetensors"));
    assert!(cosmos["fusion.linguistic.extra.weight"] == official["cosmosqa/lin_adapter.task_dense.weight"]);
    assert!(cosmos["head.out.weight"] == official["cosmosqa/classifier.weight"]);
}

#[test]
fn stacks_that_the_file_was_not_trained_on_are_refused() {
    let relation = TaskKind::RelationClassification;
    let concat = |prefix: &str, stack: &[&str]| vec![variant(prefix, stack, Fusion::Concat)];
    for (options, expected) in [
        (
            options(relation, 42, concat("tacred/", &["linguistic", "factual"])),
            "`--stack` is `linguistic,factual`, expected the official order, `fac` before `lin`",
        ),
        (
            options(relation, 42, concat("tacred/", &["chemistry"])),
            "`--stack-map` is `fac=factual,lin=linguistic`, expected the official adapter, `fac` or `lin`, behind `chemistry`",
        ),
        (
            options(relation, 41, concat("tacred/", &BOTH)),
            "2 of another shape (`tacred/out_proj.weight` is [42, 32] instead of [41, 32]",
        ),
        (
            options(TaskKind::EntityTyping, 42, concat("tacred/", &BOTH)),
            "of another shape (`tacred/task_dense_fac.weight`",
        ),
        (options(relation, 42, concat("fusion/", &BOTH)), "2 missing (`head.out.weight`, `head.out.bias`)"),
        (options(relation, 42, concat("nothing/", &BOTH)), "8 missing"),
    ] {
        let message = refusal(&options);
        assert!(message.contains(expected), "{message}");
    }
    // What the package format refuses is refused by it.
    let place = tempfile::tempdir().unwrap();
    let none = options(relation, 42, Vec::new());
    let error = import(&identity("kadapter/task"), &place.path().join("out"), &none).unwrap_err();
    assert!(matches!(error, Error::Package(_)), "{error}");
    assert_eq!(files(place.path()), [""; 0]);
}
