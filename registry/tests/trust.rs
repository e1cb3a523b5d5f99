//! Trust: who may sign, what is refused before anything is opened, and that no byte of a signature can be changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use insta::assert_snapshot;
use kadapter_registry::project::{LockMode, Options, Resolved};
use kadapter_registry::release::ReleaseRecord;
use kadapter_registry::trust::{self, Native, Signature, TrustError, TrustedKey, Weights};
use kadapter_registry::{Error, Project, Registry, Signer, Trust};

use crate::keys::TestKey;
use crate::world::{TARGET, World, package, parse, usual_manifest};

/// A project of one plugin, two adapters and a task; the plugin is signed by Ada.
fn usual() -> World {
    let world = World::new();
    world.usual();
    world.write_manifest(&usual_manifest(r#"["factual"]"#));
    world
}

fn trust_of(keys: &[TrustedKey]) -> Trust {
    Trust { keys: keys.to_vec(), ..Trust::default() }
}

fn open(world: &World, trust: Trust) -> Project {
    let options = Options { trust: Some(trust), ..world.options() };
    Project::open_with(world.path("project"), options).unwrap()
}

fn resolve(world: &World, trust: Trust, mode: LockMode) -> Result<Resolved, Error> {
    open(world, trust).resolve(mode)
}

fn refusal(world: &World, trust: Trust, mode: LockMode) -> TrustError {
    match resolve(world, trust, mode) {
        Err(Error::Trust(error)) => *error,
        other => panic!("{other:?}"),
    }
}

fn record(world: &World, name: &str, version: &str) -> ReleaseRecord {
    let registry = Registry::with_store(Box::new(world.store())).unwrap();
    registry.release(&parse(name), &parse(version)).unwrap().unwrap()
}

/// The signature of the plugin in the registry.
fn signature(world: &World) -> PathBuf {
    TestKey::ada().path(&world.path("registry"), "p/net", "1.0.0")
}

fn told(world: &World, trust: Trust, mode: LockMode) -> String {
    world.told(&resolve(world, trust, mode).unwrap_err())
}

#[test]
fn a_plugin_runs_when_a_trusted_key_has_signed_it_and_the_lock_names_the_key() {
    let world = usual();
    let ada = TestKey::ada();
    let trust = || trust_of(&[ada.trusted("p")]);
    for mode in [LockMode::KeepLocked, LockMode::Frozen, LockMode::Update] {
        let resolved = resolve(&world, trust(), mode).unwrap();
        let plugin = resolved.plugins.values().next().unwrap();
        assert_eq!(plugin.signer.as_ref(), Some(ada.key()), "{mode:?}");
        assert_eq!(resolved.signers.keys().map(|id| id.name.to_string()).collect::<Vec<_>>(), ["p/net"]);
    }
    assert_eq!(world.lock_text().matches(&format!("signer = \"{}\"", ada.key())).count(), 1);
    // Whom to trust for one namespace says nothing about another.
    assert!(matches!(refusal(&world, trust_of(&[ada.trusted("k")]), LockMode::Frozen), TrustError::Withdrawn { .. }));
}

#[test]
fn refusals_say_what_was_expected_what_was_found_and_what_to_type() {
    let world = usual();
    let (ada, grace) = (TestKey::ada(), TestKey::grace());
    let file = Some(world.path("trust.toml"));
    let of = |keys: &[TrustedKey]| Trust { file: file.clone(), ..trust_of(keys) };
    assert_snapshot!(told(&world, of(&[grace.trusted("p")]), LockMode::KeepLocked), @r"
    Could not let in `p/net 1.0.0`: it is signed by `CF82E211D5392720`, expected a signature by `0AA26865FA648132`, which `$WORLD/trust.toml` has for `p`
    hint: get the public key from its publisher, not from the registry, and trust it: `kadapter key trust PUBLIC_KEY --namespace p`
    ");
    assert_snapshot!(told(&world, Trust { native: Native::Deny, ..of(&[ada.trusted("p")]) }, LockMode::KeepLocked), @r#"
    Could not let in the plugin `p/net 1.0.0`: `$WORLD/trust.toml` says `native = "deny"`
    hint: let in those that are signed with the line `native = "signed"`: `$EDITOR $WORLD/trust.toml`
    "#);
    let weights = Trust { weights: Weights::Signed, ..of(&[ada.trusted("p")]) };
    assert_snapshot!(told(&world, weights, LockMode::KeepLocked), @r"
    Could not let in `k/base 1.0.0`: nobody has signed it, expected a signature by a key for `k`, of which `$WORLD/trust.toml` has none
    hint: have its publisher sign it: `kadapter sign k/base@1.0.0 --registry REGISTRY --key NAME`
    ");

    let text = fs::read_to_string(signature(&world)).unwrap();
    fs::remove_file(signature(&world)).unwrap();
    assert_snapshot!(told(&world, of(&[]), LockMode::KeepLocked), @r"
    Could not let in `p/net 1.0.0`: nobody has signed it, expected a signature by a key for `p`, of which `$WORLD/trust.toml` has none
    hint: have its publisher sign it: `kadapter sign p/net@1.0.0 --registry REGISTRY --key NAME`
    ");
    assert_snapshot!(told(&world, of(&[ada.trusted("p"), grace.trusted("p")]), LockMode::KeepLocked), @r"
    Could not let in `p/net 1.0.0`: nobody has signed it, expected a signature by one of `CF82E211D5392720` and `0AA26865FA648132`, which `$WORLD/trust.toml` has for `p`
    hint: have its publisher sign it: `kadapter sign p/net@1.0.0 --registry REGISTRY --key NAME`
    ");
    assert!(!world.path("project/kadapter.lock").exists(), "a refused release must not be locked");

    let put = |text: &str| fs::write(signature(&world), text).unwrap();
    let ours = || of(&[ada.trusted("p")]);
    put("<html>403 Forbidden</html>\n");
    assert_snapshot!(told(&world, ours(), LockMode::KeepLocked), @r"
    Could not accept the signature `CF82E211D5392720.minisig in $WORLD/registry` of `p/net 1.0.0`: it must have four lines, as minisign writes them
    hint: one in the cache is replaced by `kadapter fetch`; for one in the registry tell its publisher, and see what else is signed: `kadapter info p/net@1.0.0`
    ");
    put(&text.replace("minisign secret key", "rsign secret key"));
    assert_snapshot!(told(&world, ours(), LockMode::KeepLocked), @r"
    Could not accept the signature `CF82E211D5392720.minisig in $WORLD/registry` of `p/net 1.0.0`: its first line must be `untrusted comment: signature from minisign secret key`
    hint: one in the cache is replaced by `kadapter fetch`; for one in the registry tell its publisher, and see what else is signed: `kadapter info p/net@1.0.0`
    ");
    put(&grace.sign(&record(&world, "p/net", "1.0.0").bytes).unwrap());
    assert_snapshot!(told(&world, ours(), LockMode::KeepLocked), @r"
    Could not accept the signature `CF82E211D5392720.minisig in $WORLD/registry` of `p/net 1.0.0`: it is by `0AA26865FA648132`, expected one by `CF82E211D5392720`
    hint: one in the cache is replaced by `kadapter fetch`; for one in the registry tell its publisher, and see what else is signed: `kadapter info p/net@1.0.0`
    ");
    put(&ada.sign(b"something else").unwrap());
    assert_snapshot!(told(&world, ours(), LockMode::KeepLocked), @r"
    Could not accept the signature `CF82E211D5392720.minisig in $WORLD/registry`: it does not verify, expected one of `p/net 1.0.0` by `CF82E211D5392720`
    hint: one in the cache is replaced by `kadapter fetch`; for one in the registry tell its publisher, and see what else is signed: `kadapter info p/net@1.0.0`
    ");
    let other = world.plugin("p/other", "1.0.0", "1.0", &[TARGET]);
    let other = ada.path(&world.path("registry"), &other.release.name.to_string(), "1.0.0");
    put(&fs::read_to_string(other).unwrap());
    assert_snapshot!(told(&world, ours(), LockMode::KeepLocked), @r"
    Could not accept the signature `CF82E211D5392720.minisig in $WORLD/registry`: it is of `p/other@1.0.0`, expected one of `p/net 1.0.0` by `CF82E211D5392720`
    hint: one in the cache is replaced by `kadapter fetch`; for one in the registry tell its publisher, and see what else is signed: `kadapter info p/net@1.0.0`
    ");

    put(&text);
    resolve(&world, ours(), LockMode::KeepLocked).unwrap();
    assert_snapshot!(told(&world, of(&[]), LockMode::Frozen), @r"
    Could not let in `p/net 1.0.0`: the lock has the signer `CF82E211D5392720`, expected a key for `p`, of which `$WORLD/trust.toml` has none
    hint: trust its key again, or for the first time: `kadapter key trust PUBLIC_KEY --namespace p`
    ");
    fs::remove_file(signature(&world)).unwrap();
    assert_snapshot!(told(&world, ours(), LockMode::Frozen), @r"
    Could not let in `p/net 1.0.0`: nobody who is trusted has signed it, the lock has the signer `CF82E211D5392720`
    hint: have its publisher sign it: `kadapter sign p/net@1.0.0 --registry REGISTRY --key NAME`
    ");
    grace.sign_release(&world.store(), &record(&world, "p/net", "1.0.0"));
    assert_snapshot!(told(&world, of(&[ada.trusted("p"), grace.trusted("p")]), LockMode::Frozen), @r"
    Could not let in `p/net 1.0.0`: it is signed by `0AA26865FA648132`, the lock has the signer `CF82E211D5392720`
    hint: when its publisher says that this is right, accept it: `kadapter lock --accept-signer p/net`
    ");
}

#[test]
fn policies_ask_for_what_they_say() {
    let world = usual();
    let ada = TestKey::ada();
    fs::remove_file(signature(&world)).unwrap();
    // `any` asks for no signature, and `deny` takes none.
    let resolved = resolve(&world, Trust::any(), LockMode::KeepLocked).unwrap();
    assert_eq!(resolved.plugins.values().next().unwrap().signer, None);
    ada.sign_release(&world.store(), &record(&world, "p/net", "1.0.0"));
    let deny = Trust { native: Native::Deny, ..trust_of(&[ada.trusted("p")]) };
    assert!(matches!(refusal(&world, deny, LockMode::Frozen), TrustError::Denied { .. }));
    // A lock without signers is good enough for who asks for a signature and finds one; it is written down when it may be.
    let signed = || trust_of(&[ada.trusted("p")]);
    assert!(resolve(&world, signed(), LockMode::Frozen).unwrap().plugins.values().next().unwrap().signer.is_some());
    assert!(!world.lock_text().contains("signer"));
    resolve(&world, signed(), LockMode::KeepLocked).unwrap();
    assert!(world.lock_text().contains("signer"));
    // A lock with a signer is no obstacle for who trusts nobody and asks for nothing; but then nothing was verified.
    let resolved = resolve(&world, Trust::any(), LockMode::Frozen).unwrap();
    assert!(resolved.plugins.values().next().unwrap().signer.is_none() && resolved.signers.is_empty());
    assert!(world.lock_text().contains("signer"));

    let all = Trust { weights: Weights::Signed, ..trust_of(&[ada.trusted("p"), ada.trusted("k")]) };
    for (name, version) in [("k/base", "1.0.0"), ("k/factual", "1.0.0"), ("k/linguistic", "1.0.0")] {
        let TrustError::Unsigned { id, .. } = refusal(&world, all.clone(), LockMode::KeepLocked) else {
            panic!("{name}")
        };
        ada.sign_release(&world.store(), &record(&world, &id.name.to_string(), version));
    }
    assert!(matches!(refusal(&world, all.clone(), LockMode::KeepLocked), TrustError::Unsigned { .. }));
    ada.sign_release(&world.store(), &record(&world, "k/relation", "1.0.0"));
    assert_eq!(resolve(&world, all, LockMode::KeepLocked).unwrap().signers.len(), 5);
}

#[test]
fn keys_rotate_and_a_signer_changes_only_when_that_is_accepted() {
    let world = usual();
    let (ada, grace) = (TestKey::ada(), TestKey::grace());
    let both = || trust_of(&[ada.trusted("p"), grace.trusted("p")]);
    resolve(&world, both(), LockMode::KeepLocked).unwrap();
    let lock = world.lock_text();
    // A second signature changes nothing: the lock's signer is still there.
    grace.sign_release(&world.store(), &record(&world, "p/net", "1.0.0"));
    resolve(&world, both(), LockMode::Update).unwrap();
    assert_eq!(world.lock_text(), lock);

    // The next version is signed by the new key alone.
    let next = world.try_publish(&package("p/net", "1.1.0", plugin_content()), 1).unwrap().record;
    grace.sign_release(&world.store(), &next);
    let refused = refusal(&world, both(), LockMode::Update);
    assert!(matches!(refused, TrustError::ChangedSigner { .. }), "{refused}");
    assert_eq!(world.lock_text(), lock);
    let accept = |trust: Trust, mode| {
        let accept_signers = BTreeSet::from([parse("p/net")]);
        let options = Options { trust: Some(trust), accept_signers, ..world.options() };
        Project::open_with(world.path("project"), options).unwrap().resolve(mode)
    };
    accept(both(), LockMode::Update).unwrap();
    assert!(world.lock_text().contains(grace.key().to_string().as_str()));
    resolve(&world, trust_of(&[grace.trusted("p")]), LockMode::Frozen).unwrap();
    // Accepting another signer is no way around the policy.
    let refused = accept(trust_of(&[ada.trusted("p")]), LockMode::KeepLocked).unwrap_err();
    assert!(matches!(refused, Error::Trust(error) if matches!(*error, TrustError::UnknownSigners { .. })));
}

/// Two lines of a plugin run side by side, each with a signer of its own.
#[test]
fn an_update_within_a_line_is_by_the_signer_of_that_line() {
    let world = World::new();
    let (ada, grace) = (TestKey::ada(), TestKey::grace());
    let backbone = world.backbone("1.0.0", 1).release.backbone_weights().unwrap();
    let plugin = |version: &str, signer: &TestKey| {
        let record = world.try_publish(&package("p/net", version, plugin_content()), 1).unwrap().record;
        signer.sign_release(&world.store(), &record);
    };
    plugin("1.0.0", &ada);
    plugin("2.0.0", &grace);
    let factual = world.adapter("k/factual", "1.0.0", "^1", backbone);
    let linguistic = world.adapter("k/linguistic", "1.0.0", "^2", backbone);
    let adapters = [("fac", &factual), ("lin", &linguistic)];
    world.task("k/relation", "1.0.0", backbone, &adapters, &[&[], &["fac"]]);
    world.write_manifest(&usual_manifest(r#"["factual"]"#));
    let trust = || trust_of(&[ada.trusted("p"), grace.trusted("p")]);
    assert_eq!(resolve(&world, trust(), LockMode::KeepLocked).unwrap().signers.len(), 2);
    plugin("1.1.0", &ada);
    resolve(&world, trust(), LockMode::Update).unwrap();
    assert!(world.lock_text().contains("version = \"1.1.0\""), "{}", world.lock_text());
    // The other line's signer is no signer of this one.
    plugin("1.2.0", &grace);
    let refused = refusal(&world, trust(), LockMode::Update);
    assert!(matches!(refused, TrustError::ChangedSigner { .. }), "{refused}");
}

#[test]
fn weights_without_the_duty_of_a_signature_keep_the_signer_that_they_had() {
    let world = usual();
    let ada = TestKey::ada();
    let trust = || trust_of(&[ada.trusted("p"), ada.trusted("k")]);
    ada.sign_release(&world.store(), &record(&world, "k/factual", "1.0.0"));
    let resolved = resolve(&world, trust(), LockMode::KeepLocked).unwrap();
    assert_eq!(resolved.signers.len(), 2);
    fs::remove_file(ada.path(&world.path("registry"), "k/factual", "1.0.0")).unwrap();
    let refused = refusal(&world, trust(), LockMode::Frozen);
    assert!(matches!(refused, TrustError::LostSigner { demanded: false, .. }), "{refused}");
    let accept_signers = BTreeSet::from([parse("k/factual")]);
    let options = Options { trust: Some(trust()), accept_signers, ..world.options() };
    let project = Project::open_with(world.path("project"), options).unwrap();
    assert_eq!(project.resolve(LockMode::KeepLocked).unwrap().signers.len(), 1);
    resolve(&world, trust(), LockMode::Frozen).unwrap();
}

#[test]
fn a_fetched_project_verifies_its_signatures_without_the_registry() {
    let world = usual();
    let (ada, grace) = (TestKey::ada(), TestKey::grace());
    // The key that did not sign comes first: nobody may ask the registry for its signature.
    let trust = || trust_of(&[grace.trusted("p"), ada.trusted("p")]);
    open(&world, trust()).fetch(LockMode::KeepLocked).unwrap();
    let kept = open(&world, trust()).cache().signature_path(&record(&world, "p/net", "1.0.0").digest, ada.key());
    assert!(kept.is_file());
    fs::rename(world.path("registry"), world.path("away")).unwrap();
    for mode in [LockMode::Frozen, LockMode::KeepLocked] {
        resolve(&world, trust(), mode).unwrap();
        open(&world, trust()).fetch(mode).unwrap();
    }
    open(&world, trust()).verify().unwrap();
    let unsigned: String = world
        .lock_text()
        .lines()
        .filter(|line| !line.starts_with("signer"))
        .fold(String::new(), |text, line| text + line + "\n");
    let lock = world.lock_text();
    fs::write(world.path("project/kadapter.lock"), unsigned).unwrap();
    resolve(&world, trust(), LockMode::Frozen).unwrap();
    fs::write(world.path("project/kadapter.lock"), lock).unwrap();

    // A key that is trusted no more is refused at the next load, without asking anybody.
    let refused = refusal(&world, trust_of(&[grace.trusted("p")]), LockMode::Frozen);
    assert!(matches!(refused, TrustError::Withdrawn { .. }), "{refused}");

    // A kept signature is verified each time, and one that is damaged is fetched again.
    let text = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, text.replace("hashed", "hasheD")).unwrap();
    let refused = refusal(&world, trust(), LockMode::Frozen);
    assert!(matches!(refused, TrustError::DoesNotVerify { .. }), "{refused}");
    fs::rename(world.path("away"), world.path("registry")).unwrap();
    open(&world, trust()).fetch(LockMode::Frozen).unwrap();
    assert_eq!(fs::read_to_string(&kept).unwrap(), text);
    resolve(&world, trust(), LockMode::Frozen).unwrap();
}

#[test]
fn no_byte_of_a_signature_or_record_can_be_changed() {
    let world = usual();
    let ada = TestKey::ada();
    let record = record(&world, "p/net", "1.0.0");
    let bytes = fs::read(signature(&world)).unwrap();
    let verifies = |record: &[u8], signature: &[u8]| {
        Signature::decode(signature).is_ok_and(|signature| ada.public.has_signed(record, &signature))
    };
    assert!(verifies(&record.bytes, &bytes));
    for index in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut altered = bytes.clone();
            altered[index] ^= flip;
            assert!(!verifies(&record.bytes, &altered), "byte {index} of the signature, {flip:#x}");
        }
        assert!(!verifies(&record.bytes, &bytes[..index]), "cut at {index}");
    }
    for more in [&b"\n"[..], b"x", b" ", b"\0"] {
        assert!(!verifies(&record.bytes, &[&bytes, more].concat()));
    }
    for index in 0..record.bytes.len() {
        let mut altered = record.bytes.clone();
        altered[index] ^= 1;
        assert!(!verifies(&altered, &bytes), "byte {index} of the record");
    }
    // The same through a project, at some places: nothing of the release may be opened.
    fs::remove_dir_all(world.path("registry/blobs")).unwrap();
    for index in (0..bytes.len()).step_by(23) {
        let mut altered = bytes.clone();
        altered[index] ^= 1;
        fs::write(signature(&world), altered).unwrap();
        refusal(&world, trust_of(&[ada.trusted("p")]), LockMode::KeepLocked);
    }
}

#[test]
fn a_signature_of_another_algorithm_or_the_old_kind_is_refused() {
    let world = usual();
    let text = fs::read_to_string(signature(&world)).unwrap();
    let line = text.lines().nth(1).unwrap();
    let problem = |from: &str, to: &str| Signature::decode(text.replace(from, to).as_bytes()).unwrap_err();
    assert_snapshot!(problem(line, &line.replacen("RUQ", "RWQ", 1)), @"it is of the old kind without a hash; sign with minisign 0.10 or newer");
    assert_snapshot!(problem(line, &line.replacen("RU", "AA", 1)), @"it is of an unknown algorithm");
    assert_snapshot!(problem(line, "RUQ="), @"its second line is no signature");
    assert_snapshot!(problem("trusted comment: t", "trusted comment: \u{7}t"), @"its trusted comment has control characters");
    assert_snapshot!(problem("\ntrusted", "\nuntrusted"), @"its third line must begin with `trusted comment: `");
    assert_snapshot!(problem("minisign secret key", "me"), @"its first line must be `untrusted comment: signature from minisign secret key`");
    // What others write is put into the form that is kept.
    let foreign = text.replace("signature from minisign secret key", "whatever").replace('\n', "\r\n");
    assert_eq!(Signature::from_file(&foreign).unwrap().as_str(), text);
}

#[test]
fn signing_twice_is_no_error_and_what_is_there_is_never_replaced() {
    let world = usual();
    let (ada, store, record) = (TestKey::ada(), world.store(), record(&world, "p/net", "1.0.0"));
    use kadapter_registry::store::Put;
    assert_eq!(trust::sign(&store, &record, &ada, &ada.public).unwrap(), Put::Exists);
    let ours = ada.sign(&record.bytes).unwrap();
    assert_eq!(trust::attach(&store, &record, ours.as_bytes(), &ada.public).unwrap(), Put::Exists);
    let grace = TestKey::grace();
    assert!(trust::attach(&store, &record, ours.as_bytes(), &grace.public).is_err());
    assert!(trust::attach(&store, &record, grace.sign(b"other").unwrap().as_bytes(), &grace.public).is_err());
    assert!(!grace.path(&world.path("registry"), "p/net", "1.0.0").exists());
    fs::write(signature(&world), "rubbish").unwrap();
    assert_snapshot!(world.told(&trust::sign(&store, &record, &ada, &ada.public).unwrap_err()), @r"
    Could not sign `p/net 1.0.0`: it has a signature by `CF82E211D5392720` that is not one of it
    hint: publish the next version, since notes never change; see this one's: `kadapter info p/net@1.0.0`
    ");
    let registry = Registry::with_store(Box::new(store)).unwrap();
    grace.sign_release(registry.store(), &record);
    let standings = trust::signatures(&registry, &record, &trust_of(&[ada.trusted("p")])).unwrap();
    let seen: Vec<_> = standings.iter().map(|s| (s.key.to_string(), s.trusted, s.problem.is_some())).collect();
    assert_eq!(seen, [(grace.key().to_string(), false, false), (ada.key().to_string(), true, true)]);
}

#[test]
fn a_trust_file_is_read_strictly() {
    let world = World::new();
    let told = |text: &str| world.told(&Trust::from_toml("trust.toml", text).unwrap_err());
    let key = format!("[[key]]\nnamespace = \"p\"\npublic = \"{}\"\n", TestKey::ada().public);
    assert_eq!(Trust::from_toml("trust.toml", "").unwrap(), Trust::default());
    assert_eq!((Trust::default().native, Trust::default().weights), (Native::Signed, Weights::Digest));
    assert_eq!(Trust::from_toml("trust.toml", &key).unwrap(), trust_of(&[TestKey::ada().trusted("p")]));
    assert_snapshot!(told("native = \"sigend\"\n"), @r"
    Could not read `trust.toml` at line 1: unknown value `sigend`, expected one of deny, signed, any
    hint: perhaps `signed` is meant
    ");
    assert_snapshot!(told("wieghts = \"signed\"\n"), @r"
    Could not read `trust.toml` at line 1: unknown key `wieghts`, expected one of native, weights, key
    hint: perhaps `weights` is meant
    ");
    assert_snapshot!(told(&key.replace("RWQ", "RWx")), @"Could not read `trust.toml` at line 3: `RWxgJznVEeKCz4EH+fpyewES7u+hv48gAquu3iWlsgj9i156GaYQ9UZU` is not a valid public key: it is not of the algorithm that minisign uses");
    assert_snapshot!(told(&key.replace("namespace = \"p\"", "namespace = \"P\"")), @"Could not read `trust.toml` at line 2: `P` is not a valid namespace: it has capital letters; names are lower-case");
    assert_snapshot!(told(&format!("{key}{key}")), @r"
    Could not accept `trust.toml`: it has two keys with the id `CF82E211D5392720` for `p`
    hint: keep one of them: `$EDITOR trust.toml`
    ");
    assert_snapshot!(told(&format!("{key}name = \"\"\n")), @"`` is not a valid name of a key: it is empty");
    assert_snapshot!(told(&key.replace("namespace = \"p\"\n", "")), @"Could not read `trust.toml` at line 1: the key `namespace` is missing");
    // Something that is wrong is no reason to fall back to the defaults.
    fs::write(world.path("trust.toml"), "native = any").unwrap();
    assert!(Trust::read(&world.path("trust.toml")).is_err());
    assert_eq!(Trust::read(&world.path("none.toml")).unwrap().keys, []);
}

#[test]
fn public_keys_are_read_as_minisign_writes_them() {
    let ada = TestKey::ada();
    let file = ada.public.to_file();
    assert_snapshot!(file, @r"
    untrusted comment: minisign public key CF82E211D5392720
    RWQgJznVEeKCz4EH+fpyewES7u+hv48gAquu3iWlsgj9i156GaYQ9UZU
    ");
    for text in [file.as_str(), &file.replace('\n', "\r\n"), &format!(" {} ", ada.public)] {
        assert_eq!(parse::<trust::PublicKey>(text), ada.public);
    }
    assert_eq!(TestKey::grace().key().to_string(), "0AA26865FA648132");
    let text = ada.public.to_string();
    for wrong in [&text[1..], &format!("{text}="), &text.replace("RW", "RU"), "", "a\nb\nc", &"A".repeat(56)] {
        assert!(wrong.parse::<trust::PublicKey>().is_err(), "{wrong}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_read_is_read_or_refused(text in "(?s).{0,200}", bytes in proptest::collection::vec(0_u8.., 0..300)) {
        let _ = Signature::decode(&bytes);
        let _ = Signature::from_file(&text);
        let _ = text.parse::<trust::PublicKey>();
        let _ = Trust::from_toml("trust.toml", &text);
        let lines = format!("untrusted comment: signature from minisign secret key\n{text}\ntrusted comment: {text}\n{text}\n");
        let _ = Signature::decode(lines.as_bytes());
    }
}

fn plugin_content() -> kadapter_registry::package::Content {
    let library = (parse(TARGET), parse(&format!("plugins/{TARGET}/libplugin.so")));
    kadapter_registry::package::Content::Plugin(kadapter_registry::package::Plugin {
        abi: parse("1.0"),
        libraries: [library].into_iter().collect(),
    })
}
