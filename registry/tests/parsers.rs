//! Parsers: no input panics, what is written is read back as it was.

use std::collections::BTreeMap;

use kadapter_registry::lock::{LOCK_FILE, Locked};
use kadapter_registry::package::{Content, Fusion, Kind, Package, TaskKind};
use kadapter_registry::release::Release;
use kadapter_registry::tensors::{Header, MAX_HEADER, MAX_TENSORS, TensorsError};
use kadapter_registry::{
    AbiVersion, Alias, Digest, License, Lock, Manifest, Namespace, PackageName, PackagePath, RegistryLocation, Target,
    Version,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::world::{backbone_content, package, parse, task_content, usual_manifest, weights};

/// A file with this header and data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data, 0);
    file
}

fn read(header: &str) -> Result<Header, TensorsError> {
    Header::read(file(header, 64).as_slice())
}

#[test]
fn a_header_leaves_its_reader_at_the_data_and_lists_tensors_in_their_order() {
    let header = r#"{"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},"__metadata__":{"format":"pt"},
        "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"empty":{"dtype":"F32","shape":[0,5],"data_offsets":[4,4]}}"#;
    let bytes = file(header, 16);
    let mut reader = bytes.as_slice();
    let header = Header::read(&mut reader).unwrap();
    assert_eq!(reader.len(), 16);
    let names: Vec<&str> = header.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["a", "empty", "b"]);
    assert_eq!(header.tensors()[2].elements(), 6);
    assert_eq!((header.data_size(), header.size() + 16), (16, bytes.len() as u64));
    assert_eq!(header.metadata()["format"], "pt");
    header.check_file_size(bytes.len() as u64).unwrap();
    assert!(header.check_file_size(bytes.len() as u64 - 1).is_err());
    assert!(header.check_file_size(bytes.len() as u64 + 1).is_err());
    assert!(header.check_file_size(0).is_err());
}

