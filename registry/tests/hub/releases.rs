//! Releases on the Hub.

use std::fs;

use insta::assert_snapshot;
use kadapter_fakehub::{Act, FakeHub, Fault, Part};
use kadapter_registry::note::Note;
use kadapter_registry::package::Content;
use kadapter_registry::publish::{Published, publish};
use kadapter_registry::release::Role;
use kadapter_registry::store::hub::HubStore;
use kadapter_registry::store::{Put, Scope, Store};
use kadapter_registry::{Error, PackageId, Registry};

use crate::packages::{backbone_content, package, parse, write_package};
use crate::stores::conformance::conforms;
use crate::stores::hostile::withstands;
use crate::{assert_token_stayed, client, stranger, told};

const REPO: &str = "acme/k_base";

fn store(fake: &FakeHub) -> HubStore {
    HubStore::new(client(fake), "acme").unwrap()
}

fn registry(fake: &FakeHub) -> Registry {
    Registry::with_store(Box::new(store(fake))).unwrap()
}

fn publish_base(fake: &FakeHub, version: &str, seed: u8) -> Result<Published, Error> {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", version, backbone_content()), seed);
    publish(&store(fake), directory.path())
}

fn id(version: &str) -> PackageId {
    PackageId::new(&parse("k/base"), &parse(version))
}

#[test]
fn the_hub_conforms() {
    let fakes = std::cell::RefCell::new(Vec::new());
    conforms(&|| {
        let fake = FakeHub::new();
        let store = store(&fake);
        // It serves for as long as the store is used.
        fakes.borrow_mut().push(fake);
        Box::new(store)
    });
    for fake in fakes.borrow().iter() {
        assert_token_stayed(fake);
    }
}

#[test]
fn no_lie_about_the_hub_is_believed() {
    let fake = FakeHub::new();
    withstands(&|| Box::new(store(&fake)));
    assert_token_stayed(&fake);
}

#[test]
fn a_release_is_a_commit_with_a_tag_that_the_hub_shows_well() {
    let fake = FakeHub::new();
    let first = publish_base(&fake, "1.0.0", 1).unwrap();
    assert!(first.created);
    let files = [
        ".gitattributes",
        "README.md",
        "config.json",
        "kadapter-package.toml",
        "release.json",
        "tokenizer.json",
        "weights.safetensors",
    ];
    assert_eq!(fake.paths(REPO, "v1.0.0"), files);
    assert_eq!(fake.log(REPO), ["Publish k/base 1.0.0", "initial commit"]);
    assert_snapshot!(store(&fake).location(), @"hf://acme");
    let location = store(&fake).record_location(&id("1.0.0")).replace(&fake.endpoint(), "$HUB");
    assert_snapshot!(location, @"$HUB/acme/k_base/blob/v1.0.0/release.json");

    // A note stands beside the newest release, and stays there when the next one comes.
    assert_eq!(store(&fake).put_note(&id("1.0.0"), &Note::Yank { at: 5, key: None }, b"{}").unwrap(), Put::Created);
    fake.forget();
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.1.0", backbone_content()), 1);
    fs::write(directory.path().join("NOTICE"), "new").unwrap();
    let second = publish(&store(&fake), directory.path()).unwrap();
    assert!(second.created);
    let uploads = fake.seen().iter().filter(|seen| seen.part == Part::Storage && seen.method == "PUT").count();
    assert_eq!(uploads, 0, "the storage has these weights");
    assert!(second.uploaded > 0, "small files are in the commit");
    publish_base(&fake, "1.2.0", 2).unwrap();
    let with_note = [&files[..4], &["notes/1.0.0/5-unsigned.json"], &files[4..]].concat();
    assert_eq!(fake.paths(REPO, "main"), with_note, "NOTICE belonged to 1.1.0 only");
    assert_eq!(fake.paths(REPO, "v1.0.0"), files);
    assert_eq!(registry(&fake).versions(&parse("k/base")).unwrap().len(), 3);
    assert_token_stayed(&fake);
}

