//! Versions at the command line and in one process: yanks, updates, and two majors of one plugin beside each other.

use kadapter_host::pipeline::{Job, Plan, Settings};
use kadapter_host::task::{Answer, Compat, Record};
use kadapter_registry::note::Note;
use kadapter_registry::store::LocalStore;
use kadapter_registry::yank::Yank;
use kadapter_registry::{PackageId, Registry, Target, publish};
use kadapter_tests::world::open_plan;
use kadapter_tests::{World, paths};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HIDDEN: usize = 32;

/// Publishes a library as a release of `plugins/faulty`.
fn publish_plugin(world: &mut World, library: &str, version: &str) {
    let directory = world.path(&format!("packages/{library}-{version}"));
    fs::create_dir_all(&directory).unwrap();
    fs::copy(paths::plugin(library), directory.join("library.so")).unwrap();
    let manifest = format!(
        "schema = 1\n[package]\nname = \"plugins/faulty\"\nversion = \"{version}\"\nkind = \"plugin\"\nlicense = \"MIT\"\n\
         description = \"A plugin of the tests\"\n[plugin]\nabi = \"1.1\"\n[plugin.libraries]\n\"{}\" = \"library.so\"\n",
        Target::host()
    );
    fs::write(directory.join("kadapter-package.toml"), manifest).unwrap();
    fs::write(directory.join("README.md"), "A plugin of the tests.\n").unwrap();
    world.publish(&directory);
}

/// Publishes a release of an adapter of `plugins/faulty` on tap 4, with this requirement on the plugin and this gain.
fn publish_adapter(world: &mut World, name: &str, version: &str, plugin: &str, gain: f32) {
    let directory = world.path(&format!("packages/{name}-{version}"));
    fs::create_dir_all(&directory).unwrap();
    let manifest = format!(
        "schema = 1\n[package]\nname = \"official/{name}\"\nversion = \"{version}\"\nkind = \"adapter\"\nlicense = \"MIT\"\n\
         description = \"An adapter of the tests\"\n[adapter]\nweights = \"weights.safetensors\"\ntaps = [4]\n\
         plugin = {{ package = \"plugins/faulty\", version = \"{plugin}\" }}\n\
         backbone = {{ package = \"official/tiny\", weights = \"{}\" }}\n",
        world.backbone
    );
    fs::write(directory.join("kadapter-package.toml"), manifest).unwrap();
    fs::write(directory.join("README.md"), "An adapter of the tests.\n").unwrap();
    let weights = directory.join("weights.safetensors");
    let f32 = kadapter_registry::tensors::Dtype::F32;
    let tensors: [(&str, &[usize], &[f32]); 1] = [("gain", &[HIDDEN], &[gain; HIDDEN])];
    kadapter_host::weights::write_f32(&weights, f32, &tensors, &Default::default()).unwrap();
    world.publish(&directory);
}

fn features(task: &str, adapter: &str) -> String {
    format!("[tasks.{task}]\nkind = \"features\"\nstack = [\"{adapter}\"]\nfusion = \"concat\"\n")
}

