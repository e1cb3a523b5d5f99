//! Requests to the Hub: each bounded in size and time, with the token for the endpoint alone.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use hf_hub::HFClient;
use reqwest::header::LINK;
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::{HubError, Settings};
use crate::error::Error;
use crate::store::remote::{date, wait, wait_briefly};
use crate::text::shorten;

/// The longest answer that is read whole, in bytes: a page of a thousand files has a fifth of it.
pub(super) const MAX_ANSWER: usize = 4 << 20;
/// The longest page that comes with a refusal and is read for its message, in bytes.
const MAX_REFUSAL: usize = 64 << 10;
/// Redirections that are followed.
const MAX_REDIRECTIONS: usize = 5;
/// How long a connection may take to be made.
const CONNECTING: Duration = Duration::from_secs(20);
/// Pauses before a question is asked again that the server had no time for.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(3)];
/// Makes `hf-hub` send no token: it knows no other way to keep it from reading one out of the environment, and what cannot
/// stand in a header it leaves out.
const NO_TOKEN: &str = "\n";
/// The code of an answer for a repository that is not there, or not for whoever asks.
pub(super) const NO_REPOSITORY: &str = "RepoNotFound";
/// How this program names itself.
const USER_AGENT: &str = concat!("kadapter/", env!("CARGO_PKG_VERSION"));

/// The way to one Hub.
#[derive(Debug)]
pub(super) struct Transport {
    settings: Settings,
    http: OnceLock<Client>,
    streams: OnceLock<HFClient>,
}

/// An answer in full.
pub(super) struct Answer<T> {
    /// What it says.
    pub(super) value: T,
    /// Where it goes on.
    pub(super) next: Option<Url>,
    /// When it was sent, by the server's clock.
    pub(super) date: Option<SystemTime>,
}

impl Transport {
    pub(super) const fn new(settings: Settings) -> Self {
        Self { settings, http: OnceLock::new(), streams: OnceLock::new() }
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// An address below the endpoint; each segment is escaped.
    pub(super) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.settings.url().clone();
        // An address with a host, which an endpoint is, has segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The client for questions, or the reason why nobody is asked.
    fn http(&self, what: &str) -> Result<&Client, Error> {
        if self.settings.is_offline() {
            let endpoint = self.settings.endpoint().to_owned();
            return Err(HubError::Offline { endpoint, what: what.to_owned() }.into());
        }
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let builder =
            Client::builder().user_agent(USER_AGENT).connect_timeout(CONNECTING).redirect(Policy::custom(follow));
        let client = builder.build().map_err(|source| self.unreachable(what, source))?;
        Ok(self.http.get_or_init(|| client))
    }

    /// The client that streams content.
    pub(super) fn streams(&self, what: &str) -> Result<&HFClient, Error> {
        let http = self.http(what)?;
        if let Some(client) = self.streams.get() {
            return Ok(client);
        }
        let builder = HFClient::builder()
            .endpoint(self.settings.endpoint())
            .client(http.clone())
            .user_agent(USER_AGENT)
            .token(self.settings.token().map_or(NO_TOKEN, super::Token::secret))
            .retry_max_attempts(PAUSES.len())
            .cache_enabled(false);
        let client = builder.build().map_err(|source| self.unreachable(what, source))?;
        Ok(self.streams.get_or_init(|| client))
    }

    /// A request; the token goes along where the address is the endpoint's own.
    pub(super) fn request(&self, what: &str, method: Method, url: Url) -> Result<RequestBuilder, Error> {
        let is_ours = url.origin() == self.settings.url().origin();
        let request = self.http(what)?.request(method, url);
        Ok(match self.settings.token().filter(|_| is_ours) {
            Some(token) => request.bearer_auth(token.secret()),
            None => request,
        })
    }

    /// Asks; none when the answer is that there is no such thing.
    pub(super) fn get<T: DeserializeOwned>(&self, what: &str, url: &Url) -> Result<Option<Answer<T>>, Error> {
        let mut pauses = PAUSES.iter();
        loop {
            let request = self.request(what, Method::GET, url.clone())?;
            match self.exchange(what, request) {
                Err(Failure::Later(error)) => match pauses.next() {
                    Some(pause) => wait(async { tokio::time::sleep(*pause).await }),
                    None => return Err(error),
                },
                Err(Failure::Final(error)) => return Err(error),
                Ok(None) => return Ok(None),
                Ok(Some((response, body))) => {
                    let next = self.next(what, &response)?;
                    return Ok(Some(Answer { value: self.parse(what, &body)?, next, date: response.date }));
                }
            }
        }
    }

    /// Sends a request whose answer matters little, once.
    pub(super) fn send(&self, what: &str, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        match self.exchange(what, request) {
            Ok(Some((_, body))) => Ok(body),
            Ok(None) => Err(self.absent(what)),
            Err(Failure::Later(error) | Failure::Final(error)) => Err(error),
        }
    }

    /// Reads an answer's JSON.
    pub(super) fn parse<T: DeserializeOwned>(&self, what: &str, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| self.answer(what, shorten(&error.to_string())))
    }

