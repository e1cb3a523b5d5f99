//! Which question gets which answer.

use std::collections::BTreeSet;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::fault::Act;
use crate::http::Request;
use crate::repository::{File, Repository, State, Tree, is_large, sha256_hex};
use crate::{Part, Seen, Shared, locked};

/// Entries of a list's page: few, so that every test meets a second page.
const PAGE: usize = 3;

/// Answers one request.
pub(crate) fn serve(shared: &Shared, part: Part, stream: TcpStream) -> io::Result<()> {
    let request = Request::read(&stream)?;
    let authorization = request.header("authorization").map(str::to_owned);
    let seen = Seen { part, method: request.method.clone(), path: request.path.clone(), authorization };
    locked(&shared.seen).push(seen);
    let act = locked(&shared.faults).iter().find(|fault| fault.strikes(&request)).map(|fault| fault.act.clone());
    let answer = match (part, &act) {
        // Whoever refuses or points elsewhere has done nothing.
        (_, Some(Act::Page(..) | Act::Redirect(_))) => Answer::new(200, Vec::new()),
        (Part::Hub, _) => hub(shared, &request),
        (Part::Storage, _) => storage(&mut locked(&shared.state), &request),
    };
    answer.send(&stream, request.method == "HEAD", act.as_ref())
}

fn storage(state: &mut State, request: &Request) -> Answer {
    let segments = request.segments();
    let [folder, oid] = &segments[..] else { return Answer::new(404, Vec::new()) };
    match (folder.as_str(), request.method.as_str(), state.storage.get(oid)) {
        // Its addresses are signed; a second way to say who asks is an error there.
        ("content", ..) if request.header("authorization").is_some() => {
            Answer::new(400, b"two authorisations".to_vec())
        }
        ("content", "PUT", _) if sha256_hex(&request.body) != *oid => Answer::new(400, b"another content".to_vec()),
        ("content", "PUT", _) => {
            state.storage.insert(oid.clone(), Arc::new(request.body.clone()));
            Answer::new(200, Vec::new())
        }
        ("content", _, Some(content)) => Answer::new(200, content.to_vec()),
        _ => Answer::new(404, Vec::new()),
    }
}

fn hub(shared: &Shared, request: &Request) -> Answer {
    let token = locked(&shared.token).clone();
    let known = token.is_none_or(|token| request.header("authorization") == Some(&format!("Bearer {token}")));
    if request.method == "POST" && !known {
        return Answer::refuse(401, "", "Invalid username or password.");
    }
    let state = &mut *locked(&shared.state);
    let segments = request.segments();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method.as_str(), &parts[..]) {
        ("GET", ["api", "whoami-v2"]) if known && request.header("authorization").is_some() => {
            Answer::json(&locked(&shared.identity))
        }
        ("GET", ["api", "whoami-v2"]) => Answer::refuse(401, "", "Invalid username or password."),
        ("GET", ["api", "models", _, _, "auth-check", "write"]) if !known => Answer::refuse(403, "", "Forbidden"),
        ("GET", ["api", "models"]) => models(shared, state, request),
        ("POST", ["api", "repos", "create"]) => create(state, request),
        (_, ["api", "models", owner, name, rest @ ..]) => {
            let repo = format!("{owner}/{name}");
            match state.repositories.get_mut(&repo) {
                Some(repository) => api(shared, repository, &state.storage, request, rest),
                None => Answer::refuse(if known { 404 } else { 401 }, "RepoNotFound", "Repository not found"),
            }
        }
        ("POST", [owner, name, "info", "lfs", "objects", "batch"]) => {
            let repo = format!("{owner}/{}", name.trim_end_matches(".git"));
            if state.find(&repo).is_some() {
                batch(shared, state, &repo, request)
            } else {
                Answer::new(404, Vec::new())
            }
        }
        ("POST", [_, _, "info", "lfs", "objects", "verify"]) => verify(state, request),
        ("GET" | "HEAD", [owner, name, "resolve", revision, path @ ..]) => {
            let repo = format!("{owner}/{name}");
            if state.gated.contains(&repo) && !known {
                let message = format!("Access to model {repo} is restricted");
                return Answer::refuse(401, "GatedRepo", &message);
            }
            resolve(shared, state, &repo, revision, &path.join("/"))
        }
        _ => Answer::new(404, b"<html>no such page</html>".to_vec()),
    }
}

