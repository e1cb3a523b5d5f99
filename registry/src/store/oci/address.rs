//! Addresses: the host, and the repositories and tags that packages, releases and notes have there.
//!
//! ```text
//! oci://host[:port]/prefix
//!     prefix/<namespace>/<name>                            repository of a package
//!         <version>                                        tag of a release
//!         <version>_sig_<key id>                           tag of a signature
//!         <version>_yank_<milliseconds>_<key id or `unsigned`>
//! ```
//!
//! `_` cannot stand in a version, so no tag can be taken for another.

use std::net::IpAddr;

use oci_client::Reference;

use super::error::OciError;
use crate::error::Error;
use crate::name::PackageName;
use crate::note::Note;
use crate::version::Version;

/// Names hosts that are spoken to without TLS, separated by commas.
pub(super) const INSECURE: &str = "KADAPTER_OCI_INSECURE";

/// Where a registry of packages is in an OCI registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    /// Empty, or components without a slash at either end.
    prefix: String,
    secure: bool,
}

impl Address {
    /// Reads what follows `oci://`; `insecure` has the hosts without TLS, as [`INSECURE`] names them.
    pub(super) fn parse(address: &str, insecure: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::from(OciError::Address { address: crate::text::shorten(address), problem });
        let (host, prefix) = address.split_once('/').unwrap_or((address, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let secure = !is_loopback(host) && !insecure.split(',').any(|name| name.trim() == host);
        let parsed = Self { host: host.to_owned(), prefix: prefix.to_owned(), secure };
        let example = format!("{host}/{}", parsed.below("n/n"));
        let reference: Reference =
            example.parse().map_err(|_| refuse("it is not a host and a path as OCI registries have them"))?;
        if reference.registry() != host {
            return Err(refuse("its host needs a dot or a port, or must be `localhost`"));
        }
        if reference.repository() != parsed.below("n/n") || reference.tag() != Some("latest") {
            return Err(refuse("it is not a host and a path as OCI registries have them"));
        }
        Ok(parsed)
    }

    /// The host with its port, as it was written.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether the host is spoken to with TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The same address, spoken to with TLS even on this machine.
    #[cfg(test)]
    pub(super) fn with_tls(self) -> Self {
        Self { secure: true, ..self }
    }

    /// The root of the registry's API.
    pub(super) fn api(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        // The names that people write for Docker's own registry are not those of the host that answers.
        let host = if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host };
        format!("{scheme}://{host}/v2/")
    }

    /// The repository of a package.
    pub(super) fn repository(&self, name: &PackageName) -> Result<String, Error> {
        let repository = self.below(&name.to_string());
        let reference = format!("{}/{repository}", self.host).parse::<Reference>();
        if reference.is_ok_and(|reference| reference.repository() == repository) {
            Ok(repository)
        } else {
            Err(OciError::Repository { name: name.clone(), repository }.into())
        }
    }

    /// The repository that `doctor` tries the registry with: no package's, since those have a namespace and a name.
    pub(super) fn probe_repository(&self) -> String {
        self.below("kadapter-doctor")
    }

    /// The package of a repository; none for a repository that is elsewhere or no package's.
    pub(super) fn package(&self, repository: &str) -> Option<PackageName> {
        let rest = repository.strip_prefix(self.prefix.as_str())?;
        if self.prefix.is_empty() { rest } else { rest.strip_prefix('/')? }.parse().ok()
    }

    fn below(&self, path: &str) -> String {
        if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "oci://{}", self.host)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.prefix) }
    }
}

/// Tells whether a host, with or without a port, is this machine itself.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a tag of a package's repository stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag {
    /// A release.
    Release(Version),
    /// A note on one.
    Note(Version, Note),
}

impl Tag {
    /// The tag of a note.
    pub(super) fn of_note(version: &Version, note: &Note) -> String {
        match note {
            Note::Signature(key) => format!("{version}_sig_{key}"),
            Note::Yank { at, key: Some(key) } => format!("{version}_yank_{at}_{key}"),
            Note::Yank { at, key: None } => format!("{version}_yank_{at}_unsigned"),
        }
    }

