//! What the remote stores share: one runtime behind synchronous calls, and bodies of responses as [`Read`].

use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::header::{DATE, HeaderMap};
use tokio::runtime::{Builder, Runtime};

/// How long a server may be silent before it is given up.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);
/// Threads that wait for the network; transfers are waited for one at a time, so more would idle.
const THREADS: usize = 2;

/// The runtime of all remote stores.
///
/// # Panics
/// When the system has no thread left for its two.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("kadapter-network").enable_io().enable_time();
        builder.build().expect("the system gives two threads")
    })
}

/// Waits for a future of a remote store.
///
/// # Panics
/// When it is called from a task of this very runtime, which no code here does, or when the system has no thread left for the
/// runtime's two.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// Starts a future that goes on while its caller does something else.
#[cfg(feature = "hf")]
pub(crate) fn start<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    runtime().spawn(future)
}

/// Waits for a future, at most for [`SILENCE`].
///
/// # Errors
/// The time is over.
pub(crate) fn wait_briefly<F: Future>(future: F) -> io::Result<F::Output> {
    wait(async { tokio::time::timeout(SILENCE, future).await }).map_err(|_| silent())
}

/// When an answer was sent, by the clock of whoever sent it; none where it does not say.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    headers.get(DATE)?.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok())
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the server was silent for {} seconds", SILENCE.as_secs()))
}

/// A body that is read as it comes.
pub(crate) struct Body {
    chunks: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    rest: Bytes,
}

impl Body {
    /// Reads the chunks in order; an error among them is the reader's.
    pub(crate) fn new(chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self { chunks: Box::pin(chunks), rest: Bytes::new() }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match wait_briefly(self.chunks.next())? {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}
