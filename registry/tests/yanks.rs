//! Yanks: who chooses passes them over, who runs is told, and nothing that is written beside them hides them.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use insta::assert_snapshot;
use kadapter_registry::note::Note;
use kadapter_registry::project::{LockMode, Options, Update, Writing};
use kadapter_registry::query;
use kadapter_registry::release::ReleaseRecord;
use kadapter_registry::resolve::{Reason, Selection, explain};
use kadapter_registry::store::Store;
use kadapter_registry::yank::{self, MAX_NOTES, MAX_REASON, Said, Standing, Statement, Yank};
use kadapter_registry::{Error, Project, Registry, Warning};

use crate::world::{World, parse, usual_manifest};

fn say(world: &World, record: &ReleaseRecord, yanked: bool, reason: &str) -> Said {
    yank::say(&world.store(), record, yanked, reason, None).unwrap()
}

fn standing(world: &World, record: &ReleaseRecord) -> Standing {
    yank::standing_of(&world.store(), record, &yank::every).unwrap()
}

/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// The time, as notes have it.
fn milliseconds() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The version of the adapter `factual`.
fn factual(selection: &Selection) -> String {
    selection.adapters["factual"].release.version.to_string()
}

fn told(selection: &Selection) -> String {
    let line = |explained: kadapter_registry::resolve::Explained| {
        explained.lines.into_iter().map(|line| format!("{}: {line}\n", explained.name)).collect::<String>()
    };
    explain(&selection.rejected).into_iter().map(line).collect()
}

/// A locked project at `k/factual` 1.0.0, and then its release 1.1.0.
fn with_newer() -> (World, ReleaseRecord, ReleaseRecord) {
    let world = World::new();
    let usual = world.usual();
    world.write_manifest(&usual_manifest("[]"));
    world.project().resolve(LockMode::KeepLocked).unwrap();
    let newer = world.adapter("k/factual", "1.1.0", "^1", usual.backbone);
    (world, usual.factual, newer)
}

