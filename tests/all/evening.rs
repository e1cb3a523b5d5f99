//! The evening of an author: `docs/writing-a-plugin.md` is run command by command, from nothing to an adapter that another
//! project stacks; and what `kadapter plugin new` refuses.

use crate::command::{run, said};
use kadapter_tests::document::{Shell, steps};
use kadapter_tests::paths;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const DOCUMENT: &str = "docs/writing-a-plugin.md";
/// Whether `kadapter plugin check` is there; its step of the document is left out where it is not.
const HAS_PLUGIN_CHECK: bool = true;

/// A shell in the folder that the document speaks of, with the built command first in its path and no network.
#[cfg(unix)]
fn author(folder: &Path) -> Shell {
    let path = std::env::var("PATH").unwrap();
    Shell::new(folder)
        .with("PATH", format!("{}:{path}", paths::kadapter().parent().unwrap().display()))
        .with("KADAPTER_HOME", folder.join("home").to_str().unwrap())
        .with("CARGO_NET_OFFLINE", "true")
        .with("CARGO_TERM_COLOR", "never")
        .with("RUST_BACKTRACE", "0")
        // The author has none of what cargo told this test.
        .without("CARGO_TARGET_DIR")
        .without("CARGO_MANIFEST_DIR")
}

#[cfg(unix)]
#[test]
fn the_document_leads_from_nothing_to_an_adapter_that_a_stranger_stacks() {
    use std::os::unix::fs::symlink;
    let folder = TempDir::new().unwrap();
    symlink(paths::workspace(""), folder.path().join("kadapter")).unwrap();
    // Dependencies are built once for all evenings, in this workspace's target folder.
    let target = paths::built().parent().unwrap().join("evening");
    fs::create_dir_all(&target).unwrap();

    let mut shell = author(folder.path());
    let made = folder.path().join("chemistry");
    let mut ran = 0;
    for step in steps(&fs::read_to_string(paths::workspace(DOCUMENT)).unwrap()) {
        if step.command.starts_with("kadapter plugin check") && !HAS_PLUGIN_CHECK {
            continue;
        }
        shell.run(DOCUMENT, &step);
        if made.exists() && !made.join("target").exists() {
            symlink(&target, made.join("target")).unwrap();
        }
        ran += 1;
    }
    assert!(ran >= 13, "only {ran} commands were found in {DOCUMENT}");

    // What the crate's own CI asks for, beside the tests and the build that the document has run.
    for command in ["cargo fmt --check", "cargo clippy --all-targets --no-deps --quiet -- -D warnings"] {
        let step = steps(&format!("```sh\ncd {}\n{command}\n```\n", made.display())).remove(0);
        author(folder.path()).run("ci.yml", &step);
    }
    // The next evening is in another folder, so these artifacts would never be used again.
    for profile in ["dev", "release"] {
        let mut clean = Command::new("cargo");
        clean.args(["clean", "--quiet", "--offline", "--package", "chemistry", "--package", "kadapter-plugin-api"]);
        clean.args(["--profile", profile, "--target-dir"]).arg(&target).current_dir(&made);
        assert!(clean.status().unwrap().success());
    }
}

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_new_crate_has_the_sdk_that_the_command_was_built_with() {
    let folder = TempDir::new().unwrap();
    let ran = run(folder.path(), &["plugin", "new", "chemistry", "--out", "deep/er/made"]);
    assert!(ran.success, "{}", ran.stderr);
    let found = files(&folder.path().join("deep/er/made/kadapter-plugin-api"));
    let mut expected = files(&paths::workspace("plugin-api"));
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        expected.insert(name.into(), fs::read(paths::workspace(name)).unwrap());
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected, "a file of the SDK has another text");
    let made: Vec<_> =
        files(&folder.path().join("deep")).into_keys().filter(|name| !name.contains("plugin-api")).collect();
    let expected = [
        "er/made/.github/workflows/ci.yml",
        "er/made/.gitignore",
        "er/made/Cargo.toml",
        "er/made/LICENSE-APACHE",
        "er/made/LICENSE-MIT",
        "er/made/README.md",
        "er/made/src/lib.rs",
        "er/made/src/objective.rs",
        "er/made/src/tests.rs",
    ];
    assert_eq!(made, expected);
}

/// The SDK's manifest stands alone, so it repeats what the workspace says.
#[test]
fn the_manifest_of_the_sdk_says_what_the_workspace_says() {
    let read = |name: &str| -> toml::Table { fs::read_to_string(paths::workspace(name)).unwrap().parse().unwrap() };
    let (root, sdk) = (read("Cargo.toml"), read("plugin-api/Cargo.toml"));
    for key in ["edition", "rust-version", "license", "publish"] {
        assert_eq!(sdk["package"][key], root["workspace"]["package"][key], "{key}");
    }
    assert_eq!(sdk["dependencies"]["abi_stable"], root["workspace"]["dependencies"]["abi_stable"]);
    assert_eq!(sdk["lints"], root["workspace"]["lints"]);
}

