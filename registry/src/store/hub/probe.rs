//! What doctor asks the Hub: whose the token is, whether it may write, and what time it is there.
//!
//! Nothing is written: there is no commit, tag or repository on the Hub that could be taken back without a trace. So what is
//! told of writing is what the Hub says about the token.

use std::time::SystemTime;

use super::{HubStore, Scope, Store};
use crate::doctor::Finding;
use crate::error::Error;
use crate::hub::{HubError, Identity};

pub(super) fn probe(store: &HubStore) -> Vec<Finding> {
    let endpoint = store.hub.settings().endpoint();
    if !store.hub.settings().has_token() {
        let found = "there is no token: what is public can be read, and nothing can be published";
        let cure = format!("make one at {endpoint}/settings/tokens and set it: `export HF_TOKEN=hf_…`");
        let mut findings = vec![Finding::warning("token", found, Some(cure))];
        findings.extend(clock(store));
        return findings;
    }
    let before = SystemTime::now();
    match store.hub.identity() {
        Err(error) => vec![token_failed(&error)],
        Ok(None) => {
            let found = "this Hub does not say whose the token is";
            let mut findings = vec![Finding::warning("token", found, None)];
            findings.extend(clock(store));
            findings
        }
        Ok(Some((identity, date))) => {
            let role = identity
                .token_role()
                .map_or_else(String::new, |role| format!(", its role is `{}`", crate::text::shorten(role)));
            let name = crate::text::shorten(&identity.name);
            let mut findings = vec![Finding::ok("token", format!("it belongs to `{name}`{role}"))];
            findings.push(write(store, &identity));
            findings.extend(date.map(|date| Finding::clock(before, date, SystemTime::now())));
            findings
        }
    }
}

/// What is wrong with a token that the Hub does not take.
fn token_failed(error: &Error) -> Finding {
    let refused = match error {
        Error::Hub(problem) => matches!(**problem, HubError::Refused { .. } | HubError::Absent { .. }),
        _ => false,
    };
    let mut finding = Finding::failed("token", error);
    if refused {
        finding.found = format!("the Hub does not know the token: {}", finding.found);
    }
    finding
}

/// Whether the token may write for the owner.
fn write(store: &HubStore, identity: &Identity) -> Finding {
    const ID: &str = "write";
    let (owner, endpoint) = (&store.owner, store.hub.settings().endpoint());
    let refused = |why: &str| {
        let cure = format!(
            "ask for the right to write at `{owner}`, or use a token that has it, from {endpoint}/settings/tokens: \
             `export HF_TOKEN=hf_…`"
        );
        Finding::warning(ID, format!("nothing can be published with this token: {why}"), Some(cure))
    };
    if let Some(obstacle) = identity.obstacle(owner) {
        return refused(&obstacle);
    }
    // The first package there is stands for all: rights are given to owners, and seldom to single repositories.
    let first = store.releases(Scope::All).ok().and_then(|releases| releases.into_iter().next());
    let repository = first.and_then(|(name, _)| store.repository(&name).ok());
    let asked = repository.map(|repo| (store.hub.may_write(&repo), repo));
    match asked {
        Some((Err(error), _)) => Finding::failed(ID, &error),
        Some((Ok(Some(false)), repo)) => refused(&format!("`{repo}` refuses it")),
        Some((Ok(Some(true)), repo)) => {
            Finding::ok(ID, format!("the Hub says that it may write to `{repo}`; nothing was written to try it out"))
        }
        Some((Ok(None), _)) | None => {
            let found = format!("nothing that the Hub says keeps it from publishing at `{owner}`; nothing was written");
            Finding::ok(ID, found)
        }
    }
}

fn clock(store: &HubStore) -> Option<Finding> {
    let before = SystemTime::now();
    match store.hub.time(&store.owner) {
        Ok(date) => date.map(|date| Finding::clock(before, date, SystemTime::now())),
        Err(error) => Some(Finding::failed("clock", &error)),
    }
}
