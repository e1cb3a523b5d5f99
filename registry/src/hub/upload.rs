//! Commits, as the Hub takes them over HTTP: large files go to its storage first, each as one stream, and the commit names them
//! by digest; small ones are in the commit itself.
//!
//! `hf-hub`'s own commits are not used: what the server does not take as xet they hold in memory, all files at once.

use std::collections::BTreeMap;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::HubError;
use super::listing::api;
use super::name::{Commit, RepoId};
use super::transport::Transport;
use crate::digest::{BUFFER, Digest};
use crate::error::Error;
use crate::path::PackagePath;
use crate::store::Stream;
use crate::store::remote::{start, wait_briefly};
use crate::text::shorten;

/// The branch that commits are made on.
const MAIN: &str = "main";
/// Bytes from a file's start by which the Hub judges what it is.
const SAMPLE: u64 = 512;
/// The largest file that stands in a commit itself, in bytes: the Hub's own limit.
const MAX_INLINE: u64 = 10 << 20;
/// The most that stands in one commit, in bytes, since that much is held in memory.
const MAX_INLINE_TOGETHER: u64 = 24 << 20;
/// The largest file that its storage takes in one piece, in bytes.
const MAX_LARGE: u64 = 5_000_000_000;
/// The type of questions about large files.
const LFS: &str = "application/vnd.git-lfs+json";
/// The one way of transfer that every storage knows: the whole file as the body of one request.
const BASIC: &str = "basic";
/// Pieces of a file that wait to be sent.
const QUEUE: usize = 2;

/// A change that a commit makes.
pub(crate) enum Change<'a> {
    /// A file with this content.
    Put(Content<'a>),
    /// No file under this path any more.
    Remove(PackagePath),
}

/// A file that is uploaded.
pub(crate) struct Content<'a> {
    /// Its path in the repository.
    pub(crate) path: PackagePath,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// The digest of its bytes.
    pub(crate) sha256: Digest,
    /// Opens it from its start.
    pub(crate) open: Box<dyn Fn() -> Result<Stream, Error> + 'a>,
    /// Puts what went wrong while it was read into words.
    pub(crate) failed: Box<dyn Fn(io::Error) -> Error + 'a>,
}

/// What became of a commit.
pub(crate) enum Committed {
    /// It is the end of the branch now.
    Done {
        /// The commit.
        commit: Commit,
        /// Bytes that were uploaded; the rest was there already.
        uploaded: u64,
    },
    /// The branch has another end than the parent that was named; nothing changed.
    Moved,
}

/// How the Hub takes a file.
#[derive(Deserialize)]
struct Preupload {
    files: Vec<Mode>,
}

#[derive(Deserialize)]
struct Mode {
    path: String,
    #[serde(rename = "uploadMode")]
    mode: String,
}

#[derive(Deserialize)]
struct Batch {
    #[serde(default)]
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize, Default)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct CommitAnswer {
    #[serde(rename = "commitOid")]
    oid: String,
}

pub(super) fn create_repository(transport: &Transport, repo: &RepoId) -> Result<(), Error> {
    let what = format!("a new repository `{repo}`");
    let body = json!({ "type": "model", "name": repo.name(), "organization": repo.owner(), "private": false });
    let request = transport.request(&what, Method::POST, transport.url(["api", "repos", "create"]))?;
    // Somebody else may have made it meanwhile, which is as good.
    absorb(transport.send(&what, with_json(request, &body)), &[409]).map(|_| ())
}

pub(super) fn create_tag(transport: &Transport, repo: &RepoId, tag: &str, commit: &Commit) -> Result<bool, Error> {
    let what = format!("a new tag `{tag}` of `{repo}`");
    let url = transport.url(api(repo, &["tag", commit.as_str()]));
    let request = transport.request(&what, Method::POST, url)?;
    Ok(absorb(transport.send(&what, with_json(request, &json!({ "tag": tag }))), &[409])?.is_some())
}

