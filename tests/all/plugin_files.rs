//! Plugin files: what is refused before it is opened, and several plugins side by side.

use kadapter_host::plugin::{Plugin, PluginError, Promise, inspect};
use kadapter_plugin_api::Backbone;
use kadapter_registry::Digest;
use kadapter_tests::paths;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn promise(bytes: &[u8]) -> Promise {
    Promise { digest: Digest::of(bytes), size: bytes.len() as u64, version: "1.1.0".into(), abi: "1.1".into() }
}

fn refused(bytes: &[u8]) -> PluginError {
    inspect(Path::new("plugin.so"), bytes).unwrap_err()
}

/// Bytes of the plugin with one text of its note replaced by another of the same length.
fn with_note(from: &str, to: &str) -> Vec<u8> {
    let mut bytes = fs::read(paths::plugin("bottleneck")).unwrap();
    let places: Vec<_> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the note has no {from}");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[test]
fn a_plugin_says_what_it_is_without_being_opened() {
    let bytes = fs::read(paths::plugin("factual")).unwrap();
    let note = inspect(Path::new("plugin.so"), &bytes).unwrap().note;
    assert_eq!((note.name.as_str(), note.version.as_str(), note.abi.as_str()), ("kadapter-factual", "1.1.0", "1.1.0"));
}

#[test]
fn every_truncation_is_refused_before_it_is_opened() {
    let bytes = fs::read(paths::plugin("bottleneck")).unwrap();
    for percent in 0..100 {
        let cut = &bytes[..bytes.len() * percent / 100];
        assert!(matches!(refused(cut), PluginError::NotALibrary { .. } | PluginError::Truncated { .. }), "{percent} %");
    }
    assert!(matches!(
        refused(&bytes[..bytes.len() - 1]),
        PluginError::Truncated { .. } | PluginError::NotALibrary { .. }
    ));
}

#[test]
fn random_bytes_and_other_libraries_are_refused() {
    assert!(matches!(refused(b"\x7fELF but not really"), PluginError::NotALibrary { .. }));
    assert!(matches!(refused(&[7; 4096]), PluginError::NotALibrary { .. }));
    let command = fs::read(paths::kadapter()).unwrap();
    assert!(matches!(refused(&command), PluginError::NotAPlugin { .. } | PluginError::NotALibrary { .. }));
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_library_of_another_machine_is_named() {
    let mut bytes = fs::read(paths::plugin("bottleneck")).unwrap();
    bytes[18..20].copy_from_slice(&183_u16.to_le_bytes()); // e_machine: AArch64
    let error = refused(&bytes);
    insta::assert_snapshot!(error, @"plugin `plugin.so` is built for Elf on Aarch64, expected x86_64-unknown-linux-gnu");
    insta::assert_snapshot!(error.hint(), @"build the plugin for this machine: `cargo build --release --target x86_64-unknown-linux-gnu`, then `kadapter publish`");
}

#[test]
fn another_major_abi_is_refused_by_its_note() {
    let error = refused(&with_note("abi=1.1.0", "abi=2.0.0"));
    insta::assert_snapshot!(error, @"plugin `plugin.so` speaks ABI 2.0.0, expected 1.1.0");
    insta::assert_snapshot!(error.hint(), @r#"rebuild it against `kadapter-plugin-api = "1.1.0"` with `cargo build --release`"#);
}

#[test]
fn a_note_that_contradicts_its_release_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("plugin.so");
    let bytes = with_note("version=1.1.0", "version=1.1.9");
    fs::write(&path, &bytes).unwrap();
    let error = Plugin::load(&path, &promise(&bytes)).unwrap_err();
    assert!(matches!(error, PluginError::Note { what: "version", .. }), "{error}");
}

#[test]
fn a_file_that_changed_is_not_opened() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("plugin.so");
    let mut bytes = fs::read(paths::plugin("bottleneck")).unwrap();
    // A digest of this test's own: what another test of this process opened already is not read again.
    bytes.push(0);
    let promise = promise(&bytes);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Plugin::load(&path, &promise).unwrap_err(), PluginError::Digest { .. }));
    bytes.push(0);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Plugin::load(&path, &promise).unwrap_err(), PluginError::Size { .. }));
}

/// The first plugin must not be handed out for the second: not by path, not by type.
#[test]
fn several_plugins_live_side_by_side() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("plugin.so");
    let mut names = Vec::new();
    for name in ["factual", "bottleneck", "linguistic"] {
        let bytes = fs::read(paths::plugin(name)).unwrap();
        fs::write(&path, &bytes).unwrap();
        let plugin = Plugin::load(&path, &promise(&bytes)).unwrap();
        let config = if name == "bottleneck" { "size = 4" } else { "size = 4\nheads = 2" };
        let (_, params) = plugin.build(&config.parse().unwrap(), Backbone::new(8, 2, &[0, 2])).unwrap();
        names.push(params[0].name().to_owned());
    }
    assert_eq!(names, ["adapter.0.down_project.weight", "bottleneck.0.down.weight", "adapter.0.down_project.weight"]);
}

#[test]
fn a_wrong_configuration_is_refused_with_its_key() {
    let bytes = fs::read(paths::plugin("factual")).unwrap();
    let plugin = Plugin::load(&paths::plugin("factual"), &promise(&bytes)).unwrap();
    let build = |config: &str| {
        plugin.build(&config.parse().unwrap(), Backbone::new(8, 2, &[0])).map(|_| ()).unwrap_err().to_string()
    };
    insta::assert_snapshot!(build(""), @"configuration key `size` is missing, expected an integer");
    insta::assert_snapshot!(build("size = 4\nheads = 3"), @"`heads` is 3, expected a number that divides `size` 4");
    insta::assert_snapshot!(build("size = 4\nheads = 2\nhaeds = 2"), @"unknown configuration key `haeds`, expected only `dropout`, `ffn`, `heads`, `init`, `layer_norm_eps`, `layers`, `residual`, `size`, `skip`");
    insta::assert_snapshot!(build("size = \"4\"\nheads = 2"), @"`size` is a text, expected an integer");
    insta::assert_snapshot!(build("size = 4\nheads = 2\nskip = 1"), @"`skip` is 1, which reads a state before it exists; expected 0 (off) or at least 2");
}