/// A page of a list, with the address of the next.
fn page(shared: &Shared, request: &Request, items: &[Value]) -> Answer {
    let start = request.parameter("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0).min(items.len());
    let end = (start + PAGE).min(items.len());
    let answer = Answer::json(&Value::from(items[start..end].to_vec()));
    if end == items.len() {
        return answer;
    }
    let path = request.path.split("&cursor=").next().unwrap_or_default();
    answer.with("Link", format!("<http://{}{path}&cursor={end}>; rel=\"next\"", shared.hub))
}

fn models(shared: &Shared, state: &State, request: &Request) -> Answer {
    let author = request.parameter("author").unwrap_or_default();
    let mine = |repo: &&String| repo.split('/').next() == Some(author.as_str());
    let items: Vec<Value> = state.repositories.keys().filter(mine).map(|repo| json!({ "id": repo })).collect();
    page(shared, request, &items)
}

fn create(state: &mut State, request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let (owner, name) = (body["organization"].as_str().unwrap_or("me"), body["name"].as_str().unwrap_or_default());
    let repo = format!("{owner}/{name}");
    if state.repositories.contains_key(&repo) {
        return Answer::refuse(409, "", "You already created this model repo");
    }
    state.repositories.insert(repo.clone(), Repository::new());
    Answer::json(&json!({ "url": format!("http://hub/{repo}"), "name": repo }))
}

fn api(
    shared: &Shared,
    repository: &mut Repository,
    storage: &std::collections::BTreeMap<String, Arc<Vec<u8>>>,
    request: &Request,
    rest: &[&str],
) -> Answer {
    let no_revision = || Answer::refuse(404, "RevisionNotFound", "Invalid rev id");
    match (request.method.as_str(), rest) {
        ("GET", ["revision", revision]) => match repository.resolve(revision) {
            Some(sha) => Answer::json(&json!({ "id": "x", "sha": sha, "siblings": [], "private": false })),
            None => no_revision(),
        },
        ("GET", ["auth-check", "write"]) => Answer::json(&json!({})),
        ("GET", ["refs"]) => {
            let reference = |kind: &str, name: &str, target: &str| json!({ "name": name, "ref": format!("refs/{kind}/{name}"), "targetCommit": target });
            let tags: Vec<Value> =
                repository.tags.iter().map(|(name, target)| reference("tags", name, target)).collect();
            let main = reference("heads", "main", &repository.main);
            Answer::json(&json!({ "branches": [main], "converts": [], "tags": tags }))
        }
        ("GET", ["tree", revision, folder @ ..]) => match repository.tree(revision) {
            Some(tree) => list(shared, tree, request, &folder.join("/")),
            None => no_revision(),
        },
        ("POST", ["preupload", _]) => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let mode = |file: &Value| {
                let path = file["path"].as_str().unwrap_or_default();
                let large = is_large(path, file["size"].as_u64().unwrap_or(0));
                json!({ "path": path, "uploadMode": if large { "lfs" } else { "regular" }, "shouldIgnore": false })
            };
            let files: Vec<Value> = body["files"].as_array().into_iter().flatten().map(mode).collect();
            Answer::json(&json!({ "files": files, "commitOid": repository.main }))
        }
        ("POST", ["commit", "main"]) => commit(repository, storage, &request.body),
        ("POST", ["tag", revision]) => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let tag = body["tag"].as_str().unwrap_or_default().to_owned();
            let Some(target) = repository.resolve(revision) else { return no_revision() };
            if repository.tags.contains_key(&tag) {
                return Answer::refuse(409, "", "Tag reference exists already");
            }
            repository.tags.insert(tag, target);
            Answer::new(200, b"OK".to_vec())
        }
        _ => Answer::new(404, Vec::new()),
    }
}

fn list(shared: &Shared, tree: &Tree, request: &Request, folder: &str) -> Answer {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let below: Vec<(&String, &File)> = tree.iter().filter(|(path, _)| path.starts_with(&prefix)).collect();
    if below.is_empty() && !folder.is_empty() {
        return Answer::refuse(404, "EntryNotFound", "No such folder");
    }
    let folders: BTreeSet<&str> =
        below.iter().filter_map(|(path, _)| path.rsplit_once('/')).map(|(folder, _)| folder).collect();
    let mut items: Vec<Value> = folders
        .iter()
        .map(|path| json!({ "type": "directory", "oid": "0".repeat(40), "size": 0, "path": path }))
        .collect();
    items.extend(below.iter().map(|(path, file)| file.entry(path)));
    page(shared, request, &items)
}

