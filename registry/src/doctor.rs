//! Doctor: what a store can do, tried out, and what to do about what it cannot.
//!
//! What every store must do is tried here through [`Store`]; what only its kind can try is [`Store::probe`]. What is written
//! for that never looks like a release and is removed where the store lets us.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::Error;
use crate::release::Release;
use crate::store::{Scope, Store};

/// The most records that are read: enough to see whether listings and records belong together.
const SAMPLE: usize = 20;
/// The most that two clocks may differ without a word, since answers take time and timestamps are cut to seconds.
const SKEW: Duration = Duration::from_secs(30);

/// How a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Usable, but somebody should know.
    Warning,
    /// Not usable for what it is for.
    Failed,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was tried, in kebab-case.
    pub id: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found, in one sentence.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(id: &'static str, found: impl Into<String>) -> Self {
        Self { id, status: Status::Ok, found: found.into(), cure: None }
    }

    /// Something that somebody should know, and what to do.
    pub fn warning(id: &'static str, found: impl Into<String>, cure: Option<String>) -> Self {
        Self { id, status: Status::Warning, found: found.into(), cure }
    }

    /// Something that does not work, with its causes and its cure.
    #[must_use]
    pub fn failed(id: &'static str, error: &Error) -> Self {
        Self { id, status: Status::Failed, found: sentence(error), cure: error.hint() }
    }

    /// Compares the time that a place gave something written between two moments with the clock here.
    #[must_use]
    pub fn clock(before: SystemTime, written: SystemTime, after: SystemTime) -> Self {
        let seconds = |duration: Duration| duration.as_secs_f32().round();
        let cure = || Some("set both clocks by the network: `timedatectl set-ntp true`".to_owned());
        let said = |skew, way| format!("its clock is {} seconds {way} ours", seconds(skew));
        match (written.duration_since(after), before.duration_since(written)) {
            (Ok(ahead), _) if ahead > SKEW => Self::warning("clock", said(ahead, "ahead of"), cure()),
            (_, Ok(behind)) if behind > SKEW => Self::warning("clock", said(behind, "behind"), cure()),
            _ => Self::ok("clock", format!("its clock and ours differ by no more than {} seconds", SKEW.as_secs())),
        }
    }
}

/// An error with its causes.
fn sentence(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What was found out about one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Where the store is.
    pub location: String,
    /// What was tried, in order.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// The worst of the findings.
    #[must_use]
    pub fn worst(&self) -> Status {
        self.findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok)
    }
}

/// Tries out a store.
#[must_use]
pub fn examine(store: &dyn Store) -> Diagnosis {
    let location = store.location();
    let mut findings = Vec::new();
    match store.is_registry() {
        // Where it cannot even be read, nothing else is worth a try.
        Err(error) => return Diagnosis { location, findings: vec![Finding::failed("read", &error)] },
        Ok(false) => {
            let cure = format!("publishing makes one: `kadapter publish DIRECTORY --registry {location}`");
            findings.push(Finding::warning("read", "it can be read, and has no registry yet", Some(cure)));
        }
        Ok(true) => {
            findings.push(Finding::ok("read", "it can be read, and has a registry"));
            findings.extend(examine_releases(store));
        }
    }
    findings.extend(store.probe());
    Diagnosis { location, findings }
}

/// Compares listings with one another and with what is there.
fn examine_releases(store: &dyn Store) -> Vec<Finding> {
    let listed = || {
        let mut releases = store.releases(Scope::All)?;
        releases.sort();
        Ok(releases)
    };
    let (first, second) = match (listed(), listed()) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(Error::NotOffered { .. }), _) => {
            let found = "this kind of registry lists the versions of a package, and not all packages";
            return vec![Finding::ok("listing", found)];
        }
        (Err(error), _) | (_, Err(error)) => return vec![Finding::failed("listing", &error)],
    };
    let mut findings = vec![if first == second {
        Finding::ok("listing", format!("two listings name the same releases: {}", first.len()))
    } else {
        let found = format!("two listings one after the other name {} and {} releases", first.len(), second.len());
        let cure = "somebody publishes, or its listings lag behind: try again in a minute".to_owned();
        Finding::warning("listing", found, Some(cure))
    }];
    let sample = &second[..second.len().min(SAMPLE)];
    let mut broken = Vec::new();
    for (name, version) in sample {
        let id = crate::id::PackageId::new(name, version);
        let read = match store.record(&id) {
            Ok(Some(bytes)) => Release::decode(&store.record_location(&id), bytes).map(|record| record.release.id()),
            Ok(None) => Err(Error::NoRelease { id: Box::new(id.clone()), location: store.location() }),
            Err(error) => Err(error),
        };
        match read {
            Ok(found) if found == id => {}
            Ok(found) => broken.push(Error::OtherRelease { wanted: Box::new(id), found: Box::new(found) }),
            Err(error) => broken.push(error),
        }
    }
    findings.push(match broken.first() {
        None => Finding::ok("records", format!("all records that were read are sound: {}", sample.len())),
        Some(error) => {
            let mut finding = Finding::failed("records", error);
            finding.found = format!("{} of {} records are not sound: {}", broken.len(), sample.len(), finding.found);
            finding
        }
    });
    findings
}
