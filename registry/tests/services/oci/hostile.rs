//! Registries that lie: everything wrong is refused with a sentence that names both sides, in bounded memory and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kadapter_registry::Error;
use kadapter_registry::note::Note;
use kadapter_registry::project::LockMode;
use kadapter_registry::release::{ReleaseRecord, Role};
use kadapter_registry::store::Scope;

use super::fake::{Fake, Reply, Request};
use super::place::{Folder, Place};
use crate::packages::parse;

/// A fake with one release.
fn published() -> (Fake, Place, ReleaseRecord) {
    let fake = Fake::start();
    let place = Place::new(&fake.host);
    let record = place.publish(1);
    (fake, place, record)
}

/// What is told when the release is read with answers to requests for `part` spoilt.
fn told_of(part: &'static str, spoil: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> String {
    let (fake, place, record) = published();
    fake.spoil(move |request: &Request, reply| if request.target.contains(part) { spoil(reply) } else { reply });
    let error = place.registry().and_then(|registry| registry.release(&record.release.name, &record.release.version));
    place.told(&error.unwrap_err())
}

#[test]
fn a_manifest_that_is_too_long_or_none_is_refused() {
    let told = [
        told_of("/manifests/", |_| Reply::endless(b"{\"schemaVersion\":2,          ")),
        told_of("/manifests/", |_| Reply::new(200, "<html>Please log in</html>").with("Content-Type", "text/html")),
        told_of("/manifests/", |_| Reply::new(200, r#"{"schemaVersion":2,"manifests":[]}"#)),
        told_of("/manifests/", |_| Reply::new(200, "[".repeat(4_000_000))),
        told_of("/manifests/", |reply| {
            let text = String::from_utf8(reply.body.clone()).unwrap();
            Reply::new(200, text.replace("vnd.kadapter.release.v1+json", "vnd.other"))
        }),
        told_of("/manifests/", |_| Reply::new(500, "<html>".repeat(1000))),
        told_of("/manifests/", |_| Reply { status: 500, ..Reply::endless(&[b'x'; 4096]) }),
        told_of("/manifests/", |_| {
            Reply::new(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull\u001b[31m rate limit"}]}"#)
        }),
        told_of("/manifests/", |_| Reply::new(403, "<html>Forbidden</html>")),
        told_of("/manifests/", |_| Reply::new(302, "").with("Location", "/v2/x/manifests/1")),
    ];
    insta::assert_snapshot!(told.join("\n\n"), @r#"
    Could not read `oci://$HOST/$PREFIX/k/base:1.0.0`: it is longer than 4194304 bytes

    Could not accept `oci://$HOST/$PREFIX/k/base:1.0.0`: its manifest is malformed: expected value at line 1 column 1

    Could not accept `oci://$HOST/$PREFIX/k/base:1.0.0`: its manifest is malformed: missing field `config` at line 1 column 34

    Could not accept `oci://$HOST/$PREFIX/k/base:1.0.0`: its manifest is malformed: invalid type: sequence, expected u8 at line 1 column 1

    Could not accept `oci://$HOST/$PREFIX/k/base:1.0.0`: its manifest must have one layer of type `application/vnd.kadapter.release.v1+json`

    Could not read `oci://$HOST/$PREFIX/k/base:1.0.0`: the registry answered 500

    Could not read `oci://$HOST/$PREFIX/k/base:1.0.0`: the registry answered 500

    Could not read `oci://$HOST/$PREFIX/k/base:1.0.0`: the registry answered 429, "pull\u{1b}[31m rate limit"

    Could not read `oci://$HOST/$PREFIX/k/base:1.0.0`: the registry asks for a login (403)
    hint: log in with `docker login $HOST`, or without Docker: `export KADAPTER_OCI_HOST=$HOST KADAPTER_OCI_USERNAME=NAME KADAPTER_OCI_PASSWORD=SECRET`

    Could not reach `$HOST`
      because: error following redirect
      because: too many redirects
    hint: see whether it answers: `curl -sSI http://$HOST/v2/`
    "#);
}

#[test]
fn a_record_that_is_another_or_longer_or_gone_is_refused() {
    let size = |from: &'static str, to: &'static str| {
        move |reply: Reply| {
            let text = String::from_utf8(reply.body).unwrap();
            let record = text.find("vnd.kadapter.release").unwrap();
            let start = record + text[record..].find(from).unwrap();
            Reply::new(200, format!("{}{to}{}", &text[..start], &text[start + from.len()..]))
        }
    };
    let flip = |mut reply: Reply| {
        let middle = reply.body.len() / 2;
        reply.body[middle] ^= 1;
        reply
    };
    let told = [
        told_of("/blobs/", flip),
        told_of("/blobs/", |reply| Reply::new(200, reply.body[1..].to_vec())),
        told_of("/blobs/", |_| Reply::endless(b"{\"schema\":1}")),
        told_of("/blobs/", |_| Reply::new(200, "<html>")),
        told_of("/blobs/", |_| Reply::new(404, "")),
        told_of("/manifests/", size("\"size\":", "\"size\":9999999")),
        told_of("/manifests/", size("\"size\":", "\"size\":-")),
        told_of("/manifests/", size("\"size\":", "\"size\":1e3,\"x\":")),
        told_of("/manifests/", size("sha256:", "sha256:../../../")),
    ];
    insta::assert_snapshot!(told.join("\n\n"), @"
    Could not accept `oci://$HOST/$PREFIX/k/base@sha256:f0ead3b70e654a3e3a027759c5174681ea7b4958714879c14ac8678732ec9c24`: expected `sha256:f0ead3b70e654a3e3a027759c5174681ea7b4958714879c14ac8678732ec9c24`, found `sha256:94f2c0f4a1eb11f177504f6c7221f605ac7eac34eddc75d92686fce3abb2be0c`
    hint: restore the file; one in the cache is replaced by `kadapter fetch`

    Could not accept `oci://$HOST/$PREFIX/k/base@sha256:f0ead3b70e654a3e3a027759c5174681ea7b4958714879c14ac8678732ec9c24`: expected 970 bytes, found 969
    hint: restore the file; one in the cache is replaced by `kadapter fetch`

    Could not accept `oci://$HOST/$PREFIX/k/base@sha256:f0ead3b70e654a3e3a027759c5174681ea7b4958714879c14ac8678732ec9c24`: expected 970 bytes, found at least 971
    hint: restore the file; one in the cache is replaced by `kadapter fetch`

    Could not accept `oci://$HOST/$PREFIX/k/base@sha256:f0ead3b70e654a3e3a027759c5174681ea7b4958714879c14ac8678732ec9c24`: expected 970 bytes, found 6
    hint: restore the file; one in the cache is replaced by `kadapter fetch`

    Could not accept `oci://$HOST/$PREFIX/k/base:1.0.0`: its layer `sha256:f0ead3b70e654a3e3a027759c5174681ea7b4958714879c14ac8678732ec9c24` is not there

    Could not read `oci://$HOST/$PREFIX/k/base:1.0.0`: it is longer than 8388608 bytes

    Could not accept `oci://$HOST/$PREFIX/k/base:1.0.0`: its layer has the size -970

    Could not accept `oci://$HOST/$PREFIX/k/base:1.0.0`: its manifest is malformed: invalid type: floating point `1000.0`, expected i64 at line 1 column 396

    Could not accept `oci://$HOST/$PREFIX/k/base:1.0.0`: `sha256:../../../f0ead3b70e654a3e3a027759c5174681ea7b4958714879c14ac8678732ec9c24` is not a valid digest: 64 hex digits must follow `sha256:`
    ");
}

#[test]
fn spoilt_content_is_refused_and_does_not_reach_the_cache() {
    let spoils: [fn(Reply) -> Reply; 5] = [
        |mut reply| {
            let middle = reply.body.len() / 2;
            reply.body[middle] ^= 1;
            reply
        },
        |reply| Reply::new(200, reply.body[1..].to_vec()),
        |reply| Reply { endless: true, ..reply },
        |_| Reply::new(200, "<html>Please log in</html>"),
        // Less than was promised comes, and then nothing.
        |reply| reply.with("Content-Length", "1000000"),
    ];
    for spoil in spoils {
        let (fake, place, record) = published();
        let folder = Folder::new(&place);
        folder.project().fetch(LockMode::KeepLocked).unwrap();
        std::fs::remove_dir_all(folder.cache()).unwrap();
        let weights = record.release.files_of(Role::Weights).next().unwrap().sha256;
        let digest = weights.to_string();
        fake.spoil(
            move |request: &Request, reply| {
                if request.target.ends_with(&digest) { spoil(reply) } else { reply }
            },
        );
        let told = place.told(&folder.project().fetch(LockMode::Frozen).unwrap_err());
        assert!(told.contains("k/base@sha256:") || told.contains("cache"), "{told}");
        assert!(!folder.project().cache().path(&weights).exists(), "{told}");
    }
}

#[test]
fn a_list_without_end_is_given_up() {
    let (fake, place, _) = published();
    let count = Arc::new(AtomicUsize::new(0));
    let counting = count.clone();
    let page = move |request: &Request, names: &str| {
        let next = counting.fetch_add(1, Ordering::Relaxed);
        let path = request.target.split('?').next().unwrap();
        Reply::new(200, names.to_owned()).with("Link", format!("<{path}?last={next}>; rel=\"next\""))
    };
    let full = format!(r#"{{"tags":[{}"1.0.0"]}}"#, "\"1.0.0\",".repeat(20_000));
    let pages = page.clone();
    fake.spoil(move |request, reply| if request.target.contains("/tags/") { pages(request, &full) } else { reply });
    let name = parse("k/base");
    insta::assert_snapshot!(place.told(&place.store().releases(Scope::Package(&name)).unwrap_err()), @"Could not list `oci://$HOST/$PREFIX/k/base`: it has more than 100000 names");
    assert!(count.load(Ordering::Relaxed) < 10);
    // Pages of nothing end, whatever they promise.
    fake.spoil(
        move |request, reply| {
            if request.target.contains("/tags/") { page(request, r#"{"tags":null}"#) } else { reply }
        },
    );
    assert_eq!(place.store().releases(Scope::Package(&name)).unwrap(), []);
    fake.spoil(
        |request, reply| if request.target.contains("/tags/") { Reply::endless(b"{\"tags\":[\"") } else { reply },
    );
    insta::assert_snapshot!(place.told(&place.store().releases(Scope::Package(&name)).unwrap_err()), @"Could not read `oci://$HOST/$PREFIX/k/base`: it is longer than 4194304 bytes");
}

#[test]
fn a_list_that_goes_on_elsewhere_is_refused() {
    let (fake, place, _) = published();
    let elsewhere = Fake::start();
    for next in [
        format!("http://{}/v2/x/tags/list", elsewhere.host),
        "/v2/other/tags/list?last=x".to_owned(),
        "/v2/_catalog".to_owned(),
    ] {
        fake.spoil(move |request, reply| match request.target.contains("/tags/") {
            true => reply.with("Link", format!("<{next}>; rel=\"next\"")),
            false => reply,
        });
        let told = place.told(&place.store().releases(Scope::Package(&parse("k/base"))).unwrap_err());
        assert!(told.contains("its next page is said to be somewhere else"), "{told}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn foreign_tags_and_repositories_are_no_releases() {
    let (fake, place, record) = published();
    let prefix = place.prefix.clone();
    fake.spoil(move |request, reply| {
        if request.target.contains("/tags/") {
            let tags = r#"["latest","1.0","v1.0.0","1.0.0+x","../1.0.0","1.0.0_sig_x","sha256-abc","1.0.0","1.0.0"]"#;
            Reply::new(200, format!(r#"{{"tags":{tags}}}"#))
        } else if request.target.contains("_catalog") {
            let names =
                format!(r#"["{prefix}/k/base","{prefix}/k","{prefix}/K/x","x","../k/base","{prefix}//k/base"]"#);
            Reply::new(200, format!(r#"{{"repositories":{names}}}"#))
        } else {
            reply
        }
    });
    let releases = place.store().releases(Scope::All).unwrap();
    assert_eq!(releases, [(record.release.name.clone(), record.release.version.clone())]);
    assert_eq!(place.store().notes(&record.release.id()).unwrap(), []);
}

#[test]
fn what_is_no_registry_is_told_from_one_that_is_not_there() {
    let fake = Fake::start();
    let place = Place::new(&fake.host);
    let mut told = Vec::new();
    for reply in [
        Reply::new(404, "not here"),
        Reply::new(200, "<html>").with("Content-Type", "text/html; charset=utf-8"),
        Reply::new(403, "<html>"),
    ] {
        fake.spoil(move |_, _| reply.clone());
        told.push(place.told(&place.registry().unwrap_err()));
    }
    fake.spoil(|_, _| Reply::new(307, "").with("Location", "/v2/"));
    told.push(place.told(&place.registry().unwrap_err()));
    // A port that was free a moment ago.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = Place::new(&gone.to_string());
    told.push(gone.told(&gone.registry().unwrap_err()));
    insta::assert_snapshot!(told.join("\n\n"), @"
    Could not find an OCI registry at `$HOST`: `/v2/` answered 404
    hint: see what is there: `curl -sSi http://$HOST/v2/`

    Could not find an OCI registry at `$HOST`: `/v2/` answered a web page
    hint: see what is there: `curl -sSi http://$HOST/v2/`

    Could not reach `$HOST`: the registry asks for a login (403)
    hint: log in with `docker login $HOST`, or without Docker: `export KADAPTER_OCI_HOST=$HOST KADAPTER_OCI_USERNAME=NAME KADAPTER_OCI_PASSWORD=SECRET`

    Could not reach `$HOST`
      because: error following redirect
      because: too many redirects
    hint: see whether it answers: `curl -sSI http://$HOST/v2/`

    Could not reach `$HOST`
      because: error sending request
      because: client error (Connect)
      because: tcp connect error
      because: Connection refused (os error 111)
    hint: see whether it answers: `curl -sSI http://$HOST/v2/`
    ");
}

#[test]
fn names_that_repositories_cannot_have_are_told() {
    let place = Place::new(&Fake::start().host);
    let error = place.store().releases(Scope::Package(&parse("k/a..b"))).unwrap_err();
    insta::assert_snapshot!(place.told(&error), @r#"
    Could not name `k/a..b` in an OCI registry: `$PREFIX/k/a..b` breaks its rules for repositories
    hint: letters and digits with one `.`, one or two `_`, or any `-` between: choose another `name = "…"`
    "#);
    let error = kadapter_registry::index::store_at(&parse("oci://registry/acme"), ".".as_ref()).unwrap_err();
    insta::assert_snapshot!(place.told(&error), @"
    Could not use `registry/acme` as an OCI registry: its host needs a dot or a port, or must be `localhost`
    hint: write host, port and path: `oci://registry.example.com/acme/models`
    ");
}

#[test]
fn a_note_that_is_too_long_or_another_is_refused() {
    let (fake, place, record) = published();
    let (store, id) = (place.store(), record.release.id());
    let note = Note::Yank { at: 7, key: None };
    store.put_note(&id, &note, b"broken").unwrap();
    fake.spoil(|request, reply| match request.target.contains("/blobs/") {
        true => Reply::endless(b"fixed"),
        false => reply,
    });
    assert!(matches!(store.note(&id, &note), Err(Error::Altered { .. })));
    fake.spoil(|request, reply| match request.target.contains("/manifests/") {
        true => {
            let text = String::from_utf8(reply.body).unwrap();
            Reply::new(200, text.replace("\"size\":6", "\"size\":70000"))
        }
        false => reply,
    });
    assert!(matches!(store.note(&id, &note), Err(Error::TooLong { .. })));
}

#[test]
fn an_upload_that_fails_leaves_no_release() {
    let replies: [fn(Reply) -> Reply; 4] = [
        |_| Reply::new(413, r#"{"errors":[{"code":"DENIED","message":"the quota is used up"}]}"#),
        |_| Reply::new(202, ""),
        |_| Reply::new(202, "").with("Location", "http://["),
        |_| Reply::new(202, "").with("Location", "file:///etc/passwd"),
    ];
    let mut told = Vec::new();
    for reply in replies {
        let fake = Fake::start();
        let place = Place::new(&fake.host);
        fake.spoil(move |request, good| if request.method == "POST" { reply(good) } else { good });
        told.push(place.told(&place.try_publish(1).unwrap_err()));
        fake.spoil(|_, reply| reply);
        assert_eq!(place.store().releases(Scope::Package(&parse("k/base"))).unwrap(), []);
        place.publish(1);
    }
    insta::assert_snapshot!(told.join("\n\n"), @r#"
    Could not write `oci://$HOST/$PREFIX/k/base@sha256:72d9891432059ecaabdd0e9685b60a9ef50a0aba13865c417281a29cc463a0e9`: the registry answered 413, "the quota is used up"

    Could not accept `oci://$HOST/$PREFIX/k/base@sha256:72d9891432059ecaabdd0e9685b60a9ef50a0aba13865c417281a29cc463a0e9`: the registry names no place for the upload

    Could not accept `oci://$HOST/$PREFIX/k/base@sha256:72d9891432059ecaabdd0e9685b60a9ef50a0aba13865c417281a29cc463a0e9`: the registry names no place for the upload

    Could not accept `oci://$HOST/$PREFIX/k/base@sha256:72d9891432059ecaabdd0e9685b60a9ef50a0aba13865c417281a29cc463a0e9`: the registry names no place for the upload
    "#);
}

#[test]
fn what_a_lost_answer_hides_is_looked_up() {
    let fake = Fake::start();
    let place = Place::new(&fake.host);
    fake.spoil(|request, reply| match (request.method.as_str(), request.target.contains("/manifests/")) {
        ("PUT", true) => Reply::new(504, "<html>"),
        _ => reply,
    });
    place.publish(1);
    // Trouble that passes is waited for.
    let count = AtomicUsize::new(0);
    fake.spoil(move |request, reply| match request.method.as_str() {
        "GET" if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Reply::new(503, "<html>"),
        _ => reply,
    });
    assert_eq!(place.registry().unwrap().versions(&parse("k/base")).unwrap().len(), 1);
}

#[test]
fn blobs_of_another_size_are_not_taken_for_ours() {
    let (fake, place, _) = published();
    fake.spoil(|request, reply| match request.method.as_str() {
        "HEAD" => Reply::new(200, "").with("Content-Length", "5"),
        _ => reply,
    });
    let second = Place { prefix: format!("{}-second", place.prefix), ..place };
    assert!(matches!(second.try_publish(1), Err(Error::Altered { .. })));
}
