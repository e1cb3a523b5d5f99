//! Other people's tools see real file names and right digests.

use std::process::Command;

use kadapter_registry::Digest;

use super::place::Place;
use super::real;
use crate::services::environment::variable;

fn image(place: &Place) -> String {
    format!("docker://{}/{}/k/base:1.0.0", place.host, place.prefix)
}

fn run(command: &mut Command) -> Vec<u8> {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: run `cargo xtask test --services`"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{err}", String::from_utf8_lossy(&output.stdout));
    output.stdout
}

fn skopeo(words: &[&str]) -> Vec<u8> {
    run(Command::new("skopeo").args(words))
}

/// Moves the release `k/base 1.0.0` of one place over that of another.
pub(crate) fn copy(from: &Place, to: &Place) {
    skopeo(&["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &image(from), &image(to)]);
}

/// The manifest of the release `k/base 1.0.0` as skopeo reads it.
pub(crate) fn manifest(place: &Place) -> Vec<u8> {
    skopeo(&["inspect", "--raw", "--tls-verify=false", &image(place)])
}

#[test]
fn skopeo_reads_what_is_pushed() {
    let place = real();
    let record = place.publish(1);
    let manifest: serde_json::Value = serde_json::from_slice(&manifest(&place)).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.cncf.model.manifest.v1+json");
    let layers = manifest["layers"].as_array().unwrap();
    let listed: Vec<_> = layers
        .iter()
        .map(|layer| {
            let path = &layer["annotations"]["org.cncf.model.filepath"];
            format!("{} {}", path.as_str().unwrap(), layer["mediaType"].as_str().unwrap())
        })
        .collect();
    insta::assert_snapshot!(listed.join("\n"), @"
    .kadapter/release.json application/vnd.kadapter.release.v1+json
    README.md application/vnd.cncf.model.doc.v1.raw
    config.json application/vnd.cncf.model.weight.config.v1.raw
    kadapter-package.toml application/vnd.cncf.model.weight.config.v1.raw
    tokenizer.json application/vnd.cncf.model.weight.config.v1.raw
    weights.safetensors application/vnd.cncf.model.weight.v1.raw
    ");
    for (layer, file) in layers[1..].iter().zip(&record.release.files) {
        assert_eq!(layer["annotations"]["org.opencontainers.image.title"], file.path.as_str());
        assert_eq!(layer["digest"], file.sha256.to_string());
        assert_eq!(layer["size"], file.size);
    }
    assert_eq!(layers[0]["digest"], record.digest.to_string());
    let config = skopeo(&["inspect", "--config", "--raw", "--tls-verify=false", &image(&place)]);
    insta::assert_snapshot!(String::from_utf8(config).unwrap(), @r#"{"descriptor":{"name":"k/base","version":"1.0.0","licenses":["MIT"],"description":"What k/base is"},"config":{"format":"safetensors"},"modelfs":{"type":"layers","diffIds":["sha256:f0ead3b70e654a3e3a027759c5174681ea7b4958714879c14ac8678732ec9c24","sha256:72d9891432059ecaabdd0e9685b60a9ef50a0aba13865c417281a29cc463a0e9","sha256:11d5fc19a2378f25ffa8ae38c0d859e89f440f2f0557a8414e553242e4a57348","sha256:cb7e765de16801e74c7c5e69d250b028183c7002aeed238c01d6b6336e42e0a2","sha256:c2823fb776dfaab48bfa06a33005d02a60492d87762cdb66c9c4155f97fbaa5d","sha256:2e336873f148edcbafa8a9be91fd6d73adc93c55f59a55517bc8e261acae9ebd"]}}"#);
}

#[test]
fn skopeo_copies_what_is_pushed_and_nothing_is_lost() {
    let (from, to) = (real(), real());
    let record = from.publish(1);
    copy(&from, &to);
    let registry = to.registry().unwrap();
    let found = registry.release(&record.release.name, &record.release.version).unwrap().unwrap();
    assert_eq!(found, record);
    for file in &record.release.files {
        registry.read(&record.release.id(), file, u64::MAX).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    skopeo(&["copy", "--src-tls-verify=false", &image(&to), &format!("dir:{}", folder.path().display())]);
    for file in &record.release.files {
        let bytes = std::fs::read(folder.path().join(file.sha256.hex())).unwrap();
        assert_eq!(Digest::of(&bytes), file.sha256);
    }
}

#[test]
fn oras_pulls_the_files_under_their_names() {
    const PULL: &str = "import sys, oras.client\n\
        client = oras.client.OrasClient(hostname=sys.argv[1], insecure=True)\n\
        client.pull(target=sys.argv[2], outdir=sys.argv[3])\n";
    let place = real();
    let record = place.publish(1);
    let folder = tempfile::tempdir().unwrap();
    let target = format!("{}/{}/k/base:1.0.0", place.host, place.prefix);
    let mut python = Command::new(variable("KADAPTER_TEST_PYTHON"));
    run(python.args(["-c", PULL, &place.host, &target]).arg(folder.path()));
    for file in &record.release.files {
        let bytes = std::fs::read(file.path.below(folder.path())).unwrap();
        assert_eq!(Digest::of(&bytes), file.sha256, "{}", file.path);
    }
    assert_eq!(std::fs::read(folder.path().join(".kadapter/release.json")).unwrap(), record.bytes);
}