#[test]
fn hostile_headers_are_refused_for_what_they_are() {
    let tensor = |shape: &str, begin: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let two = |a: String, b: String| format!(r#"{{"a":{a},"b":{b}}}"#);
    let one = |a: String| format!(r#"{{"a":{a}}}"#);
    use TensorsError as E;
    assert!(matches!(read(&two(tensor("[1]", 0, 4), tensor("[1]", 0, 4))), Err(E::Offset { .. })), "overlap");
    assert!(matches!(read(&two(tensor("[2]", 0, 8), tensor("[1]", 4, 8))), Err(E::Offset { .. })), "overlap");
    assert!(matches!(read(&two(tensor("[1]", 0, 4), tensor("[1]", 8, 12))), Err(E::Offset { .. })), "gap");
    assert!(matches!(read(&one(tensor("[1]", 4, 8))), Err(E::Offset { .. })), "gap at the start");
    assert!(matches!(read(&one(tensor("[2]", 0, 4))), Err(E::Size { .. })), "short");
    assert!(matches!(read(&one(tensor("[1]", 4, 0))), Err(E::Size { .. })), "backwards");
    assert!(matches!(read(&one(tensor("[18446744073709551615,2]", 0, 4))), Err(E::Overflow { .. })), "overflow");
    assert!(matches!(read(&one(tensor("[4611686018427387904]", 0, 0))), Err(E::Overflow { .. })), "overflow");
    assert!(matches!(read(&one(tensor("[1,1,1,1,1,1,1,1,1]", 0, 4))), Err(E::Rank { .. })), "rank");
    assert!(matches!(read(&one(tensor("[-1]", 0, 4))), Err(E::Malformed { .. })), "negative");
    assert!(matches!(read(&one(tensor("[1.5]", 0, 4))), Err(E::Malformed { .. })), "fraction");
    let twice = format!(r#"{{"a":{0},"a":{0}}}"#, tensor("[1]", 0, 4));
    assert!(matches!(read(&twice), Err(E::Malformed { problem }) if problem.contains("twice")), "duplicate");
    let field = r#"{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    assert!(matches!(read(field), Err(E::Malformed { .. })), "duplicate field");
    let more = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}"#;
    assert!(matches!(read(more), Err(E::Malformed { .. })), "unknown field");
    let dtype = r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#;
    assert!(matches!(read(dtype), Err(E::Dtype { .. })), "dtype");
    assert!(matches!(read(r#"{"__metadata__":{"a":"1","a":"2"}}"#), Err(E::Malformed { .. })));
    assert!(matches!(read(r#"{"__metadata__":{},"__metadata__":{}}"#), Err(E::Malformed { .. })));
    assert!(matches!(read(&one(tensor("[1]", 0, 4)).replace("\"a\"", "\"\"")), Err(E::TensorName { .. })));
    assert!(matches!(read("[]"), Err(E::Malformed { .. })));
    assert!(matches!(read(" {}"), Err(E::Malformed { .. })));
    assert!(matches!(read(&"{\"a\":".repeat(5000)), Err(E::Malformed { .. })), "depth");
    let many: Vec<String> = (0..=MAX_TENSORS).map(|i| format!(r#""{i}":{}"#, tensor("[0]", 0, 0))).collect();
    assert!(matches!(read(&format!("{{{}}}", many.join(","))), Err(E::TooMany)));
    let allowed = format!("{{{}}}", many[1..].join(","));
    assert_eq!(read(&allowed).unwrap().tensors().len(), MAX_TENSORS);
}

#[test]
fn a_header_is_bounded_before_it_is_read_and_may_not_be_cut() {
    let huge = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
    assert!(matches!(Header::read(huge.as_slice()), Err(TensorsError::HeaderSize { .. })));
    let large = [(MAX_HEADER + 1).to_le_bytes().as_slice(), &vec![b' '; 2 << 20]].concat();
    assert!(matches!(Header::read(large.as_slice()), Err(TensorsError::HeaderSize { .. })));
    let whole = weights(1);
    let header = whole.len() - 8;
    for length in 0..header {
        assert!(matches!(Header::read(&whole[..length]), Err(TensorsError::Truncated)), "{length}");
    }
}

#[test]
fn every_kind_of_package_is_read_back() {
    let texts = [
        package("k/base", "1.0.0-rc.1", backbone_content()).to_toml().unwrap(),
        package("k/t", "1.0.0", task_content(Digest::of(b"x"), &[], &[&[]])).to_toml().unwrap(),
        example("adapter"),
        example("plugin"),
        example("task"),
    ];
    for text in texts {
        let package = Package::from_toml("x", &text).unwrap();
        assert_eq!(Package::from_toml("x", &package.to_toml().unwrap()).unwrap(), package);
    }
    let Content::Task(task) = Package::from_toml("x", &example("task")).unwrap().content else { panic!("no task") };
    assert_eq!(task.kind, TaskKind::RelationClassification);
    assert_eq!(task.variants[0].fusion, Fusion::Concat);
    assert_eq!(task.options["marker"].as_str(), Some("@"));
}

/// A package as a person would write it.
fn example(kind: &str) -> String {
    let digest = Digest::of(b"x");
    let section = match kind {
        "adapter" => format!(
            r#"[adapter]
            weights = "weights.safetensors"
            taps = [0, 3, 5]
            plugin = {{ package = "kadapter-plugins/factual", version = "^1" }}
            backbone = {{ package = "kadapter/minilm-roberta", weights = "{digest}" }}
            [adapter.config]
            size = 192
            nested = {{ a = [1, 2], b = 1.5, c = true }}"#
        ),
        "plugin" => r#"[plugin]
            abi = "1.0"
            [plugin.libraries]
            "x86_64-unknown-linux-gnu" = "plugins/x86_64-unknown-linux-gnu/libkadapter_factual.so"
            "aarch64-apple-darwin" = "plugins/aarch64-apple-darwin/libkadapter_factual.dylib""#
            .to_owned(),
        _ => format!(
            r#"[task]
            kind = "relation-classification"
            backbone = {{ package = "kadapter/minilm-roberta", weights = "{digest}" }}
            labels = ["Cause-Effect(e1,e2)", "Other"]
            max_length = 128
            [task.options]
            marker = "@"
            [task.adapters]
            factual = {{ package = "kadapter/factual", release = "{digest}" }}
            [[task.variants]]
            stack = ["factual"]
            fusion = "concat"
            weights = "factual.safetensors"
            [[task.variants]]
            stack = []
            fusion = "add"
            weights = "none.safetensors""#
        ),
    };
    format!(
        r#"schema = 1
        [package]
        name = "kadapter/example"
        version = "1.0.0"
        kind = "{kind}"
        license = "CC-BY-NC-4.0"
        description = "An example"
        attribution = "Someone, somewhere"
        {section}"#
    )
}

fn any_lock() -> impl Strategy<Value = Lock> {
    let locked = ("[a-z][a-z0-9]{0,8}", "[a-z][a-z0-9_]{0,8}", 0_u64..50, 0_u64..50, any::<[u8; 32]>(), any::<bool>());
    let locked = locked.prop_map(|(namespace, name, major, minor, digest, signed)| Locked {
        name: format!("x{namespace}/x{name}").parse().unwrap(),
        version: Version::new(major, minor, 0),
        kind: Kind::Adapter,
        registry: "s3://bucket/prefix".parse().unwrap(),
        release: Digest::from_bytes(digest),
        signer: signed.then(|| "0123456789ABCDEF".parse().unwrap()),
    });
    prop::collection::vec(locked, 0..20).prop_map(|packages| {
        let unique: BTreeMap<_, _> = packages.into_iter().map(|locked| (locked.id(), locked)).collect();
        Lock::new(unique.into_values())
    })
}

/// A text with pieces of it repeated, removed or replaced: close enough to get deep into a parser.
fn mangled(text: String) -> impl Strategy<Value = String> {
    let characters: Vec<char> = text.chars().collect();
    let length = characters.len();
    let edit = (
        0..length,
        0_usize..12,
        select(vec!["", "\"", "'", "[", "]", "{", "}", "=", "\n", "\\u0000", "1", "é", "\u{0}"]),
    );
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut characters = characters.clone();
        for (position, count, replacement) in edits {
            let start = position.min(characters.len());
            let end = (start + count).min(characters.len());
            characters.splice(start..end, replacement.chars());
        }
        characters.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn no_text_panics_and_what_parses_is_written_as_it_was(text in prop_oneof![".{0,80}", "[a-z0-9/._:-]{0,80}"]) {
        fn round<T: std::str::FromStr + ToString>(text: &str) -> Result<(), TestCaseError> {
            if let Ok(value) = text.parse::<T>() {
                prop_assert_eq!(value.to_string(), text);
            }
            Ok(())
        }
        round::<PackageName>(&text)?;
        round::<Namespace>(&text)?;
        round::<Alias>(&text)?;
        round::<PackagePath>(&text)?;
        round::<Version>(&text)?;
        round::<AbiVersion>(&text)?;
        round::<Digest>(&text)?;
        round::<Target>(&text)?;
        round::<License>(&text)?;
        round::<RegistryLocation>(&text)?;
    }

    #[test]
    fn good_names_are_accepted_and_are_one_folder_each(namespace in "[a-z0-9][a-z0-9_-]{0,30}", name in "[a-z0-9][a-z0-9_-]{0,30}") {
        let reserved = ["con", "prn", "aux", "nul"];
        prop_assume!(!reserved.contains(&&*namespace) && !reserved.contains(&&*name));
        prop_assume!(!namespace.starts_with("com") && !namespace.starts_with("lpt"));
        prop_assume!(!name.starts_with("com") && !name.starts_with("lpt"));
        let parsed: PackageName = parse(&format!("{namespace}/{name}"));
        prop_assert_eq!(parsed.namespace().as_str(), namespace);
        prop_assert_eq!(parsed.name(), name);
    }

    #[test]
    fn a_digest_is_written_as_it_is_read(bytes: [u8; 32]) {
        let digest = Digest::from_bytes(bytes);
        prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }

    #[test]
    fn versions_are_ordered_as_semver_orders_them(a in (0_u64..5, 0_u64..20, 0_u64..20), b in (0_u64..5, 0_u64..20, 0_u64..20)) {
        prop_assert_eq!(Version::new(a.0, a.1, a.2).cmp(&Version::new(b.0, b.1, b.2)), a.cmp(&b));
    }

    #[test]
    fn no_bytes_panic_the_header_or_the_record(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0_u64..300) {
        let _ = Header::read(bytes.as_slice());
        let _ = Header::read([&length.to_le_bytes()[..], &bytes].concat().as_slice());
        let _ = Release::decode("x", bytes);
    }

    #[test]
    fn headers_that_are_nearly_right_do_not_panic(text in mangled(String::from(
        r#"{"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},"__metadata__":{"f":"p"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#,
    ))) {
        if let Ok(header) = read(&text) {
            let mut next = 0;
            for tensor in header.tensors() {
                prop_assert_eq!(tensor.begin, next);
                prop_assert_eq!(tensor.len(), tensor.shape.iter().product::<usize>() as u64 * tensor.dtype.size() as u64);
                next = tensor.end;
            }
        }
    }

    #[test]
    fn manifests_that_are_nearly_right_do_not_panic(text in mangled(usual_manifest(r#"["factual"]"#))) {
        if let Err(error) = Manifest::from_toml("kadapter.toml", &text) {
            prop_assert!(!error.to_string().contains('\n'), "more than one line: {}", error);
            prop_assert!(error.hint().is_none_or(|hint| !hint.contains('\n')));
        }
    }

    #[test]
    fn packages_that_are_nearly_right_do_not_panic(text in mangled(example("task"))) {
        match Package::from_toml("x", &text) {
            Ok(package) => prop_assert_eq!(Package::from_toml("x", &package.to_toml().unwrap()).unwrap(), package),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "more than one line: {}", error),
        }
    }

    #[test]
    fn a_lock_is_read_back_as_it_was(lock in any_lock()) {
        prop_assert_eq!(Lock::from_toml(LOCK_FILE, &lock.to_toml().unwrap()).unwrap(), lock);
    }

    #[test]
    fn locks_that_are_nearly_right_do_not_panic(text in any_lock().prop_flat_map(|lock| mangled(lock.to_toml().unwrap()))) {
        if let Ok(lock) = Lock::from_toml(LOCK_FILE, &text) {
            prop_assert_eq!(Lock::from_toml(LOCK_FILE, &lock.to_toml().unwrap()).unwrap(), lock);
        }
    }
}
