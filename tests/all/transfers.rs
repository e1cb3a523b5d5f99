//! `kadapter mirror` and `kadapter gc` as they are typed: what they say, and what is there afterwards.

use kadapter_registry::Digest;
use kadapter_tests::{World, paths};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the command and gives its exit status, stdout and stderr as text, without the temporary folder.
fn ran(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new(paths::kadapter());
    command.args(words).current_dir(folder).env("KADAPTER_HOME", folder.join("home")).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(folder.canonicalize().unwrap().to_str().unwrap(), "DIR");
    let (code, stdout, stderr) = (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr));
    format!("exit {code}\n{stdout}{stderr}").replace(folder.to_str().unwrap(), "DIR")
}

/// A word of a line that differs from build to build.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn a_registry_is_mirrored_and_what_failed_is_told_at_the_end() {
    let world = World::new();
    let folder = world.path("");
    let words = ["mirror", "--from", "registry", "--to", "mirror"];
    let dry = ran(&folder, &[&words[..], &["--dry-run"]].concat());
    insta::assert_snapshot!(last_line(&dry), @"5 releases and 4 notes to copy, 0 releases there already, 0 failed");
    assert!(dry.starts_with("exit 0\nofficial/tiny 1.0.0 is missing (") && !folder.join("mirror").exists(), "{dry}");
    // One blob is not what its release says; progress bars are not for files and pipes.
    let card = Digest::of(&fs::read(world.path("packages/backbone/README.md")).unwrap()).hex();
    let blob = world.registry().join("blobs/sha256").join(&card[..2]).join(&card);
    let content = fs::read(&blob).unwrap();
    fs::write(&blob, "another").unwrap();
    let failed = ran(&folder, &words).replace(&card, "CARD").replace(&format!("/{}/CARD", &card[..2]), "/../CARD");
    let failed = failed.lines().filter(|line| !line.contains(" copied (")).collect::<Vec<_>>().join("\n");
    let expected = format!("expected {} bytes", content.len());
    insta::assert_snapshot!(failed.replace(&expected, "expected CARD bytes"), @r"
    exit 1
    official/tiny 1.0.0 failed
    4 releases and 4 notes copied, 0 releases there already, 1 failed
    error: official/tiny 1.0.0: Could not accept `DIR/registry/blobs/sha256/../CARD`: expected CARD bytes, found 7
      hint: restore the file; one in the cache is replaced by `kadapter fetch`
    ");
    fs::write(&blob, content).unwrap();
    let again = ran(&folder, &words);
    insta::assert_snapshot!(last_line(&again), @"1 releases and 0 notes copied, 4 releases there already, 0 failed");
    insta::assert_snapshot!(ran(&folder, &[&words[..], &["plugins/nothing"]].concat()), @"
    exit 1
    error: Could not find `plugins/nothing` in `DIR/registry`
      hint: see what there is: `kadapter search --registry DIR/registry`
    ");
}

#[test]
fn garbage_is_collected_in_a_registry_and_in_the_cache() {
    let world = World::with_adapters();
    let folder = world.path("");
    let hex = Digest::of(b"garbage").hex();
    let orphan = world.registry().join("blobs/sha256").join(&hex[..2]).join(&hex);
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, b"garbage").unwrap();
    insta::assert_snapshot!(ran(&folder, &["gc", "--registry", "registry"]), @"
    exit 0
    0 files removed (0 bytes), 1 kept that are not old enough
    ");
    let removed = ran(&folder, &["gc", "--registry", "registry", "--older-than", "0s"]);
    insta::assert_snapshot!(last_line(&removed), @"1 files removed (7 bytes), 0 kept that are not old enough");
    assert!(removed.contains(&hex) && !orphan.exists(), "{removed}");
    insta::assert_snapshot!(ran(&folder, &["gc", "--registry", "nowhere"]), @"
    exit 1
    error: Could not find a registry in `DIR/nowhere`: it has no `registry.json`
      hint: publishing makes one: `kadapter publish DIRECTORY --registry DIR/nowhere`
    ");
    assert!(ran(&folder, &["gc"]).contains("--registry"), "one of the two must be named");
    assert!(ran(&folder, &["gc", "--cache", "--older-than", "soon"]).contains("such as `12h`"));

    // What was just fetched is used; all of it goes when that is asked for, and can be fetched again.
    let manifest = world.manifest("p", &["fac"], "[tasks.features]\nkind = \"features\"\nstack = [\"fac\"]\n");
    let manifest = manifest.to_str().unwrap();
    let fetched = ran(&folder, &["fetch", "--manifest", manifest, "--quiet"]);
    assert!(fetched.starts_with("exit 0\n"), "{fetched}");
    assert!(ran(&folder, &["gc", "--cache"]).contains("\n0 files removed (0 bytes), "));
    assert!(ran(&folder, &["gc", "--cache", "--older-than", "0s"]).contains(", 0 kept that are not old enough"));
    assert_eq!(ran(&folder, &["fetch", "--manifest", manifest]), fetched);
}
