//! Authentication: what a registry's challenge is answered with, remembered for what it is good for.
//!
//! Nothing is sent before a registry asks. A name and a password go to the registry's own host, and to the token server that
//! it names, which must be spoken to as safely as the registry itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use oci_client::token_cache::RegistryToken;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, StatusCode, Url};

use super::address::is_loopback;
use super::answer;
use super::challenge::Challenge;
use super::credentials::{self, Credentials};
use super::error::OciError;
use super::transport::Call;
use crate::error::Error;

/// The longest answer of a token server, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

/// What an authorization is good for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// To see whether the registry is there.
    Any,
    /// To list repositories.
    Catalog,
    /// To read a repository.
    Pull(String),
    /// To read and write a repository.
    Push(String),
    /// To remove from a repository, too.
    Delete(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Catalog => formatter.write_str("registry:catalog:*"),
            Self::Pull(repository) => write!(formatter, "repository:{repository}:pull"),
            Self::Push(repository) => write!(formatter, "repository:{repository}:pull,push"),
            Self::Delete(repository) => write!(formatter, "repository:{repository}:pull,push,delete"),
        }
    }
}

/// What a request bears.
#[derive(Clone)]
pub(super) enum Authorization {
    /// A name and a password.
    Basic(Credentials),
    /// A token.
    Bearer(String),
}

impl Authorization {
    /// Puts it on a request.
    pub(super) fn on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Basic(Credentials { username, password }) => request.basic_auth(username, Some(password)),
            Self::Bearer(token) => request.bearer_auth(token),
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Basic(_) => "Basic",
            Self::Bearer(_) => "Bearer",
        })
    }
}

/// Answers the challenges of one host.
#[derive(Debug)]
pub(super) struct Authenticator {
    host: String,
    secure: bool,
    silence: Duration,
    credentials: OnceLock<Option<Credentials>>,
    known: Mutex<BTreeMap<Scope, Authorization>>,
}

impl Authenticator {
    pub(super) fn new(host: &str, secure: bool, silence: Duration) -> Self {
        let (credentials, known) = (OnceLock::new(), Mutex::default());
        Self { host: host.to_owned(), secure, silence, credentials, known }
    }

    /// What was answered for a scope before.
    pub(super) fn known(&self, scope: &Scope) -> Option<Authorization> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned()
    }

    /// Who asks, when the registry wanted to know and there are credentials.
    pub(super) fn username(&self) -> Option<String> {
        self.credentials.get()?.as_ref().map(|credentials| credentials.username.clone())
    }

    /// Answers a challenge; none when there is nothing to answer it with.
    pub(super) async fn answer(
        &self,
        client: &Client,
        headers: &HeaderMap,
        call: &Call<'_>,
    ) -> Result<Option<Authorization>, Error> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = values.flat_map(Challenge::parse).collect();
        let credentials = self.credentials()?;
        let mut answer = None;
        for challenge in &challenges {
            answer = match (challenge, credentials) {
                (Challenge::Bearer { realm, service }, _) => {
                    self.token(client, realm, service.as_deref(), credentials, call).await?
                }
                (Challenge::Basic, Some(credentials)) => Some(Authorization::Basic(credentials.clone())),
                (Challenge::Basic, None) => None,
            };
            if answer.is_some() {
                break;
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Some(value) => known.insert(call.scope.clone(), value.clone()),
            None => known.remove(&call.scope),
        };
        Ok(answer)
    }

    fn credentials(&self) -> Result<Option<&Credentials>, Error> {
        if let Some(found) = self.credentials.get() {
            return Ok(found.as_ref());
        }
        let found = credentials::find(&self.host, &|name| std::env::var_os(name))?;
        Ok(self.credentials.get_or_init(|| found).as_ref())
    }

    /// Asks a token server (<https://distribution.github.io/distribution/spec/auth/token/>).
    async fn token(
        &self,
        client: &Client,
        realm: &str,
        service: Option<&str>,
        credentials: Option<&Credentials>,
        call: &Call<'_>,
    ) -> Result<Option<Authorization>, Error> {
        let refuse = |problem: &str| {
            let location = crate::text::shorten(realm);
            Error::from(OciError::Answer { location, problem: problem.to_owned() })
        };
        let mut url = Url::parse(realm).map_err(|_| refuse("a token server has no such address"))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let may_be_plain = !self.secure && (is_loopback(&host) || self.host.split(':').next() == Some(&host));
        if url.scheme() != "https" && !(url.scheme() == "http" && may_be_plain) {
            return Err(refuse("a password must not be sent to a token server without TLS"));
        }
        let scope = call.scope.to_string();
        let asked = [
            service.map(|service| ("service", service)),
            Some(("scope", scope.as_str())).filter(|(_, scope)| !scope.is_empty()),
        ];
        url.query_pairs_mut().extend_pairs(asked.into_iter().flatten());
        let mut request = client.get(url);
        if let Some(Credentials { username, password }) = credentials {
            request = request.basic_auth(username, Some(password));
        }
        let response = answer::briefly(request.send(), &host, self.silence).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
            status => return Err(refuse(&format!("the token server answered {}", status.as_u16()))),
        }
        let bytes = answer::whole(response, MAX_TOKEN, &host, self.silence).await?;
        let bytes = bytes.ok_or_else(|| refuse("the token server's answer is too long"))?;
        let token: RegistryToken =
            serde_json::from_slice(&bytes).map_err(|_| refuse("the token server's answer has no token"))?;
        let token = token.token();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refuse("the token server's answer has no token that can be sent"));
        }
        Ok(Some(Authorization::Bearer(token.to_owned())))
    }
}
