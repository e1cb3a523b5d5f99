//! Credentials: what the environment and Docker's configuration know about one host.
//!
//! ```text
//! KADAPTER_OCI_HOST, KADAPTER_OCI_USERNAME, KADAPTER_OCI_PASSWORD      for that host and no other
//! $DOCKER_CONFIG/config.json or ~/.docker/config.json                  `auths`, `credHelpers`, `credsStore`
//! ```
//!
//! They are looked up when a registry asks for them and not before: helpers may ask the person at the keyboard.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::error::OciError;
use crate::error::Error;
use crate::text::shorten;

/// The host that the next two are for.
pub(super) const HOST: &str = "KADAPTER_OCI_HOST";
/// The name to log in with.
pub(super) const USERNAME: &str = "KADAPTER_OCI_USERNAME";
/// The password to log in with.
pub(super) const PASSWORD: &str = "KADAPTER_OCI_PASSWORD";
/// The longest configuration file, in bytes.
const MAX_CONFIG: u64 = 1024 * 1024;
/// What Docker writes in the place of a name where the secret is a token, which only its own tools can use.
const TOKEN_USER: &str = "<token>";

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// The name.
    pub(super) username: String,
    /// The password, or a token in its place.
    pub(super) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Docker's configuration, as far as it is about registries.
#[derive(Default, Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
struct DockerAuth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// What a helper prints.
#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Finds the credentials for a host; none when nobody has any.
///
/// # Errors
/// Docker's configuration cannot be read.
pub(super) fn find(host: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<Credentials>, Error> {
    let text = |name| variable(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
    if let (Some(named), Some(username), Some(password)) = (text(HOST), text(USERNAME), text(PASSWORD))
        && named == host
    {
        return Ok(Some(Credentials { username, password }));
    }
    let folder = match variable("DOCKER_CONFIG").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => match variable("HOME").filter(|home| !home.is_empty()) {
            Some(home) => PathBuf::from(home).join(".docker"),
            None => return Ok(None),
        },
    };
    let path = folder.join("config.json");
    let file = path.display().to_string();
    let refuse =
        |problem: String| Error::from(OciError::Credentials { host: host.to_owned(), file: file.clone(), problem });
    let bytes = match crate::files::read_bytes(&path, MAX_CONFIG) {
        Ok(bytes) => bytes,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // serde's messages quote values, and values here are secrets.
    let config: DockerConfig = serde_json::from_slice(&bytes)
        .map_err(|error| refuse(format!("line {} is not what Docker writes", error.line())))?;
    let helper = config.helpers.iter().find(|(key, _)| is_for(key, host)).map(|(_, helper)| helper);
    if let Some(helper) = helper.or(config.store.as_ref()).filter(|helper| !helper.is_empty()) {
        return ask_helper(helper, host);
    }
    let Some((_, auth)) = config.auths.iter().find(|(key, _)| is_for(key, host)) else { return Ok(None) };
    auth.credentials().ok_or_else(|| refuse("its entry has no name and password".to_owned())).map(Some)
}

/// Tells whether an entry is for this host: people and tools write it with and without scheme and path.
fn is_for(key: &str, host: &str) -> bool {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    let key = key.split('/').next().unwrap_or(key);
    key == host || host == "docker.io" && key == "index.docker.io"
}

impl DockerAuth {
    fn credentials(&self) -> Option<Credentials> {
        if !self.username.is_empty() {
            return Some(Credentials { username: self.username.clone(), password: self.password.clone() });
        }
        let decoded = String::from_utf8(base64(self.auth.trim())?).ok()?;
        let (username, password) = decoded.split_once(':')?;
        let password = password.trim_end_matches('\0').to_owned();
        (!username.is_empty()).then(|| Credentials { username: username.to_owned(), password })
    }
}

/// Runs `docker-credential-<helper> get`.
fn ask_helper(helper: &str, host: &str) -> Result<Option<Credentials>, Error> {
    let program = format!("docker-credential-{helper}");
    let refuse = |problem: String| {
        Error::from(OciError::Credentials { host: host.to_owned(), file: shorten(&program), problem })
    };
    if !helper.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(refuse("it is not the name of a helper".to_owned()));
    }
    let server = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| refuse(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read has its own way to fail.
        input.write_all(server.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(|error| refuse(error.to_string()))?;
    if !output.status.success() {
        // Helpers fail, with a sentence of their own, when they know nothing about the host.
        return Ok(None);
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| refuse("its answer is not what helpers say".to_owned()))?;
    if answer.username == TOKEN_USER {
        return Err(refuse("it has an identity token, which only Docker itself can use".to_owned()));
    }
    Ok(Some(Credentials { username: answer.username, password: answer.secret }))
}

/// Decodes base64 of the standard alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for character in text.trim_end_matches('=').bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 & 0xFFFF | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xFF) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(config: &str, host: &str) -> Result<Option<Credentials>, Error> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        find(host, &|name| (name == "DOCKER_CONFIG").then(|| folder.path().into()))
    }

    fn ada() -> Option<Credentials> {
        Some(Credentials { username: "ada".to_owned(), password: "pass:word".to_owned() })
    }

    #[test]
    fn an_entry_is_found_however_its_host_is_written() {
        for key in ["r.example:5000", "https://r.example:5000", "http://r.example:5000/v1/", "r.example:5000/acme"] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"YWRhOnBhc3M6d29yZA=="}}}},"HttpHeaders":{{}}}}"#);
            assert_eq!(with(&config, "r.example:5000").unwrap(), ada(), "{key}");
            assert_eq!(with(&config, "r.example").unwrap(), None, "{key}");
            assert_eq!(with(&config, "r.example:5000.evil.com").unwrap(), None, "{key}");
        }
        let hub = r#"{"auths":{"https://index.docker.io/v1/":{"username":"ada","password":"pass:word"}}}"#;
        assert_eq!(with(hub, "docker.io").unwrap(), ada());
        assert_eq!(find("docker.io", &|_| None).unwrap(), None);
    }

    #[test]
    fn the_environment_is_for_the_host_that_it_names() {
        let variable = |name: &str| match name {
            HOST => Some("r.example".into()),
            USERNAME => Some("ada".into()),
            PASSWORD => Some("pass:word".into()),
            _ => None,
        };
        assert_eq!(find("r.example", &variable).unwrap(), ada());
        assert_eq!(find("evil.example", &variable).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_used_is_told_without_the_secret() {
        for config in [
            r#"{"auths":{"r.example":{"auth":"c2VjcmV0"}}}"#,
            r#"{"auths":{"r.example":{"auth":"!secret!"}}}"#,
            r#"{"auths":{"r.example":{"identitytoken":"secret"}}}"#,
            r#"{"auths":{"r.example":"secret"}}"#,
            r#"{"auths":{"r.example":{"auth":"secret"#,
            r#"{"credsStore":"../secret"}"#,
            r#"{"credsStore":"no-such-helper-of-kadapter"}"#,
        ] {
            let error = with(config, "r.example").unwrap_err();
            assert!(
                matches!(&error, Error::Oci(problem) if matches!(**problem, OciError::Credentials { .. })),
                "{error}"
            );
            assert!(!error.to_string().contains("secret") || config.contains("../secret"), "{error}");
        }
    }

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in
            [("", &b""[..]), ("YQ==", b"a"), ("YWI=", b"ab"), ("YWJj", b"abc"), ("+/+/", b"\xfb\xff\xbf")]
        {
            assert_eq!(base64(text).unwrap(), bytes);
        }
        assert_eq!(base64("a b"), None);
    }
}