fn commit(
    repository: &mut Repository,
    storage: &std::collections::BTreeMap<String, Arc<Vec<u8>>>,
    body: &[u8],
) -> Answer {
    let lines: Vec<Value> =
        body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let header = lines.first().map(|line| &line["value"]).cloned().unwrap_or_default();
    if header["parentCommit"].as_str().is_some_and(|parent| parent != repository.main) {
        return Answer::refuse(412, "", "A commit has happened since. Please refresh and try again.");
    }
    let Some(mut tree) = repository.tree("main").cloned() else { return Answer::new(500, Vec::new()) };
    for line in &lines[1.min(lines.len())..] {
        let value = &line["value"];
        let path = value["path"].as_str().unwrap_or_default().to_owned();
        match line["key"].as_str() {
            Some("file") => {
                let content = STANDARD.decode(value["content"].as_str().unwrap_or_default()).unwrap_or_default();
                tree.insert(path, File::Small(Arc::new(content)));
            }
            Some("lfsFile") => {
                let oid = value["oid"].as_str().unwrap_or_default().to_owned();
                let size = value["size"].as_u64().unwrap_or(0);
                if storage.get(&oid).is_none_or(|content| content.len() as u64 != size) {
                    return Answer::refuse(400, "", "LFS pointer pointed to a file that does not exist");
                }
                tree.insert(path, File::Large { oid, size });
            }
            Some("deletedFile") => {
                if tree.remove(&path).is_none() {
                    return Answer::refuse(400, "", "cannot delete a file that does not exist");
                }
            }
            _ => return Answer::refuse(400, "", "an unknown operation"),
        }
    }
    let oid = repository.commit(tree, header["summary"].as_str().unwrap_or_default());
    Answer::json(&json!({ "success": true, "commitOid": oid, "commitUrl": "http://hub/commit" }))
}

fn batch(shared: &Shared, state: &State, repo: &str, request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let object = |wanted: &Value| {
        let oid = wanted["oid"].as_str().unwrap_or_default();
        let mut object = json!({ "oid": oid, "size": wanted["size"], "authenticated": true });
        if !state.storage.contains_key(oid) {
            object["actions"] = json!({
                "upload": { "href": format!("http://{}/content/{oid}?signature=x", shared.storage), "header": { "x-kind": "upload" } },
                "verify": { "href": format!("http://{}/{repo}.git/info/lfs/objects/verify", shared.hub) },
            });
        }
        object
    };
    let objects: Vec<Value> = body["objects"].as_array().into_iter().flatten().map(object).collect();
    Answer::json(&json!({ "transfer": "basic", "objects": objects }))
}

fn verify(state: &State, request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let content = body["oid"].as_str().and_then(|oid| state.storage.get(oid));
    let whole = content.is_some_and(|content| Some(content.len() as u64) == body["size"].as_u64());
    if whole { Answer::json(&json!({})) } else { Answer::refuse(404, "", "no such object") }
}

fn resolve(shared: &Shared, state: &State, repo: &str, revision: &str, path: &str) -> Answer {
    let Some(repository) = state.find(repo) else {
        return Answer::refuse(404, "RepoNotFound", "Repository not found");
    };
    let (Some(commit), Some(tree)) = (repository.resolve(revision), repository.tree(revision)) else {
        return Answer::refuse(404, "RevisionNotFound", "Invalid rev id");
    };
    match tree.get(path) {
        None => Answer::refuse(404, "EntryNotFound", "Entry not found"),
        Some(File::Small(content)) => {
            let etag = format!("\"{}\"", &sha256_hex(content)[..40]);
            Answer::new(200, content.to_vec()).with("ETag", etag).with("X-Repo-Commit", commit)
        }
        Some(File::Large { oid, size }) => Answer::new(302, Vec::new())
            .with("Location", format!("http://{}/content/{oid}?signature=x", shared.storage))
            .with("X-Repo-Commit", commit)
            .with("X-Linked-Size", size.to_string())
            .with("X-Linked-ETag", format!("\"{oid}\"")),
    }
}
