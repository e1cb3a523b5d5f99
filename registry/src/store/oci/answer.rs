//! Answers: waited for as long as something comes, read as far as they may go, and explained when there is none.

use std::future::Future;
use std::time::Duration;

use reqwest::Response;

use super::error::OciError;
use crate::error::Error;

/// Waits for an answer to begin.
pub(super) async fn briefly(
    request: impl Future<Output = reqwest::Result<Response>>,
    host: &str,
    silence: Duration,
) -> Result<Response, Error> {
    match tokio::time::timeout(silence, request).await {
        Ok(answer) => answer.map_err(|error| unreachable(host, error)),
        Err(_) => Err(silent(host, silence).into()),
    }
}

/// Reads a whole body of at most `limit` bytes; none when it is longer.
pub(super) async fn whole(
    mut response: Response,
    limit: u64,
    host: &str,
    silence: Duration,
) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    loop {
        let chunk = tokio::time::timeout(silence, response.chunk()).await.map_err(|_| silent(host, silence))?;
        let Some(chunk) = chunk.map_err(|error| unreachable(host, error))? else { return Ok(Some(bytes)) };
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Says that a host was silent.
pub(super) fn silent(host: &str, silence: Duration) -> OciError {
    OciError::Silent { host: host.to_owned(), seconds: silence.as_secs() }
}

/// Says why no answer came.
pub(super) fn unreachable(host: &str, error: reqwest::Error) -> Error {
    let host = host.to_owned();
    let is_secure = error.url().is_some_and(|url| url.scheme() == "https");
    let is_handshake = is_secure && error.is_connect() && is_invalid_data(&error);
    // The address stands in our own sentence.
    let source = Box::new(error.without_url());
    let error =
        if is_handshake { OciError::Untrusted { host, source } } else { OciError::Unreachable { host, source } };
    error.into()
}

/// Tells whether what came over the line was not what TLS asks for.
fn is_invalid_data(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData) {
            return true;
        }
        // An `io::Error` around another error skips itself in `source`.
        cause = match io.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}
