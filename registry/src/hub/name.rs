//! Names on the Hub: repositories, revisions and commits.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::name::is_reserved;
use crate::text::{serde_as_string, shorten};

/// The longest part of a repository's name, in bytes, which is the Hub's rule.
pub(crate) const MAX_PART: usize = 96;
/// The longest revision, in bytes.
const MAX_REVISION: usize = 200;
/// The digits of a commit.
const COMMIT_DIGITS: usize = 40;

/// Says what the Hub has against an owner or a name, if anything.
pub(crate) fn part_problem(part: &str) -> Option<&'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = part.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) if word(*first) && word(*last) => {}
        _ => return Some("owner and name must start and end with a letter, a digit or `_`"),
    }
    if bytes.len() > MAX_PART {
        return Some("owner or name is longer than 96 characters");
    }
    if !bytes.iter().all(|b| word(*b) || matches!(b, b'-' | b'.')) {
        return Some("only letters, digits, `-`, `_` and `.` may stand in owner and name");
    }
    if part.contains("--") || part.contains("..") {
        return Some("`--` and `..` may not stand in owner and name");
    }
    if part.ends_with(".git") || is_reserved(part) {
        return Some("owner or name is reserved");
    }
    None
}

/// A repository on the Hub, `owner/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoId {
    owner: Box<str>,
    name: Box<str>,
}

impl RepoId {
    /// The part before the slash: a user or an organisation.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The part after the slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RepoId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Name { what: "name of a repository on the Hub", value: shorten(text), problem };
        let (owner, name) = text.split_once('/').ok_or_else(|| refuse("it must be `OWNER/NAME`"))?;
        match part_problem(owner).or_else(|| part_problem(name)) {
            Some(problem) => Err(refuse(problem)),
            None => Ok(Self { owner: owner.into(), name: name.into() }),
        }
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)
    }
}

impl fmt::Debug for RepoId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

/// A commit of a repository: 40 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit(Box<str>);

impl Commit {
    /// The 40 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() == COMMIT_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.into()));
        }
        Err(Error::Name { what: "commit", value: shorten(text), problem: "it must be 40 lower-case hex digits" })
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

serde_as_string!(Commit, "commit of 40 hex digits");

/// What names a commit: a branch, a tag, or the commit itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision(Box<str>);

impl Revision {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit that this is, if it is one.
    #[must_use]
    pub fn as_commit(&self) -> Option<Commit> {
        self.0.parse().ok()
    }
}

impl Default for Revision {
    fn default() -> Self {
        Self("main".into())
    }
}

impl FromStr for Revision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Name { what: "revision", value: shorten(text), problem };
        if text.is_empty() || text.len() > MAX_REVISION {
            return Err(refuse("it must have 1 to 200 characters"));
        }
        // Git's own rule for names of branches and tags, as far as it matters in an address.
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"~^:?*[\\".contains(c);
        if !text.chars().all(plain) || text.contains("..") || text.starts_with(['/', '.', '-']) {
            return Err(refuse("it must be a branch, a tag or a commit"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A model as people name it: `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelAddress {
    /// The repository.
    pub repo: RepoId,
    /// The revision; the branch `main` where none is named.
    pub revision: Revision,
}

impl FromStr for ModelAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let problem = "it must be `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`";
        let refuse = || Error::Name { what: "model on the Hub", value: shorten(text), problem };
        let rest = text.strip_prefix("hf:").filter(|rest| !rest.starts_with("//")).ok_or_else(refuse)?;
        let (repo, revision) = match rest.split_once('@') {
            Some((repo, revision)) => (repo, revision.parse()?),
            None => (rest, Revision::default()),
        };
        Ok(Self { repo: repo.parse()?, revision })
    }
}

impl fmt::Display for ModelAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "hf:{}@{}", self.repo, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_named_as_the_hub_allows() {
        for good in ["FacebookAI/roberta-large", "a/b", "a_b/c.d-e_f", "0/_x_"] {
            assert_eq!(good.parse::<RepoId>().unwrap().to_string(), good);
        }
        let long = format!("a/{}", "x".repeat(97));
        for bad in
            ["roberta", "a/", "/a", "a/b/c", "a/--", "a/b--c", "a/b..c", "a/.b", "a/b.", "a/b.git", "a/b c", &long]
        {
            assert!(bad.parse::<RepoId>().is_err(), "{bad}");
        }
        for hostile in ["../x", "a/..", "a/..%2f", "a/b\0", "a/con", "a\\b/c"] {
            assert!(hostile.parse::<RepoId>().is_err(), "{hostile}");
        }
    }

    #[test]
    fn addresses_name_a_revision_or_mean_main() {
        let address: ModelAddress = "hf:FacebookAI/roberta-large".parse().unwrap();
        assert_eq!(address.to_string(), "hf:FacebookAI/roberta-large@main");
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let address: ModelAddress = format!("hf:a/b@{commit}").parse().unwrap();
        assert_eq!(address.revision.as_commit().unwrap().as_str(), commit);
        for bad in ["a/b", "hf:a", "hf://a/b", "hf:a/b@", "hf:a/b@../..", "hf:a/b@x y", "hf:a/b@-x"] {
            assert!(bad.parse::<ModelAddress>().is_err(), "{bad}");
        }
        assert!("0123456789ABCDEF0123456789abcdef01234567".parse::<Commit>().is_err());
    }
}
