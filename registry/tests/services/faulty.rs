//! A small S3 server on loopback that can be made to misbehave: objects in memory, conditions kept, and a fault of the test's.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What the server does instead of what was asked.
pub(crate) enum Fault {
    /// Nothing: the request is served.
    None,
    /// It says nothing and keeps the connection.
    Silence,
    /// It sends this and then says nothing more.
    SilenceAfter(Vec<u8>),
    /// It sends this and then `x` without end.
    Endless(Vec<u8>),
    /// It sends this and closes the connection.
    Answer(Vec<u8>),
    /// It takes a copy for a write of nothing, as a server that does not know copies.
    NoCopies,
    /// It does what was asked and closes the connection without a word.
    Lost,
}

/// Decides by method and path.
type Decide = dyn Fn(&str, &str) -> Fault + Send + Sync;

/// A server that runs until the tests end.
pub(crate) struct Faulty {
    pub(crate) address: String,
    /// Bytes that endless answers came to.
    pub(crate) sent: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    sent: Arc<AtomicU64>,
}

impl Faulty {
    pub(crate) fn start(decide: impl Fn(&str, &str) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (state, decide) = (Arc::new(State::default()), Arc::new(decide));
        let sent = state.sent.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, decide) = (state.clone(), decide.clone());
                // A client that hangs up is the test's intent.
                std::thread::spawn(move || drop(serve(&stream, &state, &*decide)));
            }
        });
        Self { address, sent }
    }
}

/// Serves requests of one connection until one goes wrong.
fn serve(stream: &TcpStream, state: &State, decide: &Decide) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (mut length, mut conditional, mut copied) = (0, false, false);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            match header.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
                Some(("if-none-match", _)) => conditional = true,
                Some(("x-amz-copy-source", _)) => copied = true,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let fault = decide(method, target);
        // An object is only ever copied onto itself.
        let method = if copied && !matches!(fault, Fault::NoCopies) { "COPY" } else { method };
        match fault {
            Fault::None | Fault::NoCopies => writer.write_all(&state.answer(method, target, body, conditional))?,
            Fault::Silence => wait_for_end(&mut reader),
            Fault::SilenceAfter(start) => {
                writer.write_all(&start)?;
                wait_for_end(&mut reader);
            }
            Fault::Endless(start) => {
                writer.write_all(&start)?;
                loop {
                    writer.write_all(&[b'x'; 8192])?;
                    state.sent.fetch_add(8192, Ordering::Relaxed);
                }
            }
            Fault::Answer(answer) => {
                writer.write_all(&answer)?;
                return Ok(());
            }
            Fault::Lost => {
                state.answer(method, target, body, conditional);
                return Ok(());
            }
        }
    }
}

/// Keeps quiet until the client goes away.
fn wait_for_end(reader: &mut impl Read) {
    drop(reader.read(&mut [0]));
}

impl State {
    fn answer(&self, method: &str, target: &str, body: Vec<u8>, conditional: bool) -> Vec<u8> {
        let mut objects = self.objects.lock().unwrap();
        match (method, objects.contains_key(target)) {
            ("PUT", true) if conditional => error(412, "PreconditionFailed"),
            ("PUT", _) => {
                objects.insert(target.to_owned(), body);
                found("200 OK", "ETag: \"1\"\r\n", b"")
            }
            ("COPY", true) => found("200 OK", "", b"<CopyObjectResult><ETag>\"1\"</ETag></CopyObjectResult>"),
            // Removals, by list.
            ("POST", _) => {
                let text = String::from_utf8_lossy(&body);
                let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
                let bucket = target.split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
                for key in keys {
                    objects.remove(&format!("{bucket}/{key}"));
                }
                found("200 OK", "", b"<DeleteResult></DeleteResult>")
            }
            ("DELETE", _) => {
                objects.remove(target);
                found("204 No Content", "", b"")
            }
            ("GET", _) if target.contains("list-type=2") => {
                found("200 OK", "", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
            }
            ("GET" | "HEAD", true) => {
                let body = &objects[target];
                let about = format!(
                    "ETag: \"1\"\r\nLast-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\nContent-Length: {}\r\n",
                    body.len()
                );
                let body: &[u8] = if method == "HEAD" { b"" } else { body };
                [format!("HTTP/1.1 200 OK\r\n{about}\r\n").as_bytes(), body].concat()
            }
            ("HEAD", false) => found("404 Not Found", "", b""),
            _ => error(404, "NoSuchKey"),
        }
    }
}

fn found(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// An answer as S3 gives it when something is wrong.
pub(crate) fn error(status: u16, code: &str) -> Vec<u8> {
    found(
        &format!("{status} Error"),
        "",
        format!("<Error><Code>{code}</Code><Message>It is so</Message></Error>").as_bytes(),
    )
}
