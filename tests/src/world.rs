//! A registry in a temporary folder with the official tiny model as packages, and projects that use it.

use crate::official::promise;
use crate::paths;
use crate::publisher::Publisher;
use kadapter_host::import::{Identity, Storage, adapter, backbone, task};
use kadapter_host::pipeline::{Opened, Plan, Settings, open};
use kadapter_host::plugin::Promise;
use kadapter_host::task::Compat;
use kadapter_host::tensor::device::{DeviceChoice, Dtype};
use kadapter_plugin_api::note;
use kadapter_registry::package::{AdapterNeed, BackboneNeed, Fusion, PluginNeed, TaskKind};
use kadapter_registry::project::{LockMode, Options, Project, Resolved};
use kadapter_registry::{Cache, Digest};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The heads that the world knows: name, prefix in the fixture, kind, labels, stack, fusion.
#[derive(Clone, Copy, Debug)]
pub struct HeadCase<'a> {
    /// The package's name.
    pub name: &'a str,
    /// What stands before its tensors in `heads.safetensors`.
    pub prefix: &'a str,
    /// What it answers.
    pub kind: TaskKind,
    /// How many labels; 0 for kinds without.
    pub labels: usize,
    /// `fac`, `lin` or both.
    pub stack: &'a [&'a str],
    /// How features come together.
    pub fusion: Fusion,
    /// Options of the kind, as TOML.
    pub options: &'a str,
    /// The longest input.
    pub max_length: usize,
}

/// A temporary registry and project folder.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    /// The digest of the backbone's weights.
    pub backbone: Digest,
    publisher: Publisher,
    releases: BTreeMap<String, Digest>,
}

