//! `kadapter pack`: what a package gets from a crate and its build, and one clear sentence for everything that is wrong.

use crate::command::{run, said};
use kadapter_plugin_api::note;
use kadapter_registry::package::Content;
use kadapter_registry::{Target, publish};
use kadapter_tests::paths;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const MANIFEST: &str = r#"[package]
name = "kadapter-bottleneck"
description = "A bottleneck"
version = "1.1.0"
license = "MIT"

[package.metadata.kadapter]
name = "acme/bottleneck"

[lib]
crate-type = ["cdylib"]
"#;

/// A plugin crate with its release build, in `crate` of a temporary folder; its library is that of `plugins/bottleneck`.
struct Crate(TempDir);

impl Crate {
    fn new() -> Self {
        let made = Self(TempDir::new().unwrap());
        fs::create_dir_all(made.path("crate/src")).unwrap();
        made.write("crate/Cargo.toml", MANIFEST);
        made.write("crate/README.md", "# A bottleneck\n");
        made.write("crate/LICENSE", "A licence.\n");
        made.write("crate/src/lib.rs", "");
        made.write(&format!("crate/target/release/{}", library_name("kadapter_bottleneck")), library());
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn library(&self) -> PathBuf {
        self.path("crate/target/release").join(library_name("kadapter_bottleneck"))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes the manifest with one text replaced.
    fn manifest(&self, from: &str, to: &str) {
        assert!(MANIFEST.contains(from));
        self.write("crate/Cargo.toml", MANIFEST.replace(from, to));
    }

    fn pack(&self, words: &[&str]) -> crate::command::Ran {
        run(self.0.path(), &[&["pack", "crate", "--out", "out", "--target-dir", "crate/target"], words].concat())
    }

    /// What a refusal says; it must leave nothing behind.
    fn refuse(&self, words: &[&str]) -> String {
        let names = || {
            let entries = fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        let said = said(self.0.path(), &self.pack(words));
        assert_eq!(names(), before, "something is left");
        said
    }
}

fn library() -> Vec<u8> {
    fs::read(paths::plugin("bottleneck")).unwrap()
}

fn library_name(name: &str) -> String {
    format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// The library with one text of its note replaced by another.
fn with_note(from: &str, to: &str) -> Vec<u8> {
    change_note(library(), from, to)
}

fn change_note(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let start = b"name=kadapter-bottleneck\nversion=";
    let at = bytes.windows(start.len()).position(|window| window == start).expect("the library has a note");
    let text = std::str::from_utf8(&bytes[at..at + note::TEXT_SIZE]).unwrap().trim_end_matches('\0').to_owned();
    assert!(text.contains(from), "{text}");
    let mut changed = text.replace(from, to).into_bytes();
    changed.resize(note::TEXT_SIZE, 0);
    bytes[at..at + note::TEXT_SIZE].copy_from_slice(&changed);
    bytes
}

/// The library as if built for 64-bit ARM Linux.
fn foreign() -> Vec<u8> {
    let mut bytes = with_note(Target::host().as_str(), "aarch64-unknown-linux-gnu");
    bytes[18..20].copy_from_slice(&183_u16.to_le_bytes());
    bytes
}

#[test]
fn a_package_is_what_crate_and_library_say() {
    let made = Crate::new();
    let ran = made.pack(&[]);
    assert!(ran.success && ran.stderr.is_empty(), "{}", ran.stderr);
    let target = Target::host();
    let place = format!("plugins/{target}/{}", library_name("kadapter_bottleneck"));
    assert_eq!(fs::read(made.path("out").join(&place)).unwrap(), library());
    assert_eq!(fs::read_to_string(made.path("out/README.md")).unwrap(), "# A bottleneck\n");
    assert_eq!(fs::read_to_string(made.path("out/LICENSE")).unwrap(), "A licence.\n");
    let package = publish::check(&made.path("out")).unwrap().package;
    assert_eq!((package.name.to_string(), package.version.to_string()), ("acme/bottleneck".into(), "1.1.0".into()));
    assert_eq!((package.license.as_str(), package.description.as_str()), ("MIT", "A bottleneck"));
    let Content::Plugin(plugin) = package.content else { panic!("it is a plugin") };
    assert_eq!(plugin.abi.to_string(), "1.1");
    assert_eq!(plugin.libraries[&target].to_string(), place);
    assert!(run(made.0.path(), &["publish", "out", "--registry", "registry"]).success);
}

#[test]
fn metadata_of_kadapter_comes_before_that_of_cargo() {
    let made = Crate::new();
    made.write("texts/NOTICE.txt", "A notice.\n");
    made.manifest(
        "name = \"acme/bottleneck\"\n",
        "name = \"acme/other\"\nlicense = \"CC0-1.0\"\ndescription = \"Another\"\nattribution = \"Somebody\"\n\
         license-files = [\"../texts/NOTICE.txt\"]\n",
    );
    assert!(made.pack(&[]).success);
    let package = publish::check(&made.path("out")).unwrap().package;
    assert_eq!((package.name.name(), package.license.as_str()), ("other", "CC0-1.0"));
    assert_eq!((package.description.as_str(), package.attribution.as_deref()), ("Another", Some("Somebody")));
    assert!(made.path("out/NOTICE.txt").exists() && !made.path("out/LICENSE").exists());
}

#[test]
fn what_a_crate_inherits_comes_from_its_workspace() {
    let made = Crate::new();
    let plugin = paths::workspace("plugins/bottleneck");
    let library = paths::plugin("bottleneck");
    let words = ["pack", plugin.to_str().unwrap(), "--library", library.to_str().unwrap(), "--out", "out"];
    let ran = run(made.0.path(), &words);
    assert!(ran.success, "{}", ran.stderr);
    let package = publish::check(&made.path("out")).unwrap().package;
    assert_eq!(
        (package.name.to_string().as_str(), package.license.as_str()),
        ("kadapter-plugins/bottleneck", "MIT OR Apache-2.0")
    );
    assert!(made.path("out/LICENSE-MIT").exists() && made.path("out/LICENSE-APACHE").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn one_package_holds_the_libraries_of_several_machines() {
    let made = Crate::new();
    made.write("from-ci/arm.so", foreign());
    made.write("crate/target/aarch64-unknown-linux-gnu/release/libkadapter_bottleneck.so", foreign());
    let own = made.library();
    let targets = |words: &[&str]| -> Vec<String> {
        let _ = fs::remove_dir_all(made.path("out"));
        let ran = made.pack(words);
        assert!(ran.success, "{}", ran.stderr);
        let Content::Plugin(plugin) = publish::check(&made.path("out")).unwrap().package.content else { panic!() };
        plugin.libraries.keys().map(ToString::to_string).collect()
    };
    let both = ["aarch64-unknown-linux-gnu".to_owned(), Target::host().to_string()];
    assert_eq!(targets(&["--library", "from-ci/arm.so", "--library", own.to_str().unwrap()]), both);
    assert_eq!(targets(&["--library", own.to_str().unwrap(), "--target", "aarch64-unknown-linux-gnu"]), both);
    assert_eq!(targets(&["--target", "aarch64-unknown-linux-gnu"]), both[..1]);
}

#[test]
fn what_should_be_looked_at_is_said_and_packed() {
    let made = Crate::new();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().append(true).open(made.library()).unwrap().set_modified(long_ago).unwrap();
    fs::remove_file(made.path("crate/LICENSE")).unwrap();
    let ran = made.pack(&[]);
    assert!(ran.success, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stderr, @r"
    warning: the package states the licence `MIT` and holds no text of it
      hint: lay the text beside Cargo.toml: `$EDITOR LICENSE`
    warning: `crate/target/release/libkadapter_bottleneck.so` is older than `crate/src/lib.rs`
      hint: if the change matters, build and pack again: `cargo build --release`
    ");
}

#[test]
fn a_broken_crate_is_refused() {
    let made = Crate::new();
    let with = |from: &str, to: &str| {
        made.manifest(from, to);
        made.refuse(&[])
    };
    insta::assert_snapshot!(with("[lib]", "[lib"), @r"
    error: Could not read `crate/Cargo.toml` at line 10: unclosed table, expected `]`
      hint: mend it: `$EDITOR crate/Cargo.toml`
    ");
    insta::assert_snapshot!(with("name = \"acme/bottleneck\"", "nmae = \"acme/bottleneck\""), @r"
    error: Could not read `crate/Cargo.toml` at line 8: unknown field `nmae`, expected one of `name`, `license`, `description`, `attribution`, `license-files`
      hint: mend it: `$EDITOR crate/Cargo.toml`
    ");
    insta::assert_snapshot!(with("name = \"acme/bottleneck\"", "name = \"Bottleneck\""), @r"
    error: Could not read `crate/Cargo.toml` at line 8: `Bottleneck` is not a valid package name: it must be `namespace/name`
      hint: mend it: `$EDITOR crate/Cargo.toml`
    ");
    insta::assert_snapshot!(with("[package.metadata.kadapter]\nname = \"acme/bottleneck\"\n", ""), @r#"
    error: `crate/Cargo.toml` has no `[package.metadata.kadapter]`, expected one with the package's name
      hint: say what the package is called: `[package.metadata.kadapter]` with `name = "NAMESPACE/kadapter-bottleneck"`
    "#);
    insta::assert_snapshot!(with("license = \"MIT\"", ""), @r#"
    error: `crate/Cargo.toml` says no `license`, neither in `[package]` nor in its workspace
      hint: say it in `[package]`: `license = "MIT OR Apache-2.0"`
    "#);
    insta::assert_snapshot!(with("license = \"MIT\"", "license = \"see README\""), @r#"
    error: Could not accept `license` of `crate/Cargo.toml`: `see README` is not a valid licence: it must be an SPDX expression, such as `MIT OR Apache-2.0`, or `LicenseRef-…`
      hint: say it in `[package]`: `license = "MIT OR Apache-2.0"`
    "#);
    insta::assert_snapshot!(with("license = \"MIT\"", "license.workspace = true"), @r#"
    error: `crate/Cargo.toml` says no `license`, neither in `[package]` nor in its workspace
      hint: say it in `[package]`: `license = "MIT OR Apache-2.0"`
    "#);
    insta::assert_snapshot!(with("description = \"A bottleneck\"\n", ""), @r#"
    error: `crate/Cargo.toml` says no `description`, neither in `[package]` nor in its workspace
      hint: say in one sentence what it is: `description = "…"` in `[package]`
    "#);
    insta::assert_snapshot!(with("version = \"1.1.0\"", "version = \"1.1.0+build\""), @r#"
    error: Could not accept `version` of `crate/Cargo.toml`: `1.1.0+build` is not a valid version: build metadata (`+…`) is not allowed, it does not tell releases apart
      hint: say it in `[package]`: `version = "1.0.0"`
    "#);
    insta::assert_snapshot!(with("[\"cdylib\"]", "[\"rlib\"]"), @r#"
    error: `crate/Cargo.toml` does not build a `cdylib`, expected one in the `crate-type` of `[lib]`
      hint: a plugin is a library that can be opened: `crate-type = ["cdylib"]`
    "#);
    made.write("crate/Cargo.toml", "[workspace]\n");
    insta::assert_snapshot!(made.refuse(&[]), @r"
    error: `crate/Cargo.toml` is a workspace without a crate of its own, expected a plugin crate
      hint: name the folder of a plugin crate, or make one: `kadapter plugin new NAME`
    ");
    made.write("crate/Cargo.toml", b"[package]\n\xff");
    insta::assert_snapshot!(made.refuse(&[]), @r"
    error: Could not read `crate/Cargo.toml` at line 2: it is not UTF-8 there
      hint: mend it: `$EDITOR crate/Cargo.toml`
    ");
    fs::remove_file(made.path("crate/Cargo.toml")).unwrap();
    insta::assert_snapshot!(made.refuse(&[]), @r"
    error: Could not find `crate/Cargo.toml`
      hint: name the folder of a plugin crate, or make one: `kadapter plugin new NAME`
    ");
}

#[test]
fn a_card_or_notice_that_nobody_can_read_is_refused() {
    let made = Crate::new();
    made.write("crate/LICENSE", b"\xff");
    insta::assert_snapshot!(made.refuse(&[]), @r"
    error: Could not accept `crate/LICENSE`: byte 0 is not UTF-8
      hint: mend it: `$EDITOR crate/LICENSE`
    ");
    made.manifest("[lib]", "license-files = [\"terms.txt\"]\n[lib]");
    insta::assert_snapshot!(made.refuse(&[]), @r#"
    error: `crate/terms.txt` is named in `license-files` and is no licence text by its name
      hint: licence texts are called LICENSE, LICENCE, NOTICE or COPYING, with any ending: `license-files = ["LICENSE"]`
    "#);
    made.manifest("[lib]", "license-files = [\"LICENSE-LOST\"]\n[lib]");
    insta::assert_snapshot!(made.refuse(&[]), @"error: Could not read `crate/LICENSE-LOST`: No such file or directory (os error 2)");
    made.write("crate/README.md", " \n");
    insta::assert_snapshot!(made.refuse(&[]), @r"
    error: Could not accept `crate/README.md`: it has no text
      hint: mend it: `$EDITOR crate/README.md`
    ");
    fs::remove_file(made.path("crate/README.md")).unwrap();
    insta::assert_snapshot!(made.refuse(&[]), @r"
    error: Could not find the card `crate/README.md`
      hint: every package has a card that says what it is and where it comes from: `$EDITOR README.md`
    ");
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_library_that_is_not_the_crates_is_refused() {
    let made = Crate::new();
    let own = format!("crate/target/release/{}", library_name("kadapter_bottleneck"));
    let with = |bytes: &[u8]| {
        made.write(&own, bytes);
        made.refuse(&[])
    };
    insta::assert_snapshot!(with(&with_note("version=1.1.0", "version=0.9.0")), @r"
    error: `crate/target/release/libkadapter_bottleneck.so` says version `0.9.0`, expected `1.1.0` as Cargo.toml says
      hint: build what Cargo.toml says: `cargo build --release`
    ");
    insta::assert_snapshot!(with(&with_note("profile=release", "profile=debug")), @r"
    error: `crate/target/release/libkadapter_bottleneck.so` is a debug build, expected a release build
      hint: a debug build is large and slow: `cargo build --release`
    ");
    insta::assert_snapshot!(with(&with_note("abi=1.1.0", "abi=2.0.0")), @r#"
    error: plugin `crate/target/release/libkadapter_bottleneck.so` speaks ABI 2.0.0, expected 1.1.0
      hint: rebuild it against `kadapter-plugin-api = "1.1.0"` with `cargo build --release`
    "#);
    insta::assert_snapshot!(with(&with_note("name=kadapter-bottleneck", "name=somebody-elses")), @r"
    error: `crate/target/release/libkadapter_bottleneck.so` says crate `somebody-elses`, expected `kadapter-bottleneck` as Cargo.toml says
      hint: name a library of this crate: `--library FILE`
    ");
    insta::assert_snapshot!(with(&foreign()), @r"
    error: `crate/target/release/libkadapter_bottleneck.so` is built for aarch64-unknown-linux-gnu, expected x86_64-unknown-linux-gnu
      hint: build it for that machine with `cargo build --release --target x86_64-unknown-linux-gnu`, or pack it for the machine that it is for: `--library FILE`
    ");
    let mut lying = library();
    lying[18..20].copy_from_slice(&183_u16.to_le_bytes());
    insta::assert_snapshot!(with(&lying), @r"
    error: plugin `crate/target/release/libkadapter_bottleneck.so` is built for Elf on Aarch64, expected x86_64-unknown-linux-gnu
      hint: build it for the machine that its note names: `cargo build --release --target x86_64-unknown-linux-gnu`
    ");
    let cut = with(&library()[..1000]);
    assert!(cut.contains("is truncated: it describes") && cut.contains("has 1000\n"), "{cut}");
    assert!(cut.ends_with("hint: build it again: `cargo build --release`\n"), "{cut}");
    insta::assert_snapshot!(with(b"no library"), @r"
    error: `crate/target/release/libkadapter_bottleneck.so` is not a native library: Could not read file magic
      hint: a plugin is a `cdylib` crate that calls `export_adapter!`; build it with `cargo build --release`
    ");
    fs::remove_file(made.path(&own)).unwrap();
    insta::assert_snapshot!(made.refuse(&[]), @r"
    error: Could not find the built library `crate/target/release/libkadapter_bottleneck.so`
      hint: build it with `cargo build --release --manifest-path crate/Cargo.toml`, or name the file: `--library FILE`
    ");
    insta::assert_snapshot!(made.refuse(&["--target", "aarch64-unknown-linux-gnu"]), @r"
    error: Could not find the built library `crate/target/aarch64-unknown-linux-gnu/release/libkadapter_bottleneck.so`
      hint: build it with `cargo build --release --target aarch64-unknown-linux-gnu --manifest-path crate/Cargo.toml`, or name the file: `--library FILE`
    ");
    insta::assert_snapshot!(made.refuse(&["--target", "somewhere"]), @r"
    error: invalid value 'somewhere' for '--target <TRIPLE>': `somewhere` is not a valid target triple: it must look like `x86_64-unknown-linux-gnu`

    For more information, try '--help'.
    ");
    made.write("a.so", library());
    made.write("b.so", library());
    insta::assert_snapshot!(made.refuse(&["--library", "a.so", "--library", "b.so"]), @r"
    error: `a.so` and `b.so` are both for x86_64-unknown-linux-gnu, expected one library per target
      hint: name one library per target: `--library FILE`
    ");
    made.write("b.so", change_note(foreign(), "abi=1.1.0", "abi=1.7.0"));
    insta::assert_snapshot!(made.refuse(&["--library", "a.so", "--library", "b.so"]), @r"
    error: `a.so` speaks ABI 1.1 and `b.so` 1.7, expected one ABI
      hint: build all of them with one kadapter-plugin-api: `cargo build --release`
    ");
    made.write("out/mine", "mine");
    insta::assert_snapshot!(said(made.0.path(), &made.pack(&["--library", "a.so"])), @r"
    error: `out` exists already
      hint: choose another place, or `rm -r out` first
    ");
    assert_eq!(fs::read_to_string(made.path("out/mine")).unwrap(), "mine");
}

#[test]
fn the_folder_that_cargo_builds_in_is_found() {
    let made = Crate::new();
    // In a workspace, cargo builds beside the workspace's manifest; with `CARGO_TARGET_DIR`, where that says.
    made.write("Cargo.toml", "[workspace]\nmembers = [\"crate\"]\n");
    fs::rename(made.path("crate/target"), made.path("target")).unwrap();
    let pack = |out: &str, target: Option<&str>| {
        let mut command = Command::new(paths::kadapter());
        command.args(["pack", "crate", "--out", out]).current_dir(made.0.path()).env_remove("CARGO_TARGET_DIR");
        command.envs(target.map(|target| ("CARGO_TARGET_DIR", target)));
        assert!(command.status().unwrap().success(), "{out}");
        assert!(made.path(out).join("kadapter-package.toml").exists());
    };
    pack("by-workspace", None);
    fs::rename(made.path("target"), made.path("elsewhere")).unwrap();
    pack("by-variable", Some("elsewhere"));
}
