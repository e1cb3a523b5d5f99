//! `docs/publishing.md`, run command by command: from a key to a signed release in every kind of registry.
//!
//! The Hub is a fake on loopback. The sections about a bucket and an OCI registry need real servers, which
//! `tests/services/run.sh` starts: they run in `cargo xtask test --services`.

use kadapter_fakehub::FakeHub;
use kadapter_tests::document::{Shell, Step, steps};
use kadapter_tests::paths;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const DOCUMENT: &str = "docs/publishing.md";
const HUB: &str = "The Hugging Face Hub";
const BUCKET: &str = "A bucket";
const OCI: &str = "An OCI registry";
/// The token that the fake asks for.
const TOKEN: &str = "hf_publishing";

/// A variable of the script that starts the servers.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("`{name}` is not set: run `cargo xtask test --services`"))
}

/// What a section's reader sets, by name and value, to the test's servers; none where those were not started.
fn settings(section: &str, hub: &FakeHub) -> Option<Vec<(&'static str, String)>> {
    let served = std::env::var_os("KADAPTER_TEST_PYTHON").is_some();
    // The servers outlive a run, and a registry that has the releases of another is not what the document shows.
    let fresh = || format!("publishing-{}", std::process::id());
    match section {
        HUB => {
            Some(vec![("HF_TOKEN", TOKEN.to_owned()), ("OWNER", "acme".to_owned()), ("HF_ENDPOINT", hub.endpoint())])
        }
        BUCKET | OCI if !served => None,
        BUCKET => Some(vec![
            ("AWS_ENDPOINT_URL", variable("KADAPTER_TEST_SEAWEEDFS")),
            ("AWS_ACCESS_KEY_ID", variable("AWS_ACCESS_KEY_ID")),
            ("AWS_SECRET_ACCESS_KEY", variable("AWS_SECRET_ACCESS_KEY")),
            ("BUCKET", format!("{}/{}", variable("KADAPTER_TEST_BUCKET"), fresh())),
        ]),
        OCI => Some(vec![("OCI", format!("{}/{}", variable("KADAPTER_TEST_OCI"), fresh()))]),
        _ => Some(Vec::new()),
    }
}

/// A shell in the folder that the document speaks of, with the built command first in its path.
fn publisher(folder: &Path) -> Shell {
    let path = std::env::var("PATH").unwrap();
    let mut shell = Shell::new(folder)
        .with("PATH", format!("{}:{path}", paths::kadapter().parent().unwrap().display()))
        .with("KADAPTER_HOME", folder.join("home").to_str().unwrap())
        .with("CARGO_TARGET_DIR", paths::built().parent().unwrap().to_str().unwrap())
        .with("DOCKER_CONFIG", folder.to_str().unwrap())
        .with("HF_HOME", folder.join("hf").to_str().unwrap())
        .with("RUST_BACKTRACE", "0");
    for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT", "HF_HUB_OFFLINE", "RUST_LOG", "CARGO_MANIFEST_DIR"] {
        shell = shell.without(name);
    }
    for name in ["KADAPTER_OCI_HOST", "KADAPTER_OCI_USERNAME", "KADAPTER_OCI_PASSWORD", "KADAPTER_KEY_PASSWORD"] {
        shell = shell.without(name);
    }
    shell
}

#[cfg(unix)]
#[test]
fn the_document_leads_from_a_key_to_signed_releases_in_every_registry() {
    use std::io::Write;
    use std::os::unix::fs::symlink;
    let folder = TempDir::new().unwrap();
    symlink(paths::workspace(""), folder.path().join("kadapter")).unwrap();
    let hub = FakeHub::new();
    hub.require_token(TOKEN);
    let text = fs::read_to_string(paths::workspace(DOCUMENT)).unwrap();
    let mut shell = publisher(folder.path());
    let (steps, mut left_out, mut section) = (steps(&text), BTreeSet::new(), None);
    assert!(steps.len() >= 60, "only {} commands were found in {DOCUMENT}", steps.len());
    for step in steps {
        let Some(settings) = settings(&step.section, &hub) else {
            left_out.insert(step.section);
            continue;
        };
        if section.as_ref() != Some(&step.section) {
            shell = settings.into_iter().fold(shell, |shell, (name, value)| shell.with(name, value));
            section = Some(step.section.clone());
        }
        shell.run(DOCUMENT, &step);
    }
    if !left_out.is_empty() {
        assert_eq!(left_out, BTreeSet::from([BUCKET.to_owned(), OCI.to_owned()]));
        // Not through the test harness, which would keep it to itself.
        let note = format!("\nLEFT OUT of {DOCUMENT}: {left_out:?}; run `cargo xtask test --services`\n");
        let _ = writeln!(std::io::stderr(), "{note}");
    }
}

/// Whoever follows the document sets what the test sets, and every part of it is where the test looks for it.
#[test]
fn the_document_says_what_to_set_for_each_kind_of_registry() {
    let text = fs::read_to_string(paths::workspace(DOCUMENT)).unwrap();
    let section = |name: &str| {
        let (_, rest) = text.split_once(&format!("\n## {name}\n")).unwrap_or_else(|| panic!("no section `{name}`"));
        rest.split("\n## ").next().unwrap()
    };
    let expected = [
        (HUB, &["HF_TOKEN", "OWNER"][..]),
        (BUCKET, &["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "BUCKET"]),
        (OCI, &["KADAPTER_OCI_HOST", "KADAPTER_OCI_USERNAME", "KADAPTER_OCI_PASSWORD", "OCI"]),
    ];
    for (name, variables) in expected {
        let exports = section(name).lines().filter_map(|line| line.strip_prefix("export "));
        let set: Vec<&str> =
            exports.flat_map(|line| line.split(' ')).filter_map(|pair| pair.split('=').next()).collect();
        assert_eq!(set, variables, "{name}");
        let commands: Vec<Step> = steps(&text).into_iter().filter(|step| step.section == name).collect();
        for verb in ["doctor", "publish", "mirror", "yank", "versions", "run"] {
            let there = commands.iter().any(|step| step.command.starts_with(&format!("kadapter {verb} ")));
            assert!(there, "`{name}` has no `kadapter {verb}`");
        }
    }
}
