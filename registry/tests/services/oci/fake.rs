//! An OCI registry in memory, on a socket of its own, whose answers a test can spoil.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use kadapter_registry::Digest;

/// The longest request that is read, in bytes.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn query(&self, name: &str) -> Option<String> {
        let pairs = self.target.split_once('?')?.1.split('&').filter_map(|pair| pair.split_once('='));
        let mut named = pairs.filter(|(key, _)| *key == name);
        named.next().map(|(_, value)| value.replace("%3A", ":"))
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Says the body over and over, until nobody listens.
    pub(crate) endless: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), endless: false }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn endless(piece: &[u8]) -> Self {
        Self { endless: true, ..Self::new(200, piece) }
    }
}

type Spoil = Box<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

/// What the registry has.
#[derive(Default)]
struct Content {
    /// By repository and digest.
    blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository and tag.
    manifests: BTreeMap<(String, String), Vec<u8>>,
}

struct Shared {
    content: Mutex<Content>,
    requests: Mutex<Vec<Request>>,
    spoil: Mutex<Spoil>,
    /// Names on one page of a list.
    page: usize,
}

/// A registry that runs until the process ends.
#[derive(Clone)]
pub(crate) struct Fake {
    shared: Arc<Shared>,
    pub(crate) host: String,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            content: Mutex::default(),
            requests: Mutex::default(),
            spoil: Mutex::new(Box::new(|_, reply| reply)),
            page: 3,
        });
        let fake = Self { shared, host };
        let serving = fake.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream.unwrap()).ok());
            }
        });
        fake
    }

    /// Changes answers from now on.
    pub(crate) fn spoil(&self, spoil: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) {
        *self.shared.spoil.lock().unwrap() = Box::new(spoil);
    }

    /// What came so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// What this registry would answer to a plain reader.
    pub(crate) fn stored(&self, target: &str) -> Reply {
        let request =
            Request { method: "GET".to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() };
        self.answer(&request)
    }

    /// Answers one request on a connection, and closes it.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let request = read(&mut BufReader::new(&stream))?;
        let reply = self.answer(&request);
        let reply = (self.shared.spoil.lock().unwrap())(&request, reply);
        self.shared.requests.lock().unwrap().push(request.clone());
        let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let says_length = reply.headers.iter().any(|(name, _)| *name == "Content-Length");
        if !reply.endless && !says_length {
            head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        if request.method != "HEAD" {
            stream.write_all(&reply.body)?;
            if reply.endless {
                loop {
                    stream.write_all(&reply.body)?;
                }
            }
        }
        stream.flush()
    }

    fn answer(&self, request: &Request) -> Reply {
        let mut content = self.shared.content.lock().unwrap();
        let path = request.path().trim_start_matches("/v2/");
        let method = request.method.as_str();
        if path.is_empty() {
            return Reply::new(200, "{}").with("Content-Type", "application/json");
        }
        if path == "_catalog" {
            let repositories: BTreeSet<String> = content.manifests.keys().map(|(name, _)| name.clone()).collect();
            return self.page(request, "repositories", repositories.into_iter().collect());
        }
        if let Some(repository) = path.strip_suffix("/tags/list") {
            let of_it = content.manifests.keys().filter(|(name, _)| name == repository);
            return self.page(request, "tags", of_it.map(|(_, tag)| tag.clone()).collect());
        }
        if path.ends_with("/blobs/uploads/") && method == "POST" {
            return Reply::new(202, "").with("Location", format!("{}place?state=a%2Fb", request.path()));
        }
        if let (Some((repository, _)), "PUT") = (path.split_once("/blobs/uploads/"), method) {
            let digest = request.query("digest").unwrap_or_default();
            if digest != Digest::of(&request.body).to_string() {
                return Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID","message":"another digest"}]}"#);
            }
            content.blobs.insert((repository.to_owned(), digest), request.body.clone());
            return Reply::new(201, "");
        }
        let missing = Reply::new(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#);
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            let key = (repository.to_owned(), digest.to_owned());
            return content.blobs.get(&key).map_or(missing, |blob| Reply::new(200, blob.clone()));
        }
        let Some((repository, tag)) = path.split_once("/manifests/") else { return missing };
        let key = (repository.to_owned(), tag.to_owned());
        if method == "PUT" {
            content.manifests.insert(key, request.body.clone());
            return Reply::new(201, "");
        }
        content.manifests.get(&key).map_or(missing, |manifest| Reply::new(200, manifest.clone()))
    }

    fn page(&self, request: &Request, kind: &str, names: Vec<String>) -> Reply {
        if names.is_empty() {
            return Reply::new(404, "");
        }
        let last = request.query("last");
        let rest: Vec<&String> = names.iter().filter(|name| last.as_ref().is_none_or(|last| *name > last)).collect();
        let page: Vec<_> = rest.iter().take(self.shared.page).map(|name| format!("\"{name}\"")).collect();
        let reply = Reply::new(200, format!("{{\"name\":\"x\",\"{kind}\":[{}]}}", page.join(",")));
        match rest.get(self.shared.page - 1) {
            Some(last) if rest.len() > self.shared.page => {
                reply.with("Link", format!("<{}?last={last}&n=3>; rel=\"next\"", request.path()))
            }
            _ => reply,
        }
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Request> {
    let mut line = || {
        let mut line = String::new();
        stream.by_ref().take(64 * 1024).read_line(&mut line).map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length: u64 = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    stream.take(length.min(MAX_BODY)).read_to_end(&mut request.body)?;
    if request.body.len() as u64 == length { Ok(request) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