pub(super) fn commit(
    transport: &Transport,
    repo: &RepoId,
    parent: &Commit,
    summary: &str,
    changes: &[Change<'_>],
) -> Result<Committed, Error> {
    let what = format!("a commit to `{repo}`");
    let files: Vec<&Content<'_>> = changes.iter().filter_map(Change::put).collect();
    let large = large_files(transport, repo, &files)?;
    let mut uploaded = upload_large(transport, repo, &large)?;
    let mut lines = Lines::default();
    lines.push(&json!({ "key": "header", "value":
        { "summary": summary, "description": "", "parentCommit": parent.as_str() } }));
    for change in changes {
        match change {
            Change::Remove(path) => lines.push(&json!({ "key": "deletedFile", "value": { "path": path.as_str() } })),
            Change::Put(file) if large.iter().any(|other| std::ptr::eq(*other, file)) => lines.push(&json!({
                "key": "lfsFile",
                "value": { "path": file.path.as_str(), "algo": "sha256", "oid": file.sha256.hex(), "size": file.size }
            })),
            Change::Put(file) => {
                let mut bytes = Vec::new();
                (file.open)()?.read_to_end(&mut bytes).map_err(&file.failed)?;
                uploaded += bytes.len() as u64;
                let content = STANDARD.encode(&bytes);
                lines.push(&json!({
                    "key": "file",
                    "value": { "path": file.path.as_str(), "encoding": "base64", "content": content }
                }));
            }
        }
    }
    let request = transport.request(&what, Method::POST, transport.url(api(repo, &["commit", MAIN])))?;
    let request = request.header(CONTENT_TYPE, "application/x-ndjson").body(lines.0);
    match absorb(transport.send(&what, request), &[409, 412])? {
        None => Ok(Committed::Moved),
        Some(body) => {
            let oid = transport.parse::<CommitAnswer>(&what, &body)?.oid;
            let commit = oid.parse().map_err(|_| transport.answer(&what, "it names no commit".to_owned()))?;
            Ok(Committed::Done { commit, uploaded })
        }
    }
}

impl<'a> Change<'a> {
    fn put(&self) -> Option<&Content<'a>> {
        match self {
            Self::Put(content) => Some(content),
            Self::Remove(_) => None,
        }
    }
}

/// Lines of JSON.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, value: &Value) {
        self.0.extend_from_slice(value.to_string().as_bytes());
        self.0.push(b'\n');
    }
}

fn with_json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/json").body(body.to_string())
}

/// Takes answers with these statuses for none.
fn absorb(answer: Result<Vec<u8>, Error>, statuses: &[u16]) -> Result<Option<Vec<u8>>, Error> {
    match answer {
        Err(Error::Hub(problem)) if matches!(&*problem, HubError::Status { status, .. } if statuses.contains(status)) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Asks which files go to the storage for large ones.
fn large_files<'a>(
    transport: &Transport,
    repo: &RepoId,
    files: &[&'a Content<'a>],
) -> Result<Vec<&'a Content<'a>>, Error> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let what = format!("how `{repo}` takes files");
    let mut asked = Vec::new();
    for file in files {
        let mut sample = Vec::new();
        (file.open)()?.take(SAMPLE.min(file.size)).read_to_end(&mut sample).map_err(&file.failed)?;
        asked.push(json!({ "path": file.path.as_str(), "size": file.size, "sample": STANDARD.encode(&sample) }));
    }
    let request = transport.request(&what, Method::POST, transport.url(api(repo, &["preupload", MAIN])))?;
    let body = transport.send(&what, with_json(request, &json!({ "files": asked })))?;
    let modes = transport.parse::<Preupload>(&what, &body)?.files;
    let mut inline = 0;
    let mut large = Vec::new();
    for file in files {
        let is_large = modes.iter().any(|mode| mode.path == file.path.as_str() && mode.mode == "lfs");
        // Git's storage has no empty objects.
        if file.size > 0 && (is_large || file.size > MAX_INLINE || inline + file.size > MAX_INLINE_TOGETHER) {
            if file.size > MAX_LARGE {
                let problem = format!("it has {} bytes, the Hub takes {MAX_LARGE} in one piece", file.size);
                return Err(HubError::Unfit { what: file.path.to_string(), problem }.into());
            }
            large.push(*file);
        } else {
            inline += file.size;
        }
    }
    Ok(large)
}

