//! First contact: a plugin that crashes does so in a child process, once, and is refused by its digest until it is forgotten.

use kadapter_registry::Digest;
use kadapter_tests::{World, paths};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Ran {
    success: bool,
    stdout: String,
    stderr: String,
}

/// A project of one task whose features come from an adapter of the plugin `bad` or `faulty`.
struct Project {
    world: World,
    manifest: PathBuf,
    plugin: &'static str,
}

impl Project {
    fn new(plugin: &'static str, fault: &str) -> Self {
        let mut world = World::new();
        if plugin == "bad" {
            world.publish_plugin("bad", &paths::plugin("bad"));
        }
        let (config, gain) = (format!("fault = \"{fault}\""), [1.0; 32]);
        world.add_adapter("poor", plugin, &[4], &config, &[("gain", &[32], &gain)]);
        let task = "[tasks.features]\nkind = \"features\"\nstack = [\"poor\"]\nfusion = \"concat\"\n";
        let manifest = world.manifest("project", &["poor"], task);
        Self { world, manifest, plugin }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::kadapter());
        command.args(words).current_dir(self.manifest.parent().unwrap()).env("RUST_BACKTRACE", "0");
        command.env("KADAPTER_HOME", self.world.path("home")).stdin(Stdio::null());
        command
    }

    fn ran(&self, command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap().replace(&self.digest().to_string(), "DIGEST");
            text.replace(&self.digest().hex(), "HEX").replace(self.world.path("").to_str().unwrap(), "WORLD/")
        };
        Ran { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.ran(&mut self.command(words))
    }

    /// Without a place for a child's report, so that none can be sent.
    fn run_childless(&self, words: &[&str]) -> Ran {
        self.ran(self.command(words).env("TMPDIR", self.world.path("not/there")))
    }

    fn digest(&self) -> Digest {
        Digest::of(&fs::read(paths::plugin(self.plugin)).unwrap())
    }

    /// The record of the plugin.
    fn record(&self) -> PathBuf {
        self.world.path("home/state/contacts/v1").join(format!("{}.json", self.digest().hex()))
    }
}

const RUN: [&str; 3] = ["run", "features", "Ada saw the river ."];

/// Takes the moment out of a refusal.
fn timeless(text: &str) -> String {
    let Some(at) = text.find(" UTC") else { return text.to_owned() };
    format!("{}WHEN{}", &text[..at - "2026-01-01 00:00".len()], &text[at + 4..])
}

