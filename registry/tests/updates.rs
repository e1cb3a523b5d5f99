//! Updates: what moves, what stays, and the sentence for what must not move.

use std::collections::BTreeSet;
use std::fs;

use insta::assert_snapshot;
use kadapter_registry::project::{Change, LockMode, Options, Update, Updated, Writing};
use kadapter_registry::release::ReleaseRecord;
use kadapter_registry::resolve::{Explained, explain};
use kadapter_registry::{Error, PackageName, Project, Version, yank};
use proptest::prelude::*;

use crate::world::{TARGET, World, parse, usual_manifest};

/// A locked project whose stack is `["factual"]`, and newer releases of both adapters.
fn with_newer() -> World {
    let world = World::new();
    let usual = world.usual();
    world.write_manifest(&usual_manifest(r#"["factual"]"#));
    world.project().resolve(LockMode::KeepLocked).unwrap();
    for version in ["1.1.0", "2.0.0"] {
        world.adapter("k/factual", version, "^1", usual.backbone);
        world.adapter("k/linguistic", version, "^1", usual.backbone);
    }
    world
}

fn packages(names: &[&str]) -> Update {
    Update::Packages(names.iter().map(|name| parse(name)).collect())
}

fn exactly(package: &str, version: &str) -> Update {
    Update::Exactly { package: parse(package), version: parse(version) }
}

/// What moved and what was passed over, as a person reads it.
fn told(updated: &Updated) -> String {
    let version = |version: &Option<Version>| version.as_ref().map_or("none".to_owned(), Version::to_string);
    let change = |change: &Change| format!("{} {} -> {}\n", change.name, version(&change.from), version(&change.to));
    let passed = |Explained { name, lines }: Explained| {
        lines.into_iter().map(|line| format!("not {name} {line}\n")).collect::<String>()
    };
    updated.changes.iter().map(change).chain(explain(&updated.selection.rejected).into_iter().map(passed)).collect()
}

/// What a refused update is told; the lock must be as it was.
fn refused(world: &World, update: &Update) -> String {
    let lock = world.lock_text();
    let error = world.project().update(update, Writing::Lock).unwrap_err();
    assert_eq!(world.lock_text(), lock);
    world.told(&error)
}

#[test]
fn an_update_tells_what_moves_and_what_holds_the_rest_back() {
    let world = with_newer();
    let lock = world.lock_text();
    let dry = world.project().update(&Update::All, Writing::Nothing).unwrap();
    assert_eq!(world.lock_text(), lock);
    let updated = world.project().update(&Update::All, Writing::Lock).unwrap();
    assert_eq!((&dry.changes, &dry.lock), (&updated.changes, &updated.lock));
    assert_snapshot!(told(&updated), @"
    k/linguistic 1.0.0 -> 1.1.0
    not k/factual 2.0.0 is outside `^1`
    not k/factual 1.1.0 would break [tasks.relation], which was trained on 1.0.0
    not k/linguistic 2.0.0 is outside `^1`
    ");
    let again = world.project().update(&Update::All, Writing::Lock).unwrap();
    assert_eq!((again.changes.len(), again.lock), (0, updated.lock));
}

#[test]
fn only_what_is_named_moves() {
    let world = with_newer();
    let usual = world.project().select(LockMode::Frozen).unwrap().0;
    world.backbone("1.0.1", 1);
    world.plugin("p/net", "1.0.1", "1.0", &[TARGET]);
    let held = world.project().update(&packages(&["k/factual"]), Writing::Lock).unwrap();
    assert_eq!(held.changes, []);
    let plugin = world.project().update(&packages(&["p/net"]), Writing::Lock).unwrap();
    assert_snapshot!(told(&plugin), @"p/net 1.0.0 -> 1.0.1");
    let both = world.project().update(&packages(&["k/linguistic", "k/base"]), Writing::Lock).unwrap();
    assert_eq!(
        both.changes.iter().map(|change| change.name.to_string()).collect::<Vec<_>>(),
        ["k/base", "k/linguistic"]
    );
    assert_eq!(both.selection.tasks["relation"].record, usual.tasks["relation"].record);
}

#[test]
fn a_named_task_takes_the_adapters_along_that_it_was_trained_on() {
    let world = with_newer();
    let (selection, _) = world.project().select(LockMode::Frozen).unwrap();
    let backbone = selection.backbone.release.backbone_weights().unwrap();
    let registry = kadapter_registry::Registry::with_store(Box::new(world.store())).unwrap();
    let newer = registry.release(&parse("k/factual"), &parse("1.1.0")).unwrap().unwrap();
    world.task("k/relation", "1.1.0", backbone, &[("fac", &newer)], &[&["fac"]]);
    let updated = world.project().update(&packages(&["k/relation"]), Writing::Nothing).unwrap();
    assert_snapshot!(told(&updated), @"
    k/factual 1.0.0 -> 1.1.0
    k/relation 1.0.0 -> 1.1.0
    ");
    // The adapter asked for by version takes the task along, which cannot stay.
    let updated = world.project().update(&exactly("k/factual", "1.1.0"), Writing::Lock).unwrap();
    assert_eq!(updated.changes.len(), 2);
    assert_eq!(updated.selection.tasks["relation"].record.release.version, parse("1.1.0"));
}

#[test]
fn an_adapter_that_a_task_was_not_trained_on_is_refused_with_task_releases_and_cure() {
    let world = with_newer();
    let wide =
        usual_manifest(r#"["factual"]"#).replace(r#""k/factual", version = "^1""#, r#""k/factual", version = ">=1""#);
    world.write_manifest(&wide);
    assert_snapshot!(refused(&world, &exactly("k/factual", "2.0.0")), @r#"
    Could not use `k/factual 2.0.0` as [adapters.factual]: [tasks.relation] stacks it, and `k/relation 1.0.0` was trained on `k/factual 1.0.0`
    hint: take or train a release of `k/relation` for 2.0.0 (`kadapter versions k/relation` shows them), or keep the adapter: `factual = { package = "k/factual", version = "=1.0.0" }`
    "#);
    // The same for whoever asks for it in the manifest, locked or not.
    world.write_manifest(&wide.replace(">=1", "^2"));
    let locked = world.project().select(LockMode::KeepLocked).unwrap_err();
    let updated = world.project().select(LockMode::Update).unwrap_err();
    fs::remove_file(world.path("project/kadapter.lock")).unwrap();
    let new = world.project().select(LockMode::KeepLocked).unwrap_err();
    assert_eq!((world.told(&locked), world.told(&updated)), (world.told(&new), world.told(&new)));
    assert_snapshot!(world.told(&new), @r#"
    Could not use `k/factual 2.0.0` as [adapters.factual]: [tasks.relation] stacks it, and `k/relation 1.0.0` was trained on `k/factual 1.0.0`
    hint: take or train a release of `k/relation` for 2.0.0 (`kadapter versions k/relation` shows them), or keep the adapter: `factual = { package = "k/factual", version = "=1.0.0" }`
    "#);
    // What the hint says works.
    world.write_manifest(&wide.replace(">=1", "=1.0.0"));
    world.project().select(LockMode::KeepLocked).unwrap();
}

#[test]
fn every_release_of_the_task_is_told_and_an_unknown_adapter_by_digest() {
    let world = with_newer();
    let (selection, _) = world.project().select(LockMode::Frozen).unwrap();
    let backbone = selection.backbone.release.backbone_weights().unwrap();
    // Trained on a release that was never published here.
    let elsewhere = World::new();
    elsewhere.backbone("1.0.0", 1);
    elsewhere.plugin("p/net", "1.0.0", "1.0", &[TARGET]);
    let foreign = elsewhere.adapter("k/factual", "1.7.0", "^1", backbone);
    world.task("k/relation", "1.2.0", backbone, &[("fac", &foreign)], &[&["fac"]]);
    world.task("k/relation", "1.1.0", backbone, &[], &[&[]]);
    world.write_manifest(
        &usual_manifest(r#"["factual"]"#).replace(r#""k/factual", version = "^1""#, r#""k/factual", version = "^2""#),
    );
    let error = world.project().select(LockMode::Update).unwrap_err();
    assert_snapshot!(world.told(&error), @"
    Could not use `k/factual 2.0.0` as [adapters.factual]: [tasks.relation] stacks it, and `k/relation 1.2.0` was trained on another release, `e35d16e1f6a7`
      1.2.0 was trained with another release of `factual`, `e35d16e1f6a7`, than those that fit here: 2.0.0
      1.1.0 has no variant for the stack [`factual`], only for []
      1.0.0 was trained with another release of `factual`, 1.0.0 (`1ad6a51f7212`), than those that fit here: 2.0.0
    hint: take or train a release of `k/relation` for 2.0.0: `kadapter versions k/relation`
    ");
}

#[test]
fn a_version_that_the_manifest_does_not_allow_or_nobody_published_is_refused() {
    let world = with_newer();
    assert_snapshot!(refused(&world, &exactly("k/linguistic", "2.0.0")), @"
    Could not find a version of `k/linguistic` for [adapters.linguistic]: 2.0.0 is outside `^1`
    hint: see what there is and widen the requirement: `kadapter info k/linguistic`
    ");
    assert_snapshot!(refused(&world, &exactly("k/linguistic", "1.5.0")), @"
    Could not find `k/linguistic 1.5.0` in `$WORLD/registry`
    hint: see what there is: `kadapter info k/linguistic`
    ");
    assert_snapshot!(refused(&world, &packages(&["k/lingustic"])), @"
    Could not update `k/lingustic`: the project uses `k/base`, `k/factual`, `k/linguistic`, `k/relation` and `p/net`
    hint: perhaps `k/linguistic` is meant
    ");
    assert_snapshot!(refused(&world, &packages(&["acme/chemistry"])), @"
    Could not update `acme/chemistry`: the project uses `k/base`, `k/factual`, `k/linguistic`, `k/relation` and `p/net`
    hint: see what the project uses: `kadapter tree`
    ");
    world.project().update(&Update::All, Writing::Lock).unwrap();
    assert_snapshot!(refused(&world, &exactly("k/linguistic", "1.0.0")), @"
    Could not move `k/linguistic` down from 1.1.0 to 1.0.0 without being told to
    hint: allow it once: `kadapter update k/linguistic@1.0.0 --allow-downgrade`
    ");
    let options = Options { allow_downgrade: true, ..world.options() };
    let project = Project::open_with(world.path("project"), options).unwrap();
    let down = project.update(&exactly("k/linguistic", "1.0.0"), Writing::Lock).unwrap();
    assert_snapshot!(told(&down), @"k/linguistic 1.1.0 -> 1.0.0");
    fs::remove_file(world.path("project/kadapter.lock")).unwrap();
    let error = world.project().update(&packages(&["k/linguistic"]), Writing::Lock).unwrap_err();
    assert!(matches!(error, Error::NoLock { .. }));
    // Updating everything needs no lock.
    world.project().update(&Update::All, Writing::Lock).unwrap();
}

/// A project with adapters of two majors of one plugin.
fn side_by_side() -> World {
    let world = World::new();
    let usual = world.usual();
    for version in ["1.3.0", "2.0.0", "2.1.0"] {
        world.plugin("p/net", version, "1.0", &[TARGET]);
    }
    world.adapter("k/chemistry", "1.0.0", "^2", usual.backbone);
    let third = "[adapters]\nchemistry = { package = \"k/chemistry\", version = \"^1\" }";
    world.write_manifest(
        &usual_manifest(r#"["factual"]"#)
            .replace("[adapters]", third)
            .replace(r#"["linguistic", "factual"]"#, r#"["chemistry"]"#),
    );
    world
}

#[test]
fn two_majors_of_a_plugin_are_locked_fetched_and_kept() {
    let world = side_by_side();
    let resolved = world.project().resolve(LockMode::KeepLocked).unwrap();
    let plugin = |alias: &str| resolved.adapters[alias].plugin.to_string();
    assert_eq!((plugin("factual"), plugin("linguistic")), ("p/net 1.3.0".to_owned(), "p/net 1.3.0".to_owned()));
    assert_eq!(plugin("chemistry"), "p/net 2.1.0");
    assert_eq!(resolved.plugins.len(), 2);
    assert_eq!(world.lock_text().matches("name = \"p/net\"").count(), 2);
    let report = world.project().fetch(LockMode::Frozen).unwrap();
    let libraries =
        report.files.iter().filter(|file| file.path.as_ref().is_some_and(|path| path.as_str().ends_with(".so")));
    assert_eq!(libraries.count(), 2);
    fs::rename(world.path("registry"), world.path("gone")).unwrap();
    for mode in [LockMode::Frozen, LockMode::KeepLocked] {
        let again = world.project().resolve(mode).unwrap();
        assert_eq!(again.adapters["chemistry"].plugin, resolved.adapters["chemistry"].plugin);
        assert_eq!(again.lock, resolved.lock);
    }
}

#[test]
fn each_of_two_majors_moves_up_alone_and_never_down() {
    let world = side_by_side();
    world.project().update(&Update::All, Writing::Lock).unwrap();
    assert!(world.project().outdated().unwrap().packages.iter().all(|outdated| outdated.fitting == outdated.locked));
    world.plugin("p/net", "1.4.0", "1.0", &[TARGET]);
    let outdated = world.project().outdated().unwrap().packages;
    let moves: Vec<_> = outdated.iter().map(|outdated| format!("{} {}", outdated.locked, outdated.fitting)).collect();
    assert_eq!(moves, ["1.3.0 1.4.0"]);
    let updated = world.project().update(&packages(&["p/net"]), Writing::Lock).unwrap();
    assert_snapshot!(told(&updated), @"p/net 1.3.0 -> 1.4.0");
    // The lower of two moving down is found though the highest stays.
    fs::remove_file(world.path("registry/index/p/net/1.4.0.json")).unwrap();
    assert_snapshot!(refused(&world, &Update::All), @"
    Could not move `p/net` down from 1.4.0 to 1.3.0 without being told to
    hint: allow it once: `kadapter update p/net@1.3.0 --allow-downgrade`
    ");
    // One version of them by name: the other stays, since one cannot be both.
    world.plugin("p/net", "2.2.0", "1.0", &[TARGET]);
    fs::remove_dir_all(world.path("cache")).ok();
    world.plugin("p/net", "1.4.0", "1.0", &[TARGET]);
    let updated = world.project().update(&exactly("p/net", "2.2.0"), Writing::Lock).unwrap();
    assert_snapshot!(told(&updated), @"p/net 2.1.0 -> 2.2.0");
    // Whoever needs the higher one no more drops it, and nothing has moved down.
    let text = fs::read_to_string(world.path("project/kadapter.toml")).unwrap();
    let without = text
        .replace("chemistry = { package = \"k/chemistry\", version = \"^1\" }", "")
        .replace(r#"["chemistry"]"#, r#"["factual"]"#);
    world.write_manifest(&without);
    let updated = world.project().update(&Update::All, Writing::Lock).unwrap();
    assert_snapshot!(told(&updated), @"
    k/chemistry 1.0.0 -> none
    p/net 2.2.0 -> none
    not p/net 2.2.0, 2.1.0, 2.0.0: each is outside `^1`
    ");
}

#[test]
fn outdated_tells_what_could_be_had_and_why_it_is_not() {
    let world = with_newer();
    let lock = world.lock_text();
    let outdated = world.project().outdated().unwrap().packages;
    let lines: Vec<String> = outdated
        .iter()
        .map(|outdated| {
            let reason = outdated.reason.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{} {} {} {} {reason}", outdated.name, outdated.locked, outdated.fitting, outdated.highest)
        })
        .collect();
    assert_snapshot!(lines.join("\n"), @"
    k/factual 1.0.0 1.0.0 2.0.0 is outside `^1`
    k/linguistic 1.0.0 1.1.0 2.0.0 is outside `^1`
    ");
    assert_eq!(world.lock_text(), lock);
}

/// A registry that grows, and a project in it.
#[derive(Debug, Clone)]
struct Growth {
    /// How many releases each adapter has before and after.
    adapters: [(usize, usize); 2],
    /// The adapter releases that each release of the two tasks was trained on; the first of each is there before.
    tasks: [Vec<(usize, usize)>; 2],
    /// Releases that are yanked in between, by package and number.
    yanked: Vec<(usize, usize)>,
    /// Which packages are named.
    named: [bool; 4],
}

const PACKAGES: [&str; 4] = ["k/a", "k/b", "k/t", "k/u"];

const GROWING: &str = r#"
[registries]
k = "../registry"
p = "../registry"
[backbone]
package = "k/base"
version = "^1"
[adapters]
a = { package = "k/a", version = "^1" }
b = { package = "k/b", version = "^1" }
[tasks.t]
package = "k/t"
version = "^1"
stack = ["a", "b"]
[tasks.u]
package = "k/u"
version = "^1"
stack = ["b"]
"#;

fn growth() -> impl Strategy<Value = Growth> {
    let counts = || (1_usize..3, 0_usize..3);
    let trained = || prop::collection::vec((0_usize..4, 0_usize..4), 1..4);
    let yanked = prop::collection::vec((0_usize..4, 0_usize..4), 0..3);
    (counts(), counts(), trained(), trained(), yanked, any::<[bool; 4]>())
        .prop_map(|(a, b, t, u, yanked, named)| Growth { adapters: [a, b], tasks: [t, u], yanked, named })
}

fn version(number: usize) -> String {
    format!("1.{number}.0")
}

/// The versions that a lock has, in the order of [`PACKAGES`].
fn locked(lock: &kadapter_registry::Lock) -> Vec<Version> {
    PACKAGES.iter().map(|name| lock.of(&parse(name)).next().unwrap().version.clone()).collect()
}

/// Makes the registry and the project before and after; none when the project does not come together before.
fn grow(growth: &Growth) -> Option<World> {
    let world = World::new();
    let backbone = world.backbone("1.0.0", 1).release.backbone_weights().unwrap();
    world.plugin("p/net", "1.0.0", "1.0", &[TARGET]);
    let mut adapters: [Vec<ReleaseRecord>; 2] = [Vec::new(), Vec::new()];
    let [(a, more_a), (b, more_b)] = growth.adapters;
    let extend = |adapters: &mut [Vec<ReleaseRecord>; 2], package: usize, until: usize| {
        while adapters[package].len() < until {
            let number = adapters[package].len();
            adapters[package].push(world.adapter(PACKAGES[package], &version(number), "^1", backbone));
        }
    };
    let task = |adapters: &[Vec<ReleaseRecord>; 2], package: usize, number: usize, (a, b): (usize, usize)| {
        let (a, b) = (&adapters[0][a % adapters[0].len()], &adapters[1][b % adapters[1].len()]);
        let stack: (&[_], &[&str]) =
            if package == 2 { (&[("a", a), ("b", b)], &["a", "b"]) } else { (&[("b", b)], &["b"]) };
        world.task(PACKAGES[package], &version(number), backbone, stack.0, &[stack.1]);
    };
    extend(&mut adapters, 0, a);
    extend(&mut adapters, 1, b);
    for package in [2, 3] {
        task(&adapters, package, 0, growth.tasks[package - 2][0]);
    }
    world.write_manifest(GROWING);
    world.project().select(LockMode::KeepLocked).ok()?;
    extend(&mut adapters, 0, a + more_a);
    extend(&mut adapters, 1, b + more_b);
    for package in [2, 3] {
        for (number, trained) in growth.tasks[package - 2].iter().enumerate().skip(1) {
            task(&adapters, package, number, *trained);
        }
    }
    let registry = kadapter_registry::Registry::with_store(Box::new(world.store())).unwrap();
    for (package, number) in &growth.yanked {
        if let Some(record) = registry.release(&parse(PACKAGES[*package]), &parse(&version(*number))).unwrap() {
            yank::say(&world.store(), &record, true, "it is broken", None).unwrap();
        }
    }
    Some(world)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Updating twice is updating once, and what is not named moves only when it must.
    #[test]
    fn updates_settle_and_move_no_more_than_they_must(growth in growth()) {
        let world = grow(&growth);
        prop_assume!(world.is_some());
        let world = world.unwrap();
        let lock = world.lock_text();
        let named: BTreeSet<PackageName> =
            PACKAGES.iter().zip(growth.named).filter(|(_, named)| *named).map(|(name, _)| parse(name)).collect();
        for update in [Update::All, Update::Packages(named)] {
            fs::write(world.path("project/kadapter.lock"), &lock).unwrap();
            let before = locked(&world.project().select(LockMode::Frozen).unwrap().1);
            let updated = match world.project().update(&update, Writing::Lock) {
                // What would need something to move down is refused, and nothing has changed.
                Err(Error::Downgrade { .. }) => {
                    prop_assert_eq!(&world.lock_text(), &lock);
                    continue;
                }
                updated => updated.unwrap(),
            };
            let once = world.lock_text();
            let again = world.project().update(&update, Writing::Lock).unwrap();
            prop_assert!(again.changes.is_empty(), "{:?} and then {:?}", updated.changes, again.changes);
            prop_assert_eq!(&world.lock_text(), &once);

            // Nothing moves down, and nothing yanked is newly chosen.
            let after = locked(&updated.lock);
            for (package, (from, to)) in before.iter().zip(&after).enumerate() {
                prop_assert!(from <= to);
                let number = usize::try_from(to.as_semver().minor).unwrap();
                prop_assert!(from == to || !growth.yanked.contains(&(package, number)));
            }

            // With the named packages as they are, what moved cannot be as it was: neither alone nor all together.
            let Update::Packages(named) = &update else { continue };
            let moved: Vec<usize> = (0..PACKAGES.len())
                .filter(|package| before[*package] != after[*package] && !named.contains(&parse(PACKAGES[*package])))
                .collect();
            let attempts = moved.iter().map(|package| vec![*package]).chain([moved.clone()]);
            for back in attempts.filter(|back| !back.is_empty()) {
                let mut text = GROWING.to_owned();
                for (package, name) in PACKAGES.iter().enumerate() {
                    let version = if back.contains(&package) { &before[package] } else { &after[package] };
                    let at = text.find(&format!("\"{name}\"")).unwrap();
                    let pinned = text[at..].replacen("\"^1\"", &format!("\"={version}\""), 1);
                    text.replace_range(at.., &pinned);
                }
                fs::write(world.path("project/check.toml"), text).unwrap();
                fs::write(world.path("project/check.lock"), &lock).unwrap();
                let options = Options { allow_downgrade: true, ..world.options() };
                let check = Project::open_with(world.path("project/check.toml"), options).unwrap();
                let found = check.select(LockMode::KeepLocked);
                let refused = matches!(found, Err(Error::NoFit(_) | Error::Untrained(_)));
                prop_assert!(refused, "{back:?} could have stayed: {before:?} {after:?}");
            }
        }
    }
}
