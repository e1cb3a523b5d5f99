//! Projects: from manifest to files, with and without lock, registry and cache.

use std::fs;

use kadapter_registry::package::{Fusion, TaskKind};
use kadapter_registry::project::{LockMode, Options};
use kadapter_registry::query;
use kadapter_registry::verify::{Outcome, Verified};
use kadapter_registry::{Digest, Error, PackageId, Project, Registry};

use crate::world::{World, parse, usual_manifest, weights};

fn usual(stack: &str) -> World {
    let world = World::new();
    world.usual();
    world.write_manifest(&usual_manifest(stack));
    world
}

#[test]
fn a_project_comes_to_files_with_the_digests_that_were_published() {
    let world = usual(r#"["factual", "linguistic"]"#);
    let resolved = world.project().resolve(LockMode::KeepLocked).unwrap();

    let content = fs::read(&resolved.backbone.weights.path).unwrap();
    assert_eq!(content, weights(1));
    assert_eq!(Digest::of(&content), resolved.backbone.weights.digest);
    assert_eq!(content.len() as u64, resolved.backbone.weights.size);

    let factual = &resolved.adapters["factual"];
    assert_eq!(factual.taps, [0, 3, 5]);
    assert_eq!(factual.config["size"].as_integer(), Some(192));
    assert_eq!(factual.plugin, PackageId { name: parse("p/net"), version: parse("1.0.0") });
    assert!(resolved.plugins[&factual.plugin].library.path.is_file());

    let relation = &resolved.tasks["relation"];
    assert_eq!(relation.stack, ["factual", "linguistic"]);
    let head = relation.head.as_ref().unwrap();
    assert_eq!(head.names, ["fac", "lin"]);
    assert_eq!(head.kind, TaskKind::RelationClassification);
    assert_eq!(fs::read(&head.weights.path).unwrap(), weights(11));

    let features = &resolved.tasks["features"];
    assert_eq!((features.fusion, features.head.is_none()), (Fusion::Add, true));
    assert_eq!(features.stack, ["linguistic", "factual"]);
}

#[test]
fn one_edited_line_selects_another_variant_and_leaves_the_lock_alone() {
    let world = usual(r#"["factual", "linguistic"]"#);
    world.project().resolve(LockMode::KeepLocked).unwrap();
    let lock = world.lock_text();
    for (stack, seed) in [("[]", 9), (r#"["factual"]"#, 10), (r#"["factual", "linguistic"]"#, 11)] {
        world.write_manifest(&usual_manifest(stack));
        let resolved = world.project().resolve(LockMode::Frozen).unwrap();
        let head = resolved.tasks["relation"].head.clone().unwrap();
        assert_eq!(fs::read(head.weights.path).unwrap(), weights(seed));
    }
    assert_eq!(world.lock_text(), lock);
}

#[test]
fn the_lock_is_kept_until_an_update_and_update_is_idempotent() {
    let world = usual("[]");
    world.project().resolve(LockMode::KeepLocked).unwrap();
    let first = world.lock_text();
    let digest = world.project().resolve(LockMode::Frozen).unwrap().backbone.weights.digest;
    world.adapter("k/factual", "1.1.0", "^1", digest);

    let kept = world.project().resolve(LockMode::KeepLocked).unwrap();
    assert_eq!(kept.adapters["factual"].id.version, parse("1.0.0"));
    assert_eq!(world.lock_text(), first);

    let outdated = world.project().outdated().unwrap().packages;
    assert_eq!(outdated.len(), 1);
    assert_eq!((&outdated[0].fitting, &outdated[0].highest), (&parse("1.1.0"), &parse("1.1.0")));

    let updated = world.project().resolve(LockMode::Update).unwrap();
    assert_eq!(updated.adapters["factual"].id.version, parse("1.1.0"));
    let second = world.lock_text();
    assert_ne!(first, second);
    world.project().resolve(LockMode::Update).unwrap();
    assert_eq!(world.lock_text(), second);
    assert!(world.project().outdated().unwrap().packages.is_empty());
}

#[test]
fn an_adapter_that_a_task_was_trained_with_is_chosen_over_a_higher_one() {
    let world = usual(r#"["factual"]"#);
    let digest = world.project().resolve(LockMode::Update).unwrap().backbone.weights.digest;
    world.adapter("k/factual", "1.1.0", "^1", digest);
    let resolved = world.project().resolve(LockMode::Update).unwrap();
    assert_eq!(resolved.adapters["factual"].id.version, parse("1.0.0"));
    assert_eq!(resolved.adapters["linguistic"].id.version, parse("1.0.0"));
}

#[test]
fn a_locked_project_needs_no_listing() {
    let world = usual(r#"["factual"]"#);
    world.project().resolve(LockMode::KeepLocked).unwrap();
    // Whoever lists the versions comes upon this one first.
    fs::write(world.path("registry/index/k/base/1.9.0.json"), "garbage").unwrap();
    assert!(matches!(world.project().resolve(LockMode::Update), Err(Error::Release { .. })));
    world.project().resolve(LockMode::Frozen).unwrap();
    world.project().resolve(LockMode::KeepLocked).unwrap();
    // Nor are records of other locked packages needed to be listed: the index may even be gone after a fetch.
    world.project().fetch(LockMode::Frozen).unwrap();
    fs::remove_dir_all(world.path("registry/index")).unwrap();
    world.project().resolve(LockMode::Frozen).unwrap();
}

#[test]
fn after_fetch_the_registry_may_disappear() {
    let world = usual(r#"["factual", "linguistic"]"#);
    let before = world.project().resolve(LockMode::KeepLocked).unwrap();
    let report = world.project().fetch(LockMode::Frozen).unwrap();
    assert!(report.files.iter().all(|file| file.cached.is_file()));
    assert!(report.copied_bytes() > 0);
    // The variants for other stacks are not needed.
    let variants =
        report.files.iter().filter(|file| file.path.as_ref().is_some_and(|path| path.as_str().starts_with('v')));
    assert_eq!(variants.count(), 1);

    fs::rename(world.path("registry"), world.path("gone")).unwrap();
    for mode in [LockMode::Frozen, LockMode::KeepLocked] {
        let after = world.project().resolve(mode).unwrap();
        assert_eq!(after.backbone.weights.digest, before.backbone.weights.digest);
        assert!(after.backbone.weights.path.starts_with(world.path("cache")));
    }
    assert!(world.project().verify().unwrap().iter().all(Verified::is_whole));
    let again = world.project().fetch(LockMode::Frozen).unwrap();
    assert_eq!(again.copied_bytes(), 0);
}

#[test]
fn a_damaged_cache_is_found_and_repaired() {
    let world = usual("[]");
    world.project().fetch(LockMode::KeepLocked).unwrap();
    let resolved = world.project().resolve(LockMode::Frozen).unwrap();
    // Weights are measured when resolving and read when verifying; records are read at once.
    fs::write(&resolved.backbone.weights.path, weights(2)).unwrap();
    let verified = world.project().verify().unwrap();
    let bad: Vec<_> = verified.iter().filter(|file| !file.is_whole()).collect();
    assert_eq!(bad.len(), 1);
    assert!(matches!(bad[0].outcome, Outcome::Altered(_)));
    let record = world.project().cache().path(&resolved.backbone.release);
    fs::write(record, b"{}").unwrap();
    assert!(matches!(world.project().resolve(LockMode::Frozen), Err(Error::Altered { .. })));

    world.project().fetch(LockMode::Frozen).unwrap();
    assert!(world.project().verify().unwrap().iter().all(Verified::is_whole));
}

#[test]
fn a_frozen_project_writes_nothing_and_refuses_what_does_not_fit() {
    let world = usual("[]");
    assert!(matches!(world.project().resolve(LockMode::Frozen), Err(Error::NoLock { .. })));
    assert!(!world.path("project/kadapter.lock").exists());

    world.project().resolve(LockMode::KeepLocked).unwrap();
    let lock = world.lock_text();
    world.write_manifest(
        &usual_manifest("[]").replace(r#""k/factual", version = "^1""#, r#""k/factual", version = "^2""#),
    );
    assert!(matches!(world.project().resolve(LockMode::Frozen), Err(Error::StaleLock { .. })));
    // What is locked and no longer wanted is stale, too.
    world.write_manifest(
        &usual_manifest("[]")
            .replace(r#"stack = ["linguistic", "factual"]"#, "stack = []")
            .replace(r#"linguistic = { package = "k/linguistic", version = "^1" }"#, ""),
    );
    assert!(matches!(world.project().resolve(LockMode::Frozen), Err(Error::StaleEntry { .. })));
    assert_eq!(world.lock_text(), lock);
    world.project().resolve(LockMode::KeepLocked).unwrap();
    assert!(!world.lock_text().contains("linguistic"));
}

#[test]
fn nothing_moves_down_unless_it_is_allowed() {
    let world = usual("[]");
    let digest = world.project().resolve(LockMode::Update).unwrap().backbone.weights.digest;
    world.adapter("k/factual", "1.1.0", "^1", digest);
    world.project().resolve(LockMode::Update).unwrap();
    let lock = world.lock_text();
    world.write_manifest(
        &usual_manifest("[]").replace(r#""k/factual", version = "^1""#, r#""k/factual", version = "=1.0.0""#),
    );
    for mode in [LockMode::Update, LockMode::KeepLocked] {
        assert!(matches!(world.project().resolve(mode), Err(Error::Downgrade { .. })), "{mode:?}");
        assert_eq!(world.lock_text(), lock);
    }
    let options = Options { allow_downgrade: true, ..world.options() };
    let project = Project::open_with(world.path("project"), options).unwrap();
    assert_eq!(project.resolve(LockMode::KeepLocked).unwrap().adapters["factual"].id.version, parse("1.0.0"));
}

#[test]
fn a_namespace_moves_to_another_registry_only_with_the_lock() {
    let world = usual("[]");
    world.project().resolve(LockMode::KeepLocked).unwrap();
    fs::rename(world.path("registry"), world.path("elsewhere")).unwrap();
    world.write_manifest(&usual_manifest("[]").replace("../registry", "../elsewhere"));
    assert!(matches!(world.project().resolve(LockMode::Frozen), Err(Error::StaleLock { .. })));
    world.project().resolve(LockMode::KeepLocked).unwrap();
    assert!(world.lock_text().contains("../elsewhere") && !world.lock_text().contains("../registry"));
    world.project().resolve(LockMode::Frozen).unwrap();
}

#[test]
fn two_versions_of_one_adapter_can_stand_side_by_side() {
    let world = usual("[]");
    let digest = world.project().resolve(LockMode::Update).unwrap().backbone.weights.digest;
    world.adapter("k/factual", "1.1.0", "^1", digest);
    let old = "[adapters]\nold = { package = \"k/factual\", version = \"=1.0.0\" }";
    world.write_manifest(&usual_manifest("[]").replace("[adapters]", old));
    for mode in [LockMode::Update, LockMode::KeepLocked, LockMode::Frozen] {
        let resolved = world.project().resolve(mode).unwrap();
        assert_eq!(resolved.adapters["old"].id.version, parse("1.0.0"));
        assert_eq!(resolved.adapters["factual"].id.version, parse("1.1.0"), "{mode:?}");
    }
}

#[test]
fn questions_are_answered_with_data() {
    let world = usual(r#"["factual"]"#);
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    let names = |words: &[&str]| -> Vec<String> {
        query::search(&registry, words)
            .unwrap()
            .found
            .iter()
            .map(|found| found.latest.release.name.to_string())
            .collect()
    };
    assert_eq!(names(&["ADAPTER"]), ["k/factual", "k/linguistic"]);
    assert_eq!(names(&["what", "k/rel"]), ["k/relation"]);
    assert_eq!(names(&[]).len(), 5);
    fs::write(world.path("registry/index/k/linguistic/1.9.0.json"), "garbage").unwrap();
    assert_eq!(names(&[]).len(), 4);
    assert_eq!(query::search(&registry, &[]).unwrap().unreadable[0].0.to_string(), "k/linguistic 1.9.0");
    fs::remove_file(world.path("registry/index/k/linguistic/1.9.0.json")).unwrap();
    assert!(query::info(&registry, &parse("k/none"), None).is_err());
    assert_eq!(query::info(&registry, &parse("k/base"), None).unwrap().versions, [parse("1.0.0")]);

    let tree = query::tree(&world.project().resolve(LockMode::KeepLocked).unwrap());
    assert_eq!(tree.tasks.len(), 2);
    assert_eq!(tree.tasks[1].stack[0].name, "factual");
    assert_eq!(tree.tasks[1].package.as_ref().unwrap().to_string(), "k/relation 1.0.0");
    assert!(tree.unused.is_empty());
}
