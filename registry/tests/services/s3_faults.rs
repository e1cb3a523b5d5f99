//! Servers below an S3 store that misbehave: silent, endless, lying about lengths, losing answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kadapter_registry::layout::Key;
use kadapter_registry::publish::publish;
use kadapter_registry::store::s3::{Bucket, S3Error};
use kadapter_registry::store::{Objects, Put, Scope, Store, Tree};
use kadapter_registry::verify::{Verified, verify_release};
use kadapter_registry::{Digest, Error, Registry};

use super::environment::variable;
use super::faulty::{Fault, Faulty, error};
use crate::packages::{backbone_content, package, parse, write_package};

/// How long these tests wait for a server that says nothing.
const PATIENCE: Duration = Duration::from_millis(700);

fn store_at(endpoint: &str) -> Tree<Bucket> {
    let variables = [("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Tree::over(Bucket::open(&parse("s3://models/a"), variables, PATIENCE).unwrap())
}

/// An error as a person sees it, with the address of the server written as `$SERVER`.
fn told(error: &Error, server: &str) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}\n  because: {error}");
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        text = format!("{text}\nhint: {hint}");
    }
    text.replace(server, "$SERVER")
}

fn asked(fault: impl Fn(&str, &str) -> Fault + Send + Sync + 'static) -> (String, u64) {
    let server = Faulty::start(fault);
    let error = store_at(&server.address).is_registry().unwrap_err();
    (told(&error, &server.address), server.sent.load(Ordering::Relaxed))
}

