//! Credentials: whom they go to, and what is said when they are missing or wrong.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::fake::{Fake, Reply, Request};
use super::place::{Place, is_child};

/// `ada:pass:word` in base64.
pub(super) const AUTH: &str = "YWRhOnBhc3M6d29yZA==";
/// A line of `htpasswd -Bbn ada pass:word`.
const HTPASSWD: &str = "ada:$2y$05$qPC4d1H7ut36oFV4SMrLOusZ2H4w9.EqeRpTxtvuK2Df1WxuNsYbm\n";

/// Writes Docker's configuration where this process looks for it.
pub(super) fn log_in(host: &str, auth: &str) {
    let folder = std::env::var("DOCKER_CONFIG").unwrap();
    let text = format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#);
    fs::write(Path::new(&folder).join("config.json"), text).unwrap();
}

/// Runs the rest of a test alone, with a folder for Docker's configuration.
pub(super) fn is_alone(module: &str, name: &str, more: &[(&str, &str)]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    // Helpers are looked for there, too.
    let programs = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
    is_child(module, name, &[&[("DOCKER_CONFIG", path.as_str()), ("PATH", programs.as_str())], more].concat())
}

/// A docker-registry that lets only `ada` in.
pub(super) struct Locked {
    process: Child,
    pub(super) host: String,
    _folder: tempfile::TempDir,
}

