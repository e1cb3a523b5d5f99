//! What the Hub says about repositories: commits, files, branches and tags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::{Commit, RepoId, Revision};
use super::transport::Transport;
use crate::digest::Digest;
use crate::error::Error;
use crate::path::PackagePath;
use crate::text::shorten;

/// Pages of a list that are read; a page has up to a thousand entries.
const MAX_PAGES: usize = 100;
/// The main branch, which every repository has.
const MAIN: &str = "main";

/// A file of a commit, as the Hub lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubFile {
    /// Its path in the repository.
    pub path: PackagePath,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its content, which the Hub knows of large files only.
    pub sha256: Option<Digest>,
}

/// Where branches and tags stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refs {
    /// The end of the main branch.
    pub main: Commit,
    /// Tags by name.
    pub tags: BTreeMap<String, Commit>,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    size: Option<u64>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

#[derive(Deserialize)]
struct RefsAnswer {
    branches: Vec<RefAnswer>,
    tags: Vec<RefAnswer>,
}

#[derive(Deserialize)]
struct RefAnswer {
    name: String,
    #[serde(rename = "targetCommit")]
    target: String,
}

#[derive(Deserialize)]
struct ModelAnswer {
    id: String,
}

pub(super) fn api<'a>(repo: &'a RepoId, rest: &[&'a str]) -> Vec<&'a str> {
    [&["api", "models", repo.owner(), repo.name()], rest].concat()
}

pub(super) fn resolve(transport: &Transport, repo: &RepoId, revision: &Revision) -> Result<Commit, Error> {
    let what = format!("`{revision}` of `{repo}`");
    let url = transport.url(api(repo, &["revision", revision.as_str()]));
    let answer = transport.get::<Info>(&what, &url)?.ok_or_else(|| transport.absent(&what))?;
    commit(transport, &what, &answer.value.sha)
}

fn commit(transport: &Transport, what: &str, text: &str) -> Result<Commit, Error> {
    text.parse().map_err(|_| transport.answer(what, format!("`{}` is no commit of 40 hex digits", shorten(text))))
}

/// Lists the files of a commit, or of a folder in it; none when there is no such commit or folder.
pub(super) fn files(
    transport: &Transport,
    repo: &RepoId,
    commit: &Commit,
    folder: Option<&str>,
) -> Result<Option<Vec<HubFile>>, Error> {
    let what = format!("the files of `{repo}`");
    let mut segments = api(repo, &["tree", commit.as_str()]);
    segments.extend(folder.into_iter().flat_map(|folder| folder.split('/')));
    let mut url = transport.url(segments);
    url.set_query(Some("recursive=true"));
    let mut files: BTreeMap<PackagePath, HubFile> = BTreeMap::new();
    let Some(()) = pages(transport, &what, url, |entry: Entry| {
        // Folders are told by their files, and what we cannot name we do not fetch.
        let (true, Ok(path)) = (entry.kind == "file", entry.path.parse::<PackagePath>()) else { return Ok(()) };
        let file = match entry.lfs {
            None => HubFile { path, size: entry.size.unwrap_or(0), sha256: None },
            Some(large) => {
                let digest = format!("sha256:{}", large.oid).parse();
                let problem = || format!("`{}` of `{path}` is no SHA-256", shorten(&large.oid));
                let sha256 = digest.map_err(|_: Error| transport.answer(&what, problem()))?;
                HubFile { path, size: large.size, sha256: Some(sha256) }
            }
        };
        match files.insert(file.path.clone(), file) {
            None => Ok(()),
            Some(file) => Err(transport.answer(&what, format!("it lists `{}` twice", file.path))),
        }
    })?
    else {
        return if folder.is_some() { Ok(None) } else { Err(transport.absent(&format!("`{commit}` of `{repo}`"))) };
    };
    Ok(Some(files.into_values().collect()))
}

pub(super) fn refs(transport: &Transport, repo: &RepoId) -> Result<Option<Refs>, Error> {
    let what = format!("the tags of `{repo}`");
    let Some(answer) = transport.get::<RefsAnswer>(&what, &transport.url(api(repo, &["refs"])))? else {
        return Ok(None);
    };
    let main = answer.value.branches.iter().find(|branch| branch.name == MAIN);
    let main = main.ok_or_else(|| transport.answer(&what, "it names no branch `main`".to_owned()))?;
    let mut tags = BTreeMap::new();
    for tag in &answer.value.tags {
        tags.insert(tag.name.clone(), commit(transport, &what, &tag.target)?);
    }
    Ok(Some(Refs { main: commit(transport, &what, &main.target)?, tags }))
}

pub(super) fn models(transport: &Transport, owner: &str) -> Result<Vec<RepoId>, Error> {
    let what = format!("the models of `{owner}`");
    let mut url = transport.url(["api", "models"]);
    url.query_pairs_mut().append_pair("author", owner).append_pair("limit", "1000");
    let mut models = Vec::new();
    pages(transport, &what, url, |model: ModelAnswer| {
        models.extend(model.id.parse::<RepoId>().ok().filter(|repo| repo.owner().eq_ignore_ascii_case(owner)));
        Ok(())
    })?;
    Ok(models)
}

/// Reads a list page by page; none when there is no such list.
fn pages<T: serde::de::DeserializeOwned>(
    transport: &Transport,
    what: &str,
    first: reqwest::Url,
    mut take: impl FnMut(T) -> Result<(), Error>,
) -> Result<Option<()>, Error> {
    let mut next = Some(first);
    for page in 0..MAX_PAGES {
        let Some(url) = next.take() else { return Ok(Some(())) };
        let Some(answer) = transport.get::<Vec<T>>(what, &url)? else {
            return if page == 0 { Ok(None) } else { Err(transport.answer(what, "it breaks off".to_owned())) };
        };
        answer.value.into_iter().try_for_each(&mut take)?;
        next = answer.next;
    }
    match next {
        None => Ok(Some(())),
        Some(_) => Err(transport.answer(what, format!("it has more than {MAX_PAGES} pages"))),
    }
}