#[test]
fn a_publisher_that_died_at_any_step_is_no_hindrance() {
    let page = |status| Act::Page(status, Vec::new(), b"no".to_vec());
    for (name, fault, commits) in [
        ("before the repository", Fault::at("/repos/create", page(500)), 1),
        ("behind the repository", Fault::at("/repos/create", Act::HangUp), 1),
        ("before the upload", Fault::at("/content/", page(500)).only("PUT"), 1),
        ("behind the upload", Fault::at("/content/", Act::HangUp).only("PUT"), 1),
        ("before the commit", Fault::at("/commit/", page(500)), 1),
        ("behind the commit", Fault::at("/commit/", Act::HangUp), 1),
        ("before the tag", Fault::at("/tag/", page(500)), 1),
    ] {
        let fake = FakeHub::new();
        fake.fault(fault.times(1));
        assert!(publish_base(&fake, "1.0.0", 1).is_err(), "{name}");
        assert_eq!(store(&fake).record(&id("1.0.0")).unwrap(), None, "{name}");
        assert_eq!(store(&fake).releases(Scope::Namespace(&parse("k"))).unwrap(), [], "{name}");
        assert!(publish_base(&fake, "1.0.0", 1).unwrap().created, "{name}");
        assert_eq!(fake.log(REPO).len(), commits + 1, "{name}");
    }
    // Behind the tag it is published.
    let fake = FakeHub::new();
    fake.fault(Fault::at("/tag/", Act::HangUp).times(1));
    assert!(publish_base(&fake, "1.0.0", 1).is_err());
    assert!(!publish_base(&fake, "1.0.0", 1).unwrap().created);
    // Somebody else's leftover is not taken for ours.
    let fake = FakeHub::new();
    fake.fault(Fault::at("/tag/", page(500)).times(1));
    assert!(publish_base(&fake, "1.0.0", 1).is_err());
    let ours = publish_base(&fake, "1.0.0", 2).unwrap();
    assert!(ours.created);
    let found = registry(&fake).release(&parse("k/base"), &parse("1.0.0")).unwrap().unwrap();
    assert_eq!(found.digest, ours.record.digest);
}

#[test]
fn a_commit_on_another_parent_is_made_anew() {
    let fake = FakeHub::new();
    publish_base(&fake, "1.0.0", 1).unwrap();
    fake.fault(Fault::at("/commit/", Act::Page(412, Vec::new(), b"{\"error\": \"moved\"}".to_vec())).times(3));
    assert!(publish_base(&fake, "1.1.0", 2).unwrap().created);
    fake.fault(Fault::at("/commit/", Act::Page(412, Vec::new(), Vec::new())));
    assert_snapshot!(told(&fake, &publish_base(&fake, "1.2.0", 2).unwrap_err()), @"Could not change `acme/k_base` on `$HUB`: others changed it each of 64 times");
}

#[test]
fn a_moved_tag_is_another_release() {
    let fake = FakeHub::new();
    let locked = publish_base(&fake, "1.0.0", 1).unwrap().record;
    publish_base(&fake, "1.1.0", 2).unwrap();
    let newer = fake.commit_of(REPO, "v1.1.0").unwrap();
    fake.set_tag(REPO, "v1.0.0", Some(&newer));
    let error = registry(&fake).release(&parse("k/base"), &parse("1.0.0")).unwrap_err();
    assert!(matches!(error, Error::OtherRelease { .. }), "{error:?}");
    // The same version with another content: the digest, which a lock has, tells.
    fake.set_tag(REPO, "v1.0.0", None);
    assert!(publish_base(&fake, "1.0.0", 3).unwrap().created);
    let found = registry(&fake).release(&parse("k/base"), &parse("1.0.0")).unwrap().unwrap();
    assert_ne!(found.digest, locked.digest);
}

#[test]
fn content_that_is_not_the_release_is_refused() {
    let html = || Act::Page(403, vec![("Content-Type", "text/html".to_owned())], b"<html>denied</html>".to_vec());
    for (name, act) in [
        ("truncated", Act::Truncate(5)),
        ("endless", Act::Endless),
        ("flipped", Act::Flip),
        ("swapped", Act::Replace(vec![0; 80])),
        ("refused", html()),
    ] {
        for (path, role) in [("/content/", Role::Weights), ("config.json", Role::Config)] {
            let fake = FakeHub::new();
            let record = publish_base(&fake, "1.0.0", 1).unwrap().record;
            fake.fault(Fault::at(path, act.clone()).only("GET"));
            let file = record.release.files_of(role).next().unwrap();
            assert!(registry(&fake).read(&id("1.0.0"), file, 1 << 20).is_err(), "{name} {path}");
        }
        let fake = FakeHub::new();
        publish_base(&fake, "1.0.0", 1).unwrap();
        fake.fault(Fault::at("release.json", act).only("GET"));
        let read = registry(&fake).release(&parse("k/base"), &parse("1.0.0"));
        assert!(read.is_err(), "{name}");
    }
}