#[test]
fn what_is_yanked_is_not_newly_chosen_and_the_reason_is_told() {
    let (world, _, newer) = with_newer();
    say(&world, &newer, true, "trained on the test set");
    let (selection, _) = world.project().select(LockMode::Update).unwrap();
    assert_eq!(factual(&selection), "1.0.0");
    assert_snapshot!(told(&selection), @"k/factual: 1.1.0 is yanked: trained on the test set");
    // Nor by name.
    let update = Update::Exactly { package: parse("k/factual"), version: parse("1.1.0") };
    let error = world.project().update(&update, Writing::Lock).unwrap_err();
    assert_snapshot!(world.told(&error), @"
    Could not find a version of `k/factual` for [adapters.factual]: 1.1.0 is yanked: trained on the test set
    hint: see which releases are not yanked: `kadapter versions k/factual`
    ");
    say(&world, &newer, false, "it was another one");
    let (selection, _) = world.project().select(LockMode::Update).unwrap();
    assert_eq!((factual(&selection).as_str(), selection.rejected.len()), ("1.1.0", 0));
}

#[test]
fn every_kind_of_release_can_be_yanked() {
    for (package, section) in [("k/base", "[backbone]"), ("k/relation", "[tasks.relation]"), ("p/net", "adapters.")] {
        let world = World::new();
        world.usual();
        world.write_manifest(&usual_manifest("[]"));
        let registry = Registry::with_store(Box::new(world.store())).unwrap();
        let record = registry.release(&parse(package), &parse("1.0.0")).unwrap().unwrap();
        say(&world, &record, true, "it is broken");
        let error = world.project().select(LockMode::KeepLocked).unwrap_err();
        let Error::NoFit(no_fit) = &error else { panic!("{error}") };
        assert!(matches!(no_fit.main_reason(), Some(Reason::Yanked { reason }) if reason == "it is broken"), "{error}");
        assert!(no_fit.wanted_by[0].contains(section), "{error}");
        assert!(!world.project().lock_path().exists());
    }
}

#[test]
fn a_task_that_needs_a_yanked_adapter_is_not_newly_chosen() {
    let world = World::new();
    let usual = world.usual();
    say(&world, &usual.factual, true, "it is broken");
    world.adapter("k/factual", "1.1.0", "^1", usual.backbone);
    world.write_manifest(&usual_manifest(r#"["factual"]"#));
    let error = world.project().select(LockMode::KeepLocked).unwrap_err();
    assert_snapshot!(world.told(&error), @"
    Could not find a version of `k/relation` for [tasks.relation]: 1.0.0 was trained with 1.0.0 of `factual`, which is yanked: it is broken
    hint: see which releases are not yanked: `kadapter versions k/relation`
    ");
}

#[test]
fn what_is_locked_keeps_working_and_whoever_locks_is_told() {
    let (world, older, newer) = with_newer();
    world.project().update(&Update::All, Writing::Lock).unwrap();
    let lock = world.lock_text();
    say(&world, &newer, true, "trained on the test set");
    for mode in [LockMode::Frozen, LockMode::KeepLocked] {
        let (selection, _) = world.project().select(mode).unwrap();
        assert_eq!(factual(&selection), "1.1.0");
        let warnings = world.project().yank_warnings(&selection);
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert_eq!(warning.to_string(), "`k/factual 1.1.0` is yanked: trained on the test set");
        let hint = warning.hint();
        assert_eq!(hint.as_deref(), Some("move to another release: `kadapter update k/factual`"));
    }
    let outdated = world.project().outdated().unwrap().packages;
    assert_eq!(outdated.len(), 1);
    assert_eq!((&outdated[0].locked, &outdated[0].fitting), (&parse("1.1.0"), &parse("1.1.0")));
    assert_eq!(outdated[0].yanked.as_deref(), Some("trained on the test set"));

    // There is nothing higher, and nothing moves down unasked.
    let updated = world.project().update(&Update::All, Writing::Lock).unwrap();
    assert_eq!((factual(&updated.selection).as_str(), updated.selection.warnings.len()), ("1.1.0", 1));
    assert_eq!(world.lock_text(), lock);
    let allow = || Options { allow_downgrade: true, ..world.options() };
    let project = || Project::open_with(world.path("project"), allow()).unwrap();
    let down = project().update(&Update::All, Writing::Nothing).unwrap();
    assert_eq!(factual(&down.selection), older.release.version.to_string());
    assert_eq!(world.lock_text(), lock);
    // Above it comes what is higher.
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    let base = registry.release(&parse("k/base"), &parse("1.0.0")).unwrap().unwrap();
    world.adapter("k/factual", "1.2.0", "^1", base.release.backbone_weights().unwrap());
    let up = project().update(&Update::All, Writing::Lock).unwrap();
    assert_eq!((factual(&up.selection).as_str(), up.selection.warnings.len()), ("1.2.0", 0));
}

#[test]
fn whoever_runs_does_not_ask_for_yanks() {
    let (world, older, _) = with_newer();
    // So many notes are refused by whoever reads them.
    let folder = world.path("registry/yanks/k/factual/1.0.0");
    fs::create_dir_all(&folder).unwrap();
    for at in 0..=MAX_NOTES {
        fs::write(folder.join(format!("{at}-unsigned.json")), "").unwrap();
    }
    let refused = yank::standing_of(&world.store(), &older, &yank::every).unwrap_err();
    assert_snapshot!(world.told(&refused), @"Could not read the notes on `k/factual 1.0.0` in `$WORLD/registry`: there are more than 1000");
    for mode in [LockMode::Frozen, LockMode::KeepLocked] {
        assert!(world.project().resolve(mode).unwrap().warnings.is_empty());
    }
    let (selection, _) = world.project().select(LockMode::Frozen).unwrap();
    let warnings = world.project().yank_warnings(&selection);
    assert!(matches!(warnings.as_slice(), [Warning::Unasked { .. }]), "{warnings:?}");
    // A registry that is gone is no failure, and told once.
    world.project().fetch(LockMode::Frozen).unwrap();
    fs::rename(world.path("registry"), world.path("gone")).unwrap();
    let (selection, _) = world.project().select(LockMode::Frozen).unwrap();
    let warnings = world.project().yank_warnings(&selection);
    assert!(matches!(warnings.as_slice(), [Warning::Unasked { .. }]), "{warnings:?}");
}

#[test]
fn the_newest_note_holds_and_a_tie_yanks() {
    let (world, record, _) = with_newer();
    let write = |at: u64, yanked: bool, key: Option<&str>| {
        let reason = format!("at {at}");
        let statement = Statement { id: record.release.id(), release: record.digest, yanked, reason, at };
        let signature = key.map(|key| (parse(key), SIGNATURE.to_owned()));
        let yank = Yank { statement, signature };
        world.store().put_note(&record.release.id(), &yank.note(), &yank.encode().unwrap()).unwrap();
    };
    let yanked = || standing(&world, &record).yanked().map(str::to_owned);
    assert_eq!(yanked(), None);
    write(9, true, None);
    write(10, false, None);
    assert_eq!(yanked(), None);
    // Numbers, not texts, are compared: 9 comes before 10.
    write(11, true, None);
    assert_eq!(yanked().as_deref(), Some("at 11"));
    for (at, keys) in [(12, ["0123456789ABCDEF", "FEDCBA9876543210"]), (13, ["FEDCBA9876543210", "0123456789ABCDEF"])] {
        write(at, true, Some(keys[0]));
        write(at, false, Some(keys[1]));
        assert_eq!(yanked(), Some(format!("at {at}")));
    }
    // What is said now is newer than what was said by a clock that is ahead.
    let ahead = milliseconds() + 60 * 60 * 1000;
    write(ahead, true, None);
    let Said::Written(yank) = say(&world, &record, false, "") else { panic!("nothing was written") };
    assert_eq!(yank.statement.at, ahead + 1);
    assert_eq!(yanked(), None);
    // Who does not count is passed by.
    let only_yanks = yank::standing_of(&world.store(), &record, &|yank: &Yank| yank.statement.yanked).unwrap();
    assert_eq!(only_yanks.yanked(), Some(format!("at {ahead}").as_str()));
}

#[test]
fn saying_it_again_writes_nothing() {
    let (world, record, _) = with_newer();
    let notes = || world.store().notes(&record.release.id()).unwrap().len();
    assert_eq!(say(&world, &record, false, ""), Said::Held(None));
    assert!(matches!(say(&world, &record, true, "broken"), Said::Written(_)));
    assert!(matches!(say(&world, &record, true, "broken"), Said::Held(Some(_))));
    assert_eq!(notes(), 1);
    assert!(matches!(say(&world, &record, true, "more broken"), Said::Written(_)));
    assert_eq!(standing(&world, &record).yanked(), Some("more broken"));
    assert!(matches!(say(&world, &record, false, ""), Said::Written(_)));
    assert_eq!((notes(), standing(&world, &record).yanked()), (3, None));
}

#[test]
fn what_breaks_a_rule_is_not_said() {
    let (world, record, _) = with_newer();
    let refuse = |reason: &str| {
        let error = yank::say(&world.store(), &record, true, reason, None).unwrap_err();
        world.told(&error)
    };
    assert_snapshot!(refuse(" "), @"Could not say this about `k/factual 1.0.0`: its reason is empty");
    assert_snapshot!(refuse("a\u{1b}[2Jb"), @"Could not say this about `k/factual 1.0.0`: its reason has control characters");
    assert_snapshot!(refuse(&"x".repeat(MAX_REASON + 1)), @"Could not say this about `k/factual 1.0.0`: its reason has 1001 bytes, at most 1000 are allowed");
    assert!(world.store().notes(&record.release.id()).unwrap().is_empty());
}

/// Whoever may write to a registry must not have the last word on a release for good.
#[test]
fn what_is_dated_far_ahead_counts_for_nothing() {
    let (world, record, _) = with_newer();
    let id = record.release.id();
    let say_at = |at: u64| {
        let statement = Statement { id: id.clone(), release: record.digest, yanked: false, reason: String::new(), at };
        let yank = Yank { statement, signature: None };
        world.store().put_note(&id, &yank.note(), &yank.encode().unwrap()).unwrap();
    };
    say_at(999_999_999_999_999);
    say_at(milliseconds() + 2 * DAY);
    world.store().put_note(&id, &Note::Yank { at: milliseconds() + 3 * DAY, key: None }, b"{}").unwrap();
    let before = milliseconds();
    let Said::Written(yank) = say(&world, &record, true, "broken") else { panic!("nothing was written") };
    assert!((before..=milliseconds()).contains(&yank.statement.at), "{}", yank.statement.at);
    let standing = standing(&world, &record);
    assert_eq!((standing.yanked(), standing.passed_over.len()), (Some("broken"), 3));
    let problem = &standing.passed_over[0].problem;
    assert!(problem.starts_with("its time is 999999999999999, expected at most "), "{problem}");
    // What is ahead by less counts, and what is said next is said after it.
    say_at(milliseconds() + DAY / 2);
    assert!(matches!(say(&world, &record, true, "broken"), Said::Written(_)));
    let newest = yank::standing_of(&world.store(), &record, &yank::every).unwrap().newest.unwrap();
    assert!(newest.statement.yanked && newest.statement.at > milliseconds() + DAY / 3, "{newest:?}");
}

#[test]
fn malformed_notes_are_told_and_hide_nothing() {
    let (world, record, newer) = with_newer();
    let Said::Written(yank) = say(&world, &record, true, "broken") else { panic!("nothing was written") };
    let whole = String::from_utf8(yank.encode().unwrap()).unwrap();
    let at = yank.statement.at;
    let later = at + 1;
    let text = whole.replace(&at.to_string(), &later.to_string()).replace("true", "false");
    let key = Some(parse("0123456789ABCDEF"));
    let cases: Vec<(Option<_>, String)> = vec![
        (None, String::new()),
        (None, "not JSON".to_owned()),
        (None, "[".repeat(10_000)),
        (None, text.replace("\"schema\":1", "\"schema\":2")),
        (None, text.replace("\"schema\":1,", "")),
        (None, text.replace("1.0.0", "1.1.0")),
        (None, text.replace(&record.digest.to_string(), &newer.digest.to_string())),
        (None, text.replace(&later.to_string(), &(later + 1).to_string())),
        (None, text.replace("\"yanked\":", "\"yanked\": ")),
        (None, text.replace("\"at\"", "\"by\":\"me\",\"at\"")),
        (None, text.replace("broken", "\\u001b[2J")),
        (None, text.replace("broken", &"x".repeat(MAX_REASON + 1))),
        (None, text.replace("broken", &"x".repeat(70_000))),
        (None, text.trim_end().to_owned()),
        (None, text.replace("}\n", ",\"signature\":\"x\"}\n")),
        (key.clone(), text.clone()),
        (key, text.replace("}\n", ",\"signature\":\"x\"}\n")),
    ];
    for (key, content) in cases {
        let note = Note::Yank { at: later, key };
        let path = world.path(&format!("registry/yanks/k/factual/1.0.0/{note}"));
        fs::write(&path, &content).unwrap();
        let standing = standing(&world, &record);
        assert_eq!(standing.yanked(), Some("broken"), "{content:.100}");
        assert_eq!(standing.passed_over.len(), 1, "{content:.100}");
        assert_eq!(standing.passed_over[0].note, note);
        // What is wrong is told in one short line.
        let problem = &standing.passed_over[0].problem;
        assert!(!problem.is_empty() && problem.len() < 200 && !problem.contains(char::is_control), "{problem}");
        fs::remove_file(path).unwrap();
    }
    // The text that all of these were made from is a note that counts.
    fs::write(world.path(&format!("registry/yanks/k/factual/1.0.0/{later}-unsigned.json")), text).unwrap();
    assert_eq!(standing(&world, &record).yanked(), None);
    // What is no note of ours is not even told.
    fs::write(world.path("registry/yanks/k/factual/1.0.0/readme.txt"), "hello").unwrap();
    assert!(standing(&world, &record).passed_over.is_empty());
}

#[test]
fn who_chooses_is_told_of_malformed_notes() {
    let (world, _, newer) = with_newer();
    let folder = world.path("registry/yanks/k/factual/1.1.0");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("17-unsigned.json"), "{}").unwrap();
    let updated = world.project().update(&Update::All, Writing::Lock).unwrap();
    assert_eq!(factual(&updated.selection), newer.release.version.to_string());
    let warnings: Vec<String> = updated.selection.warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(warnings[0], @"Could not read the note `17-unsigned.json` on `k/factual 1.1.0`: missing field `schema` at line 1 column 2");
}

#[test]
fn questions_about_a_registry_show_yanks() {
    let (world, older, newer) = with_newer();
    say(&world, &newer, true, "trained on the test set");
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    let latest = || query::info(&registry, &parse("k/factual"), None).unwrap();
    assert_eq!((latest().latest.release.version, latest().standing.yanked()), (parse("1.0.0"), None));
    let asked = query::info(&registry, &parse("k/factual"), Some(&parse("1.1.0"))).unwrap();
    assert_eq!(asked.standing.yanked(), Some("trained on the test set"));
    let searched = query::search(&registry, &["factual"]).unwrap().found;
    assert_eq!((searched.len(), &searched[0].latest.release.version), (1, &parse("1.0.0")));
    // Where all are yanked the highest is shown for what it is.
    say(&world, &older, true, "too old");
    assert_eq!(latest().standing.yanked(), Some("trained on the test set"));
    let listed = query::versions(&registry, &parse("k/factual")).unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|listed| format!("{} {:?}", listed.version, listed.standing.as_ref().unwrap().yanked()))
        .collect();
    assert_eq!(listed, [r#"1.1.0 Some("trained on the test set")"#, r#"1.0.0 Some("too old")"#]);
    assert!(matches!(query::versions(&registry, &parse("k/none")), Err(Error::NoPackage { .. })));
}

/// A well-formed signature of something else.
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
";

mod signed {
    //! Signed yanks, with keys of the reference implementation.

    use super::*;
    use kadapter_registry::{KeyId, Signer};
    use minisign::KeyPair;
    use minisign_verify::PublicKey;
    use std::io::Cursor;

    struct Key {
        id: KeyId,
        pair: KeyPair,
    }

    impl Key {
        fn new() -> Self {
            let pair = KeyPair::generate_unencrypted_keypair().unwrap();
            let id = pair.pk.keynum().iter().rev().map(|byte| format!("{byte:02X}")).collect::<String>();
            Self { id: parse(&id), pair }
        }

        fn public(&self) -> PublicKey {
            PublicKey::from_base64(&self.pair.pk.to_base64()).unwrap()
        }
    }

    impl Signer for Key {
        fn key(&self) -> &KeyId {
            &self.id
        }

        fn sign(&self, bytes: &[u8]) -> Result<String, Error> {
            let signature = minisign::sign(None, &self.pair.sk, Cursor::new(bytes), Some("a yank"), None).unwrap();
            Ok(signature.into_string())
        }
    }

    #[test]
    fn a_signature_is_of_one_statement_by_one_key() {
        let (world, record, _) = with_newer();
        let (ours, theirs) = (Key::new(), Key::new());
        let say =
            |key: Option<&dyn Signer>, yanked, reason| yank::say(&world.store(), &record, yanked, reason, key).unwrap();
        assert!(matches!(say(Some(&ours), true, "broken"), Said::Written(_)));
        assert!(matches!(say(Some(&ours), true, "broken"), Said::Held(_)));
        let standing = standing(&world, &record);
        let yank = standing.newest.unwrap();
        assert_eq!(yank.note(), Note::Yank { at: yank.statement.at, key: Some(ours.id.clone()) });
        assert!(yank.is_signed_by(&[theirs.public(), ours.public()]));
        assert!(!yank.is_signed_by(&[theirs.public()]) && !yank.is_signed_by(&[]));
        // Every part of the statement is signed.
        let changed = |change: &dyn Fn(&mut Statement)| {
            let mut yank = yank.clone();
            change(&mut yank.statement);
            yank
        };
        assert!(!changed(&|statement| statement.at += 1).is_signed_by(&[ours.public()]));
        assert!(!changed(&|statement| statement.yanked = false).is_signed_by(&[ours.public()]));
        assert!(!changed(&|statement| statement.reason.push('.')).is_signed_by(&[ours.public()]));
        assert!(!changed(&|statement| statement.id.version = parse("1.1.0")).is_signed_by(&[ours.public()]));
        // Who goes by keys is not told otherwise by whoever may write to the registry.
        say(None, false, "");
        say(Some(&theirs), false, "");
        let trusted = [ours.public()];
        let by_us = yank::standing_of(&world.store(), &record, &|yank: &Yank| yank.is_signed_by(&trusted)).unwrap();
        assert_eq!(by_us.yanked(), Some("broken"));
        assert_eq!(super::standing(&world, &record).yanked(), None);
    }
}