    /// Reads a tag; none for one that is not ours, or ours in another spelling.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some((version, rest)) = text.split_once('_') else { return text.parse().ok().map(Self::Release) };
        let file_name = if let Some(key) = rest.strip_prefix("sig_") {
            format!("{key}.minisig")
        } else {
            format!("{}.json", rest.strip_prefix("yank_")?.replacen('_', "-", 1))
        };
        let (version, note) = (version.parse().ok()?, Note::from_file_name(&file_name)?);
        (Self::of_note(&version, &note) == text).then_some(Self::Note(version, note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_path() {
        for good in ["ghcr.io/acme", "ghcr.io/acme/models/", "localhost/x", "registry:5000", "127.0.0.1:5000/a/b-c"] {
            let address = Address::parse(good, "").unwrap();
            assert_eq!(address.to_string(), format!("oci://{}", good.trim_end_matches('/')));
        }
        for bad in [
            "",
            "/",
            "registry",
            "registry/acme",
            "user:pass@ghcr.io/acme",
            "user@ghcr.io",
            "ghcr.io//acme",
            "ghcr.io/../acme",
            "ghcr.io/Acme",
            "ghcr.io/acme?x",
            "ghcr.io/acme#x",
            "ghcr.io/acme:1",
            "ghcr.io/a cme",
            "ghcr.io/acme/%2e%2e",
            "ghcr.io:x/acme",
            "ghcr.io\\@evil.com/acme",
        ] {
            assert!(Address::parse(bad, "").is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_and_hosts_that_were_named_are_spoken_to_without_tls() {
        let api = |address: &str, insecure: &str| Address::parse(address, insecure).unwrap().api();
        assert_eq!(api("ghcr.io/acme", ""), "https://ghcr.io/v2/");
        assert_eq!(api("docker.io", ""), "https://registry-1.docker.io/v2/");
        assert_eq!(api("localhost:5000/acme", ""), "http://localhost:5000/v2/");
        assert_eq!(api("127.3.4.5:5000/acme", ""), "http://127.3.4.5:5000/v2/");
        assert_eq!(api("127.0.0.1.example.com/acme", ""), "https://127.0.0.1.example.com/v2/");
        assert_eq!(api("localhost.example.com/acme", ""), "https://localhost.example.com/v2/");
        assert_eq!(api("registry:5000", "other:1, registry:5000"), "http://registry:5000/v2/");
        assert_eq!(api("registry:5001", "registry:5000"), "https://registry:5001/v2/");
    }

    #[test]
    fn packages_are_repositories_below_the_prefix() {
        let address = Address::parse("ghcr.io/acme", "").unwrap();
        assert_eq!(address.repository(&"k/my-base_x.y".parse().unwrap()).unwrap(), "acme/k/my-base_x.y");
        assert_eq!(address.package("acme/k/base"), Some("k/base".parse().unwrap()));
        for other in ["acme/base", "acme2/k/base", "k/base", "acme/k/base/more", "acme/K/base", ""] {
            assert_eq!(address.package(other), None, "{other}");
        }
        for name in ["k/a..b", "k/a-", "k/a._b", "k/a___b"] {
            assert!(address.repository(&name.parse().unwrap()).is_err(), "{name}");
        }
        assert_eq!(Address::parse("r:1", "").unwrap().package("k/base"), Some("k/base".parse().unwrap()));
    }

    #[test]
    fn tags_are_read_back_and_nothing_else_is() {
        let (version, key): (Version, crate::KeyId) =
            ("1.0.0-rc.1".parse().unwrap(), "0123456789ABCDEF".parse().unwrap());
        let notes =
            [Note::Signature(key.clone()), Note::Yank { at: 17, key: Some(key) }, Note::Yank { at: 0, key: None }];
        for note in notes {
            let tag = Tag::of_note(&version, &note);
            assert_eq!(Tag::parse(&tag), Some(Tag::Note(version.clone(), note)), "{tag}");
        }
        assert_eq!(Tag::parse("1.0.0-rc.1"), Some(Tag::Release(version)));
        for other in [
            "latest",
            "1.0",
            "v1.0.0",
            "1.0.0_sig_x",
            "1.0.0_sig_0123456789abcdef",
            "1.0.0_yank_01_unsigned",
            "1.0.0_yank_1",
            "1.0.0_other_1",
            "sha256-0123",
            "_sig_0123456789ABCDEF",
            "",
        ] {
            assert_eq!(Tag::parse(other), None, "{other}");
        }
    }
}