impl Locked {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let path = folder.path().display();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{path}/data\"}}}}\n\
             http: {{addr: \"{host}\"}}\nauth: {{htpasswd: {{realm: test, path: \"{path}/htpasswd\"}}}}\n"
        );
        fs::write(folder.path().join("htpasswd"), HTPASSWD).unwrap();
        fs::write(folder.path().join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(folder.path().join("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| panic!("{error}: run `cargo xtask test --services`"));
        while std::net::TcpStream::connect(&host).is_err() {
            std::thread::yield_now();
        }
        Self { process, host, _folder: folder }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn dockers_login_is_used_and_wrong_ones_are_told() {
    if !is_alone(module_path!(), "dockers_login_is_used_and_wrong_ones_are_told", &[]) {
        return;
    }
    let locked = Locked::start();
    let place = Place::new(&locked.host);
    insta::assert_snapshot!(place.told(&place.try_publish(1).unwrap_err()), @"
    Could not read `oci://$HOST/$PREFIX/k/base:1.0.0`: the registry asks for a login (401)
    hint: log in with `docker login $HOST`, or without Docker: `export KADAPTER_OCI_HOST=$HOST KADAPTER_OCI_USERNAME=NAME KADAPTER_OCI_PASSWORD=SECRET`
    ");
    log_in(&locked.host, "YWRhOndyb25n");
    insta::assert_snapshot!(place.told(&place.try_publish(1).unwrap_err()), @"
    Could not read `oci://$HOST/$PREFIX/k/base:1.0.0`: `ada` may not (401)
    hint: ask its operator for the right, or log in as somebody else: `docker login $HOST`
    ");
    log_in(&locked.host, AUTH);
    let record = place.publish(1);
    let registry = place.registry().unwrap();
    assert_eq!(registry.release(&record.release.name, &record.release.version).unwrap().unwrap(), record);
    assert_eq!(registry.releases().unwrap().len(), 1);
}

#[test]
fn the_environment_logs_in_to_the_host_that_it_names_and_no_other() {
    let variables = [("KADAPTER_OCI_USERNAME", "ada"), ("KADAPTER_OCI_PASSWORD", "pass:word")];
    let locked = Locked::start();
    let name = "the_environment_logs_in_to_the_host_that_it_names_and_no_other";
    let named = [&variables[..], &[("KADAPTER_OCI_HOST", locked.host.as_str())]].concat();
    if !is_alone(module_path!(), name, &named) {
        return;
    }
    Place::new(&std::env::var("KADAPTER_OCI_HOST").unwrap()).publish(1);
    let other = Place::new(&locked.host);
    assert!(other.told(&other.try_publish(1).unwrap_err()).contains("asks for a login"));
}

#[cfg(unix)]
#[test]
fn a_helper_is_asked() {
    use std::os::unix::fs::PermissionsExt as _;

    if !is_alone(module_path!(), "a_helper_is_asked", &[]) {
        return;
    }
    let locked = Locked::start();
    let folder = std::env::var("DOCKER_CONFIG").unwrap();
    let folder = Path::new(&folder);
    let config = folder.join("config.json");
    let helper = folder.join("docker-credential-kadapter-test");
    let answer = r#"{\"Username\":\"ada\",\"Secret\":\"pass:word\",\"ServerURL\":\"$host\"}"#;
    let know = format!("[ \"$1 $host\" = \"get {}\" ] || exit 1", locked.host);
    fs::write(&helper, format!("#!/bin/sh\nread -r host\n{know}\necho \"{answer}\"\n")).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&config, r#"{"credsStore":"kadapter-test"}"#).unwrap();
    Place::new(&locked.host).publish(1);
    let stranger = Locked::start();
    let place = Place::new(&stranger.host);
    assert!(place.told(&place.try_publish(1).unwrap_err()).contains("asks for a login"));
    fs::write(&config, r#"{"credsStore":"kadapter-has-none"}"#).unwrap();
    let place = Place::new(&locked.host);
    insta::assert_snapshot!(place.told(&place.try_publish(1).unwrap_err()), @"
    Could not read credentials for `$HOST` from `docker-credential-kadapter-has-none`: No such file or directory (os error 2)
    hint: log in anew: `docker login $HOST`
    ");
}

fn is_authorized(request: &Request) -> bool {
    request.header("authorization").is_some()
}

#[test]
fn a_token_server_is_asked_and_its_token_used() {
    if !is_alone(module_path!(), "a_token_server_is_asked_and_its_token_used", &[]) {
        return;
    }
    let (fake, tokens) = (Fake::start(), Fake::start());
    tokens.spoil(|request, _| match request.header("authorization") {
        Some("Basic YWRhOnBhc3M6d29yZA==") => Reply::new(200, r#"{"token":"for-ada","expires_in":60}"#),
        _ => Reply::new(401, "no"),
    });
    let challenge = format!(r#"Bearer realm="http://{}/token?x=1",service="fake service""#, tokens.host);
    fake.spoil(move |request, reply| match request.header("authorization") {
        Some("Bearer for-ada") => reply,
        _ => Reply::new(401, "").with("WWW-Authenticate", challenge.clone()),
    });
    log_in(&fake.host, AUTH);
    let place = Place::new(&fake.host);
    place.publish(1);
    assert_eq!(place.registry().unwrap().versions(&crate::packages::parse("k/base")).unwrap().len(), 1);
    let asked: Vec<_> = tokens.requests().into_iter().map(|request| place.plain(&request.target)).collect();
    assert!(asked.iter().all(|target| target.starts_with("/token?x=1&service=fake+service")), "{asked:?}");
    assert!(asked.iter().any(|target| target.contains("%3Apull%2Cpush")), "{asked:?}");
    // The password went to the token server, and to nobody else.
    let basic = |request: &Request| request.header("authorization").is_some_and(|value| value.starts_with("Basic"));
    assert!(!fake.requests().iter().any(basic));
    log_in(&fake.host, "YWRhOndyb25n");
    let told = place.told(&place.try_publish(1).unwrap_err());
    assert!(told.starts_with("Could not read `oci://$HOST/$PREFIX/k/base:1.0.0`: `ada` may not (401)"), "{told}");
}

#[test]
fn nothing_is_sent_before_it_is_asked_for_and_nothing_to_another_host() {
    if !is_alone(module_path!(), "nothing_is_sent_before_it_is_asked_for_and_nothing_to_another_host", &[]) {
        return;
    }
    let (fake, elsewhere) = (Fake::start(), Fake::start());
    log_in(&fake.host, AUTH);
    let place = Place::new(&fake.host);
    let record = place.publish(1);
    assert!(!fake.requests().iter().any(is_authorized), "nobody asked");
    // Asks for a password, keeps blobs elsewhere, and takes uploads elsewhere.
    let other = elsewhere.host.clone();
    let spoil = move |request: &Request, reply: Reply| {
        if !is_authorized(request) {
            return Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        if request.target.contains("/blobs/sha256:") && reply.status == 200 && request.method == "GET" {
            return Reply::new(307, "").with("Location", format!("http://{other}{}", request.target));
        }
        match request.target.strip_suffix("/blobs/uploads/") {
            Some(path) => Reply::new(202, "").with("Location", format!("http://{other}{path}/blobs/uploads/x")),
            None => reply,
        }
    };
    fake.spoil(spoil);
    let stored = fake.clone();
    // Blobs that are asked for elsewhere are the registry's own.
    elsewhere.spoil(move |request, reply| match request.method.as_str() {
        "GET" => stored.stored(&request.target),
        _ => reply,
    });
    let registry = place.registry().unwrap();
    let found = registry.release(&record.release.name, &record.release.version).unwrap().unwrap();
    assert_eq!(found, record);
    for file in &record.release.files {
        registry.read(&record.release.id(), file, u64::MAX).unwrap();
    }
    let second = Place { prefix: format!("{}-second", place.prefix), ..place };
    // The blobs land elsewhere, so the registry does not have them: what matters is who saw what.
    second.try_publish(2).ok();
    assert!(fake.requests().iter().any(is_authorized));
    let seen = elsewhere.requests();
    assert!(seen.iter().any(|request| request.method == "GET"));
    assert!(seen.iter().any(|request| request.method == "PUT"));
    assert!(!seen.iter().any(is_authorized), "a password went to another host");
}

#[test]
fn another_hosts_challenge_is_not_answered() {
    if !is_alone(module_path!(), "another_hosts_challenge_is_not_answered", &[]) {
        return;
    }
    let (fake, elsewhere) = (Fake::start(), Fake::start());
    let place = Place::new(&fake.host);
    let record = place.publish(1);
    log_in(&fake.host, AUTH);
    elsewhere.spoil(|request, reply| {
        if request.target.contains("/token") {
            return reply;
        }
        let challenge = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
        Reply::new(401, "").with("WWW-Authenticate", challenge)
    });
    let other = elsewhere.host.clone();
    fake.spoil(move |request, reply| match request.target.contains("/blobs/") {
        true => Reply::new(302, "").with("Location", format!("http://{other}{}", request.target)),
        false => reply,
    });
    let error = place.registry().unwrap().release(&record.release.name, &record.release.version).unwrap_err();
    assert!(place.told(&error).contains("(401)"), "{error}");
    assert!(!elsewhere.requests().iter().any(is_authorized));
    assert!(!elsewhere.requests().iter().any(|request| request.target.contains("/token")));
}

#[test]
fn a_token_server_without_tls_elsewhere_is_not_asked() {
    if !is_alone(module_path!(), "a_token_server_without_tls_elsewhere_is_not_asked", &[]) {
        return;
    }
    let fake = Fake::start();
    log_in(&fake.host, AUTH);
    for realm in ["http://tokens.invalid/token", "ftp://127.0.0.1/token", "/token", "file:///etc/passwd"] {
        let challenge = format!("Bearer realm=\"{realm}\"");
        fake.spoil(move |_, _| Reply::new(401, "").with("WWW-Authenticate", challenge.clone()));
        let place = Place::new(&fake.host);
        let told = place.told(&place.try_publish(1).unwrap_err());
        assert!(told.starts_with(&format!("Could not accept `{realm}`")), "{told}");
    }
}
