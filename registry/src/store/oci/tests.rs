//! What cannot be tried from outside: silence, without waiting for as long as for real, and TLS on this machine.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::*;

const SILENCE: Duration = Duration::from_millis(200);

/// Serves every connection on a port of its own; what is not closed stays open.
fn serve(answer: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            answer(&mut stream);
            open.push(stream);
        }
    });
    host
}

fn store(host: &str) -> Oci {
    Oci::new(Address::parse(&format!("{host}/x"), "").unwrap(), SILENCE).unwrap()
}

fn id() -> PackageId {
    PackageId::new(&"k/base".parse().unwrap(), &"1.0.0".parse().unwrap())
}

fn is_silent(error: &Error) -> bool {
    matches!(error, Error::Oci(problem) if matches!(**problem, OciError::Silent { .. }))
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let store = store(&serve(|_| {}));
    assert!(is_silent(&store.is_registry().unwrap_err()));
    assert!(is_silent(&store.record(&id()).unwrap_err()));
    assert!(is_silent(&store.put_note(&id(), &Note::Yank { at: 1, key: None }, b"x").unwrap_err()));
}

#[test]
fn a_body_that_stops_is_given_up() {
    let host = serve(|stream| {
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning").unwrap();
    });
    let store = store(&host);
    assert!(is_silent(&store.record(&id()).unwrap_err()));
    let file = ReleaseFile {
        path: "weights.safetensors".parse().unwrap(),
        role: crate::release::Role::Weights,
        target: None,
        size: 1000,
        sha256: Digest::of(b"x"),
    };
    let mut content = store.content(&id(), &file).unwrap().unwrap();
    let error = std::io::copy(&mut content, &mut std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), format!("Could not go on with `{host}`: it was silent for 0 seconds"));
}

#[test]
fn an_upload_that_nobody_reads_is_given_up() {
    let host = serve(|stream| {
        let mut head = [0; 4096];
        let count = stream.read(&mut head).unwrap();
        if head[..count].starts_with(b"HEAD") {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        } else if head[..count].starts_with(b"POST") {
            let place = b"HTTP/1.1 202 Accepted\r\nLocation: /place\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(place).unwrap();
        }
    });
    struct Endless;
    impl Source for Endless {
        fn open(&self, _file: &ReleaseFile) -> Result<Stream, Error> {
            Ok(Box::new(std::io::repeat(1)))
        }

        fn altered(&self, _file: &ReleaseFile, _difference: Difference) -> Error {
            Error::Inconsistent
        }
    }
    let file = ReleaseFile {
        path: "weights.safetensors".parse().unwrap(),
        role: crate::release::Role::Weights,
        target: None,
        size: 1 << 40,
        sha256: Digest::of(b"x"),
    };
    let error = store(&host).put_content(&id().name, "x/k/base", &file, &Endless).unwrap_err();
    assert!(is_silent(&error), "{error:?}");
}

#[test]
fn a_host_without_tls_is_told_from_one_that_does_not_answer() {
    let host = serve(|stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let secure = Address::parse(&format!("{host}/x"), "").unwrap().with_tls();
    let error = Oci::new(secure, Duration::from_secs(10)).unwrap().is_registry().unwrap_err();
    let hint = error.hint().unwrap().replace(&host, "$HOST");
    insta::assert_snapshot!(format!("{error}\n{hint}").replace(&host, "$HOST"), @"
    Could not trust `$HOST`: no TLS connection came about
    if it speaks plain HTTP and that is meant: `export KADAPTER_OCI_INSECURE=$HOST`
    ");
}
