//! What doctor tries in an OCI registry: who it takes us for, whether a small artifact can be pushed, read, replaced and
//! removed, and what time it is there.
//!
//! The artifact lies in a repository of its own, `kadapter-doctor` below the prefix, which no package can have.

use std::time::{SystemTime, UNIX_EPOCH};

use super::manifest::{self, Artifact};
use super::pump::Upload;
use super::transport::Greeting;
use super::{Oci, OciError, wait};
use crate::digest::Digest;
use crate::doctor::Finding;
use crate::error::Error;

/// What everything is tried with.
struct Probe<'a> {
    oci: &'a Oci,
    repository: String,
    tag: String,
    /// The repository with the tag, for people.
    location: String,
}

pub(super) fn probe(oci: &Oci) -> Vec<Finding> {
    let before = SystemTime::now();
    let greeting = match wait(oci.transport.greet()) {
        Ok(greeting) => greeting,
        Err(error) => return vec![Finding::failed("login", &error)],
    };
    let clock = greeting.date.map(|date| Finding::clock(before, date, SystemTime::now()));
    let mut findings = vec![login(oci, &greeting)];
    findings.extend(Probe::new(oci).run());
    findings.extend(clock);
    findings
}

/// Whom the registry takes us for.
fn login(oci: &Oci, greeting: &Greeting) -> Finding {
    const ID: &str = "login";
    match (greeting.welcome, &greeting.username) {
        (true, Some(name)) => Finding::ok(ID, format!("it knows us as `{name}`")),
        (true, None) if greeting.asked => Finding::ok(ID, "it lets in whoever has no name, too"),
        (true, None) => Finding::ok(ID, "it asks nobody for a name"),
        (false, username) => {
            let found = match username {
                Some(name) => format!("it does not take `{name}` with this password"),
                None => "it asks for a login, and there is none for it".to_owned(),
            };
            let (host, username) = (oci.address.host().to_owned(), username.clone());
            let (action, location) = ("reach", oci.address.to_string());
            let error = OciError::Denied { action, location, host, username, status: 401 };
            Finding::warning(ID, found, error.hint())
        }
    }
}

/// What a registry that refuses something to these credentials answers; none where it is another error.
fn denied(error: &Error) -> Option<u16> {
    match error {
        Error::Oci(problem) => match &**problem {
            OciError::Denied { status, .. } => Some(*status),
            _ => None,
        },
        _ => None,
    }
}

impl<'a> Probe<'a> {
    fn new(oci: &'a Oci) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let tag = format!("probe-{}-{}", std::process::id(), since.as_nanos());
        let repository = oci.address.probe_repository();
        let location = format!("oci://{}/{repository}:{tag}", oci.address.host());
        Self { oci, repository, tag, location }
    }

    fn run(&self) -> Vec<Finding> {
        // Content that the registry has would not be uploaded, so no two tries have the same.
        let contents = ["first", "second"].map(|which| format!("kadapter doctor was here: {which} {}\n", self.tag));
        let [first, second] = contents.each_ref().map(|content| manifest::of_probe(content.as_bytes()));
        if let Err(error) = self.push(&first, contents[0].as_bytes()) {
            return vec![match denied(&error) {
                Some(status) => {
                    let found = format!("nothing can be published with these credentials: it answers {status}");
                    Finding::warning("write", found, error.hint())
                }
                None => Finding::failed("write", &error),
            }];
        }
        let mut findings = vec![Finding::ok("write", "blobs and manifests can be pushed")];
        findings.push(self.what_was_written(&first, contents[0].as_bytes()));
        findings.push(self.conditions(&second, contents[1].as_bytes()));
        let blobs = [contents[0].as_bytes(), contents[1].as_bytes(), first.config.as_slice()];
        findings.push(self.removal(&[&first, &second], &blobs.map(Digest::of)));
        findings
    }

    fn push(&self, artifact: &Artifact, content: &[u8]) -> Result<(), Error> {
        let Self { oci, repository, location, .. } = self;
        for bytes in [content, &artifact.config] {
            let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
            wait(async {
                if oci.transport.blob_size(repository, &digest, location).await?.is_some() {
                    return Ok(());
                }
                oci.transport.upload(repository, &digest, size, Upload::of(bytes), location).await
            })?;
        }
        wait(oci.transport.put_manifest(repository, &self.tag, &artifact.manifest, location))
    }