#[test]
fn what_others_keep_there_is_no_package() {
    let fake = FakeHub::new();
    publish_base(&fake, "1.0.0", 1).unwrap();
    for repo in ["acme/roberta-large", "acme/K_Base", "acme/k_base_2", "acme/k_base.x", "acmes/k_base", "acme/k_b.uc"] {
        let commit = fake.add(repo, &[("config.json", b"{}")]);
        fake.set_tag(repo, "v9.9.9", Some(&commit));
        fake.set_tag(repo, "9.9.9", Some(&commit));
    }
    fake.set_tag(REPO, "v01.0.0", fake.commit_of(REPO, "main").as_deref());
    let mut releases = store(&fake).releases(Scope::All).unwrap();
    releases.sort();
    // A repository that is named like a package may be one: its record decides.
    let named = |name: &str, version: &str| (parse(name), parse(version));
    assert_eq!(releases, [named("k/b_c", "9.9.9"), named("k/base", "1.0.0")]);
    assert_eq!(registry(&fake).release(&parse("k/b_c"), &parse("9.9.9")).unwrap(), None);
}

#[test]
fn files_that_have_a_meaning_there_are_refused() {
    let fake = FakeHub::new();
    for path in ["release.json", "notes/config.json"] {
        let Content::Backbone(mut backbone) = backbone_content() else { unreachable!("it is a backbone's") };
        backbone.config = parse(path);
        let directory = tempfile::tempdir().unwrap();
        let package = package("k/base", "1.0.0", Content::Backbone(backbone));
        write_package(directory.path(), &package, 1);
        let error = publish(&store(&fake), directory.path()).unwrap_err();
        assert!(
            told(&fake, &error).starts_with(&format!("Could not use `{path}` for a release on the Hub")),
            "{error}"
        );
    }
    assert_eq!(fake.log(REPO), ["initial commit"]);
}

#[test]
fn a_repository_that_is_something_else_is_left_alone() {
    let fake = FakeHub::new();
    let before = fake.add(REPO, &[("model.bin", b"years of work"), ("README.md", b"# mine")]);
    let error = publish_base(&fake, "1.0.0", 1).unwrap_err();
    assert_snapshot!(told(&fake, &error), @"Could not use `$HUB/acme/k_base` for a release on the Hub: it has `model.bin` and no `release.json`, so it is something else");
    assert_eq!(fake.commit_of(REPO, "main").unwrap(), before);
    // One that has just been made by hand is not.
    fake.add(REPO, &[("README.md", b"# to come")]);
    assert!(publish_base(&fake, "1.0.0", 1).unwrap().created);
}

#[test]
fn refusals_say_what_to_type() {
    let fake = FakeHub::new();
    fake.require_token("hf_other");
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let anonymous = HubStore::new(stranger(&fake), "acme").unwrap();
    // Whoever is not known is told that nothing is there, and then refused.
    assert_snapshot!(told(&fake, &publish(&anonymous, directory.path()).unwrap_err()), @r"
    Could not get a new repository `acme/k_base`: `$HUB` refuses it with status 401
    hint: make a token at $HUB/settings/tokens and set it: `export HF_TOKEN=hf_…`
    ");
    assert_snapshot!(told(&fake, &publish_base(&fake, "1.0.0", 1).unwrap_err()), @r"
    Could not get a new repository `acme/k_base`: `$HUB` refuses it with status 401
    hint: the token may not do this; make one that may at $HUB/settings/tokens: `export HF_TOKEN=hf_…`
    ");
    assert_snapshot!(told(&fake, &HubStore::new(client(&fake), "acme/models").unwrap_err()), @"`hf://acme/models` is not a valid registry location: it must be `hf://OWNER`: each package is a repository of its own, and nothing follows the owner");

    let fake = FakeHub::new();
    let long = format!("{}/{}", "n".repeat(64), "x".repeat(64));
    assert_snapshot!(told(&fake, &store(&fake).record(&PackageId::new(&parse(&long), &parse("1.0.0"))).unwrap_err()), @"Could not use `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` for a release on the Hub: `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is longer than the 96 characters that a repository's name may have");
}
