//! The real `minisign` command and ours, both ways: each reads what the other has made.

use crate::command::{command, run};
use crate::golden::example;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs the real command in a folder. It reads passwords from stdin where that is no terminal.
fn minisign(folder: &Path, words: &[&str], passwords: &str) -> Output {
    let mut command = Command::new("minisign");
    command.args(words).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Without a password it does not read.
    let _ = child.stdin.take().unwrap().write_all(passwords.as_bytes());
    child.wait_with_output().unwrap()
}

/// Tells whether the real command is here. Where the services of the tests were started it must be.
fn is_there() -> bool {
    if Command::new("minisign").arg("-v").output().is_ok() {
        return true;
    }
    assert!(
        std::env::var_os("KADAPTER_TEST_PYTHON").is_none(),
        "`tests/services/run.sh` should have installed minisign"
    );
    // Not through the test harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: minisign is not installed; run `cargo xtask test --services`\n");
    false
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn succeed(folder: &Path, words: &[&str]) {
    let ran = run(folder, words);
    assert!(ran.success, "{words:?}: {}", ran.stderr);
}

/// The one signature of a plugin of the example.
fn signature(folder: &Path, plugin: &str) -> PathBuf {
    let mut entries = fs::read_dir(folder.join(format!("plugins/sigs/kadapter-plugins/{plugin}/1.1.0"))).unwrap();
    let path = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    path
}

/// A project whose plugins are not signed yet.
fn unsigned() -> tempfile::TempDir {
    let (folder, _) = example("relation");
    fs::remove_dir_all(folder.path().join("plugins/sigs")).unwrap();
    fs::remove_dir_all(folder.path().join("home")).unwrap();
    folder
}

const RECORD: &str = "plugins/index/kadapter-plugins/factual/1.1.0.json";

#[test]
fn minisign_verifies_what_we_sign() {
    if !is_there() {
        return;
    }
    let folder = unsigned();
    let dir = folder.path();
    succeed(dir, &["key", "new", "ada", "--no-password"]);
    succeed(dir, &["publish", "factual", "--registry", "plugins", "--key", "ada"]);
    let signature = signature(dir, "factual").display().to_string();
    let public = fs::read_to_string(dir.join("home/keys/ada.pub")).unwrap();
    let line = public.lines().nth(1).unwrap();
    for key in [["-P", line], ["-p", "home/keys/ada.pub"]] {
        let verified = minisign(dir, &["-Vm", RECORD, "-x", &signature, key[0], key[1]], "");
        assert!(verified.status.success(), "{}", text(&verified));
        assert!(text(&verified).contains("release:kadapter-plugins/factual@1.1.0"), "{}", text(&verified));
    }
    fs::copy(dir.join(RECORD), dir.join("release.json")).unwrap();
    let mut bytes = fs::read(dir.join("release.json")).unwrap();
    bytes[9] ^= 1;
    fs::write(dir.join("release.json"), bytes).unwrap();
    assert!(!minisign(dir, &["-Vm", "release.json", "-x", &signature, "-P", line], "").status.success());
}

#[test]
fn minisign_signs_with_our_keys() {
    if !is_there() {
        return;
    }
    let folder = unsigned();
    let dir = folder.path();
    succeed(dir, &["key", "new", "open", "--no-password"]);
    let ran = command(dir, &["key", "new", "closed"]).env("KADAPTER_KEY_PASSWORD", "correct horse").output().unwrap();
    assert!(ran.status.success(), "{}", text(&ran));
    fs::write(dir.join("file"), "text").unwrap();
    for name in ["open", "closed"] {
        let (secret, public) = (format!("home/keys/{name}.key"), format!("home/keys/{name}.pub"));
        let signed = minisign(dir, &["-Sm", "file", "-s", &secret, "-x", "file.sig"], "correct horse\n");
        assert!(signed.status.success(), "{name}: {}", text(&signed));
        let verified = minisign(dir, &["-Vm", "file", "-p", &public, "-x", "file.sig"], "");
        assert!(verified.status.success(), "{name}: {}", text(&verified));
        fs::remove_file(dir.join("file.sig")).unwrap();
    }
}

#[test]
fn we_sign_with_the_keys_of_minisign_and_take_its_signatures() {
    if !is_there() {
        return;
    }
    let folder = unsigned();
    let dir = folder.path();
    // A key without a password signs by our command, and one with a password, too.
    let made = minisign(dir, &["-GW", "-p", "open.pub", "-s", "open.key"], "");
    assert!(made.status.success(), "{}", text(&made));
    let made = minisign(dir, &["-G", "-p", "closed.pub", "-s", "closed.key"], "correct horse\ncorrect horse\n");
    assert!(made.status.success(), "{}", text(&made));
    let sign = ["sign", "kadapter-plugins/factual@1.1.0", "--registry", "plugins"];
    let with = |more: &[&str], password: &str| {
        let words = [&sign[..], more].concat();
        command(dir, &words).env("KADAPTER_KEY_PASSWORD", password).stdin(Stdio::null()).output().unwrap()
    };
    for (key, public) in [("open.key", "open.pub"), ("closed.key", "closed.pub")] {
        let signed = with(&["--key", key], "correct horse");
        assert!(signed.status.success(), "{key}: {}", text(&signed));
        let signature = signature(dir, "factual").display().to_string();
        let verified = minisign(dir, &["-Vm", RECORD, "-x", &signature, "-p", public], "");
        assert!(verified.status.success(), "{key}: {}", text(&verified));
        fs::remove_dir_all(dir.join("plugins/sigs")).unwrap();
    }
    assert!(!with(&["--key", "closed.key"], "battery staple").status.success());

    // The record goes to where the key is, and the signature comes back, with a first line of its own.
    for plugin in ["factual", "linguistic"] {
        let release = format!("kadapter-plugins/{plugin}@1.1.0");
        succeed(dir, &["sign", &release, "--registry", "plugins", "--record-to", "release.json"]);
        let signed = minisign(dir, &["-Sm", "release.json", "-s", "open.key", "-c", "mine", "-t", "by hand"], "");
        assert!(signed.status.success(), "{}", text(&signed));
        let take = ["sign", &release, "--registry", "plugins", "--signature", "release.json.minisig"];
        let unknown = run(dir, &take);
        assert!(!unknown.success && unknown.stderr.contains("--key minisign.pub"), "{}", unknown.stderr);
        succeed(dir, &[&take[..], &["--key", "open.pub"]].concat());
        let other = run(dir, &[&take[..], &["--key", "closed.pub"]].concat());
        assert!(!other.success, "{}", other.stdout);
        // Of another release it is refused.
        let other = ["sign", "kadapter-plugins/bottleneck@1.1.0", "--registry", "plugins"];
        let other = run(dir, &[&other[..], &["--signature", "release.json.minisig", "--key", "open.pub"]].concat());
        assert!(!other.success && other.stderr.contains("does not verify"), "{}", other.stderr);
    }
    // The old kind of signature, of the bytes instead of their hash.
    let signed = minisign(dir, &["-Slm", "release.json", "-s", "open.key"], "");
    assert!(signed.status.success(), "{}", text(&signed));
    let old = with(&["--signature", "release.json.minisig", "--key", "open.pub"], "");
    assert!(!old.status.success() && text(&old).contains("old kind"), "{}", text(&old));

    succeed(dir, &["key", "trust", "open.pub", "--namespace", "kadapter-plugins"]);
    succeed(dir, &["lock"]);
    let lock = fs::read_to_string(dir.join("kadapter.lock")).unwrap();
    assert_eq!(lock.matches("signer = ").count(), 2, "{lock}");
}