impl World {
    /// The backbone and the three plugins (and the faulty one).
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut world =
            Self { folder, backbone: Digest::of(b""), publisher: Publisher::new(), releases: BTreeMap::new() };
        world.trust_in(&world.path("home"));
        let checkpoint = world.path("checkpoint");
        fs::create_dir_all(&checkpoint).expect("a folder");
        let official = [
            ("config.json", "config.json"),
            ("backbone.safetensors", "model.safetensors"),
            ("tokenizer/vocab.json", "vocab.json"),
            ("tokenizer/merges.txt", "merges.txt"),
        ];
        for (from, to) in official {
            fs::copy(paths::data("official").join(from), checkpoint.join(to)).expect("the fixture copies");
        }
        let out = world.path("packages/backbone");
        fs::create_dir_all(world.path("packages")).expect("a folder");
        let report = backbone::import(&checkpoint, &identity("official/tiny"), &out, backbone::Options::default());
        world.backbone = report.expect("the backbone imports").weights[0].digest;
        world.publish(&out);
        for name in ["factual", "linguistic", "bottleneck", "faulty"] {
            world.publish_plugin(name, &paths::plugin(name));
        }
        world
    }

    /// The backbone, the plugins, and the official adapters as `official/fac` and `official/lin`, taps 0, 2 and 3.
    pub fn with_adapters() -> Self {
        let mut world = Self::new();
        world.add_official_adapter("fac", "fac-adapter/pytorch_model.bin", &[0, 2, 3], 0);
        world.add_official_adapter("lin", "lin-adapter/pytorch_model.zip.bin", &[0, 2, 3], 0);
        world
    }

    /// A place in the world's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The registry's folder.
    pub fn registry(&self) -> PathBuf {
        self.path("registry")
    }

    /// Publishes a package directory, and signs it if it is a plugin: the default trust asks for that.
    pub fn publish(&mut self, directory: &Path) -> Digest {
        let record = self.publisher.publish(directory, &self.registry());
        self.releases.insert(record.release.name.to_string(), record.digest);
        record.digest
    }

    /// Publishes a library as `plugins/NAME`, in the version that its note says.
    pub fn publish_plugin(&mut self, name: &str, library: &Path) {
        let directory = self.path(&format!("packages/plugin-{name}"));
        let target = note::parse(&note::encode("x", "1.0.0")).expect("a note").target;
        let Promise { version, abi, .. } = promise(library);
        fs::create_dir_all(directory.join("plugins")).expect("a folder");
        fs::copy(library, directory.join("plugins/library.so")).expect("the library copies");
        let manifest = format!(
            "schema = 1\n[package]\nname = \"plugins/{name}\"\nversion = \"{version}\"\nkind = \"plugin\"\nlicense = \"MIT\"\n\
             description = \"A plugin of the tests\"\n[plugin]\nabi = \"{abi}\"\n[plugin.libraries]\n\"{target}\" = \"plugins/library.so\"\n"
        );
        fs::write(directory.join("kadapter-package.toml"), manifest).expect("a file");
        fs::write(directory.join("README.md"), "A plugin of the tests.\n").expect("a file");
        self.publish(&directory);
    }

    /// Imports and publishes an official adapter as `official/NAME`.
    pub fn add_official_adapter(&mut self, name: &str, file: &str, taps: &[usize], skip: usize) {
        let plugin = if name.starts_with("lin") { "plugins/linguistic" } else { "plugins/factual" };
        let need =
            PluginNeed { package: plugin.parse().expect("a name"), version: "^1".parse().expect("a requirement") };
        let options = adapter::Options {
            taps: taps.to_vec(),
            heads: 3,
            skip,
            ..adapter::Options::official(need, "official/tiny".parse().expect("a name"), self.backbone)
        };
        let out = self.path(&format!("packages/{name}"));
        let file = paths::data("official").join(file);
        adapter::import(&file, &identity(&format!("official/{name}")), &out, &options).expect("the adapter imports");
        self.publish(&out);
    }

    /// Publishes an adapter package that is written by hand: `config` is TOML, `tensors` its weights.
    pub fn add_adapter(
        &mut self,
        name: &str,
        plugin: &str,
        taps: &[usize],
        config: &str,
        tensors: &[(&str, &[usize], &[f32])],
    ) {
        let directory = self.path(&format!("packages/{name}"));
        fs::create_dir_all(&directory).expect("a folder");
        let manifest = format!(
            "schema = 1\n[package]\nname = \"official/{name}\"\nversion = \"1.0.0\"\nkind = \"adapter\"\nlicense = \"MIT\"\n\
             description = \"An adapter of the tests\"\n[adapter]\nweights = \"weights.safetensors\"\ntaps = {taps:?}\n\
             plugin = {{ package = \"plugins/{plugin}\", version = \"^1\" }}\n\
             backbone = {{ package = \"official/tiny\", weights = \"{}\" }}\n[adapter.config]\n{config}\n",
            self.backbone
        );
        fs::write(directory.join("kadapter-package.toml"), manifest).expect("a file");
        fs::write(directory.join("README.md"), "An adapter of the tests.\n").expect("a file");
        let weights = directory.join("weights.safetensors");
        let f32 = kadapter_registry::tensors::Dtype::F32;
        kadapter_host::weights::write_f32(&weights, f32, tensors, &BTreeMap::new()).expect("weights are written");
        self.publish(&directory);
    }

    /// An adapter of the faulty plugin.
    pub fn add_faulty(&mut self, name: &str, fault: &str) {
        self.add_adapter(name, "faulty", &[4], &format!("fault = \"{fault}\""), &[("gain", &[32], &[1.0; 32])]);
    }

    /// An adapter of the third-party plugin, with the values it starts from.
    pub fn add_bottleneck(&mut self, name: &str) {
        let (mut tensors, hidden, size) = (Vec::new(), 32, 4);
        for tap in 0..2 {
            for (part, shape) in [
                ("down.weight", vec![size, hidden]),
                ("down.bias", vec![size]),
                ("up.weight", vec![hidden, size]),
                ("up.bias", vec![hidden]),
                ("gate", vec![hidden]),
            ] {
                tensors.push((format!("bottleneck.{tap}.{part}"), shape));
            }
        }
        tensors.push(("norm.weight".into(), vec![hidden]));
        tensors.push(("norm.bias".into(), vec![hidden]));
        let values: Vec<Vec<f32>> = tensors
            .iter()
            .map(|(name, shape)| {
                let mut random = kadapter_plugin_api::random::Random::named(7, name);
                (0..shape.iter().product::<usize>()).map(|_| random.normal() as f32 / 4.0).collect()
            })
            .collect();
        let tensors: Vec<_> = tensors
            .iter()
            .zip(&values)
            .map(|((name, shape), values)| (name.as_str(), shape.as_slice(), values.as_slice()))
            .collect();
        self.add_adapter(name, "bottleneck", &[1, 4], "size = 4", &tensors);
    }

    /// Imports and publishes an official head as `official/NAME`.
    pub fn add_head(&mut self, case: HeadCase<'_>) {
        self.add_head_from(&paths::data("official/heads.safetensors"), case);
    }

    /// [`World::add_head`] from another file.
    pub fn add_head_from(&mut self, file: &Path, case: HeadCase<'_>) {
        let alias = |name: &str| name.parse::<kadapter_registry::Alias>().expect("an alias");
        let stack: Vec<_> = case.stack.iter().map(|name| alias(name)).collect();
        let need = |name: &str| AdapterNeed {
            package: format!("official/{name}").parse().expect("a name"),
            release: self.releases[&format!("official/{name}")],
        };
        let options = task::Options {
            kind: case.kind,
            labels: (0..case.labels).map(|label| format!("label {label}")).collect(),
            max_length: case.max_length,
            options: case.options.parse().expect("options are TOML"),
            backbone: BackboneNeed { package: "official/tiny".parse().expect("a name"), weights: self.backbone },
            adapters: case.stack.iter().map(|name| (alias(name), need(name))).collect(),
            slots: case.stack.iter().map(|name| ((*name).to_owned(), alias(name))).collect(),
            variants: vec![task::VariantSource {
                file: file.to_owned(),
                prefix: case.prefix.into(),
                stack,
                fusion: case.fusion,
            }],
            storage: Storage::Keep,
        };
        let out = self.path(&format!("packages/{}", case.name));
        task::import(&identity(&format!("official/{}", case.name)), &out, &options)
            .unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
        self.publish(&out);
    }

    /// Writes `NAME/kadapter.toml` with these adapters (of `official/`) and this text of tasks, and gives its path.
    pub fn manifest(&self, name: &str, adapters: &[&str], tasks: &str) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).expect("a folder");
        let adapters: String = adapters
            .iter()
            .map(|name| format!("{name} = {{ package = \"official/{name}\", version = \"^1\" }}\n"))
            .collect();
        let text = format!(
            "[registries]\nofficial = \"../registry\"\nplugins = \"../registry\"\n[backbone]\npackage = \"official/tiny\"\nversion = \"^1\"\n\
             [adapters]\n{adapters}\n{tasks}\n"
        );
        let path = folder.join("kadapter.toml");
        fs::write(&path, text).expect("a file");
        self.trust_in(&folder.join("home"));
        path
    }

    /// Lets a command whose `KADAPTER_HOME` this is trust the world's plugins.
    pub fn trust_in(&self, home: &Path) {
        self.publisher.trust_in(home, &["plugins"]);
    }

    /// Resolves a manifest with a cache of the world's own.
    pub fn resolve(&self, manifest: &Path) -> Resolved {
        let trust = Some(self.publisher.trust(&["plugins"]));
        let options = Options { cache: Some(Cache::new(self.path("cache"))), trust, ..Options::default() };
        let project = Project::open_with(manifest, options).expect("the project opens");
        project.resolve(LockMode::KeepLocked).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Opens every adapter and task of a manifest on the CPU.
    pub fn open(&self, manifest: &Path, compat: Compat) -> Opened {
        let resolved = self.resolve(manifest);
        let tasks: Vec<_> = resolved.tasks.keys().cloned().collect();
        let plan = Plan::every_adapter(&resolved, &tasks).expect("the plan is made");
        open_plan(plan, Settings { compat, ..Settings::default() })
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Opens a plan on the CPU.
pub fn open_plan(plan: Plan, settings: Settings) -> Opened {
    open(plan, DeviceChoice::Cpu, Dtype::F32, settings).expect("the model opens")
}

fn identity(name: &str) -> Identity {
    Identity {
        name: name.parse().expect("a name"),
        version: "1.0.0".parse().expect("a version"),
        license: "MIT".parse().expect("a licence"),
        description: None,
        attribution: None,
    }
}

/// `[tasks.NAME]` for a package of `official/` with a stack.
pub fn task_entry(name: &str, stack: &[&str]) -> String {
    format!("[tasks.{name}]\npackage = \"official/{name}\"\nversion = \"^1\"\nstack = {stack:?}\n")
}
