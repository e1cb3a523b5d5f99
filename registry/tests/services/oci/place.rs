//! A registry of packages in an OCI registry, with a project that uses it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use kadapter_registry::index::store_at;
use kadapter_registry::project::{Options, Project};
use kadapter_registry::publish::publish;
use kadapter_registry::release::ReleaseRecord;
use kadapter_registry::resolve::Platform;
use kadapter_registry::store::Store;
use kadapter_registry::{AbiVersion, Cache, Error, Registry, Trust};
use tempfile::TempDir;

use crate::packages::{backbone_content, package, parse, write_package};

/// A host and a prefix.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) prefix: String,
}

impl Place {
    /// A prefix that no other place of this process or another has.
    pub(crate) fn new(host: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("test/{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { host: host.to_owned(), prefix }
    }

    pub(crate) fn location(&self) -> String {
        format!("oci://{}/{}", self.host, self.prefix)
    }

    pub(crate) fn store(&self) -> Box<dyn Store> {
        store_at(&parse(&self.location()), ".".as_ref()).unwrap()
    }

    pub(crate) fn registry(&self) -> Result<Registry, Error> {
        Registry::with_store(self.store())
    }

    /// Publishes the version 1.0.0 of `k/base`.
    pub(crate) fn try_publish(&self, seed: u8) -> Result<ReleaseRecord, Error> {
        let directory = tempfile::tempdir().unwrap();
        write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), seed);
        publish(&*self.store(), directory.path()).map(|published| published.record)
    }

    pub(crate) fn publish(&self, seed: u8) -> ReleaseRecord {
        self.try_publish(seed).unwrap()
    }

    /// Text with this place's host written as `$HOST` and its prefix as `$PREFIX`.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&self.host, "$HOST").replace(&self.prefix, "$PREFIX")
    }

    /// An error as a person sees it: the chain of causes, then the hint.
    pub(crate) fn told(&self, error: &Error) -> String {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            write!(text, "\n  because: {error}").unwrap();
            cause = error.source();
        }
        if let Some(hint) = error.hint() {
            write!(text, "\nhint: {hint}").unwrap();
        }
        self.plain(&text)
    }
}

/// A project whose one package is the backbone `k/base` of a place.
pub(crate) struct Folder {
    directory: TempDir,
}

impl Folder {
    pub(crate) fn new(place: &Place) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "[registries]\nk = \"{}\"\n\n[backbone]\npackage = \"k/base\"\nversion = \"^1\"\n\n\
             [adapters]\n\n[tasks]\n",
            place.location()
        );
        fs::create_dir(directory.path().join("project")).unwrap();
        fs::write(directory.path().join("project/kadapter.toml"), text).unwrap();
        Self { directory }
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    pub(crate) fn project(&self) -> Project {
        let platform = Platform { target: parse("x86_64-unknown-linux-gnu"), abi: AbiVersion { major: 1, minor: 0 } };
        let options = Options {
            platform: Some(platform),
            cache: Some(Cache::new(self.cache())),
            trust: Some(Trust::any()),
            ..Options::default()
        };
        Project::open_with(self.directory.path().join("project"), options).unwrap()
    }
}

/// Runs the rest of a test in a process of its own with these variables, since variables belong to processes: the test, one of
/// the module `module`, calls itself. Tells whether this is that process.
pub(crate) fn is_child(module: &str, test: &str, variables: &[(&str, &str)]) -> bool {
    const CHILD: &str = "KADAPTER_TEST_CHILD";
    // Tests are named without their program.
    let name = format!("{}::{test}", module.split_once("::").unwrap().1);
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name.as_str(), "--exact", "--nocapture"]).env(CHILD, &name).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("1 passed"), "{out}\n{err}");
    false
}
