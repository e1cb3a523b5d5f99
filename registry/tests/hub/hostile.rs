//! A server that lies, and one that points elsewhere: nothing false is kept, nothing is written elsewhere, the token stays.

use std::fs;
use std::path::{Path, PathBuf};

use kadapter_fakehub::{Act, FakeHub, Fault, Part};
use kadapter_registry::Error;
use kadapter_registry::hub::HubError;

use crate::models::{fetch, hub_with_model, weights};
use crate::{assert_token_stayed, client};

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Fetches from a Hub with this fault into a folder inside a folder, where nothing but whole files may appear.
fn attack(fault: Fault) -> (FakeHub, Result<(), Error>, Vec<String>) {
    let (fake, commit) = hub_with_model();
    fake.fault(fault);
    let outside = tempfile::tempdir().unwrap();
    let cache = outside.path().join("deep/cache");
    let outcome = fetch(&client(&fake), "hf:acme/tiny", &cache).map(|_| ());
    let home = cache.join("acme/tiny").join(commit);
    let mut there = Vec::new();
    for path in files_below(outside.path()) {
        let name =
            path.strip_prefix(&home).expect("everything is in the folder of the commit").to_str().unwrap().to_owned();
        match name.as_str() {
            "model.safetensors" => assert_eq!(fs::read(&path).unwrap(), weights(), "what has its name is whole"),
            "config.json" | ".files.json" => {}
            _ => panic!("`{name}` was left behind"),
        }
        there.push(name);
    }
    (fake, outcome, there)
}

fn page(status: u16, page: &str) -> Act {
    Act::Page(status, vec![("Content-Type", "text/html".to_owned())], page.into())
}

#[test]
fn content_that_is_not_what_was_promised_gets_no_name() {
    let html = "<html>403 denied</html>";
    let faults = [
        ("truncated", Fault::at("/content/", Act::Truncate(1000))),
        ("endless", Fault::at("/content/", Act::Endless)),
        ("flipped", Fault::at("/content/", Act::Flip)),
        ("swapped", Fault::at("/content/", Act::Replace(vec![7; weights().len()]))),
        ("longer", Fault::at("/content/", Act::Replace([weights(), vec![0]].concat()))),
        ("shorter", Fault::at("/content/", Act::Replace(weights()[1..].to_vec()))),
        ("a page instead of it", Fault::at("/content/", page(200, html))),
        ("a refusal after a promise", Fault::at("/content/", page(403, html)).only("GET")),
        ("a refusal by the Hub", Fault::at("model.safetensors", page(403, html)).only("GET")),
        ("nothing", Fault::at("/content/", Act::Replace(Vec::new()))),
        ("hung up", Fault::at("/content/", Act::HangUp)),
    ];
    for (name, fault) in faults {
        let (fake, outcome, there) = attack(fault);
        let error = outcome.expect_err(name);
        let said = matches!(&error, Error::Altered { .. })
            || matches!(&error, Error::Hub(problem) if matches!(**problem, HubError::Unreachable { .. } | HubError::Refused { .. }));
        assert!(said, "{name}: {error:?}");
        assert!(!there.contains(&"model.safetensors".to_owned()), "{name}");
        assert_token_stayed(&fake);
    }
}

#[test]
fn headers_name_no_place() {
    for (name, value) in [
        ("ETag", "\"../../../../ESCAPED\""),
        ("X-Repo-Commit", "../../../ESCAPED"),
        ("X-Linked-Etag", "\"/tmp/ESCAPED\""),
        ("Content-Disposition", "attachment; filename=../../ESCAPED"),
        ("X-Linked-Size", "99999999999999999999"),
    ] {
        let (_, outcome, there) = attack(Fault::at("config.json", Act::Header(name, value.to_owned())));
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
        assert_eq!(there.len(), 3, "{name}");
    }
}

#[test]
fn another_storage_is_not_believed() {
    // `hf-hub` would ask the Hub for a way into it; there is none.
    let hash = "0".repeat(64);
    let (fake, outcome, there) = attack(Fault::at("model.safetensors", Act::Header("X-Xet-Hash", hash.clone())));
    assert!(outcome.is_ok(), "the storage behind the redirection answers: {outcome:?}");
    assert_token_stayed(&fake);
    assert!(there.contains(&"model.safetensors".to_owned()));
    let (fake, outcome, there) = attack(Fault::at("/content/", Act::Header("X-Xet-Hash", hash)));
    assert!(outcome.is_err());
    assert_token_stayed(&fake);
    assert!(!there.contains(&"model.safetensors".to_owned()));
}

