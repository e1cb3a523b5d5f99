//! Requests of the OCI distribution API: each bounded in time and size, with credentials for the registry's own host only.
//!
//! The vocabulary (references, manifests, errors, tokens) is `oci-client`'s. Its requests are not used: they take manifests,
//! lists and error pages of any length into memory, hold back why a token was not given, and cannot tell a long upload from
//! a silent server. What is sent here follows the OCI distribution specification 1.1.

use std::future::Future;
use std::time::{Duration, SystemTime};

use futures_util::stream;
use oci_client::errors::OciEnvelope;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LINK, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::address::{Address, is_loopback};
use super::answer::{briefly, silent, unreachable, whole};
use super::authentication::{Authenticator, Authorization, Scope};
use super::error::OciError;
use super::manifest::MANIFEST_TYPE;
use super::pump::{Progress, Upload};
use crate::digest::Digest;
use crate::error::Error;
use crate::store::remote;
use crate::text::shorten;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(20);
/// How long to wait before a request that only reads is tried again. Registries fail to read a tag that is being written.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_millis(1000)];
/// The longest manifest, in bytes: what registries must take, and far more than a release of the most files has.
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// The longest page of a list, in bytes.
const MAX_PAGE: u64 = 4 * 1024 * 1024;
/// How many names a page is asked to have.
const PAGE: usize = 1000;
/// The most pages of a list.
const MAX_PAGES: usize = 1000;
/// The most names of a list.
pub(super) const MAX_NAMES: usize = 100_000;
/// The longest name that is worth keeping: repositories have at most 255 characters, tags 128.
const MAX_NAME: usize = 255;
/// The longest error page that is read, in bytes.
const MAX_ERROR: u64 = 16 * 1024;

/// What a request is about.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// What is tried: a verb.
    pub(super) action: &'static str,
    /// On what, for people.
    pub(super) location: &'a str,
    /// What must be allowed.
    pub(super) scope: Scope,
}

/// How a host answers who only says hello.
#[derive(Debug)]
pub(super) struct Greeting {
    /// Whether it lets us in.
    pub(super) welcome: bool,
    /// Whether it wanted to know who we are, and was answered.
    pub(super) asked: bool,
    /// The name that we have there; none when it did not want to know or there is none.
    pub(super) username: Option<String>,
    /// When it answered, by its own clock.
    pub(super) date: Option<SystemTime>,
}

/// A registry's API.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client,
    api: Url,
    host: String,
    silence: Duration,
    authenticator: Authenticator,
}

