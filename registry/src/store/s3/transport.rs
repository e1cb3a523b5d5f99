//! The way to the server: the client's own, with bounds on what it may send and on how long it may be silent.
//!
//! The client reads error pages and listings whole, however long a server makes them; here they are cut. It completes multipart
//! uploads without a condition; here the completion gets one. Like every header but `Host` and `X-Amz-…` it need not be
//! covered by the signature, and the client adds it after signing too, where it copies.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use crate::store::remote::date;
use crate::text::shorten;

/// The longest error that is read, in bytes.
const MAX_ERROR: usize = 16 * 1024;
/// The longest answer that is no object, in bytes; a page of a listing names at most 1,000 objects.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The slowest line that is waited for while a request's content is sent, in bytes per second.
const SLOWEST: usize = 32 * 1024;

/// The server's time, as its last answer said it.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<(SystemTime, Instant)>>);

impl Clock {
    fn set(&self, time: SystemTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, Instant::now()));
    }

    /// The time that it is there now; none before an answer has said it.
    pub(super) fn now(&self) -> Option<SystemTime> {
        let (time, since) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        time.checked_add(since.elapsed())
    }
}

/// Makes bounded clients.
#[derive(Debug)]
pub(super) struct Connector {
    /// How long the server may be silent.
    pub(super) silence: Duration,
    /// Where the server's time is kept.
    pub(super) clock: Arc<Clock>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Bounded { inner, silence: self.silence, clock: Arc::clone(&self.clock) }))
    }
}

#[derive(Debug)]
struct Bounded {
    inner: HttpClient,
    silence: Duration,
    clock: Arc<Clock>,
}

impl HttpService for Bounded {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

impl Bounded {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_get = request.method().as_str() == "GET";
        let completes = request.method().as_str() == "POST" && query.contains("uploadId=");
        let is_object = is_get && !query.contains("list-type=");
        if completes && let Ok(any) = "*".parse() {
            request.headers_mut().insert("if-none-match", any);
        }
        let sending = Duration::from_secs((request.body().content_length() / SLOWEST) as u64);
        let response = self.within(self.silence + sending, self.inner.execute(request)).await??;
        if let Some(time) = date(response.headers()) {
            self.clock.set(time);
        }
        let success = response.status().is_success();
        if success && is_object {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let limit = if success { MAX_ANSWER } else { MAX_ERROR };
        let mut chunks = body.bytes_stream();
        let mut bytes = Vec::new();
        while let Some(chunk) = self.within(self.silence, chunks.next()).await? {
            let chunk = chunk?;
            let room = limit - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                if success {
                    let problem = format!("its answer is longer than {limit} bytes");
                    return Err(HttpError::new(HttpErrorKind::Decode, io::Error::other(problem)));
                }
                break;
            }
        }
        if !success {
            bytes = summary(&bytes).into_bytes();
        }
        Ok(HttpResponse::from_parts(parts, bytes.into()))
    }

    /// Waits for the server, not too long. That it was silent is no reason to ask again.
    async fn within<F: Future>(&self, time: Duration, future: F) -> Result<F::Output, HttpError> {
        let answer = tokio::time::timeout(time, future).await;
        answer.map_err(|_| HttpError::new(HttpErrorKind::Unknown, silent(self.silence)))
    }
}

/// The error of a server that says nothing.
pub(super) fn silent(silence: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the server was silent for {} seconds", silence.as_secs_f32()))
}

/// The current time as a number that another process does not have.
pub(super) fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// What an error says, on one line: code and message of S3's own, else the beginning of whatever it is.
fn summary(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(shorten(rest.split_once("</")?.0.trim()))
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) if !message.is_empty() => format!("{code}: {message}"),
        (Some(code), _) => code,
        _ => {
            let plain: Vec<&str> = text.split_whitespace().collect();
            shorten(&plain.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_on_one_line() {
        let xml =
            b"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><Message>It is not there</Message></Error>";
        assert_eq!(summary(xml), "NoSuchBucket: It is not there");
        assert_eq!(summary(b"<html>\n  <h1>403\n Forbidden</h1>"), "<html> <h1>403 Forbidden</h1>");
        assert_eq!(summary(b"\xff\xfe<Code>X</Code>"), "X");
        assert!(summary(&[b'x'; 5000]).chars().count() < 100);
    }
}
