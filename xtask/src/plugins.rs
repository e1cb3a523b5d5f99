//! The workspace's plugins as packages: built for this machine, published into a registry beside the seed.

use crate::shell::{Outcome, cargo, home, kadapter, remove, root, run, target};
use std::fs;
use std::path::Path;

/// The registry that holds locally built plugins; made anew each time, never committed.
pub(crate) const LOCAL_REGISTRY: &str = "registry/local";

/// The plugins: `plugins/NAME` holds crate `kadapter-NAME`.
const PLUGINS: [&str; 3] = ["factual", "linguistic", "bottleneck"];

/// The key that signs them, in [`crate::shell::home`]: plugins must be signed by somebody who is trusted.
const KEY: &str = "clone";
/// The namespace that the key is trusted for.
const NAMESPACE: &str = "kadapter-plugins";

/// Builds every plugin, publishes and signs it.
pub(crate) fn publish() -> Outcome {
    let kadapter = kadapter()?;
    let crates: Vec<_> = PLUGINS.iter().flat_map(|name| ["--package".to_owned(), format!("kadapter-{name}")]).collect();
    let mut words = vec!["build", "--release"];
    words.extend(crates.iter().map(String::as_str));
    cargo(&words)?;

    remove(&root().join(LOCAL_REGISTRY))?;
    forget_locks()?;
    if !home().join("keys").join(format!("{KEY}.key")).exists() {
        run(&kadapter, ["key", "new", KEY, "--no-password"])?;
    }
    run(&kadapter, ["key", "trust", KEY, "--namespace", NAMESPACE, "--name", "plugins that this clone has built"])?;
    let packages = target().join("packages");
    remove(&packages)?;
    for name in PLUGINS {
        let directory = packages.join(name).display().to_string();
        run(&kadapter, ["pack", &format!("plugins/{name}"), "--out", &directory])?;
        run(&kadapter, ["publish", &directory, "--registry", LOCAL_REGISTRY, "--key", KEY])?;
    }
    untrained(&kadapter, &packages.join("untrained").display().to_string())
}

/// The adapter of `examples/third-party`: untrained, it shows the mechanics and claims no knowledge.
fn untrained(kadapter: &Path, directory: &str) -> Outcome {
    let make = ["init", "--name", "examples/bottleneck", "--plugin", "kadapter-plugins/bottleneck", "--taps", "0,3,6"];
    let places = [
        "--plugin-registry",
        LOCAL_REGISTRY,
        "--backbone",
        "kadapter/minilm-roberta",
        "--backbone-registry",
        "registry/seed",
    ];
    run(kadapter, [&make[..], &places[..], &["--config", "size=32", "--out", directory]].concat())?;
    run(kadapter, ["publish", directory, "--registry", LOCAL_REGISTRY])
}

/// Removes the locks of the projects in this repository: plugins that are built anew have other digests than those locked.
fn forget_locks() -> Outcome {
    let mut projects = vec![root().join("bench/tasks")];
    let examples =
        fs::read_dir(root().join("examples")).map_err(|error| format!("Could not list the examples: {error}"))?;
    projects.extend(examples.filter_map(Result::ok).map(|entry| entry.path()));
    for lock in projects.into_iter().map(|project| project.join("kadapter.lock")).filter(|lock| lock.exists()) {
        fs::remove_file(&lock).map_err(|error| format!("Could not remove {}: {error}", lock.display()))?;
    }
    Ok(())
}