/// The adapter's features of each token, which stand behind the backbone's in a concatenation.
fn vectors(answer: Answer) -> Vec<f32> {
    match answer {
        Answer::Features(answer) => {
            assert_eq!(answer.width, 2 * HIDDEN);
            answer.tokens.into_iter().flat_map(|token| token.vector.into_iter().skip(HIDDEN)).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Two majors of one plugin in one process: each task gets the numbers of its own, also beside the other.
#[test]
fn two_majors_of_one_plugin_answer_beside_each_other() {
    let mut world = World::new();
    publish_plugin(&mut world, "shift", "2.0.0");
    publish_adapter(&mut world, "scaled", "1.0.0", "^1", 3.0);
    publish_adapter(&mut world, "shifted", "1.0.0", "^2", 3.0);
    publish_adapter(&mut world, "plain", "1.0.0", "^1", 1.0);
    let tasks = features("scaled", "scaled") + &features("shifted", "shifted") + &features("plain", "plain");
    let manifest = world.manifest("p", &["scaled", "shifted", "plain"], &tasks);
    let resolved = world.resolve(&manifest);
    let ids: Vec<_> = resolved.plugins.keys().map(ToString::to_string).collect();
    assert_eq!(ids, ["plugins/faulty 1.0.0", "plugins/faulty 2.0.0"]);
    assert_eq!(resolved.adapters["shifted"].plugin.to_string(), "plugins/faulty 2.0.0");

    let ask = |tasks: &[&str]| -> Vec<Vec<f32>> {
        let names: Vec<_> = tasks.iter().map(|&name| name.to_owned()).collect();
        let settings = Settings { compat: Compat::Masked, ..Settings::default() };
        let opened = open_plan(Plan::tasks(&resolved, &names).unwrap(), settings);
        let record = Record::from_text("Ada saw the river .").unwrap();
        let jobs: Vec<_> = (0..tasks.len()).map(|task| Job { record: &record, task }).collect();
        opened.runner.answer(&jobs).into_iter().map(|answer| vectors(answer.unwrap())).collect()
    };
    let together = ask(&["scaled", "shifted", "plain"]);
    let [scaled, shifted, plain] = together.as_slice() else { panic!("{together:?}") };
    assert!(!plain.is_empty());
    for ((scaled, shifted), plain) in scaled.iter().zip(shifted).zip(plain) {
        assert_eq!((*scaled, *shifted), (plain * 3.0, plain + 3.0));
    }
    assert_eq!(ask(&["scaled"])[0], *scaled);
    assert_eq!(ask(&["shifted"])[0], *shifted);
}

/// A locked project of two adapters with room to move, and the command in its folder.
struct Commands {
    world: World,
    folder: PathBuf,
}

impl Commands {
    fn new() -> Self {
        let mut world = World::new();
        publish_adapter(&mut world, "one", "1.0.0", "^1", 1.0);
        publish_adapter(&mut world, "two", "1.0.0", "^1", 1.0);
        let tasks = features("first", "one") + &features("second", "two");
        let manifest = world.manifest("p", &["one", "two"], &tasks);
        Self::of(world, &manifest)
    }

    /// Locks the project of a manifest, with a home of its own that trusts the world's plugins.
    fn of(world: World, manifest: &Path) -> Self {
        let commands = Self { world, folder: manifest.parent().unwrap().to_owned() };
        commands.world.trust_in(&commands.folder.join("home"));
        commands.ok(&["lock"]);
        commands
    }

    fn newer(mut self) -> Self {
        for version in ["1.1.0", "2.0.0"] {
            publish_adapter(&mut self.world, "one", version, "^1", 2.0);
            publish_adapter(&mut self.world, "two", version, "^1", 2.0);
        }
        self
    }

    /// Everything that the command says, with the world's folder taken out, and whether it succeeded.
    fn run(&self, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(paths::kadapter());
        command.args(words).current_dir(&self.folder).env("KADAPTER_HOME", self.folder.join("home"));
        let output = command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        let root = self.world.path("");
        let root = root.canonicalize().unwrap();
        (output.status.success(), said.replace(root.to_str().unwrap().trim_end_matches('/'), "DIR"))
    }

    fn ok(&self, words: &[&str]) -> String {
        let (success, said) = self.run(words);
        assert!(success, "{words:?}: {said}");
        said
    }

    fn refused(&self, words: &[&str]) -> String {
        let (success, said) = self.run(words);
        assert!(!success, "{words:?}: {said}");
        said
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.folder.join("kadapter.lock")).unwrap()
    }
}

#[test]
fn an_update_says_what_moves_and_a_dry_one_writes_nothing() {
    let commands = Commands::new().newer();
    let lock = commands.lock();
    insta::assert_snapshot!(commands.ok(&["outdated"]), @"
    official/one                             1.0.0 → 1.1.0
      2.0.0 is outside `^1`
    official/two                             1.0.0 → 1.1.0
      2.0.0 is outside `^1`
    ");
    insta::assert_snapshot!(commands.ok(&["outdated", "--json"]), @r#"
    {"name":"official/one","locked":"1.0.0","fitting":"1.1.0","highest":"2.0.0","yanked":null,"reason":"is outside `^1`"}
    {"name":"official/two","locked":"1.0.0","fitting":"1.1.0","highest":"2.0.0","yanked":null,"reason":"is outside `^1`"}
    "#);
    insta::assert_snapshot!(commands.ok(&["update", "--dry-run"]), @"
    official/one 1.0.0 → 1.1.0
    official/two 1.0.0 → 1.1.0
    nothing was written, since --dry-run was given
    not chosen of official/one:
      2.0.0 is outside `^1`
    not chosen of official/two:
      2.0.0 is outside `^1`
    ");
    assert_eq!(commands.lock(), lock);
    insta::assert_snapshot!(commands.ok(&["update", "official/one"]), @"
    official/one 1.0.0 → 1.1.0
    not chosen of official/one:
      2.0.0 is outside `^1`
    ");
    assert_ne!(commands.lock(), lock);
    commands.ok(&["lock", "--frozen"]);
    insta::assert_snapshot!(commands.ok(&["update"]), @"
    official/two 1.0.0 → 1.1.0
    not chosen of official/one:
      2.0.0 is outside `^1`
    not chosen of official/two:
      2.0.0 is outside `^1`
    ");
    insta::assert_snapshot!(commands.ok(&["update"]), @"
    nothing moves
    not chosen of official/one:
      2.0.0 is outside `^1`
    not chosen of official/two:
      2.0.0 is outside `^1`
    ");
    let lock = commands.lock();
    insta::assert_snapshot!(commands.refused(&["update", "official/one@1.0.0"]), @"
    error: Could not move `official/one` down from 1.1.0 to 1.0.0 without being told to
      hint: allow it once: `kadapter update official/one@1.0.0 --allow-downgrade`
    ");
    insta::assert_snapshot!(commands.refused(&["update", "official/one@2.0.0"]), @"
    error: Could not find a version of `official/one` for [adapters.one]: 2.0.0 is outside `^1`
      hint: see what there is and widen the requirement: `kadapter info official/one`
    ");
    insta::assert_snapshot!(commands.refused(&["update", "official/on"]), @"
    error: Could not update `official/on`: the project uses `official/one`, `official/tiny`, `official/two` and `plugins/faulty`
      hint: perhaps `official/one` is meant
    ");
    insta::assert_snapshot!(commands.refused(&["update", "official/one@1.0.0", "official/two"]), @"
    error: `official/one@1.0.0` names a version beside other packages, expected it alone
      hint: move them one by one: `kadapter update official/one`
    ");
    assert_eq!(commands.lock(), lock);
    insta::assert_snapshot!(commands.ok(&["update", "official/one@1.0.0", "--allow-downgrade"]), @"official/one 1.1.0 → 1.0.0");
}

#[test]
fn a_yank_is_said_shown_and_taken_back() {
    let commands = Commands::new().newer();
    let yank = ["yank", "official/one@1.1.0", "--registry", "../registry", "--reason", "trained on the test set"];
    insta::assert_snapshot!(commands.ok(&yank), @"official/one 1.1.0 is yanked: who has locked it keeps it, nobody chooses it any more");
    insta::assert_snapshot!(commands.ok(&yank), @"official/one 1.1.0 was yanked already");
    insta::assert_snapshot!(commands.ok(&["versions", "official/one"]), @"
    2.0.0
    1.1.0  yanked: trained on the test set
    1.0.0
    ");
    insta::assert_snapshot!(commands.ok(&["versions", "official/one", "--json"]), @r#"
    {"version":"2.0.0","yanked":null}
    {"version":"1.1.0","yanked":"trained on the test set"}
    {"version":"1.0.0","yanked":null}
    "#);
    let info = commands.ok(&["info", "official/one@1.1.0"]);
    insta::assert_snapshot!(info.lines().take(2).collect::<Vec<_>>().join("\n"), @"
    official/one 1.1.0 (adapter)
      yanked       trained on the test set
    ");
    assert!(commands.ok(&["info", "official/one"]).starts_with("official/one 2.0.0 (adapter)"));
    insta::assert_snapshot!(commands.ok(&["update"]), @"
    official/two 1.0.0 → 1.1.0
    not chosen of official/one:
      2.0.0 is outside `^1`
      1.1.0 is yanked: trained on the test set
    not chosen of official/two:
      2.0.0 is outside `^1`
    ");
    // Who had chosen it keeps it, frozen, too, and is told by whatever looks at the registry.
    let unyank = ["unyank", "official/one@1.1.0", "--registry", "../registry"];
    insta::assert_snapshot!(commands.ok(&unyank), @"official/one 1.1.0 may be chosen again");
    insta::assert_snapshot!(commands.ok(&unyank), @"official/one 1.1.0 was not yanked");
    commands.ok(&["update"]);
    commands.ok(&yank);
    let lock = commands.lock();
    let frozen = commands.ok(&["lock", "--frozen"]);
    insta::assert_snapshot!(frozen.lines().skip(4).collect::<Vec<_>>().join("\n"), @"
    warning: `official/one 1.1.0` is yanked: trained on the test set
      hint: move to another release: `kadapter update official/one`
    ");
    insta::assert_snapshot!(commands.ok(&["outdated"]), @"
    official/one                             1.1.0 stays
      1.1.0 is yanked: trained on the test set
      2.0.0 is outside `^1`
    official/two                             1.1.0 stays
      2.0.0 is outside `^1`
    ");
    assert!(!commands.ok(&["run", "first", "Ada saw the river ."]).contains("yanked"));
    assert_eq!(commands.lock(), lock);
    for word in ["yank", "unyank"] {
        let words = [word, "official/one", "--registry", "../registry", "--reason", "x"];
        assert!(commands.refused(&words).contains("names no version"), "{word}");
    }
    let words = ["yank", "official/one@9.0.0", "--registry", "../registry", "--reason", "x"];
    insta::assert_snapshot!(commands.refused(&words), @"
    error: Could not find `official/one 9.0.0` in `DIR/registry`
      hint: see what there is: `kadapter info official/one`
    ");
    let words = ["yank", "official/one@1.0.0", "--registry", "../registry", "--reason", ""];
    insta::assert_snapshot!(commands.refused(&words), @"error: Could not say this about `official/one 1.0.0`: its reason is empty");
    for version in ["1.0.0", "2.0.0"] {
        let package = format!("official/one@{version}");
        commands.ok(&["yank", &package, "--registry", "../registry", "--reason", "too old"]);
    }
    insta::assert_snapshot!(commands.ok(&["search", "official/one"]), @"official/one 2.0.0                       adapter  An adapter of the tests  (yanked: too old)");
}

/// What is said with a key bears a signature that its public key verifies, and a key that does not open says nothing.
#[test]
fn a_yank_is_signed_by_whoever_says_it() {
    let commands = Commands::new();
    let release = "official/one@1.0.0";
    let notes = || {
        let store = LocalStore::new(&commands.world.registry()).unwrap();
        let id = PackageId::new(&"official/one".parse().unwrap(), &"1.0.0".parse().unwrap());
        let registry = Registry::with_store(Box::new(store)).unwrap();
        let digest = registry.release(&id.name, &id.version).unwrap().unwrap().digest;
        let read = |note: Note| {
            Yank::decode(&note, &id, &digest, &registry.store().note(&id, &note).unwrap().unwrap()).unwrap()
        };
        registry.store().notes(&id).unwrap().into_iter().map(read).collect::<Vec<_>>()
    };
    let say = |verb: &'static str, key: &'static str| {
        [verb, release, "--registry", "../registry", "--reason", "its data leaked", "--key", key]
    };
    let said = commands.refused(&say("yank", "ada"));
    assert!(said.contains("`ada`") && said.contains("hint: "), "{said}");
    assert_eq!(notes(), []);

    let public = |name: &str| {
        commands.ok(&["key", "new", name, "--no-password"]);
        let text = fs::read_to_string(commands.folder.join(format!("home/keys/{name}.pub"))).unwrap();
        minisign_verify::PublicKey::decode(text.trim_end()).unwrap()
    };
    let (ada, grace) = (public("ada"), public("grace"));
    let signer = |said: String| said.lines().find_map(|line| line.strip_prefix("  signed by ").map(str::to_owned));
    let id = signer(commands.ok(&say("yank", "ada"))).expect("the key is named");
    assert_eq!(signer(commands.ok(&say("yank", "ada"))), None, "it was yanked already");
    assert!(commands.ok(&["versions", "official/one"]).contains("yanked: its data leaked"));
    // Another key says it anew, and takes it back.
    assert_ne!(signer(commands.ok(&say("yank", "grace"))).unwrap(), id);
    commands.ok(&say("unyank", "ada"));
    let notes = notes();
    assert_eq!(notes.iter().map(|note| note.statement.yanked).collect::<Vec<_>>(), [true, true, false]);
    let by = |key: &minisign_verify::PublicKey| {
        notes.iter().map(|note| note.is_signed_by(std::slice::from_ref(key))).collect::<Vec<_>>()
    };
    assert_eq!((by(&ada), by(&grace)), (vec![true, false, true], vec![false, true, false]));
    assert_eq!(notes[0].signature.as_ref().unwrap().0.to_string(), id);
}

/// A locked and fetched project asks nobody, and what it asks for yanks may be gone.
#[test]
fn a_fetched_project_needs_no_registry_to_be_frozen() {
    let commands = Commands::new();
    commands.ok(&["fetch", "--frozen"]);
    fs::rename(commands.world.registry(), commands.world.path("gone")).unwrap();
    commands.ok(&["run", "--frozen", "first", "Ada saw the river ."]);
    let frozen = commands.ok(&["lock", "--frozen"]);
    insta::assert_snapshot!(frozen.lines().skip(4).collect::<Vec<_>>().join("\n"), @"
    warning: Could not ask `../registry` for yanks: Could not find a registry in `DIR/p/../registry`: it has no `registry.json`
      hint: publishing makes one: `kadapter publish DIRECTORY --registry DIR/p/../registry`
    ");
}

/// An adapter that a task was not trained on is refused where a person meets it.
#[test]
fn an_upgrade_that_would_break_a_task_is_refused_at_the_command_line() {
    use kadapter_registry::package::{Fusion, TaskKind};
    use kadapter_tests::world::{HeadCase, task_entry};
    let mut world = World::with_adapters();
    world.add_head(HeadCase {
        name: "relation",
        prefix: "tacred/",
        kind: TaskKind::RelationClassification,
        labels: 42,
        stack: &["fac"],
        fusion: Fusion::Concat,
        options: "",
        max_length: 48,
    });
    let manifest = world.manifest("p", &["fac"], &task_entry("relation", &["fac"]));
    let commands = Commands::of(world, &manifest);
    let again = commands.world.path("packages/fac-2.0.0");
    copy_as(&commands.world.path("packages/fac"), &again, "2.0.0");
    let store = LocalStore::new(&commands.world.registry()).unwrap();
    publish::publish(&store, &again).unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    let wide =
        text.replace("package = \"official/fac\", version = \"^1\"", "package = \"official/fac\", version = \">=1\"");
    assert_ne!(text, wide);
    fs::write(&manifest, &wide).unwrap();
    let lock = commands.lock();
    insta::assert_snapshot!(commands.ok(&["update"]), @"
    nothing moves
    not chosen of official/fac:
      2.0.0 would break [tasks.relation], which was trained on 1.0.0
    ");
    insta::assert_snapshot!(commands.refused(&["update", "official/fac@2.0.0"]), @r#"
    error: Could not use `official/fac 2.0.0` as [adapters.fac]: [tasks.relation] stacks it, and `official/relation 1.0.0` was trained on `official/fac 1.0.0`
      hint: take or train a release of `official/relation` for 2.0.0 (`kadapter versions official/relation` shows them), or keep the adapter: `fac = { package = "official/fac", version = "=1.0.0" }`
    "#);
    fs::write(&manifest, wide.replace(">=1", "^2")).unwrap();
    insta::assert_snapshot!(commands.refused(&["run", "relation", "<e1>Ada</e1> saw <e2>it</e2>"]), @r#"
    error: Could not use `official/fac 2.0.0` as [adapters.fac]: [tasks.relation] stacks it, and `official/relation 1.0.0` was trained on `official/fac 1.0.0`
      hint: take or train a release of `official/relation` for 2.0.0 (`kadapter versions official/relation` shows them), or keep the adapter: `fac = { package = "official/fac", version = "=1.0.0" }`
    "#);
    assert_eq!(commands.lock(), lock);
    fs::write(&manifest, text).unwrap();
    commands.ok(&["lock", "--frozen"]);
}

/// Copies a package directory under another version.
fn copy_as(from: &Path, to: &Path, version: &str) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let file = to.join("kadapter-package.toml");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replacen("version = \"1.0.0\"", &format!("version = \"{version}\""), 1);
    assert_ne!(text, changed);
    fs::write(file, changed).unwrap();
}
