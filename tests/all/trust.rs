//! Keys, signatures and trust by the `kadapter` command: from a new key to a plugin that runs, and back.

use crate::command::{Ran, TEXT, command, run, said};
use crate::golden::example;
use std::fs;
use std::path::Path;

/// An example whose user has no keys and trusts nobody, and whose plugins nobody has signed.
fn strangers() -> (tempfile::TempDir, std::path::PathBuf) {
    let (folder, manifest) = example("relation");
    fs::remove_dir_all(folder.path().join("home")).unwrap();
    fs::remove_dir_all(folder.path().join("plugins/sigs")).unwrap();
    (folder, manifest)
}

/// The id of a key that signs here.
fn id(folder: &Path, name: &str) -> String {
    let public = fs::read_to_string(folder.join(format!("home/keys/{name}.pub"))).unwrap();
    public.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned()
}

fn succeed(folder: &Path, words: &[&str]) -> String {
    let ran = run(folder, words);
    assert!(ran.success, "{words:?}: {}", ran.stderr);
    ran.stdout
}

/// What is said about a refusal, with the ids of keys taken out.
fn refused(folder: &Path, words: &[&str]) -> String {
    let mut text = said(folder, &run(folder, words));
    for name in ["ada", "grace"] {
        if folder.join(format!("home/keys/{name}.pub")).exists() {
            text = text.replace(&id(folder, name), &name.to_uppercase());
        }
    }
    text
}

const RUN: [&str; 3] = ["run", "relation", TEXT];