/// Uploads what the storage for large files has not yet; tells how many bytes that was.
fn upload_large(transport: &Transport, repo: &RepoId, files: &[&Content<'_>]) -> Result<u64, Error> {
    let mut distinct: BTreeMap<String, &Content<'_>> = BTreeMap::new();
    for file in files {
        distinct.entry(file.sha256.hex()).or_insert(file);
    }
    if distinct.is_empty() {
        return Ok(0);
    }
    let what = format!("where `{repo}` takes large files");
    let objects: Vec<Value> = distinct.iter().map(|(oid, file)| json!({ "oid": oid, "size": file.size })).collect();
    let body = json!({ "operation": "upload", "transfers": [BASIC], "objects": objects, "hash_algo": "sha256",
        "ref": { "name": MAIN } });
    let git = format!("{}.git", repo.name());
    let url = transport.url([repo.owner(), &git, "info", "lfs", "objects", "batch"]);
    let request = transport.request(&what, Method::POST, url)?.header(ACCEPT, LFS).header(CONTENT_TYPE, LFS);
    let body = transport.send(&what, request.body(body.to_string()))?;
    let batch = transport.parse::<Batch>(&what, &body)?;
    if let Some(other) = batch.transfer.filter(|transfer| transfer != BASIC) {
        return Err(transport.answer(&what, format!("it wants `{}`, which was not offered", shorten(&other))));
    }
    let mut answered: BTreeMap<String, Object> =
        batch.objects.into_iter().map(|object| (object.oid.clone(), object)).collect();
    let mut uploaded = 0;
    for (oid, file) in distinct {
        let object = answered.remove(&oid).ok_or_else(|| transport.answer(&what, format!("it leaves `{oid}` out")))?;
        if let Some(error) = object.error {
            return Err(transport.answer(&what, shorten(&error.to_string())));
        }
        let actions = object.actions.unwrap_or_default();
        if let Some(upload) = &actions.upload {
            put(transport, upload, file)?;
            uploaded += file.size;
        }
        if let Some(verify) = &actions.verify {
            let what = format!("whether `{}` has arrived", file.path);
            let request = action(transport, &what, verify, Method::POST)?.header(ACCEPT, LFS).header(CONTENT_TYPE, LFS);
            transport.send(&what, request.body(json!({ "oid": oid, "size": file.size }).to_string()))?;
        }
    }
    Ok(uploaded)
}

/// The request that an action asks for. Our token goes along only to the endpoint; the action brings its own rights.
fn action(transport: &Transport, what: &str, action: &Action, method: Method) -> Result<RequestBuilder, Error> {
    let refuse = || transport.answer(what, format!("`{}` is no address for it", shorten(&action.href)));
    let url = Url::parse(&action.href).map_err(|_| refuse())?;
    let encrypted =
        url.scheme() == "https" || (url.scheme() == "http" && transport.settings().url().scheme() == "http");
    if !encrypted {
        return Err(refuse());
    }
    let mut request = transport.request(what, method, url)?;
    for (name, value) in &action.header {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        request = request.header(name, text);
    }
    Ok(request)
}

/// Streams a file to the storage.
fn put(transport: &Transport, target: &Action, file: &Content<'_>) -> Result<(), Error> {
    let what = format!("a place for `{}`", file.path);
    let mut content = (file.open)()?;
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(QUEUE);
    let pieces = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let request = action(transport, &what, target, Method::PUT)?;
    let request = request.header(CONTENT_LENGTH, file.size).body(Body::wrap_stream(pieces));
    // The file is read here, where reading may wait, and sent from the runtime.
    let sending = start(request.send());
    let mut failure = None;
    loop {
        let mut buffer = vec![0; BUFFER];
        let piece = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                buffer.truncate(count);
                Ok(Bytes::from(buffer))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                failure = Some(error);
                // Whoever is on the other side must not take a part for the whole.
                Err(io::Error::other("the file could not be read"))
            }
        };
        let sent = wait_briefly(sender.send(piece)).map_err(|source| transport.unreachable(&what, source))?;
        // A server that has answered already listens no more; its answer says why.
        if sent.is_err() || failure.is_some() {
            break;
        }
    }
    drop(sender);
    let answer = wait_briefly(sending).map_err(|source| transport.unreachable(&what, source))?;
    if let Some(error) = failure {
        return Err((file.failed)(error));
    }
    let response = answer.map_err(|source| transport.unreachable(&what, source))?;
    let response = response.map_err(|source| transport.unreachable(&what, source))?;
    match response.status() {
        status if status.is_success() => Ok(()),
        // The storage has no codes of the Hub.
        status => Err(transport.refusal(&what, status.as_u16(), None, None)),
    }
}
