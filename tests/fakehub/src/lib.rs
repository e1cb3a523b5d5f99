//! A Hugging Face Hub on loopback, for tests: it speaks what `kadapter` asks the real one, with repositories in memory.
//!
//! ```text
//! Hub  (its own port)                                   Storage  (another port, so another host to any client)
//!   GET  /api/whoami-v2                                   GET  /content/<sha256>
//!   GET  /api/models?author=…                             PUT  /content/<sha256>
//!   GET  /api/models/<repo>/revision/<revision>
//!   GET  /api/models/<repo>/auth-check/write
//!   GET  /api/models/<repo>/tree/<revision>[/<folder>]
//!   GET  /api/models/<repo>/refs
//!   POST /api/models/<repo>/preupload/main, /commit/main, /tag/<revision>
//!   POST /api/repos/create
//!   POST /<repo>.git/info/lfs/objects/batch, /verify
//!   GET  /<repo>/resolve/<revision>/<path>                large files are redirected to the storage, as on the real one
//! ```
//!
//! [`FakeHub::fault`] makes it hostile. [`FakeHub::seen`] tells what it was asked and with which token.

mod answer;
mod fault;
mod http;
mod repository;
mod routes;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

pub use fault::{Act, Fault};
use repository::State;
pub use repository::sha256_hex;
use serde_json::Value;

/// The part of the Hub that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The Hub itself.
    Hub,
    /// The storage for large files.
    Storage,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who was asked.
    pub part: Part,
    /// `GET`, `HEAD`, `POST` or `PUT`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

/// A running fake; it stops when it is dropped.
#[derive(Debug)]
pub struct FakeHub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hub: SocketAddr,
    storage: SocketAddr,
    state: Mutex<State>,
    seen: Mutex<Vec<Seen>>,
    faults: Mutex<Vec<Fault>>,
    token: Mutex<Option<String>>,
    identity: Mutex<Value>,
    stopping: AtomicBool,
}

impl FakeHub {
    /// Starts a Hub without repositories.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts threads")]
    pub fn new() -> Self {
        let [hub, storage] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"));
        let address = |listener: &TcpListener| listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            hub: address(&hub),
            storage: address(&storage),
            state: Mutex::default(),
            seen: Mutex::default(),
            faults: Mutex::default(),
            token: Mutex::default(),
            identity: Mutex::new(identity()),
            stopping: AtomicBool::new(false),
        });
        for (part, listener) in [(Part::Hub, hub), (Part::Storage, storage)] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || listen(&shared, part, &listener));
        }
        Self { shared }
    }

    /// Its address, for `HF_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.shared.hub)
    }

    /// Makes a repository with these files in one commit, which it tells.
    pub fn add(&self, repo: &str, files: &[(&str, &[u8])]) -> String {
        locked(&self.shared.state).add(repo, files)
    }

    /// Refuses whoever has not this token: everything that writes, and whatever is gated.
    pub fn require_token(&self, token: &str) {
        *locked(&self.shared.token) = Some(token.to_owned());
    }

    /// Says this of whoever has a token (`whoami-v2`): at first `ada`, an administrator of `acme` with a token that may write.
    pub fn identify(&self, identity: Value) {
        *locked(&self.shared.identity) = identity;
    }

    /// Shows a repository's content only to whoever has the token.
    pub fn gate(&self, repo: &str) {
        locked(&self.shared.state).gated.insert(repo.to_owned());
    }

    /// Misbehaves from now on, or as often as the fault says.
    pub fn fault(&self, fault: Fault) {
        locked(&self.shared.faults).push(fault);
    }

    /// Behaves well again.
    pub fn forgive(&self) {
        locked(&self.shared.faults).clear();
    }

    /// What it was asked so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        locked(&self.shared.seen).clone()
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        locked(&self.shared.seen).clear();
    }

    /// The commit of a tag or branch.
    #[must_use]
    pub fn commit_of(&self, repo: &str, revision: &str) -> Option<String> {
        locked(&self.shared.state).find(repo)?.resolve(revision)
    }

    /// The paths at a revision.
    #[must_use]
    pub fn paths(&self, repo: &str, revision: &str) -> Vec<String> {
        let state = locked(&self.shared.state);
        let tree = state.find(repo).and_then(|repository| repository.tree(revision));
        tree.map(|tree| tree.keys().cloned().collect()).unwrap_or_default()
    }

    /// The messages of the main branch's commits, newest first.
    #[must_use]
    pub fn log(&self, repo: &str) -> Vec<String> {
        locked(&self.shared.state).find(repo).map(repository::Repository::log).unwrap_or_default()
    }

    /// Lets a tag mean another commit, or removes it.
    pub fn set_tag(&self, repo: &str, tag: &str, commit: Option<&str>) {
        if let Some(repository) = locked(&self.shared.state).repositories.get_mut(repo) {
            match commit {
                Some(commit) => repository.tags.insert(tag.to_owned(), commit.to_owned()),
                None => repository.tags.remove(tag),
            };
        }
    }
}

/// Who has a token at first.
fn identity() -> Value {
    serde_json::json!({
        "type": "user",
        "name": "ada",
        "orgs": [{ "type": "org", "name": "acme", "roleInOrg": "admin" }],
        "auth": { "type": "access_token", "accessToken": { "displayName": "tests", "role": "write" } },
    })
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for address in [self.shared.hub, self.shared.storage] {
            // Each listener wakes up once more, and ends.
            let _ = TcpStream::connect(address);
        }
    }
}

fn listen(shared: &Arc<Shared>, part: Part, listener: &TcpListener) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(stream), shared) = (stream, Arc::clone(shared)) else { continue };
        thread::spawn(move || {
            // Whoever hangs up has had enough.
            let _ = routes::serve(&shared, part, stream);
        });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
