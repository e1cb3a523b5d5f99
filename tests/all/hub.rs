//! The command and a Hugging Face Hub: models come from there, releases go there, and both stay when it is gone.

use kadapter_fakehub::{FakeHub, Part};
use kadapter_tests::paths;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The official tiny model as the Hub would have it, with files that no import needs.
fn add_tiny(hub: &FakeHub) -> String {
    let read = |name: &str| fs::read(paths::data("official").join(name)).unwrap();
    let (config, weights) = (read("config.json"), read("backbone.safetensors"));
    let (vocabulary, merges) = (read("tokenizer/vocab.json"), read("tokenizer/merges.txt"));
    hub.add(
        "acme/tiny",
        &[
            ("config.json", &config),
            ("model.safetensors", &weights),
            ("pytorch_model.bin", b"the same again"),
            ("vocab.json", &vocabulary),
            ("merges.txt", &merges),
            ("README.md", b"# tiny"),
        ],
    )
}

/// Runs the command against a Hub; tells whether it succeeded and everything that it said.
fn run(hub: &str, folder: &Path, home: &str, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(paths::kadapter());
    command.args(words).current_dir(folder).stdin(Stdio::null());
    command.env("KADAPTER_HOME", folder.join(home)).env("HF_HOME", folder.join("hf")).env("HF_ENDPOINT", hub);
    for variable in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "RUST_LOG"] {
        command.env_remove(variable);
    }
    let output = command.env("RUST_BACKTRACE", "0").output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), said.replace(hub, "$HUB").replace(folder.to_str().unwrap(), "DIR"))
}

fn import<'a>(source: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = ["import", "backbone", source, "--name", "me/tiny", "--license", "MIT", "--out", out];
    [&words[..], more].concat()
}

#[test]
fn a_model_of_the_hub_is_imported_as_its_folder_is() {
    let hub = FakeHub::new();
    let commit = add_tiny(&hub);
    let folder = tempfile::tempdir().unwrap();
    let go = |words: &[&str]| {
        let (success, said) = run(&hub.endpoint(), folder.path(), "home", words);
        assert!(success, "{said}");
        said
    };
    let said = go(&import("hf:acme/tiny", "from-hub", &[]));
    assert!(said.contains(&format!("of acme/tiny at commit {commit}")), "{said}");
    assert!(hub.seen().iter().all(|seen| !seen.path.contains("pytorch_model") && !seen.path.contains("README")));
    assert!(hub.seen().iter().any(|seen| seen.part == Part::Storage));

    // The package tells where it is from; but for that it is what the folder makes.
    let package: toml::Table =
        fs::read_to_string(folder.path().join("from-hub/kadapter-package.toml")).unwrap().parse().unwrap();
    let attribution = package["package"]["attribution"].as_str().unwrap();
    assert_eq!(
        attribution,
        format!(
            "Made from `acme/tiny` of the Hugging Face Hub at commit `{commit}`: {}/acme/tiny/tree/{commit}",
            hub.endpoint()
        )
    );
    let checkpoint = folder.path().join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    let official = [
        ("config.json", "config.json"),
        ("backbone.safetensors", "model.safetensors"),
        ("tokenizer/vocab.json", "vocab.json"),
        ("tokenizer/merges.txt", "merges.txt"),
    ];
    for (from, to) in official {
        fs::copy(paths::data("official").join(from), checkpoint.join(to)).unwrap();
    }
    go(&import("checkpoint", "from-folder", &["--attribution", attribution]));
    let mut names: Vec<_> =
        fs::read_dir(folder.path().join("from-folder")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["README.md", "config.json", "kadapter-package.toml", "tokenizer.json", "weights.safetensors"]);
    for name in names {
        let read = |package: &str| fs::read(folder.path().join(package).join(&name)).unwrap();
        assert!(read("from-hub") == read("from-folder"), "{}", name.display());
    }

    // The second time only the name is asked for; the commit needs nobody, not even a Hub that is there.
    hub.forget();
    go(&import("hf:acme/tiny", "again", &[]));
    assert_eq!(hub.seen().len(), 1);
    let named = format!("hf:acme/tiny@{commit}");
    drop(hub);
    let (success, said) = run("http://127.0.0.1:9", folder.path(), "home", &import(&named, "without", &[]));
    assert!(success, "{said}");
}