    fn exchange(&self, what: &str, request: RequestBuilder) -> Result<Option<(Parts, Vec<u8>)>, Failure> {
        let exchanged = wait_briefly(async {
            let mut response = request.send().await?;
            let limit = if response.status().is_success() { MAX_ANSWER } else { MAX_REFUSAL };
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > limit {
                    return Ok((Parts::of(&response), None));
                }
                body.extend_from_slice(&chunk);
            }
            Ok((Parts::of(&response), Some(body)))
        });
        let exchanged: Result<_, reqwest::Error> =
            exchanged.map_err(|source| Failure::Final(self.unreachable(what, source)))?;
        let (parts, body) = exchanged.map_err(|source| {
            let later = source.is_connect();
            let error = self.unreachable(what, source);
            if later { Failure::Later(error) } else { Failure::Final(error) }
        })?;
        if parts.status.is_success() {
            let too_long = || Failure::Final(self.answer(what, format!("it is longer than {MAX_ANSWER} bytes")));
            return Ok(Some((parts, body.ok_or_else(too_long)?)));
        }
        // The Hub does not tell strangers whether a repository is private or not there.
        let code = parts.code.as_deref();
        if parts.status == StatusCode::NOT_FOUND || code == Some(NO_REPOSITORY) {
            return Ok(None);
        }
        let message = parts.message.clone().or_else(|| message_of(&body.unwrap_or_default()));
        let error = self.refusal(what, parts.status.as_u16(), code, message);
        let later = matches!(parts.status.as_u16(), 429 | 500 | 502..=504);
        Err(if later { Failure::Later(error) } else { Failure::Final(error) })
    }

    /// Where a list goes on, which must be at the endpoint.
    fn next(&self, what: &str, response: &Parts) -> Result<Option<Url>, Error> {
        let Some(link) = &response.link else { return Ok(None) };
        let Some(target) = link.split(',').find_map(next_target) else { return Ok(None) };
        match Url::parse(target) {
            Ok(url) if url.origin() == self.settings.url().origin() => Ok(Some(url)),
            _ => Err(self.answer(what, format!("it goes on at `{}`, which is another host", shorten(target)))),
        }
    }

    /// The error for a status that is no success.
    pub(super) fn refusal(&self, what: &str, status: u16, code: Option<&str>, message: Option<String>) -> Error {
        let (endpoint, what) = (self.settings.endpoint().to_owned(), what.to_owned());
        let with_token = self.settings.token().is_some();
        match (status, code) {
            (404, _) | (401 | 403, Some(NO_REPOSITORY)) => HubError::Absent { endpoint, what, with_token }.into(),
            (401 | 403, code) => {
                let gated = code == Some("GatedRepo");
                HubError::Refused { endpoint, what, status, with_token, gated }.into()
            }
            _ => HubError::Status { endpoint, what, status, message: message.map(|text| shorten(&text)) }.into(),
        }
    }

    pub(super) fn absent(&self, what: &str) -> Error {
        self.refusal(what, 404, None, None)
    }

    pub(super) fn answer(&self, what: &str, problem: String) -> Error {
        HubError::Answer { endpoint: self.settings.endpoint().to_owned(), what: what.to_owned(), problem }.into()
    }

    pub(super) fn unreachable(&self, what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let (endpoint, what) = (self.settings.endpoint().to_owned(), what.to_owned());
        HubError::Unreachable { endpoint, what, source: source.into() }.into()
    }
}

/// Whether asking again may help.
enum Failure {
    Later(Error),
    Final(Error),
}

/// What matters of a response beside its body.
struct Parts {
    status: StatusCode,
    code: Option<String>,
    message: Option<String>,
    link: Option<String>,
    date: Option<SystemTime>,
}

impl Parts {
    fn of(response: &Response) -> Self {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            status: response.status(),
            code: header("x-error-code"),
            message: header("x-error-message"),
            link: header(LINK.as_str()),
            date: date(response.headers()),
        }
    }
}

/// Follows a redirection unless it leads from an encrypted address to one that is not. To another host the token does not go
/// along.
fn follow(attempt: Attempt<'_>) -> Action {
    let was_encrypted = attempt.previous().first().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTIONS {
        attempt.error("it redirects too often")
    } else if was_encrypted && attempt.url().scheme() != "https" {
        attempt.error("it redirects to an address that is not encrypted")
    } else {
        attempt.follow()
    }
}

/// The address of a `Link` header's part when it is the next page's.
fn next_target(part: &str) -> Option<&str> {
    let (target, parameters) = part.trim().strip_prefix('<')?.split_once('>')?;
    parameters.split(';').any(|parameter| parameter.trim() == "rel=\"next\"").then_some(target)
}

/// The message in an error's JSON.
fn message_of(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    value.get("error")?.as_str().map(str::to_owned)
}
