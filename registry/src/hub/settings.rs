//! Which Hub is meant, and who asks: read from the environment as Hugging Face's own programs do, with a stricter rule for tokens.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::HubError;
use crate::error::Error;
use crate::files;

/// The official Hub.
pub const OFFICIAL: &str = "https://huggingface.co";
/// The longest token, in bytes; the Hub's have 37.
const MAX_TOKEN: u64 = 4096;

/// A secret that names a user to one endpoint. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token; none unless it is made of visible ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let visible = !text.is_empty() && text.len() as u64 <= MAX_TOKEN && text.bytes().all(|b| b.is_ascii_graphic());
        visible.then(|| Self(text.to_owned()))
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// Which Hub is asked, by whom, and whether at all.
#[derive(Debug, Clone)]
pub struct Settings {
    endpoint: Url,
    token: Option<Token>,
    offline: bool,
}

impl Settings {
    /// Uses the Hub at `endpoint`; the token, if there is one, belongs to it.
    ///
    /// # Errors
    /// The endpoint is no plain `http` or `https` address, or a token would go there unencrypted and not to this machine.
    pub fn new(endpoint: &str, token: Option<Token>, offline: bool) -> Result<Self, Error> {
        let refuse =
            |problem: &str| Error::from(HubError::Setting { variable: "HF_ENDPOINT", problem: problem.to_owned() });
        let endpoint = endpoint.trim_end_matches('/');
        let url = Url::parse(endpoint).map_err(|_| refuse("it is no address such as `https://huggingface.co`"))?;
        let plain =
            url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
            return Err(refuse("it must be `https://` and a host, without user, `?` or `#`"));
        }
        if token.is_some() && url.scheme() == "http" && !is_loopback(&url) {
            return Err(refuse("a token is not sent to it unencrypted; it must be `https://` and a host"));
        }
        Ok(Self { endpoint: url, token, offline })
    }

    /// Reads `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`, `HF_HUB_DISABLE_IMPLICIT_TOKEN` and, for the official Hub only, the
    /// token that `hf auth login` has kept (`HF_TOKEN_PATH`, `HF_HOME/token`, …).
    ///
    /// A kept token belongs to the official Hub. Another endpoint gets the token that was set beside it, in `HF_TOKEN`.
    ///
    /// # Errors
    /// A variable has a value that cannot be.
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_lookup(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_lookup(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let text = |name: &'static str| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => {
                Err(Error::from(HubError::Setting { variable: name, problem: "it is not UTF-8".to_owned() }))
            }
        };
        let endpoint = text("HF_ENDPOINT")?.unwrap_or_else(|| OFFICIAL.to_owned());
        let is_official = endpoint.trim_end_matches('/') == OFFICIAL;
        let token = if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_true(&value)) {
            None
        } else if let Some(token) = text("HF_TOKEN")? {
            let problem = || "it is no token: only visible ASCII may stand in one".to_owned();
            Some(Token::new(&token).ok_or_else(|| HubError::Setting { variable: "HF_TOKEN", problem: problem() })?)
        } else if is_official {
            kept_token(&variable)
        } else {
            None
        };
        Self::new(&endpoint, token, variable("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)))
    }

    /// The address of the Hub.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// Whether the network must not be used.
    #[must_use]
    pub const fn is_offline(&self) -> bool {
        self.offline
    }

    /// Whether there is a token for this Hub.
    #[must_use]
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    pub(super) const fn url(&self) -> &Url {
        &self.endpoint
    }

    pub(super) const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }
}

/// Reads a switch as Hugging Face's programs do.
fn is_true(value: &std::ffi::OsStr) -> bool {
    value.to_str().is_some_and(|text| ["1", "on", "yes", "true"].iter().any(|word| text.eq_ignore_ascii_case(word)))
}

/// Tells whether an address is on this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The token that `hf auth login` has kept, if there is one that can be read.
fn kept_token(variable: &impl Fn(&str) -> Option<OsString>) -> Option<Token> {
    let folder = |name: &str, below: &str| variable(name).map(|base| Path::new(&base).join(below).join("token"));
    let path = variable("HF_TOKEN_PATH")
        .map(PathBuf::from)
        .or_else(|| folder("HF_HOME", ""))
        .or_else(|| folder("XDG_CACHE_HOME", "huggingface"))
        .or_else(|| folder("HOME", ".cache/huggingface"))?;
    let bytes = files::read_bounded(File::open(path).ok()?, MAX_TOKEN).ok()??;
    Token::new(std::str::from_utf8(&bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::from_lookup(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()))
    }

    fn token(pairs: &[(&str, &str)]) -> Option<String> {
        read(pairs).unwrap().token.map(|token| token.0)
    }

    #[test]
    fn a_kept_token_is_for_the_official_hub_only() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_kept\n").unwrap();
        let home = ("HF_HOME", home.path().to_str().unwrap());
        assert_eq!(token(&[home]).unwrap(), "hf_kept");
        assert_eq!(token(&[home, ("HF_ENDPOINT", "https://huggingface.co/")]).unwrap(), "hf_kept");
        assert_eq!(token(&[home, ("HF_TOKEN", "hf_set")]).unwrap(), "hf_set");
        assert_eq!(token(&[home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(token(&[home, ("HF_ENDPOINT", "https://hub.example")]), None);
        assert_eq!(token(&[home, ("HF_ENDPOINT", "https://hub.example"), ("HF_TOKEN", "hf_set")]).unwrap(), "hf_set");
    }

    #[test]
    fn a_token_is_not_sent_unencrypted_over_a_network() {
        let set = ("HF_TOKEN", "hf_set");
        assert!(read(&[set, ("HF_ENDPOINT", "http://hub.example")]).is_err());
        assert!(read(&[("HF_ENDPOINT", "http://hub.example")]).is_ok());
        for here in ["http://127.0.0.1:80", "http://[::1]:80", "http://localhost:80"] {
            assert!(token(&[set, ("HF_ENDPOINT", here)]).is_some(), "{here}");
        }
        assert!(read(&[("HF_TOKEN", "a\nb")]).is_err());
        assert_eq!(format!("{:?}", Token::new("hf_secret")), "Some(Token(…))");
    }

    #[test]
    fn endpoints_are_plain() {
        assert_eq!(read(&[]).unwrap().endpoint(), OFFICIAL);
        assert_eq!(
            read(&[("HF_ENDPOINT", "https://hub.example/base/")]).unwrap().endpoint(),
            "https://hub.example/base"
        );
        for bad in ["hub.example", "file:///etc", "https://user@hub.example", "https://hub.example?x", "https://"] {
            assert!(read(&[("HF_ENDPOINT", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn offline_is_a_switch() {
        for (value, expected) in [("1", true), ("TRUE", true), ("0", false), ("no", false)] {
            assert_eq!(read(&[("HF_HUB_OFFLINE", value)]).unwrap().is_offline(), expected, "{value}");
        }
    }
}
