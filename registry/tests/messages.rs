//! Messages as people see them: one sentence with both sides, causes below, a hint that ends in something to type.

use std::fs;

use insta::assert_snapshot;
use kadapter_registry::project::LockMode;
use kadapter_registry::publish::check;
use kadapter_registry::{Error, Manifest, Package, Project, Registry};

use crate::world::{TARGET, World, backbone_content, package, parse, task_content, usual_manifest, write_package};

/// What a changed manifest is told.
fn manifest(from: &str, to: &str) -> String {
    let text = usual_manifest(r#"["factual"]"#);
    assert!(text.contains(from), "{from}");
    let error = Manifest::from_toml("kadapter.toml", &text.replace(from, to)).unwrap_err();
    World::new().told(&error)
}

#[test]
fn a_manifest_is_told_the_line_and_what_was_meant() {
    assert_snapshot!(manifest("version = \"^1\"\nstack", "versoin = \"^1\"\nstack"), @"
    Could not read `kadapter.toml` at line 16: unknown key `versoin`, expected one of package, version, kind, stack, fusion
    hint: perhaps `version` is meant
    ");
    assert_snapshot!(manifest("[adapters]", "[adapter]"), @"
    Could not read `kadapter.toml` at line 10: unknown key `adapter`, expected one of project, registries, backbone, adapters, tasks
    hint: perhaps `adapters` is meant
    ");
    assert_snapshot!(manifest("[backbone]\npackage = \"k/base\"\nversion = \"^1\"", ""), @"Could not read `kadapter.toml` at line 1: the key `backbone` is missing");
    assert_snapshot!(manifest("[registries]", "[project]\ncompat = \"offical\"\n[registries]"), @"
    Could not read `kadapter.toml` at line 3: unknown value `offical`, expected one of masked, official
    hint: perhaps `official` is meant
    ");
    assert_snapshot!(manifest("[registries]", "[project]\ndevice = \"gpu\"\n[registries]"), @"Could not read `kadapter.toml` at line 3: `gpu` is not a valid device: it must be `auto`, `cpu` or `cuda:0`, `cuda:1`, …");
    assert_snapshot!(manifest("\"k/factual\"", "\"K/Factual\""), @"Could not read `kadapter.toml` at line 11: `K/Factual` is not a valid package name: it has capital letters; names are lower-case");
    assert_snapshot!(manifest("\"k/factual\"", "\"factual\""), @"Could not read `kadapter.toml` at line 11: `factual` is not a valid package name: it must be `namespace/name`");
    assert_snapshot!(manifest("\"k/factual\", version = \"^1\"", "\"k/factual\", version = \"one\""), @"Could not read `kadapter.toml` at line 11: `one` is not a valid version requirement: it must look like `^1.2`, `~0.3`, `=1.0.0` or `>=1, <3`");
    assert_snapshot!(manifest("k = \"../registry\"", "k = \"http://example.org\""), @"Could not read `kadapter.toml` at line 3: `http://example.org` is not a valid registry location: it must be a directory or start with `s3://`, `oci://` or `hf://`");
    assert_snapshot!(manifest("[registries]", "registries"), @"Could not read `kadapter.toml` at line 2: key with no value, expected `=`");
}

#[test]
fn a_manifest_is_told_which_rule_it_breaks() {
    assert_snapshot!(manifest("stack = [\"factual\"]", "stack = [\"factaul\"]"), @"
    Could not accept `kadapter.toml`: [tasks.relation] stacks `factaul`, but [adapters] has `factual` and `linguistic`
    hint: perhaps `factual` is meant
    ");
    assert_snapshot!(manifest("stack = [\"factual\"]", "stack = [\"chemistry\"]"), @r#"
    Could not accept `kadapter.toml`: [tasks.relation] stacks `chemistry`, but [adapters] has `factual` and `linguistic`
    hint: name it in [adapters]: `chemistry = { package = "NAMESPACE/NAME", version = "^1" }`
    "#);
    assert_snapshot!(manifest("stack = [\"factual\"]", "stack = [\"factual\", \"factual\"]"), @r#"
    Could not accept `kadapter.toml`: [tasks.relation] stacks `factual` twice
    hint: once is enough: `stack = ["factual"]`
    "#);
    assert_snapshot!(manifest("\"k/factual\"", "\"acme/factual\""), @r#"
    Could not accept `kadapter.toml`: `acme/factual` is wanted, but [registries] says nothing about `acme`, only about `k` and `p`
    hint: say in [registries] where it is: `acme = "registry/local"`
    "#);
    assert_snapshot!(manifest("stack = [\"factual\"]", "stack = [\"factual\"]\nfusion = \"add\""), @r#"
    Could not accept `kadapter.toml`: [tasks.relation] has a `fusion`, which the variants of its package decide
    hint: choose a variant by its stack: `stack = ["NAME"]`
    "#);
    assert_snapshot!(manifest("kind = \"features\"", "kind = \"span\""), @r#"
    Could not accept `kadapter.toml`: [tasks.features] has the kind `span`; only `features` may stand there, other kinds come from a `package`
    hint: name the task's package: `package = "NAMESPACE/NAME"`
    "#);
    assert_snapshot!(manifest("kind = \"features\"", "kind = \"features\"\npackage = \"k/x\""), @r#"
    Could not accept `kadapter.toml`: [tasks.features] has both `kind = "features"` and `package`, which belongs to packages
    hint: remove one of the two lines: `kind` or `package`
    "#);
    assert_snapshot!(manifest("kind = \"features\"", ""), @r#"
    Could not accept `kadapter.toml`: [tasks.features] has no `package`; a task needs `package` and `version`, or `kind = "features"`
    hint: name the task's package: `package = "NAMESPACE/NAME"`
    "#);
}

/// What a project is told when it is resolved.
fn resolving(world: &World, mode: LockMode) -> String {
    let error = world.project().resolve(mode).unwrap_err();
    world.told(&error)
}

#[test]
fn a_stack_without_a_variant_is_told_which_there_are() {
    let world = World::new();
    world.usual();
    world.write_manifest(&usual_manifest(r#"["linguistic"]"#));
    assert_snapshot!(resolving(&world, LockMode::Update), @r#"
    Could not find a version of `k/relation` for [tasks.relation]: 1.0.0 has no variant for the stack [`linguistic`], only for [], [`factual`], [`factual`, `linguistic`]
    hint: choose one of these stacks, such as `stack = ["factual", "linguistic"]`
    "#);
}

#[test]
fn an_adapter_of_another_release_is_told_which_one_is_needed() {
    let world = World::new();
    let usual = world.usual();
    world.adapter("k/factual", "1.1.0", "^1", usual.backbone);
    let newer =
        usual_manifest(r#"["factual"]"#).replace(r#""k/factual", version = "^1""#, r#""k/factual", version = "^1.1""#);
    world.write_manifest(&newer);
    assert_snapshot!(resolving(&world, LockMode::Update), @r#"
    Could not use `k/factual 1.1.0` as [adapters.factual]: [tasks.relation] stacks it, and `k/relation 1.0.0` was trained on `k/factual 1.0.0`
    hint: take or train a release of `k/relation` for 1.1.0 (`kadapter versions k/relation` shows them), or keep the adapter: `factual = { package = "k/factual", version = "=1.0.0" }`
    "#);
}

#[test]
fn an_adapter_of_another_backbone_is_told_which() {
    let world = World::new();
    world.backbone("1.0.0", 1);
    world.backbone("2.0.0", 2);
    let other = world.backbone("3.0.0", 3).release.backbone_weights().unwrap();
    world.plugin("p/net", "1.0.0", "1.0", &[TARGET]);
    for version in ["0.9.0", "1.0.0", "1.1.0"] {
        world.adapter("k/factual", version, "^1", other);
        world.adapter("k/linguistic", version, "^1", other);
    }
    world.write_manifest(&usual_manifest("[]"));
    assert_snapshot!(resolving(&world, LockMode::Update), @r#"
    Could not find a version of `k/factual` for [adapters.factual]:
      1.1.0, 1.0.0: each belongs to another backbone, `k/base` with the weights `a569c08e53a0` instead of `2e336873f148`
      0.9.0 is outside `^1`
    hint: choose the backbone that it belongs to: `[backbone] package = "k/base"`
    "#);
}

#[test]
fn a_missing_plugin_for_this_system_is_told() {
    let world = World::new();
    let backbone = world.backbone("1.0.0", 1).release.backbone_weights().unwrap();
    world.plugin("p/net", "1.0.0", "1.0", &["aarch64-apple-darwin"]);
    world.plugin("p/net", "1.1.0", "2.0", &[TARGET]);
    world.adapter("k/factual", "1.0.0", "^1", backbone);
    world.adapter("k/linguistic", "1.0.0", "^1", backbone);
    world.write_manifest(&usual_manifest("[]"));
    assert_snapshot!(resolving(&world, LockMode::Update), @"
    Could not find a version of `p/net` for [adapters.factual] (^1):
      1.1.0 is built for ABI 2.0, this host speaks 1.0
      1.0.0 has no library for `x86_64-unknown-linux-gnu`, only for `aarch64-apple-darwin`
    hint: see which other releases there are: `kadapter info p/net`
    ");
}

#[test]
fn a_missing_package_version_or_registry_is_told() {
    let world = World::new();
    world.write_manifest(&usual_manifest("[]"));
    assert_snapshot!(resolving(&world, LockMode::Update), @"
    Could not find a registry in `$WORLD/project/../registry`: it has no `registry.json`
    hint: publishing makes one: `kadapter publish DIRECTORY --registry $WORLD/project/../registry`
    ");
    world.usual();
    world.write_manifest(&usual_manifest("[]").replace("k/factual", "k/factaul"));
    assert_snapshot!(resolving(&world, LockMode::Update), @"
    Could not find `k/factaul` in `$WORLD/registry`
    hint: perhaps `k/factual` is meant
    ");
    world.write_manifest(&usual_manifest("[]").replace("k/factual", "k/chemistry"));
    assert_snapshot!(resolving(&world, LockMode::Update), @"
    Could not find `k/chemistry` in `$WORLD/registry`
    hint: see what there is: `kadapter search --registry $WORLD/registry`
    ");
    world.write_manifest(
        &usual_manifest("[]").replace(r#""k/factual", version = "^1""#, r#""k/factual", version = "^2""#),
    );
    assert_snapshot!(resolving(&world, LockMode::Update), @"
    Could not find a version of `k/factual` for [adapters.factual]: 1.0.0 is outside `^2`
    hint: see what there is and widen the requirement: `kadapter info k/factual`
    ");
    #[cfg(not(feature = "s3"))]
    {
        world.write_manifest(&usual_manifest("[]").replace("k = \"../registry\"", "k = \"s3://models/kadapter\""));
        assert_snapshot!(resolving(&world, LockMode::Update), @r#"
        Could not open `s3://models/kadapter`: this build has no store for `s3://`
        hint: use a directory in [registries]: `NAMESPACE = "path/to/registry"`
        "#);
    }
    world.write_manifest(&usual_manifest("[]").replace("p = \"../registry\"", ""));
    assert_snapshot!(resolving(&world, LockMode::Update), @r#"
    Could not accept `$WORLD/project/kadapter.toml`: `p/net` is wanted, but [registries] says nothing about `p`, only about `k`
    hint: say in [registries] where it is: `p = "registry/local"`
    "#);
}

#[test]
fn a_lock_that_does_not_fit_is_told_why() {
    let world = World::new();
    let usual = world.usual();
    world.write_manifest(&usual_manifest("[]"));
    assert_snapshot!(resolving(&world, LockMode::Frozen), @"
    Could not find the lock `$WORLD/project/kadapter.lock`
    hint: write it: `kadapter lock`
    ");
    world.project().resolve(LockMode::KeepLocked).unwrap();
    world.write_manifest(
        &usual_manifest("[]").replace(r#""k/factual", version = "^1""#, r#""k/factual", version = "^1.1""#),
    );
    assert_snapshot!(resolving(&world, LockMode::Frozen), @"
    Could not use the lock `$WORLD/project/kadapter.lock`: it does not fit the manifest
      because: Could not find a version of `k/factual` for [adapters.factual]: 1.0.0 is outside `^1.1`
    hint: write it: `kadapter lock`
    ");
    world.adapter("k/factual", "0.9.0", "^1", usual.backbone);
    world.write_manifest(
        &usual_manifest("[]").replace(r#""k/factual", version = "^1""#, r#""k/factual", version = "<1""#),
    );
    assert_snapshot!(resolving(&world, LockMode::KeepLocked), @"
    Could not move `k/factual` down from 1.0.0 to 0.9.0 without being told to
    hint: allow it once: `kadapter update k/factual@0.9.0 --allow-downgrade`
    ");
    world.write_manifest(&usual_manifest("[]"));
    let lock = world.lock_text();
    let at = lock.find(&usual.linguistic.digest.hex()).unwrap();
    let digit = if &lock[at..=at] == "0" { "1" } else { "0" };
    fs::write(world.path("project/kadapter.lock"), format!("{}{digit}{}", &lock[..at], &lock[at + 1..])).unwrap();
    let told = resolving(&world, LockMode::Frozen);
    assert!(told.starts_with("Could not accept `k/linguistic 1.0.0`: its release record is `"), "{told}");
    assert!(told.ends_with("`rm kadapter.lock && kadapter lock`"), "{told}");
    fs::write(world.path("project/kadapter.lock"), lock.replace("schema = 1", "schema = 2")).unwrap();
    assert_snapshot!(resolving(&world, LockMode::Frozen), @"
    Could not read `$WORLD/project/kadapter.lock`: it has schema 2, this program knows schema 1
    hint: it was written by a newer kadapter; update this one: `cargo install --path host` in a newer clone
    ");
    fs::write(world.path("project/kadapter.lock"), lock.replace("kind", "sort")).unwrap();
    assert_snapshot!(resolving(&world, LockMode::Frozen), @"Could not read `$WORLD/project/kadapter.lock` at line 7: unknown key `sort`, expected one of name, version, kind, registry, release, signer");
}

#[test]
fn a_lock_is_written_for_people_to_review() {
    let world = World::new();
    world.usual();
    world.write_manifest(&usual_manifest("[]"));
    let resolved = world.project().resolve(LockMode::KeepLocked).unwrap();
    let text = resolved
        .lock
        .packages()
        .iter()
        .fold(world.lock_text(), |text, locked| text.replace(&locked.release.hex(), "…"));
    assert_snapshot!(text, @r#"
    # Written by kadapter; change it with `kadapter lock` or `kadapter lock --update`.
    schema = 1

    [[package]]
    name = "k/base"
    version = "1.0.0"
    kind = "backbone"
    registry = "../registry"
    release = "sha256:…"

    [[package]]
    name = "k/factual"
    version = "1.0.0"
    kind = "adapter"
    registry = "../registry"
    release = "sha256:…"

    [[package]]
    name = "k/linguistic"
    version = "1.0.0"
    kind = "adapter"
    registry = "../registry"
    release = "sha256:…"

    [[package]]
    name = "k/relation"
    version = "1.0.0"
    kind = "task"
    registry = "../registry"
    release = "sha256:…"

    [[package]]
    name = "p/net"
    version = "1.0.0"
    kind = "plugin"
    registry = "../registry"
    release = "sha256:…"
    signer = "CF82E211D5392720"
    "#);
}

/// What a changed package directory is told when it is checked.
fn checking(change: impl Fn(&std::path::Path)) -> String {
    let world = World::new();
    let directory = world.path("package");
    write_package(&directory, &package("k/base", "1.0.0", backbone_content()), 1);
    change(&directory);
    world.told(&check(&directory).unwrap_err())
}

#[test]
fn a_package_directory_is_told_what_is_wrong() {
    assert_snapshot!(checking(|directory| fs::remove_file(directory.join("README.md")).unwrap()), @"
    Could not find `README.md` in `$WORLD/package`
    hint: every package has a card that says what it is and where it comes from: `$EDITOR README.md`
    ");
    assert_snapshot!(checking(|directory| fs::remove_file(directory.join("kadapter-package.toml")).unwrap()), @"
    Could not find `kadapter-package.toml` in `$WORLD/package`
    hint: every package directory has one; `kadapter import` writes it
    ");
    assert_snapshot!(checking(|directory| fs::write(directory.join("notes.txt"), "x").unwrap()), @"
    Could not accept `notes.txt` in `$WORLD/package`: `kadapter-package.toml` does not name it
    hint: name it in the package file or remove it: `rm $WORLD/package/notes.txt`
    ");
    assert_snapshot!(checking(|directory| fs::write(directory.join("config.json"), "[]").unwrap()), @"Could not accept `$WORLD/package/config.json`: it is not a JSON object: invalid type: sequence, expected a map at line 1 column 0");
    assert_snapshot!(checking(|directory| fs::write(directory.join("weights.safetensors"), "x").unwrap()), @"Could not accept `$WORLD/package/weights.safetensors`: it ends inside its header");
    assert_snapshot!(checking(|directory| {
        let mut whole = crate::world::weights(1);
        whole.pop();
        fs::write(directory.join("weights.safetensors"), whole).unwrap();
    }), @"Could not accept `$WORLD/package/weights.safetensors`: its header promises 8 bytes of data, 7 follow");
}

/// What a changed package file is told.
fn package_file(from: &str, to: &str) -> String {
    let world = World::new();
    let digest = kadapter_registry::Digest::of(b"x");
    let record = world.publish(&package("k/base", "1.0.0", backbone_content()), 1);
    let content = task_content(digest, &[("fac", &record)], &[&[], &["fac"]]);
    let text = package("k/task", "1.0.0", content).to_toml().unwrap();
    assert!(text.contains(from), "{from} in {text}");
    world.told(&Package::from_toml("kadapter-package.toml", &text.replace(from, to)).unwrap_err())
}

#[test]
fn a_package_file_is_told_which_rule_it_breaks() {
    assert_snapshot!(package_file("license = \"MIT\"", "license = \"see README\""), @"Could not read `kadapter-package.toml` at line 7: `see README` is not a valid licence: it must be an SPDX expression, such as `MIT OR Apache-2.0`, or `LicenseRef-…`");
    assert_snapshot!(package_file("license = \"MIT\"\n", ""), @"Could not read `kadapter-package.toml` at line 3: the key `license` is missing");
    assert_snapshot!(package_file("1.0.0", "1.0.0+build"), @"Could not read `kadapter-package.toml` at line 5: `1.0.0+build` is not a valid version: build metadata (`+…`) is not allowed, it does not tell releases apart");
    assert_snapshot!(package_file("kind = \"task\"", "kind = \"adapter\""), @"Could not accept `kadapter-package.toml`: `kind` is `adapter`, so a section `[task]` must not stand in it");
    assert_snapshot!(package_file("kind = \"relation-classification\"", "kind = \"relation\""), @"Could not read `kadapter-package.toml` at line 11: unknown value `relation`, expected one of relation-classification, entity-typing, multiple-choice, span, sequence-classification");
    assert_snapshot!(package_file("\"fac\"", "\"fact\""), @"Could not accept `kadapter-package.toml`: the variant for the stack [`fact`] names `fact`, but [task.adapters] has `fac`");
    assert_snapshot!(package_file("\"fac\"", ""), @"Could not accept `kadapter-package.toml`: two variants have the stack []");
    assert_snapshot!(package_file("variant-1", "variant-0"), @"Could not accept `kadapter-package.toml`: `variant-0.safetensors` stands in it for two files");
    assert_snapshot!(package_file("variant-1", "../variant-1"), @"Could not read `kadapter-package.toml` at line 34: `../variant-1.safetensors` is not a valid path in a package: it must be relative and plain, without `..`, `.` or `//`");
    assert_snapshot!(package_file("max_length = 128", "max_length = 2"), @"Could not accept `kadapter-package.toml`: `max_length` is 2, it must be from 3 to 65536");
    assert_snapshot!(package_file("schema = 1", "schema = 3"), @"
    Could not read `kadapter-package.toml`: it has schema 3, this program knows schema 1
    hint: it was written by a newer kadapter; update this one: `cargo install --path host` in a newer clone
    ");
}

#[test]
fn publishing_is_told_what_stands_in_the_way() {
    let world = World::new();
    let base = package("k/base", "1.0.0", backbone_content());
    world.publish(&base, 1);
    let taken = world.try_publish(&base, 2).unwrap_err();
    assert_snapshot!(world.told(&taken), @"
    Could not publish `k/base 1.0.0`: it is published with another content, `f0ead3b70e65` there and `dbe4f7b96b89` here
    hint: a release never changes; raise `version` in `kadapter-package.toml` and publish again
    ");
    let alike = world.try_publish(&package("k/b-ase", "1.0.0", backbone_content()), 1).unwrap_err();
    assert_snapshot!(world.told(&alike), @r#"
    Could not publish `k/b-ase`: it is too much like `k/base`
    hint: choose another name, or publish a new version of `k/base`: `name = "k/base"`
    "#);
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    let record = registry.release(&parse("k/base"), &parse("1.0.0")).unwrap().unwrap();
    let file = record.release.file(&parse("config.json")).unwrap();
    let blob = world.path(&format!("registry/blobs/sha256/{}/{}", &file.sha256.hex()[..2], file.sha256.hex()));
    fs::write(&blob, "{\"hidden_size\":3}").unwrap();
    assert_snapshot!(world.told(&registry.read(&record.release.id(), file, 100).unwrap_err()), @"
    Could not accept `$WORLD/registry/blobs/sha256/11/11d5fc19a2378f25ffa8ae38c0d859e89f440f2f0557a8414e553242e4a57348`: expected `sha256:11d5fc19a2378f25ffa8ae38c0d859e89f440f2f0557a8414e553242e4a57348`, found `sha256:5b1e965dbfe5584dc83b6b4d11d162f35a2b42188b4cbb2c6f678a1f71639aea`
    hint: restore the file; one in the cache is replaced by `kadapter fetch`
    ");
    fs::remove_file(&blob).unwrap();
    assert_snapshot!(world.told(&registry.read(&record.release.id(), file, 100).unwrap_err()), @"
    Could not find `config.json` in `$WORLD/registry`: no blob has the digest `sha256:11d5fc19a2378f25ffa8ae38c0d859e89f440f2f0557a8414e553242e4a57348`
    hint: see what else is missing: `kadapter verify`
    ");
    let missing = Project::open_with(world.path("nowhere"), world.options()).unwrap_err();
    assert!(matches!(missing, Error::NoManifest { .. }));
    assert_snapshot!(world.told(&missing), @"
    Could not find a manifest at `$WORLD/nowhere`
    hint: name the project's manifest: `--manifest FILE`
    ");
}