#[cfg(target_os = "linux")]
#[test]
fn a_plugin_that_crashes_is_refused_by_its_digest_until_it_is_forgotten() {
    let project = Project::new("bad", "segfault-forward");
    let first = project.run(&RUN);
    assert!(!first.success && first.stdout.is_empty());
    insta::assert_snapshot!(first.stderr, @r"
    error: plugin `plugins/bad 1.0.0` crashed when a child process tried it out: in `forward`, the process was killed by SIGSEGV (a wrong access to memory)
      hint: it was not opened here, and will be refused from now on; take it out of kadapter.toml, or have it tried out again: `kadapter plugin forget DIGEST`
    ");

    // No child any more: it could not report.
    let second = project.run_childless(&RUN);
    assert!(!second.success);
    insta::assert_snapshot!(timeless(&second.stderr), @r"
    error: plugin `plugins/bad 1.0.0` is not opened: it crashed when it was tried out on WHEN: in `forward`, the process was killed by SIGSEGV (a wrong access to memory)
      hint: take it out of kadapter.toml, or have it tried out again: `kadapter plugin forget DIGEST`
    ");
    let contacts = project.run(&["plugin", "contacts"]);
    insta::assert_snapshot!(timeless(&contacts.stdout), @"DIGEST  WHEN  plugins/bad 1.0.0  in `forward`, the process was killed by SIGSEGV (a wrong access to memory)");

    let digest = project.digest().to_string();
    let forget = ["plugin", "forget", &digest];
    let forgotten = project.run(&forget);
    assert!(forgotten.success);
    insta::assert_snapshot!(forgotten.stdout, @"forgot DIGEST: it is tried out again when it is needed next");
    let again = project.run(&forget);
    assert!(!again.success);
    insta::assert_snapshot!(again.stderr, @r"
    error: no plugin with digest DIGEST was met
      hint: see those that were with `kadapter plugin contacts`
    ");
    // It is met anew, and dies anew.
    assert_eq!(project.run(&RUN).stderr, first.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_plugin_that_ends_its_process_or_never_comes_back_has_crashed() {
    let project = Project::new("faulty", "exit");
    let ran = project.run(&RUN);
    assert!(!ran.success && ran.stdout.is_empty());
    assert!(ran.stderr.contains("in `forward`, the process ended with status 0 before it was done"), "{}", ran.stderr);
    // The constructor of a plugin that was clean so far: another digest is another plugin, this one is known.
    let project = Project::new("bad", "none");
    let ran = project.ran(project.command(&RUN).env("KADAPTER_BAD_CONSTRUCTOR", "abort"));
    assert!(ran.stderr.contains("while the plugin was opened, the process was killed by SIGABRT"), "{}", ran.stderr);
}

#[test]
fn a_clean_contact_is_remembered_and_costs_no_child() {
    let project = Project::new("faulty", "none");
    assert!(!project.run_childless(&RUN).success, "an unknown plugin needs a child");
    assert!(!project.record().exists());
    let first = project.run(&RUN);
    assert!(first.success, "{}", first.stderr);
    assert!(project.record().exists());
    let second = project.run_childless(&RUN);
    assert!(second.success, "{}", second.stderr);
    assert_eq!(first.stdout, second.stdout);
    let forward = project.run(&["plugin", "contacts"]);
    assert!(forward.stdout.contains("plugins/faulty 1.0.0  clean"), "{}", forward.stdout);
}

#[test]
fn an_error_of_the_plugin_is_no_crash() {
    let project = Project::new("faulty", "error-build");
    let ran = project.run(&RUN);
    assert!(!ran.success);
    assert!(ran.stderr.contains("`fault` is error-build, expected none"), "{}", ran.stderr);
    // Not everything of it ran, so it is met again.
    assert!(!project.record().exists());
    for fault in ["panic-forward", "error-forward"] {
        let project = Project::new("faulty", fault);
        assert!(project.run(&RUN).stderr.contains("run to "), "{fault}");
        assert!(project.record().exists(), "{fault}");
    }
}

#[test]
fn a_broken_memory_is_said_and_can_be_mended() {
    let project = Project::new("faulty", "none");
    assert!(project.run(&RUN).success);
    let whole = fs::read_to_string(project.record()).unwrap();
    fs::write(project.record(), &whole[..whole.len() / 2]).unwrap();
    let ran = project.run(&RUN);
    assert!(!ran.success);
    insta::assert_snapshot!(ran.stderr, @r"
    error: Could not understand what is remembered of plugin DIGEST in `WORLD/home/state/contacts/v1/HEX.json`: EOF while parsing a string at line 1 column 78
      hint: have it tried out again: `kadapter plugin forget DIGEST`
    ");
    let contacts = project.run(&["plugin", "contacts"]);
    assert!(contacts.success && contacts.stdout.contains("Could not understand"), "{}", contacts.stdout);
    assert!(project.run(&["plugin", "forget", &project.digest().to_string()]).success);
    assert!(project.run(&RUN).success);
}

/// The plugin is none the worse for a folder that cannot be written.
#[test]
fn without_a_memory_a_plugin_is_met_each_time() {
    let project = Project::new("faulty", "none");
    fs::create_dir_all(project.world.path("home")).unwrap();
    fs::write(project.world.path("home/state"), "not a folder").unwrap();
    for _ in 0..2 {
        let ran = project.run(&RUN);
        assert!(ran.success, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("plugin `plugins/faulty 1.0.0` will be met in a child process again"),
            "{}",
            ran.stderr
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn init_meets_its_plugin_first() {
    let project = Project::new("bad", "none");
    let registry = project.world.registry();
    let registry = registry.to_str().unwrap();
    let words = ["init", "--name", "x/y", "--out", "made", "--plugin", "plugins/bad", "--plugin-registry", registry];
    let more = ["--backbone", "official/tiny", "--backbone-registry", registry, "--taps", "0"];
    let all = [&words[..], &more, &["--config", "fault=\"segfault-build\""]].concat();
    let ran = project.run(&all);
    assert!(!ran.success && ran.stderr.contains("in `build`, the process was killed by SIGSEGV"), "{}", ran.stderr);
    assert!(!Path::new(project.manifest.parent().unwrap()).join("made").exists());
}
