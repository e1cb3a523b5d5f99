//! Running programs and knowing where the workspace is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command of a clone has every kind of store, so that one build serves the demo and all tests.
pub(crate) const ALL_STORES: [&str; 2] = ["--features", "kadapter-host/s3,kadapter-host/oci"];

/// What a chore gives: nothing, or a sentence.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where the chores' `kadapter` keeps keys, trust and cache, so that nothing of the user's is touched.
pub(crate) fn home() -> PathBuf {
    target().join("home")
}

/// Says how to go on by hand with what the chores have made.
pub(crate) fn print_home() {
    println!("\nto go on by hand with the keys and the cache of this clone:");
    println!("  export KADAPTER_HOME={}", home().display());
}

/// Runs a program in the workspace's folder.
pub(crate) fn run(program: impl AsRef<OsStr>, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Outcome {
    let mut command = Command::new(program);
    command.args(words).current_dir(root()).env("KADAPTER_HOME", home());
    let status = command.status().map_err(|error| format!("Could not start {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}")) }
}

/// Runs cargo.
pub(crate) fn cargo(words: &[&str]) -> Outcome {
    run(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), words)
}

/// The `kadapter` command, built for speed.
pub(crate) fn kadapter() -> Outcome<PathBuf> {
    cargo(&[&["build", "--release", "--package", "kadapter-host", "--bin", "kadapter"], &ALL_STORES[..]].concat())?;
    Ok(target().join("release").join(format!("kadapter{}", std::env::consts::EXE_SUFFIX)))
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Outcome {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("Could not remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}