#[test]
fn another_sdk_may_be_named() {
    let folder = TempDir::new().unwrap();
    let sdk = paths::workspace("plugin-api");
    let made = |name: &str, sdk: &str| {
        let ran = run(folder.path(), &["plugin", "new", name, "--sdk", sdk]);
        assert!(ran.success, "{}", ran.stderr);
        assert!(!folder.path().join(name).join("kadapter-plugin-api").exists());
        let manifest: toml::Table =
            fs::read_to_string(folder.path().join(name).join("Cargo.toml")).unwrap().parse().unwrap();
        manifest["dependencies"]["kadapter-plugin-api"].clone()
    };
    assert_eq!(made("one", sdk.to_str().unwrap())["path"].as_str(), sdk.canonicalize().unwrap().to_str());
    assert_eq!(
        made("two", "https://example.org/kadapter.git")["git"].as_str(),
        Some("https://example.org/kadapter.git")
    );
}

#[test]
fn what_cannot_become_a_crate_is_refused_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("taken")).unwrap();
    fs::create_dir(folder.join("empty")).unwrap();
    fs::write(folder.join("a-file"), "mine").unwrap();
    let before = files(folder);
    let refuse = |words: &[&str]| said(folder, &run(folder, &[&["plugin", "new"], words].concat()));

    insta::assert_snapshot!(refuse(&["Chemistry"]), @r"
    error: Could not accept plugin name `Chemistry`: it must start with a letter from a to z
      hint: kadapter plugin new chemistry
    ");
    insta::assert_snapshot!(refuse(&["../chemistry"]), @r"
    error: Could not accept plugin name `../chemistry`: it must start with a letter from a to z
      hint: kadapter plugin new chemistry
    ");
    insta::assert_snapshot!(refuse(&["chémie"]), @r"
    error: Could not accept plugin name `chémie`: only a-z, 0-9, `-` and `_` may stand in it
      hint: kadapter plugin new ch-mie
    ");
    insta::assert_snapshot!(refuse(&["fn"]), @r"
    error: Could not accept plugin name `fn`: Rust has it for itself
      hint: kadapter plugin new fn-adapter
    ");
    insta::assert_snapshot!(refuse(&["kadapter-plugin-api"]), @r"
    error: Could not accept plugin name `kadapter-plugin-api`: the SDK is called so
      hint: kadapter plugin new kadapter-plugin-api-adapter
    ");
    insta::assert_snapshot!(refuse(&["con"]), @r"
    error: Could not accept plugin name `con`: Windows reserves it for a device
      hint: kadapter plugin new con-adapter
    ");
    insta::assert_snapshot!(refuse(&["taken"]), @r"
    error: `taken` exists already
      hint: choose another place, or `rm -r taken` first
    ");
    insta::assert_snapshot!(refuse(&["chemistry", "--out", "a-file"]), @r"
    error: `a-file` exists already
      hint: choose another place, or `rm -r a-file` first
    ");
    insta::assert_snapshot!(refuse(&["chemistry", "--out", "a-file/inner"]), @r"
    error: Could not look at `a-file/inner`: Not a directory (os error 20)
      hint: choose a place that you may write to: `--out DIR`
    ");
    insta::assert_snapshot!(refuse(&["chemistry", "--sdk", "nowhere"]), @r"
    error: Could not read `nowhere/Cargo.toml`: No such file or directory (os error 2)
      hint: name the folder of the SDK in a clone, `--sdk path/to/kadapter/plugin-api`, or leave `--sdk` out
    ");
    insta::assert_snapshot!(refuse(&["chemistry", "--sdk", paths::workspace("registry").to_str().unwrap()]), @r"
    error: `WORKSPACE/registry/Cargo.toml` is of crate `kadapter-registry`, expected the SDK `kadapter-plugin-api`
      hint: name the folder of the SDK in a clone, `--sdk path/to/kadapter/plugin-api`, or leave `--sdk` out
    ");
    insta::assert_snapshot!(refuse(&["chemistry", "--sdk", "ftp://example.org/sdk"]), @r"
    error: `--sdk ftp://example.org/sdk` is no address that cargo fetches from, expected one of https://, ssh:// and file://
      hint: name a folder instead: `--sdk path/to/kadapter/plugin-api`
    ");
    insta::assert_snapshot!(refuse(&["chemistry", "--namespace", "Acme"]), @r"
    error: invalid value 'Acme' for '--namespace <NAMESPACE>': `Acme` is not a valid namespace: it has capital letters; names are lower-case

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refuse(&["chemistry", "--license", "see README"]), @r"
    error: invalid value 'see README' for '--license <LICENSE>': `see README` is not a valid licence: it must be an SPDX expression, such as `MIT OR Apache-2.0`, or `LicenseRef-…`

    For more information, try '--help'.
    ");

    assert!(files(folder) == before, "something was written");
    let names = fs::read_dir(folder).unwrap().count();
    assert_eq!(names, 3, "something is left");
}

#[test]
fn a_licence_without_its_text_is_said_to_have_none() {
    let folder = TempDir::new().unwrap();
    let ran = run(folder.path(), &["plugin", "new", "chemistry", "--license", "LicenseRef-house"]);
    assert!(ran.success, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stderr, @r"
    warning: `chemistry/LICENSE` names the licence and is not its text
      hint: put the text there before you publish: `$EDITOR chemistry/LICENSE`
    ");
    assert!(fs::read_to_string(folder.path().join("chemistry/LICENSE")).unwrap().contains("LicenseRef-house"));
}