impl Transport {
    /// Prepares to talk to a host that is given up after so long a silence. Nothing is sent.
    pub(super) fn new(address: &Address, silence: Duration) -> Result<Self, Error> {
        let host = address.host();
        let mut builder = Client::builder()
            .user_agent(concat!("kadapter/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            // Blobs come from wherever a registry keeps them; what is asked of it with TLS is never answered without.
            .https_only(address.is_secure())
            .referer(false)
            // Digests are of the bytes as they are sent.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd();
        if is_loopback(host) {
            builder = builder.no_proxy();
        }
        let unusable = |_| OciError::Address { address: shorten(host), problem: "no HTTP client can be made for it" };
        let client = builder.build().map_err(|error| unusable(error.to_string()))?;
        let api = Url::parse(&address.api()).map_err(|error| unusable(error.to_string()))?;
        let authenticator = Authenticator::new(host, address.is_secure(), silence);
        Ok(Self { client, api, host: host.to_owned(), silence, authenticator })
    }

    /// Checks that the host speaks the API.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        self.greet().await.map(|_| ())
    }

    /// Asks the host whether it speaks the API, and sees whom it lets in.
    pub(super) async fn greet(&self) -> Result<Greeting, Error> {
        let call = Call { action: "reach", location: &self.host, scope: Scope::Any };
        let response = self.send(&call, Method::GET, self.api.clone(), |request| request).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let found = match response.status() {
            StatusCode::OK if kind.starts_with("text/html") => "a web page".to_owned(),
            // A registry may let nobody in here and yet show some repositories to everybody.
            StatusCode::OK | StatusCode::UNAUTHORIZED => {
                return Ok(Greeting {
                    welcome: response.status() == StatusCode::OK,
                    asked: self.authenticator.known(&call.scope).is_some(),
                    username: self.authenticator.username(),
                    date: remote::date(response.headers()),
                });
            }
            StatusCode::FORBIDDEN => return Err(self.refusal(&call, response).await),
            status => status.as_u16().to_string(),
        };
        Err(OciError::NotARegistry { host: self.host.clone(), found }.into())
    }

    /// The bytes of a manifest; none when there is none under this tag.
    pub(super) async fn manifest(&self, repository: &str, tag: &str, location: &str) -> Result<Option<Vec<u8>>, Error> {
        let call = Call { action: "read", location, scope: Scope::Pull(repository.to_owned()) };
        let url = self.url(&format!("{repository}/manifests/{tag}"))?;
        let response = self.send(&call, Method::GET, url, |request| request.header(ACCEPT, MANIFEST_TYPE)).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.refusal(&call, response).await),
        }
        let bytes = whole(response, MAX_MANIFEST, &self.host, self.silence).await?;
        bytes.map(Some).ok_or_else(|| Error::TooLong { file: location.to_owned(), limit: MAX_MANIFEST })
    }

    /// Puts a manifest under a tag, whatever was there.
    pub(super) async fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        manifest: &[u8],
        location: &str,
    ) -> Result<(), Error> {
        let call = Call { action: "write", location, scope: Scope::Push(repository.to_owned()) };
        let url = self.url(&format!("{repository}/manifests/{tag}"))?;
        let dress = |request: RequestBuilder| request.header(CONTENT_TYPE, MANIFEST_TYPE).body(manifest.to_vec());
        let response = self.send(&call, Method::PUT, url, dress).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.refusal(&call, response).await) }
    }

    /// The size of a blob, where the registry says it; none when there is no such blob.
    pub(super) async fn blob_size(
        &self,
        repository: &str,
        digest: &Digest,
        location: &str,
    ) -> Result<Option<Option<u64>>, Error> {
        // What is asked before an upload needs no authorization of its own.
        let call = Call { action: "read", location, scope: Scope::Push(repository.to_owned()) };
        let url = self.url(&format!("{repository}/blobs/{digest}"))?;
        let response = self.send(&call, Method::HEAD, url, |request| request).await?;
        match response.status() {
            StatusCode::OK => {
                // The length of a body that does not follow stands in the header alone.
                let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
                Ok(Some(length.and_then(|length| length.parse().ok())))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(&call, response).await),
        }
    }

    /// Opens a blob; none when there is no such blob.
    pub(super) async fn blob(
        &self,
        repository: &str,
        digest: &Digest,
        location: &str,
    ) -> Result<Option<Response>, Error> {
        let call = Call { action: "read", location, scope: Scope::Pull(repository.to_owned()) };
        let url = self.url(&format!("{repository}/blobs/{digest}"))?;
        let response = self.send(&call, Method::GET, url, |request| request).await?;
        match response.status() {
            StatusCode::OK => Ok(Some(response)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(&call, response).await),
        }
    }

    /// Uploads a blob in one request whose body is sent as it comes.
    pub(super) async fn upload(
        &self,
        repository: &str,
        digest: &Digest,
        size: u64,
        upload: Upload,
        location: &str,
    ) -> Result<(), Error> {
        let call = Call { action: "write", location, scope: Scope::Push(repository.to_owned()) };
        let url = self.url(&format!("{repository}/blobs/uploads/"))?;
        let response = self.send(&call, Method::POST, url, |request| request.header(CONTENT_LENGTH, 0)).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.refusal(&call, response).await);
        }
        let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.and_then(|place| response.url().join(place).ok());
        let is_usable = |place: &Url| place.scheme() == "https" || place.scheme() == self.api.scheme();
        let mut place = place.filter(is_usable).ok_or_else(|| OciError::Answer {
            location: location.to_owned(),
            problem: "the registry names no place for the upload".to_owned(),
        })?;
        place.query_pairs_mut().append_pair("digest", &digest.to_string());
        let request = self.client.put(place.clone()).header(CONTENT_TYPE, "application/octet-stream");
        let request = request.header(CONTENT_LENGTH, size).body(upload.body);
        let request = self.authorized(request, &place, self.authenticator.known(&call.scope));
        let response = self.while_it_moves(request.send(), &upload.progress).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.refusal(&call, response).await) }
    }

    /// Removes a manifest or blob; that it is not there is no error.
    pub(super) async fn delete(&self, repository: &str, what: &str, location: &str) -> Result<(), Error> {
        let call = Call { action: "remove", location, scope: Scope::Delete(repository.to_owned()) };
        let url = self.url(&format!("{repository}/{what}"))?;
        let response = self.send(&call, Method::DELETE, url, |request| request).await?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(self.refusal(&call, response).await)
    }

    /// The tags of a repository that `keep` makes something of; none of a repository that is not there.
    pub(super) async fn tags<T>(
        &self,
        repository: &str,
        location: &str,
        keep: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let call = Call { action: "list", location, scope: Scope::Pull(repository.to_owned()) };
        let first = self.url(&format!("{repository}/tags/list?n={PAGE}"))?;
        match self.names(&call, first, keep).await? {
            Listed::Names(names) => Ok(names),
            Listed::Not(response) if response.status() == StatusCode::NOT_FOUND => Ok(Vec::new()),
            Listed::Not(response) => Err(self.refusal(&call, *response).await),
        }
    }

    /// The repositories that `keep` makes something of; none at all where the registry does not list them.
    pub(super) async fn repositories<T>(&self, keep: impl Fn(&str) -> Option<T>) -> Result<Option<Vec<T>>, Error> {
        let call = Call { action: "list", location: &self.host, scope: Scope::Catalog };
        let first = self.url(&format!("_catalog?n={PAGE}"))?;
        match self.names(&call, first, keep).await? {
            Listed::Names(names) => Ok(Some(names)),
            // Registries of many owners have no catalog, or show it to nobody.
            Listed::Not(response) => match response.status() {
                StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED
                | StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN => Ok(None),
                _ => Err(self.refusal(&call, *response).await),
            },
        }
    }

    /// Reads a list page by page, or ends at the first answer that is none.
    async fn names<T>(
        &self,
        call: &Call<'_>,
        first: Url,
        keep: impl Fn(&str) -> Option<T>,
    ) -> Result<Listed<T>, Error> {
        let location = || call.location.to_owned();
        let (mut url, mut kept, mut count) = (first, Vec::new(), 0);
        for _ in 0..MAX_PAGES {
            let response = self.send(call, Method::GET, url.clone(), |request| request).await?;
            if response.status() != StatusCode::OK {
                return Ok(Listed::Not(Box::new(response)));
            }
            let next = next_page(&response);
            let bytes = whole(response, MAX_PAGE, &self.host, self.silence).await?;
            let bytes = bytes.ok_or_else(|| Error::TooLong { file: location(), limit: MAX_PAGE })?;
            let Page { names } = serde_json::from_slice(&bytes).map_err(|error| {
                let problem = format!("it is not a list of names: {}", shorten(&error.to_string()));
                OciError::Answer { location: location(), problem }
            })?;
            let names = names.unwrap_or_default();
            count += names.len();
            kept.extend(names.iter().filter(|name| name.len() <= MAX_NAME).filter_map(|name| keep(name)));
            if count > MAX_NAMES {
                break;
            }
            let Some(next) = next.filter(|_| !names.is_empty()) else { return Ok(Listed::Names(kept)) };
            // A list goes on where it began.
            let next = url.join(&next).ok().filter(|next| next.origin() == url.origin() && next.path() == url.path());
            url = next.ok_or_else(|| OciError::Answer {
                location: location(),
                problem: "its next page is said to be somewhere else".to_owned(),
            })?;
        }
        Err(OciError::Endless { location: location(), limit: MAX_NAMES }.into())
    }

    /// Sends a request, and what only reads some times more while the registry has trouble of its own.
    async fn send(
        &self,
        call: &Call<'_>,
        method: Method,
        url: Url,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        for pause in if method.is_safe() { &PAUSES[..] } else { &[] } {
            let response = self.send_once(call, method.clone(), url.clone(), &dress).await?;
            if !matches!(response.status().as_u16(), 500 | 502..=504) {
                return Ok(response);
            }
            tokio::time::sleep(*pause).await;
        }
        self.send_once(call, method, url, &dress).await
    }

    /// Sends a request, and once more with what its challenge asks for. An answer of any status is an answer.
    async fn send_once(
        &self,
        call: &Call<'_>,
        method: Method,
        url: Url,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let ask = |authorization: Option<Authorization>| {
            let request = dress(self.client.request(method.clone(), url.clone()));
            briefly(self.authorized(request, &url, authorization).send(), &self.host, self.silence)
        };
        let response = ask(self.authenticator.known(&call.scope)).await?;
        // Another host's challenge, after a redirection, is not answered.
        if response.status() != StatusCode::UNAUTHORIZED || response.url().origin() != self.api.origin() {
            return Ok(response);
        }
        match self.authenticator.answer(&self.client, response.headers(), call).await? {
            Some(authorization) => ask(Some(authorization)).await,
            None => Ok(response),
        }
    }

    /// Puts an authorization on a request to the registry itself.
    fn authorized(&self, request: RequestBuilder, url: &Url, authorization: Option<Authorization>) -> RequestBuilder {
        match authorization.filter(|_| url.origin() == self.api.origin()) {
            Some(authorization) => authorization.on(request),
            None => request,
        }
    }

    /// Waits for a request whose body may take long, as long as pieces of it go away.
    async fn while_it_moves(
        &self,
        request: impl Future<Output = reqwest::Result<Response>>,
        progress: &Progress,
    ) -> Result<Response, Error> {
        let mut request = std::pin::pin!(request);
        loop {
            let before = progress.count();
            match tokio::time::timeout(self.silence, &mut request).await {
                Ok(answer) => return answer.map_err(|error| unreachable(&self.host, error)),
                Err(_) if progress.count() != before => {}
                Err(_) => return Err(silent(&self.host, self.silence).into()),
            }
        }
    }

    /// A body to read as it comes.
    pub(super) fn body(&self, response: Response) -> remote::Body {
        let (host, silence) = (self.host.clone(), self.silence);
        remote::Body::new(stream::unfold(Some(response), move |response| {
            let host = host.clone();
            async move {
                let mut response = response?;
                let error = match tokio::time::timeout(silence, response.chunk()).await {
                    Ok(Ok(Some(chunk))) => return Some((Ok(chunk), Some(response))),
                    Ok(Ok(None)) => return None,
                    Ok(Err(error)) => std::io::Error::other(error.without_url()),
                    Err(_) => silent(&host, silence).into_io(),
                };
                Some((Err(error), None))
            }
        }))
    }

    /// Reads a whole body of at most `limit` bytes; none when it is longer.
    pub(super) async fn whole(&self, response: Response, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        whole(response, limit, &self.host, self.silence).await
    }

    fn url(&self, path: &str) -> Result<Url, Error> {
        self.api.join(path).map_err(|error| {
            let location = shorten(path);
            OciError::Answer { location, problem: error.to_string() }.into()
        })
    }

    /// The error for an answer that is none.
    async fn refusal(&self, call: &Call<'_>, response: Response) -> Error {
        let status = response.status();
        let (action, location) = (call.action, call.location.to_owned());
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let (host, username) = (self.host.clone(), self.authenticator.username());
            return OciError::Denied { action, location, host, username, status: status.as_u16() }.into();
        }
        let page = whole(response, MAX_ERROR, &self.host, self.silence).await.ok().flatten().unwrap_or_default();
        // A page that is not the API's is not worth showing: its status says more.
        let message = serde_json::from_slice(&page)
            .ok()
            .and_then(|OciEnvelope { errors }| errors.first().map(|error| shorten(&error.message)));
        let message = message.unwrap_or_default();
        OciError::Refused { action, location, status: status.as_u16(), message }.into()
    }
}

/// What a list was answered with.
enum Listed<T> {
    Names(Vec<T>),
    Not(Box<Response>),
}

/// A page of tags or repositories.
#[derive(Deserialize)]
struct Page {
    #[serde(alias = "tags", alias = "repositories")]
    names: Option<Vec<String>>,
}

/// Where the page after this one is: `Link: </v2/…?last=x>; rel="next"`.
fn next_page(response: &Response) -> Option<String> {
    let links = response.headers().get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    let next = links.flat_map(|links| links.split(',')).find(|link| {
        let relation = link.split_once('>').map_or("", |(_, parameters)| parameters);
        relation.contains("rel=\"next\"") || relation.contains("rel=next")
    });
    Some(next?.split_once('<')?.1.split_once('>')?.0.to_owned())
}
