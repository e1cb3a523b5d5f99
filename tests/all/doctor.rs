//! `kadapter doctor` end to end: one line for each thing that was tried, the same as JSON, and an exit code to act on.

use kadapter_tests::paths;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn doctor(folder: &Path, words: &[&str]) -> (Output, String) {
    let mut command = Command::new(paths::kadapter());
    command.arg("doctor").args(words).current_dir(folder).env("KADAPTER_HOME", folder.join("home"));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

/// A project whose manifest names two registries, of which one is there.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("registry")).unwrap();
    fs::write(folder.path().join("registry/registry.json"), "{\"schema\":1}\n").unwrap();
    let manifest = "[registries]\na = \"registry\"\nb = \"registry\"\nc = \"none\"\n\n[backbone]\npackage = \"a/b\"\nversion = \"^1\"\n";
    fs::write(folder.path().join("kadapter.toml"), manifest).unwrap();
    folder
}

#[test]
fn every_registry_of_a_manifest_is_tried_once() {
    let folder = project();
    let (output, text) = doctor(folder.path(), &[]);
    assert!(output.status.success(), "{text}");
    let places: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(places.len(), 2, "{text}");
    assert!(places[0].ends_with("/none") && places[1].ends_with("/registry"), "{text}");
    assert!(text.contains("  ok      conditional-writes   a second write of one file is refused\n"), "{text}");
    assert!(text.contains("  warning read                 it can be read, and has no registry yet\n"), "{text}");
    assert!(text.contains("to do: publishing makes one: `kadapter publish DIRECTORY --registry "), "{text}");
    assert!(!folder.path().join("none").exists());
}

#[test]
fn the_same_is_told_as_json_and_failure_is_an_exit_code() {
    let folder = project();
    fs::write(folder.path().join("registry/registry.json"), "{\"schema\":9}\n").unwrap();
    let (output, text) = doctor(folder.path(), &["--registry", "registry", "--json"]);
    assert!(!output.status.success());
    let told: Value = serde_json::from_str(&text).unwrap();
    let finding = &told[0]["findings"][0];
    assert_eq!((finding["id"].as_str(), finding["status"].as_str()), (Some("read"), Some("failed")));
    assert!(finding["found"].as_str().unwrap().contains("it has schema 9, this program knows schema 1"), "{text}");
    assert!(finding["cure"].as_str().unwrap().contains("newer"), "{text}");
}