#[test]
fn a_silent_server_is_given_up() {
    let (told, _) = asked(|_, _| Fault::Silence);
    insta::assert_snapshot!(told, @r#"
    Could not read `s3://models/a/registry.json` at `$SERVER`
      because: the server was silent for 0.7 seconds
    hint: see that this is the server and that it is up, or name another: `export AWS_ENDPOINT_URL=https://HOST`
    "#);
    let start = b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nLast-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\nContent-Length: 13\r\n\r\n{\"sch";
    let (told, _) = asked(|_, _| Fault::SilenceAfter(start.to_vec()));
    insta::assert_snapshot!(told, @r#"
    Could not read `s3://models/a/registry.json`
      because: the server was silent for 0.7 seconds
    "#);
}

#[test]
fn errors_and_listings_without_end_are_cut() {
    let endless =
        |status: &str| format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\n\r\n<html>\n<h1>").into_bytes();
    let (text, sent) = asked(move |_, _| Fault::Endless(endless("403 Forbidden")));
    insta::assert_snapshot!(text.replace(&"x".repeat(60), "…"), @r#"
    Could not read `s3://models/a/registry.json`: the server refused, 403 Forbidden: <html> <h1>…xxxxxxxxx…
    hint: reading needs `s3:ListBucket` and `s3:GetObject`, publishing `s3:PutObject` as well; see whose credentials are used: `env | grep AWS_`
    "#);
    // What the sockets hold is sent too.
    assert!(sent < 16 << 20, "{sent}");
    let server = Faulty::start(move |_, _| Fault::Endless(endless("200 OK")));
    let error = store_at(&server.address).releases(Scope::All).unwrap_err();
    insta::assert_snapshot!(told(&error, &server.address), @r#"
    Could not list `s3://models/a/index/` at `$SERVER`
      because: its answer is longer than 4194304 bytes
    hint: see that this is the server and that it is up, or name another: `export AWS_ENDPOINT_URL=https://HOST`
    "#);
    assert!(server.sent.load(Ordering::Relaxed) < 32 << 20);
}

#[test]
fn a_length_that_is_a_lie_costs_nothing() {
    let length = format!("HTTP/1.1 500 Error\r\nContent-Length: {}\r\n\r\nx", 1_u64 << 60).into_bytes();
    let (text, _) = asked(move |_, _| Fault::Answer(length.clone()));
    assert!(text.starts_with("Could not read `s3://models/a/registry.json`"), "{text}");
}

#[test]
fn html_instead_of_a_record_is_no_registry() {
    let html = b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nLast-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\nContent-Length: 15\r\n\r\n<html>403</html";
    let (text, _) = asked(|_, _| Fault::Answer(html.to_vec()));
    insta::assert_snapshot!(text, @"Could not read `s3://models/a/registry.json`: expected value at line 1 column 1");
}

#[test]
fn a_server_that_is_not_there_is_told_and_so_is_one_that_nobody_vouches_for() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let error = store_at(&address).is_registry().unwrap_err();
    insta::assert_snapshot!(told(&error, &address), @r#"
    Could not read `s3://models/a/registry.json` at `$SERVER`
      because: Connection refused (os error 111)
    hint: see that this is the server and that it is up, or name another: `export AWS_ENDPOINT_URL=https://HOST`
    "#);
    let address = variable("KADAPTER_TEST_SELF_SIGNED");
    let error = store_at(&address).is_registry().unwrap_err();
    insta::assert_snapshot!(told(&error, &address), @r#"
    Could not read `s3://models/a/registry.json` at `$SERVER`
      because: invalid peer certificate: UnknownIssuer
    hint: see that this is the server and that it is up, or name another: `export AWS_ENDPOINT_URL=https://HOST`
    "#);
}

#[test]
fn endpoints_that_are_not_encrypted_are_for_loopback_or_on_demand() {
    let open = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Bucket::open(&parse("s3://models/a"), variables, PATIENCE)
    };
    let address = ("AWS_ENDPOINT_URL", "http://models.example.org");
    insta::assert_snapshot!(told(&open(&[address]).unwrap_err(), "-"), @r#"
    Could not open `s3://models/a`: the endpoint `http://models.example.org` is not encrypted
    hint: name an encrypted one, or allow this: `export AWS_ENDPOINT_URL=https://HOST`, `export AWS_ALLOW_HTTP=true`
    "#);
    assert!(open(&[address, ("AWS_ALLOW_HTTP", "true")]).is_ok());
    assert!(open(&[("AWS_ENDPOINT_URL", "models.example.org")]).is_err());
}

#[test]
fn an_answer_that_is_lost_does_not_lose_the_release() {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    // Each write in turn is done, and its answer lost: the client tries again and finds what it wrote itself.
    for lost in 0..10 {
        let count = AtomicUsize::new(0);
        let server = Faulty::start(move |method, _| {
            let is_lost = method == "PUT" && count.fetch_add(1, Ordering::Relaxed) == lost;
            if is_lost { Fault::Lost } else { Fault::None }
        });
        let store = store_at(&server.address);
        let published = publish(&store, directory.path()).unwrap();
        let registry = Registry::with_store(Box::new(store)).unwrap();
        let record = registry.release(&parse("k/base"), &parse("1.0.0")).unwrap().unwrap();
        assert_eq!(record, published.record, "{lost}");
        assert!(verify_release(&registry, &record).iter().all(Verified::is_whole), "{lost}");
    }
}

#[test]
fn a_server_without_copies_loses_no_content_and_collects_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for no_copies in [true, false] {
        let server = Faulty::start(move |_, _| if no_copies { Fault::NoCopies } else { Fault::None });
        let store = store_at(&server.address);
        // The second release finds content of the first.
        for version in ["1.0.0", "1.1.0"] {
            write_package(directory.path(), &package("k/base", version, backbone_content()), 1);
            publish(&store, directory.path()).unwrap();
        }
        // This server's objects never change their age.
        match store.collect(&kadapter_registry::gc::Options::default()) {
            Err(Error::S3(problem)) => assert!(matches!(*problem, S3Error::NotFreshened { .. }), "{problem}"),
            other => panic!("{other:?}"),
        }
        let registry = Registry::with_store(Box::new(store)).unwrap();
        for version in ["1.0.0", "1.1.0"] {
            let record = registry.release(&parse("k/base"), &parse(version)).unwrap().unwrap();
            let files = verify_release(&registry, &record);
            assert!(files.iter().all(Verified::is_whole), "{no_copies} {version} {files:?}");
        }
    }
}

/// Another upload of the same content is completed while ours is refused: what it makes appears a little later.
#[test]
fn an_upload_in_parts_that_is_refused_waits_for_the_one_that_was_faster() {
    let answer = |body: &str, headers: &str| {
        let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
        Fault::Answer(head.into_bytes())
    };
    let begun = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
    let content = vec![b'x'; 11 << 20];
    for appears_at in [2, usize::MAX] {
        let looks = AtomicUsize::new(0);
        let server = Faulty::start(move |method, target| match method {
            "HEAD" if looks.fetch_add(1, Ordering::Relaxed) < appears_at => Fault::Answer(error(404, "NoSuchKey")),
            "HEAD" => answer("", "ETag: \"1\"\r\nLast-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\n"),
            "PUT" => answer("", "ETag: \"1\"\r\n"),
            "POST" if target.contains("uploadId") => Fault::Answer(error(409, "ConditionalRequestConflict")),
            _ => answer(begun, ""),
        });
        let key = Key::blob(&Digest::of(&content));
        match store_at(&server.address).objects().put_new(&key, &mut content.as_slice()) {
            Ok(put) => assert_eq!((put, appears_at), (Put::Exists, 2)),
            Err(error) => assert!(matches!(error, Error::S3(_)) && appears_at == usize::MAX, "{error}"),
        }
    }
}

#[test]
fn a_conflict_with_a_write_that_is_then_not_made_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let count = AtomicUsize::new(0);
    let server = Faulty::start(move |method, target| {
        let conflicts = method == "PUT" && target.contains("/index/") && count.fetch_add(1, Ordering::Relaxed) < 2;
        if conflicts { Fault::Answer(error(409, "ConditionalRequestConflict")) } else { Fault::None }
    });
    assert!(publish(&store_at(&server.address), directory.path()).unwrap().created);
    let server = Faulty::start(|method, target| match (method, target.contains("/index/")) {
        ("PUT", true) => Fault::Answer(error(409, "ConditionalRequestConflict")),
        _ => Fault::None,
    });
    let refused = publish(&store_at(&server.address), directory.path()).unwrap_err();
    match refused {
        Error::S3(problem) => assert!(matches!(*problem, S3Error::Answer { .. }), "{problem}"),
        other => panic!("{other}"),
    }
}