    /// Reads what was written, and looks for its tag in the list.
    fn what_was_written(&self, artifact: &Artifact, content: &[u8]) -> Finding {
        const ID: &str = "read-after-write";
        let Self { oci, repository, tag, location } = self;
        let read = wait(async {
            let manifest = oci.transport.manifest(repository, tag, location).await?;
            let blob = match oci.transport.blob(repository, &Digest::of(content), location).await? {
                Some(response) => oci.transport.whole(response, content.len() as u64).await?,
                None => None,
            };
            let listed = oci.transport.tags(repository, location, |name| (name == tag).then_some(())).await?;
            Ok((manifest, blob, !listed.is_empty()))
        });
        let lags = |found: &str| {
            let cure = "readers may see a release late; nothing is lost, try again in a minute".to_owned();
            Finding::warning(ID, found, Some(cure))
        };
        match read {
            Err(error) => Finding::failed(ID, &error),
            Ok((Some(manifest), ..)) if manifest != artifact.manifest => {
                let problem = "another manifest is there than the one that was pushed".to_owned();
                Finding::failed(ID, &OciError::Answer { location: location.clone(), problem }.into())
            }
            Ok((Some(_), Some(blob), true)) if blob == content => {
                Finding::ok(ID, "what was just pushed is there, for readers and in lists")
            }
            Ok((Some(_), Some(_), false)) => lags("what was just pushed is not listed yet"),
            Ok(_) => lags("what was just pushed cannot be read yet"),
        }
    }

    /// Pushes another manifest under the tag that is taken.
    fn conditions(&self, other: &Artifact, content: &[u8]) -> Finding {
        const ID: &str = "conditional-tags";
        let refused = |error: &Error| {
            let refusal = |problem: &OciError| {
                matches!(problem, OciError::Denied { .. } | OciError::Refused { status: 400..=499, .. })
            };
            matches!(error, Error::Oci(problem) if refusal(problem))
        };
        match self.push(other, content) {
            Err(error) if refused(&error) => Finding::ok(ID, "a second push under one tag is refused"),
            Err(error) => Finding::failed(ID, &error),
            Ok(()) => {
                let found = "tags are not conditional: a second push under one tag takes it over, so of two publishers at one \
                             moment the last one's release stays, and only locks notice";
                let cure = "make tags immutable where the registry can, and publish a version from one place";
                Finding::warning(ID, found, Some(cure.to_owned()))
            }
        }
    }

    /// Removes what was pushed, and looks whether it is gone.
    fn removal(&self, artifacts: &[&Artifact], blobs: &[Digest]) -> Finding {
        const ID: &str = "remove";
        let Self { oci, repository, tag, location } = self;
        let stays = |found: String| {
            let cure = format!("remove the repository `{repository}` with the registry's own means, if it disturbs");
            Finding::warning(ID, found, Some(cure))
        };
        for artifact in artifacts {
            let digest = Digest::of(&artifact.manifest);
            if let Err(error) = wait(oci.transport.delete(repository, &format!("manifests/{digest}"), location)) {
                return stays(format!("what was pushed to try it out stays at `{location}`: {error}"));
            }
        }
        match wait(oci.transport.manifest(repository, tag, location)) {
            Ok(None) => {}
            Ok(Some(_)) => return stays(format!("what was removed is still at `{location}`")),
            Err(error) => return Finding::failed(ID, &error),
        }
        // Many registries leave blobs to their own garbage collection.
        let removed = |digest: &Digest| wait(oci.transport.delete(repository, &format!("blobs/{digest}"), location));
        let left = blobs.iter().filter(|digest| removed(digest).is_err()).count();
        Finding::ok(
            ID,
            match left {
                0 => "what was pushed to try it out is removed".to_owned(),
                _ => {
                    format!("the manifest is removed; {left} small blobs are left to the registry's garbage collection")
                }
            },
        )
    }
}
