//! Models of others are fetched at one commit, once.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use kadapter_fakehub::{Act, FakeHub, Fault, Part};
use kadapter_registry::Error;
use kadapter_registry::hub::{Hub, HubFile, Model, ModelAddress};

use crate::{assert_token_stayed, client, offline, stranger, told};

const REPO: &str = "acme/tiny";
const CONFIG: &[u8] = b"{\"hidden_size\": 2}";

/// Weights of some length, no two parts alike.
pub(crate) fn weights() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// A Hub with one model; its commit.
pub(crate) fn hub_with_model() -> (FakeHub, String) {
    let fake = FakeHub::new();
    let weights = weights();
    let files: [(&str, &[u8]); 6] = [
        ("config.json", CONFIG),
        ("model.safetensors", &weights),
        ("tokenizer.json", b"{}"),
        ("README.md", b"# tiny"),
        ("onnx/model.bin", b"onnx"),
        ("a name with spaces.txt", b"left out"),
    ];
    let commit = fake.add(REPO, &files);
    (fake, commit)
}

/// Fetches configuration and weights.
pub(crate) fn fetch(hub: &Hub, address: &str, cache: &Path) -> Result<Model, Error> {
    let address: ModelAddress = address.parse()?;
    let choose = |files: &[HubFile]| {
        let wanted = |file: &&HubFile| ["config.json", "model.safetensors"].contains(&file.path.as_str());
        files.iter().filter(wanted).cloned().collect()
    };
    hub.model(&address, cache, &choose, &mut |_| {})
}