#[test]
fn slow_servers_are_waited_for() {
    let (_, outcome, there) = attack(Fault::at("/content/", Act::Slow));
    assert!(outcome.is_ok());
    assert_eq!(there.len(), 3);
}

#[test]
fn paths_that_lead_away_are_not_taken() {
    let (fake, _) = hub_with_model();
    let list = r#"[
        {"type": "file", "oid": "0", "size": 5, "path": "../../ESCAPED"},
        {"type": "file", "oid": "0", "size": 5, "path": "/tmp/ESCAPED"},
        {"type": "file", "oid": "0", "size": 5, "path": "a/../../ESCAPED"},
        {"type": "file", "oid": "0", "size": 5, "path": "C:\\ESCAPED"},
        {"type": "file", "oid": "0", "size": 5, "path": "con"},
        {"type": "file", "oid": "0", "size": 5, "path": ".files.json"},
        {"type": "file", "oid": "0", "size": 18, "path": "config.json"}
    ]"#;
    fake.fault(Fault::at("/tree/", page(200, list)));
    let outside = tempfile::tempdir().unwrap();
    let cache = outside.path().join("deep/cache");
    let hub = client(&fake);
    let model = hub.model(&"hf:acme/tiny".parse().unwrap(), &cache, &<[_]>::to_vec, &mut |_| {}).unwrap();
    assert_eq!(model.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["config.json"]);
    assert_eq!(files_below(outside.path()).len(), 2);
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    let sha = |sha: &str| Act::Replace(format!(r#"{{"sha": "{sha}"}}"#).into());
    let large = r#"[{"type": "file", "oid": "0", "size": 1, "path": "x", "lfs": {"oid": "../../x", "size": 1}}]"#;
    let twice = r#"[{"type": "file", "size": 1, "path": "x"}, {"type": "file", "size": 2, "path": "x"}]"#;
    for (name, fault) in [
        ("no JSON", Fault::at("/revision/", Act::Replace(b"<html>".to_vec()))),
        ("no commit", Fault::at("/revision/", sha("main"))),
        ("a commit that is a path", Fault::at("/revision/", sha("../../../../../../../../../../../../etc/pass"))),
        ("an endless answer", Fault::at("/revision/", Act::Endless)),
        ("an endless list", Fault::at("/tree/", Act::Endless)),
        ("a digest that is a path", Fault::at("/tree/", Act::Replace(large.into()))),
        (
            "a list that never ends",
            Fault::at("/tree/", Act::Header("Link", "<http://127.0.0.1:1/x>; rel=\"next\"".to_owned())),
        ),
        ("a path twice", Fault::at("/tree/", page(200, twice))),
        ("no list", Fault::at("/tree/", Act::Replace(b"{}".to_vec()))),
        ("deep JSON", Fault::at("/tree/", Act::Replace(vec![b'['; 100_000]))),
    ] {
        let (_, outcome, there) = attack(fault);
        let error = outcome.expect_err(name);
        assert!(
            matches!(&error, Error::Hub(problem) if matches!(**problem, HubError::Answer { .. })),
            "{name}: {error:?}"
        );
        assert_eq!(there, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn endless_refusals_are_not_read_to_their_end() {
    // The body goes on; its first part is enough.
    let (fake, _) = hub_with_model();
    fake.require_token("another");
    fake.gate("acme/tiny");
    fake.fault(Fault::at("/revision/", Act::Page(403, Vec::new(), vec![b'x'; 8 << 20])));
    let cache = tempfile::tempdir().unwrap();
    let error = fetch(&client(&fake), "hf:acme/tiny", cache.path()).unwrap_err();
    assert!(
        matches!(&error, Error::Hub(problem) if matches!(**problem, HubError::Refused { status: 403, .. })),
        "{error:?}"
    );
}

#[test]
fn the_token_goes_to_no_other_host() {
    let (other, _) = hub_with_model();
    // Wherever the Hub points: with a redirection, or with the address of a list's next page.
    for path in ["/revision/", "/tree/", "config.json", "model.safetensors"] {
        let (fake, _, _) =
            attack(Fault::at(path, Act::Redirect(format!("{}/api/models/acme/tiny/refs", other.endpoint()))));
        assert_token_stayed(&fake);
    }
    let link = format!("<{}/api/models/acme/tiny/tree/main?recursive=true>; rel=\"next\"", other.endpoint());
    let (fake, outcome, _) = attack(Fault::at("/tree/", Act::Header("Link", link)));
    assert!(outcome.is_err());
    assert_token_stayed(&fake);
    assert!(!other.seen().is_empty());
    for seen in other.seen() {
        assert_eq!((seen.part, seen.authorization), (Part::Hub, None), "{}", seen.path);
    }
}