#[test]
fn a_model_that_cannot_be_imported_is_refused_with_what_to_type() {
    let hub = FakeHub::new();
    let folder = tempfile::tempdir().unwrap();
    let failure = |source: &str| {
        let (success, said) = run(&hub.endpoint(), folder.path(), "home", &import(source, "out", &[]));
        assert!(!success, "{said}");
        assert!(!folder.path().join("out").exists());
        said
    };
    hub.add("acme/none", &[("README.md", b"# none")]);
    let commit = hub.commit_of("acme/none", "main").unwrap();
    insta::assert_snapshot!(failure("hf:acme/none").replace(&commit, "$COMMIT"), @r"
    error: `acme/none` has no `config.json` at commit `$COMMIT`, so there is nothing to import
      hint: see what it has at $HUB/acme/none/tree/$COMMIT, or name another model: `kadapter import backbone hf:OWNER/NAME`
    ");
    insta::assert_snapshot!(failure("hf:acme/typo"), @r"
    error: Could not find `main` of `acme/typo` on `$HUB`
      hint: compare the name with the page's address; what is private needs a token from $HUB/settings/tokens: `export HF_TOKEN=hf_…`
    ");
    insta::assert_snapshot!(failure("hf:tiny"), @"error: `tiny` is not a valid name of a repository on the Hub: it must be `OWNER/NAME`");
    hub.require_token("hf_secret");
    hub.gate("acme/none");
    hub.add("acme/none", &[("config.json", b"{}")]);
    insta::assert_snapshot!(failure("hf:acme/none"), @r"
    error: Could not get `config.json` of `acme/none`: `$HUB` refuses it with status 401
      hint: accept its conditions on its page, then make a token at $HUB/settings/tokens and set it: `export HF_TOKEN=hf_…`
    ");
    hub.add("acme/parts", &[("config.json", b"{}"), ("model.safetensors.index.json", b"{}")]);
    let commit = hub.commit_of("acme/parts", "main").unwrap();
    insta::assert_snapshot!(failure("hf:acme/parts").replace(&commit, "$COMMIT"), @r#"
    error: `acme/parts` spreads the weights over several files at commit `$COMMIT`
      hint: save it in one file first, in Python: `AutoModel.from_pretrained("acme/parts", revision="$COMMIT").save_pretrained("one-file", max_shard_size="100GB")`
    "#);
    hub.add("acme/half", &[("config.json", b"{}"), ("vocab.json", b"{}")]);
    let commit = hub.commit_of("acme/half", "main").unwrap();
    insta::assert_snapshot!(failure("hf:acme/half").replace(&commit, "$COMMIT"), @r"
    error: `acme/half` has no `model.safetensors` or `pytorch_model.bin` at commit `$COMMIT`, so there is nothing to import
      hint: see what it has at $HUB/acme/half/tree/$COMMIT, or name another model: `kadapter import backbone hf:OWNER/NAME`
    ");
}

#[test]
fn a_project_lives_from_the_hub_and_then_without_it() {
    let hub = FakeHub::new();
    add_tiny(&hub);
    let folder = tempfile::tempdir().unwrap();
    let endpoint = hub.endpoint();
    let go = |home: &str, words: &[&str]| run(&endpoint, folder.path(), home, words);
    let expect = |words: &[&str]| {
        let (success, said) = go("home", words);
        assert!(success, "{words:?}: {said}");
        said
    };
    expect(&import("hf:acme/tiny", "package", &[]));
    insta::assert_snapshot!(expect(&["publish", "package", "--registry", "hf://acme"]).lines().next().unwrap(), @"me/tiny 1.0.0 published to hf://acme");
    assert!(hub.paths("acme/me_tiny", "v1.0.0").contains(&"README.md".to_owned()));
    let manifest = "[registries]\nme = \"hf://acme\"\n[backbone]\npackage = \"me/tiny\"\nversion = \"^1\"\n\
        [tasks.features]\nkind = \"features\"\nstack = []\n";
    fs::write(folder.path().join("kadapter.toml"), manifest).unwrap();
    expect(&["lock"]);
    expect(&["fetch", "--frozen"]);

    // Another content under the version that is locked: somebody has moved the tag.
    let published = hub.commit_of("acme/me_tiny", "v1.0.0").unwrap();
    hub.set_tag("acme/me_tiny", "v1.0.0", None);
    let (success, said) = go("other", &["fetch", "--frozen"]);
    assert!(!success && said.contains("me/tiny"), "{said}");
    fs::write(folder.path().join("package/LICENSE"), "another content").unwrap();
    expect(&["publish", "package", "--registry", "hf://acme"]);
    assert_ne!(hub.commit_of("acme/me_tiny", "v1.0.0").unwrap(), published);
    let (success, said) = go("other", &["fetch", "--frozen"]);
    assert!(!success, "{said}");
    assert!(said.contains("the lock has"), "{said}");

    // What was locked and fetched needs no Hub.
    hub.forget();
    expect(&["verify", "--frozen"]);
    expect(&["run", "features", "a text"]);
    assert_eq!(hub.seen(), []);
}
