//! Whom the Hub takes us for, and what it lets us do, as far as it says so to somebody who changes nothing.

use std::time::SystemTime;

use serde::Deserialize;

use super::HubError;
use super::listing::api;
use super::name::RepoId;
use super::transport::Transport;
use crate::error::Error;

/// What a token may do anywhere.
const ROLE_READ: &str = "read";
/// The role of a token whose rights are named one by one.
const ROLE_FINE: &str = "fineGrained";
/// The right to write to repositories.
const REPO_WRITE: &str = "repo.write";
/// Roles in an organisation that let somebody write to repositories there.
const WRITERS: [&str; 3] = ["admin", "write", "contributor"];

/// The user of a token, and the token's rights (`GET /api/whoami-v2`).
#[derive(Debug, Deserialize)]
pub(crate) struct Identity {
    /// The user's name.
    pub(crate) name: String,
    #[serde(default)]
    orgs: Vec<Organisation>,
    #[serde(default)]
    auth: Option<Authentication>,
}

#[derive(Debug, Deserialize)]
struct Organisation {
    name: String,
    #[serde(default, rename = "roleInOrg")]
    role: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Authentication {
    #[serde(default, rename = "accessToken")]
    token: Option<TokenRights>,
}

#[derive(Debug, Deserialize)]
struct TokenRights {
    #[serde(default)]
    role: Option<String>,
    #[serde(default, rename = "fineGrained")]
    fine: Option<FineRights>,
}

#[derive(Debug, Default, Deserialize)]
struct FineRights {
    #[serde(default)]
    scoped: Vec<Scoped>,
}

#[derive(Debug, Deserialize)]
struct Scoped {
    entity: Entity,
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Entity {
    #[serde(default)]
    name: Option<String>,
}

impl Identity {
    /// The role of the token, where the Hub says it.
    pub(crate) fn token_role(&self) -> Option<&str> {
        self.rights()?.role.as_deref()
    }

    fn rights(&self) -> Option<&TokenRights> {
        self.auth.as_ref()?.token.as_ref()
    }

    /// What keeps this user with this token from writing to repositories of an owner, if the Hub says anything of it.
    pub(crate) fn obstacle(&self, owner: &str) -> Option<String> {
        let name = &self.name;
        let is_owner = |other: &str| other.eq_ignore_ascii_case(owner);
        if self.token_role() == Some(ROLE_READ) {
            return Some("the token's role is `read`".to_owned());
        }
        if self.token_role() == Some(ROLE_FINE) {
            let scoped = self.rights().and_then(|rights| rights.fine.as_ref()).map_or(&[][..], |fine| &fine.scoped);
            let writes = |scoped: &Scoped| {
                scoped.entity.name.as_deref().is_some_and(is_owner)
                    && scoped.permissions.iter().any(|permission| permission == REPO_WRITE)
            };
            if !scoped.iter().any(writes) {
                return Some(format!("the token's rights do not have `{REPO_WRITE}` for `{owner}`"));
            }
        }
        if is_owner(name) {
            return None;
        }
        match self.orgs.iter().find(|organisation| is_owner(&organisation.name)) {
            None => Some(format!("`{name}` is neither `{owner}` nor one of its members")),
            Some(Organisation { role: Some(role), .. }) if !WRITERS.contains(&role.as_str()) => {
                Some(format!("`{name}` has the role `{}` in `{owner}`", crate::text::shorten(role)))
            }
            Some(_) => None,
        }
    }
}

/// Asks whose the token is; none of a Hub that does not say.
pub(super) fn identity(transport: &Transport) -> Result<Option<(Identity, Option<SystemTime>)>, Error> {
    let answer = transport.get::<Identity>("whose the token is", &transport.url(["api", "whoami-v2"]))?;
    Ok(answer.map(|answer| (answer.value, answer.date)))
}

/// Asks for the time by a question that everybody may ask.
pub(super) fn time(transport: &Transport, owner: &str) -> Result<Option<SystemTime>, Error> {
    let mut url = transport.url(["api", "models"]);
    url.query_pairs_mut().append_pair("author", owner).append_pair("limit", "1");
    let answer = transport.get::<serde::de::IgnoredAny>(&format!("the models of `{owner}`"), &url)?;
    Ok(answer.and_then(|answer| answer.date))
}

/// Asks whether we may write to a repository, which changes nothing; none of a Hub that does not say.
pub(super) fn may_write(transport: &Transport, repo: &RepoId) -> Result<Option<bool>, Error> {
    let what = format!("whether `{repo}` may be written to");
    let url = transport.url(api(repo, &["auth-check", "write"]));
    let request = transport.request(&what, reqwest::Method::GET, url)?;
    match transport.send(&what, request) {
        Ok(_) => Ok(Some(true)),
        Err(Error::Hub(problem)) if matches!(*problem, HubError::Refused { .. }) => Ok(Some(false)),
        Err(Error::Hub(problem)) if matches!(*problem, HubError::Absent { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obstacle(json: &str, owner: &str) -> Option<String> {
        serde_json::from_str::<Identity>(json).unwrap().obstacle(owner)
    }

    #[test]
    fn who_may_write_is_read_from_what_the_hub_says() {
        let with = |role: &str, more: &str| {
            format!(
                r#"{{"type":"user","name":"ada","orgs":[{{"name":"acme","roleInOrg":"{role}"}},{{"name":"old"}}],"auth":{{{more}}}}}"#
            )
        };
        let write = r#""type":"access_token","accessToken":{"role":"write"}"#;
        for (role, owner) in
            [("admin", "acme"), ("write", "Acme"), ("contributor", "acme"), ("read", "ada"), ("", "old")]
        {
            assert_eq!(obstacle(&with(role, write), owner), None, "{role} {owner}");
        }
        assert_eq!(obstacle(&with("read", write), "acme").unwrap(), "`ada` has the role `read` in `acme`");
        assert_eq!(
            obstacle(&with("admin", write), "other").unwrap(),
            "`ada` is neither `other` nor one of its members"
        );
        let read = r#""accessToken":{"role":"read"}"#;
        assert_eq!(obstacle(&with("admin", read), "acme").unwrap(), "the token's role is `read`");
        let fine = |name: &str, right: &str| {
            let scoped = format!(r#"{{"entity":{{"type":"org","name":"{name}"}},"permissions":["{right}"]}}"#);
            with("admin", &format!(r#""accessToken":{{"role":"fineGrained","fineGrained":{{"scoped":[{scoped}]}}}}"#))
        };
        assert_eq!(obstacle(&fine("acme", "repo.write"), "acme"), None);
        let missing = "the token's rights do not have `repo.write` for `acme`";
        for (name, right) in [("acme", "repo.content.read"), ("other", "repo.write")] {
            assert_eq!(obstacle(&fine(name, right), "acme").unwrap(), missing);
        }
        assert_eq!(obstacle(&with("admin", r#""accessToken":{"role":"fineGrained"}"#), "acme").unwrap(), missing);
        // What is not said is no obstacle: the Hub itself decides in the end.
        assert_eq!(obstacle(r#"{"name":"ada"}"#, "ada"), None);
    }
}
