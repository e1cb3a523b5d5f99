//! A small world to test in: registries, packages and a project in a folder of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use kadapter_registry::package::{
    Adapter, AdapterNeed, BackboneNeed, Content, Fusion, Package, Plugin, PluginNeed, Task, TaskKind, Variant,
};
use kadapter_registry::project::{Options, Project};
use kadapter_registry::publish::{Published, publish};
use kadapter_registry::release::ReleaseRecord;
use kadapter_registry::resolve::Platform;
use kadapter_registry::store::LocalStore;
use kadapter_registry::{AbiVersion, Alias, Cache, Digest, Error, Trust};
use tempfile::TempDir;

use crate::keys::TestKey;
pub(crate) use crate::packages::{backbone_content, package, parse, weights, write_package};

/// The platform of all tests, so that no message depends on the machine.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Registries, a cache and a project folder.
pub(crate) struct World {
    _directory: TempDir,
    root: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        let world = Self { _directory: directory, root };
        fs::create_dir(world.path("project")).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn store(&self) -> LocalStore {
        LocalStore::new(&self.path("registry")).unwrap()
    }

    pub(crate) fn try_publish(&self, package: &Package, seed: u8) -> Result<Published, Error> {
        let directory = tempfile::tempdir_in(&self.root).unwrap();
        write_package(directory.path(), package, seed);
        publish(&self.store(), directory.path())
    }

    /// Publishes a package and, if it is a plugin, signs it: that is what the default trust asks for.
    pub(crate) fn publish(&self, package: &Package, seed: u8) -> ReleaseRecord {
        let record = self.try_publish(package, seed).unwrap().record;
        if matches!(package.content, Content::Plugin(_)) {
            TestKey::ada().sign_release(&self.store(), &record);
        }
        record
    }

    pub(crate) fn backbone(&self, version: &str, seed: u8) -> ReleaseRecord {
        self.publish(&package("k/base", version, backbone_content()), seed)
    }

    pub(crate) fn plugin(&self, name: &str, version: &str, abi: &str, targets: &[&str]) -> ReleaseRecord {
        let library = |target: &&str| (parse(target), parse(&format!("plugins/{target}/libplugin.so")));
        let content = Plugin { abi: parse(abi), libraries: targets.iter().map(library).collect() };
        self.publish(&package(name, version, Content::Plugin(content)), 0)
    }

    pub(crate) fn adapter(&self, name: &str, version: &str, plugin: &str, backbone: Digest) -> ReleaseRecord {
        let content = Adapter {
            weights: parse("weights.safetensors"),
            taps: vec![0, 3, 5],
            plugin: PluginNeed { package: parse("p/net"), version: plugin.parse().unwrap() },
            backbone: BackboneNeed { package: parse("k/base"), weights: backbone },
            config: toml::Table::from_iter([("size".to_owned(), toml::Value::Integer(192))]),
        };
        self.publish(&package(name, version, Content::Adapter(content)), 7)
    }

    pub(crate) fn task(
        &self,
        name: &str,
        version: &str,
        backbone: Digest,
        adapters: &[(&str, &ReleaseRecord)],
        stacks: &[&[&str]],
    ) -> ReleaseRecord {
        self.publish(&package(name, version, task_content(backbone, adapters, stacks)), 9)
    }

    /// Backbone, plugin, two adapters and a task for [], [fac] and [fac, lin].
    pub(crate) fn usual(&self) -> Usual {
        let backbone = self.backbone("1.0.0", 1);
        let digest = backbone.release.backbone_weights().unwrap();
        self.plugin("p/net", "1.0.0", "1.0", &[TARGET]);
        let factual = self.adapter("k/factual", "1.0.0", "^1", digest);
        let linguistic = self.adapter("k/linguistic", "1.0.0", "^1", digest);
        let adapters = [("fac", &factual), ("lin", &linguistic)];
        self.task("k/relation", "1.0.0", digest, &adapters, &[&[], &["fac"], &["fac", "lin"]]);
        Usual { backbone: digest, factual, linguistic }
    }

    pub(crate) fn write_manifest(&self, text: &str) {
        fs::write(self.path("project/kadapter.toml"), text).unwrap();
    }

    pub(crate) fn lock_text(&self) -> String {
        fs::read_to_string(self.path("project/kadapter.lock")).unwrap()
    }

    pub(crate) fn options(&self) -> Options {
        let platform = Platform { target: parse(TARGET), abi: AbiVersion { major: 1, minor: 0 } };
        let trust = Trust { keys: vec![TestKey::ada().trusted("p")], ..Trust::default() };
        let cache = Cache::new(self.path("cache"));
        Options { platform: Some(platform), cache: Some(cache), trust: Some(trust), ..Options::default() }
    }

    pub(crate) fn project(&self) -> Project {
        Project::open_with(self.path("project"), self.options()).unwrap()
    }

    /// Text with this world's folder written as `$WORLD`, for snapshots.
    pub(crate) fn plain(&self, text: impl std::fmt::Display) -> String {
        text.to_string().replace(&self.root.display().to_string(), "$WORLD")
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
        self.plain(text)
    }
}

/// What [`World::usual`] published.
pub(crate) struct Usual {
    pub(crate) backbone: Digest,
    pub(crate) factual: ReleaseRecord,
    pub(crate) linguistic: ReleaseRecord,
}

pub(crate) fn task_content(backbone: Digest, adapters: &[(&str, &ReleaseRecord)], stacks: &[&[&str]]) -> Content {
    let need = |(name, record): &(&str, &ReleaseRecord)| {
        (parse(name), AdapterNeed { package: record.release.name.clone(), release: record.digest })
    };
    let variant = |(index, stack): (usize, &&[&str])| Variant {
        stack: stack.iter().map(|name| parse(name)).collect(),
        fusion: Fusion::Concat,
        taps: Vec::new(),
        weights: parse(&format!("variant-{index}.safetensors")),
    };
    let used = |name: &&str| stacks.iter().any(|stack| stack.contains(name));
    let adapters: BTreeMap<Alias, AdapterNeed> = adapters.iter().filter(|(name, _)| used(name)).map(need).collect();
    Content::Task(Task {
        kind: TaskKind::RelationClassification,
        backbone: BackboneNeed { package: parse("k/base"), weights: backbone },
        labels: vec!["yes".to_owned(), "no".to_owned()],
        max_length: 128,
        options: toml::Table::new(),
        adapters,
        variants: stacks.iter().enumerate().map(variant).collect(),
    })
}

/// A manifest for what [`World::usual`] publishes, with this stack.
pub(crate) fn usual_manifest(stack: &str) -> String {
    format!(
        r#"
[registries]
k = "../registry"
p = "../registry"

[backbone]
package = "k/base"
version = "^1"

[adapters]
factual = {{ package = "k/factual", version = "^1" }}
linguistic = {{ package = "k/linguistic", version = "^1" }}

[tasks.relation]
package = "k/relation"
version = "^1"
stack = {stack}

[tasks.features]
kind = "features"
stack = ["linguistic", "factual"]
fusion = "add"
"#
    )
}