#[test]
fn from_a_new_key_to_a_plugin_that_runs_and_back() {
    let (folder, _) = strangers();
    let dir = folder.path();
    insta::assert_snapshot!(refused(dir, &RUN), @r"
    error: Could not let in `kadapter-plugins/factual 1.1.0`: nobody has signed it, expected a signature by a key for `kadapter-plugins`, of which `DIR/home/trust.toml` has none
      hint: have its publisher sign it: `kadapter sign kadapter-plugins/factual@1.1.0 --registry REGISTRY --key NAME`
    ");
    succeed(dir, &["key", "new", "ada", "--no-password"]);
    insta::assert_snapshot!(refused(dir, &["key", "new", "ada", "--no-password"]), @r"
    error: Could not make the key `ada`: `DIR/home/keys/ada.key` is there already
      hint: a key is never replaced; choose another name: `kadapter key new OTHER`
    ");
    let made = fs::read(dir.join("home/keys/ada.key")).unwrap();
    let signed = |name: &str| ["sign", name, "--registry", "plugins", "--key", "ada"].map(str::to_owned);
    for (name, state) in [("factual", "is signed"), ("factual", "was signed already"), ("linguistic", "is signed")] {
        let words = signed(&format!("kadapter-plugins/{name}@1.1.0"));
        let stdout = succeed(dir, &words.each_ref().map(String::as_str));
        assert_eq!(stdout, format!("kadapter-plugins/{name} 1.1.0 {state} by {}\n", id(dir, "ada")));
    }
    insta::assert_snapshot!(refused(dir, &RUN), @r"
    error: Could not let in `kadapter-plugins/factual 1.1.0`: it is signed by `ADA`, expected a signature by a key for `kadapter-plugins`, of which `DIR/home/trust.toml` has none
      hint: get the public key from its publisher, not from the registry, and trust it: `kadapter key trust PUBLIC_KEY --namespace kadapter-plugins`
    ");
    assert!(!dir.join("kadapter.lock").exists(), "a refused plugin must not be locked");

    let public = dir.join("home/keys/ada.pub");
    let words = ["key", "trust", public.to_str().unwrap(), "--namespace", "kadapter-plugins", "--name", "Ada's laptop"];
    assert!(succeed(dir, &words).contains("is trusted now for `kadapter-plugins`"));
    assert!(succeed(dir, &words).contains("was trusted already"));
    assert!(succeed(dir, &RUN).starts_with("Component-Whole(e1,e2)"));
    let lock = fs::read_to_string(dir.join("kadapter.lock")).unwrap();
    assert_eq!(lock.matches(&format!("signer = \"{}\"", id(dir, "ada"))).count(), 2);
    assert_eq!(succeed(dir, &["tree"]).matches(&format!("signed by {}", id(dir, "ada"))).count(), 2);
    let info = succeed(dir, &["info", "kadapter-plugins/factual"]);
    assert!(info.contains(&format!("{} (Ada's laptop), trusted", id(dir, "ada"))), "{info}");
    assert!(succeed(dir, &["info", "kadapter-plugins/bottleneck"]).contains("nobody"));
    let list = succeed(dir, &["key", "list"]);
    assert!(list.contains("Ada's laptop") && list.contains("ada.key"), "{list}");

    // A fetched project needs no registry to verify its signatures.
    succeed(dir, &["fetch"]);
    fs::rename(dir.join("plugins"), dir.join("moved")).unwrap();
    succeed(dir, &["run", "--frozen", "relation", TEXT]);
    succeed(dir, &["key", "distrust", &id(dir, "ada")]);
    insta::assert_snapshot!(refused(dir, &["run", "--frozen", "relation", TEXT]), @r"
    error: Could not let in `kadapter-plugins/factual 1.1.0`: the lock has the signer `ADA`, expected a key for `kadapter-plugins`, of which `DIR/home/trust.toml` has none
      hint: trust its key again, or for the first time: `kadapter key trust PUBLIC_KEY --namespace kadapter-plugins`
    ");
    insta::assert_snapshot!(refused(dir, &["key", "distrust", "ada"]), @r"
    error: Could not find the key `ADA` in `DIR/home/trust.toml`, which has nothing
      hint: see which keys there are: `kadapter key list`
    ");
    assert_eq!(fs::read(dir.join("home/keys/ada.key")).unwrap(), made);
}

#[test]
fn another_signer_is_let_in_when_that_is_accepted() {
    let (folder, _) = strangers();
    let dir = folder.path();
    for name in ["ada", "grace"] {
        succeed(dir, &["key", "new", name, "--no-password"]);
        succeed(dir, &["key", "trust", name, "--namespace", "kadapter-plugins"]);
    }
    // Publishing again signs what was published without a signature.
    for plugin in ["factual", "linguistic"] {
        let stdout = succeed(dir, &["publish", plugin, "--registry", "plugins", "--key", "ada"]);
        assert!(stdout.contains("was published already") && stdout.contains("is signed by"), "{stdout}");
    }
    succeed(dir, &["lock"]);
    fs::remove_dir_all(dir.join("plugins/sigs")).unwrap();
    for plugin in ["factual", "linguistic"] {
        succeed(dir, &["publish", plugin, "--registry", "plugins", "--key", "grace"]);
    }
    insta::assert_snapshot!(refused(dir, &RUN), @r"
    error: Could not let in `kadapter-plugins/factual 1.1.0`: it is signed by `GRACE`, the lock has the signer `ADA`
      hint: when its publisher says that this is right, accept it: `kadapter lock --accept-signer kadapter-plugins/factual`
    ");
    let both = ["--accept-signer", "kadapter-plugins/factual", "--accept-signer", "kadapter-plugins/linguistic"];
    succeed(dir, &[&["lock"][..], &both].concat());
    succeed(dir, &["run", "--frozen", "relation", TEXT]);
}

#[test]
fn a_key_with_a_password_signs_with_it_alone() {
    let (folder, _) = strangers();
    let dir = folder.path();
    let with = |password: &str, words: &[&str]| -> Ran {
        command(dir, words).env("KADAPTER_KEY_PASSWORD", password).output().unwrap().into()
    };
    let ran = with("", &["key", "new", "ada"]);
    insta::assert_snapshot!(said(dir, &ran), @r"
    error: Could not make a key: the password is empty
      hint: that is said by a flag: `kadapter key new NAME --no-password`
    ");
    assert!(with("correct horse", &["key", "new", "ada"]).success);
    let sign = ["publish", "factual", "--registry", "fresh", "--key", "ada"];
    let ran = with("battery staple", &sign);
    insta::assert_snapshot!(said(dir, &ran), @r"
    error: Could not open the secret key `DIR/home/keys/ada.key`: the password is another
      hint: try again, without `KADAPTER_KEY_PASSWORD` to be asked: `unset KADAPTER_KEY_PASSWORD`
    ");
    assert!(!dir.join("fresh").exists(), "a key that does not open must leave nothing published");
    let ran = with("correct horse", &sign);
    assert!(ran.success, "{}", ran.stderr);
    insta::assert_snapshot!(refused(dir, &["sign", "kadapter-plugins/factual@1.1.0", "--registry", "fresh", "--key", "eve"]), @r"
    error: Could not find the key `eve` in `DIR/home/keys`, which has `ada`
      hint: make it: `kadapter key new eve`
    ");
    insta::assert_snapshot!(refused(dir, &["sign", "kadapter-plugins/factual", "--registry", "fresh", "--key", "ada"]), @r"
    error: `kadapter-plugins/factual` names no version, expected `NAMESPACE/NAME@VERSION`
      hint: see which there are: `kadapter info kadapter-plugins/factual --registry fresh`
    ");
}

#[test]
fn no_command_opens_a_plugin_that_is_not_let_in() {
    let (folder, _) = strangers();
    let seed = kadapter_tests::paths::workspace("registry/seed");
    let plugin = ["init", "--name", "x/y", "--plugin", "kadapter-plugins/bottleneck", "--plugin-registry", "plugins"];
    let backbone = ["--backbone", "kadapter/minilm-roberta", "--backbone-registry", seed.to_str().unwrap()];
    let rest = ["--taps", "0", "--config", "size=4", "--out", "adapter"];
    insta::assert_snapshot!(refused(folder.path(), &[&plugin[..], &backbone, &rest].concat()), @r"
    error: Could not let in `kadapter-plugins/bottleneck 1.1.0`: nobody has signed it, expected a signature by a key for `kadapter-plugins`, of which `DIR/home/trust.toml` has none
      hint: have its publisher sign it: `kadapter sign kadapter-plugins/bottleneck@1.1.0 --registry REGISTRY --key NAME`
    ");
    assert!(!folder.path().join("adapter").exists());
    // What an operator has written wrong lets nobody in.
    fs::create_dir_all(folder.path().join("home")).unwrap();
    fs::write(folder.path().join("home/trust.toml"), "native = \"all\"\n").unwrap();
    insta::assert_snapshot!(refused(folder.path(), &RUN), @"error: Could not read `DIR/home/trust.toml` at line 1: unknown value `all`, expected one of deny, signed, any");
    fs::write(folder.path().join("home/trust.toml"), "native = \"deny\"\n").unwrap();
    insta::assert_snapshot!(refused(folder.path(), &RUN), @r#"
    error: Could not let in the plugin `kadapter-plugins/factual 1.1.0`: `DIR/home/trust.toml` says `native = "deny"`
      hint: let in those that are signed with the line `native = "signed"`: `$EDITOR DIR/home/trust.toml`
    "#);
    fs::write(folder.path().join("home/trust.toml"), "native = \"any\"\n").unwrap();
    assert!(run(folder.path(), &RUN).success);
}