#[test]
fn what_is_wanted_is_fetched_once_and_at_one_commit() {
    let (fake, commit) = hub_with_model();
    let cache = tempfile::tempdir().unwrap();
    let model = fetch(&client(&fake), "hf:acme/tiny", cache.path()).unwrap();
    assert_eq!(model.commit.as_str(), commit);
    assert_eq!(model.directory, cache.path().join("acme/tiny").join(&commit));
    assert_eq!(fs::read(model.directory.join("config.json")).unwrap(), CONFIG);
    assert_eq!(fs::read(model.directory.join("model.safetensors")).unwrap(), weights());
    assert_eq!(model.fetched, (CONFIG.len() + weights().len()) as u64);
    assert!(!model.directory.join("README.md").exists());
    assert_token_stayed(&fake);
    assert!(fake.seen().iter().any(|seen| seen.part == Part::Storage), "large files come from the storage");
    let contents = fake.seen().iter().filter(|seen| seen.path.contains("/resolve/")).cloned().collect::<Vec<_>>();
    assert!(contents.iter().all(|seen| seen.path.contains(&commit)), "{contents:?}");

    // The second time only the name is asked for.
    fake.forget();
    assert_eq!(fetch(&client(&fake), "hf:acme/tiny", cache.path()).unwrap().fetched, 0);
    assert_eq!(fake.seen().len(), 1);
    // And what the commit is called needs nobody, with and without a network.
    fake.forget();
    let address = format!("hf:acme/tiny@{commit}");
    for hub in [client(&fake), offline(&fake)] {
        assert_eq!(fetch(&hub, &address, cache.path()).unwrap(), Model { fetched: 0, ..model.clone() });
    }
    assert_eq!(fake.seen(), []);

    // A new commit is another folder.
    fake.add(REPO, &[("config.json", b"{}"), ("model.safetensors", b"other")]);
    let newer = fetch(&client(&fake), "hf:acme/tiny@main", cache.path()).unwrap();
    assert_ne!(newer.commit, model.commit);
    assert_eq!(fs::read(newer.directory.join("model.safetensors")).unwrap(), b"other");
    assert_eq!(fs::read(model.directory.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn progress_counts_every_byte() {
    let (fake, _) = hub_with_model();
    let cache = tempfile::tempdir().unwrap();
    let mut steps: Vec<(String, u64)> = Vec::new();
    let address = "hf:acme/tiny".parse().unwrap();
    let all = |files: &[HubFile]| files.to_vec();
    let model = client(&fake).model(&address, cache.path(), &all, &mut |step| {
        steps.push((step.file.path.to_string(), step.done));
    });
    let model = model.unwrap();
    // The name with spaces is none of ours.
    assert_eq!(model.files.len(), 5);
    for file in &model.files {
        let mut of_file = steps.iter().filter(|(path, _)| *path == file.path.as_str()).map(|(_, done)| *done);
        assert_eq!(of_file.next(), Some(0));
        assert_eq!(of_file.next_back().unwrap_or(0), file.size);
    }
}

#[test]
fn a_broken_transfer_keeps_what_came_whole() {
    let (fake, _) = hub_with_model();
    let cache = tempfile::tempdir().unwrap();
    fake.fault(Fault::at("/content/", Act::Truncate(1000)).only("GET").times(1));
    assert!(fetch(&client(&fake), "hf:acme/tiny", cache.path()).is_err());
    let again = fetch(&client(&fake), "hf:acme/tiny", cache.path()).unwrap();
    assert_eq!(again.fetched, weights().len() as u64);
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let (fake, commit) = hub_with_model();
    let cache = tempfile::tempdir().unwrap();
    for path in ["/revision/", "/tree/", "/resolve/"] {
        fake.fault(Fault::at(path, Act::Page(503, Vec::new(), b"busy".to_vec())).times(1));
    }
    assert_eq!(fetch(&client(&fake), "hf:acme/tiny", cache.path()).unwrap().commit.as_str(), commit);
}

#[test]
fn failures_say_what_to_type() {
    let (fake, commit) = hub_with_model();
    let cache = tempfile::tempdir().unwrap();
    let failure = |hub: &Hub, address: &str| told(&fake, &fetch(hub, address, cache.path()).unwrap_err());
    assert_snapshot!(failure(&client(&fake), "hf:acme/none"), @r"
    Could not find `main` of `acme/none` on `$HUB`
    hint: compare the name with the page's address, and see whose token it is: `hf auth whoami`
    ");
    assert_snapshot!(failure(&stranger(&fake), "hf:acme/none"), @r"
    Could not find `main` of `acme/none` on `$HUB`
    hint: compare the name with the page's address; what is private needs a token from $HUB/settings/tokens: `export HF_TOKEN=hf_…`
    ");
    assert_snapshot!(failure(&client(&fake), "hf:acme/tiny@v9"), @r"
    Could not find `v9` of `acme/tiny` on `$HUB`
    hint: compare the name with the page's address, and see whose token it is: `hf auth whoami`
    ");
    let missing = "0123456789abcdef0123456789abcdef01234567";
    assert_snapshot!(failure(&client(&fake), &format!("hf:acme/tiny@{missing}")), @r"
    Could not find `0123456789abcdef0123456789abcdef01234567` of `acme/tiny` on `$HUB`
    hint: compare the name with the page's address, and see whose token it is: `hf auth whoami`
    ");
    assert_snapshot!(failure(&offline(&fake), "hf:acme/tiny"), @r"
    Could not ask `$HUB` for `main` of `acme/tiny`: `HF_HUB_OFFLINE` is set
    hint: allow the network: `unset HF_HUB_OFFLINE`; what was fetched before is used without it when the commit is named: `hf:OWNER/NAME@COMMIT`
    ");
    assert_snapshot!(failure(&offline(&fake), &format!("hf:acme/tiny@{commit}")).replace(&commit, "$COMMIT"), @r"
    Could not ask `$HUB` for the files of `acme/tiny`: `HF_HUB_OFFLINE` is set
    hint: allow the network: `unset HF_HUB_OFFLINE`; what was fetched before is used without it when the commit is named: `hf:OWNER/NAME@COMMIT`
    ");
    assert_snapshot!(failure(&client(&fake), "acme/tiny"), @"`acme/tiny` is not a valid model on the Hub: it must be `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`");
    fake.require_token("hf_other");
    fake.gate("acme/tiny");
    assert_snapshot!(failure(&stranger(&fake), "hf:acme/tiny"), @r"
    Could not get `config.json` of `acme/tiny`: `$HUB` refuses it with status 401
    hint: accept its conditions on its page, then make a token at $HUB/settings/tokens and set it: `export HF_TOKEN=hf_…`
    ");
    assert_snapshot!(failure(&client(&fake), "hf:acme/tiny"), @r"
    Could not get `config.json` of `acme/tiny`: `$HUB` refuses it with status 401
    hint: accept its conditions on its page, as the user of your token: `hf auth whoami`
    ");
    fake.fault(Fault::at("/revision/", Act::Page(418, Vec::new(), b"{\"error\": \"a\\u001bteapot\"}".to_vec())));
    assert_snapshot!(failure(&client(&fake), "hf:acme/tiny"), @r"Could not get `main` of `acme/tiny`: `$HUB` answers with status 418, `a\u{1b}teapot`");
}

#[test]
fn nobody_there_is_said_so() {
    let cache = tempfile::tempdir().unwrap();
    // A port that no program is given by chance: one that was free a moment ago may be another test's server by now.
    let endpoint = "http://127.0.0.1:1";
    let settings = kadapter_registry::hub::Settings::new(endpoint, None, false).unwrap();
    let error = fetch(&Hub::new(settings), "hf:acme/tiny", cache.path()).unwrap_err();
    assert!(error.to_string().contains(&format!("Could not ask `{endpoint}`")), "{error}");
    assert_eq!(error.hint().unwrap(), format!("see whether it answers: `curl -I {endpoint}`"));
}
