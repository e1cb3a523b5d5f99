//! What doctor asks the Hub, and that it changes nothing there.

use kadapter_fakehub::{Act, FakeHub, Fault};
use kadapter_registry::doctor::{Diagnosis, Finding, Status, examine};
use kadapter_registry::hub::Hub;
use kadapter_registry::publish::publish;
use kadapter_registry::store::hub::HubStore;
use serde_json::json;

use crate::packages::{backbone_content, package, write_package};
use crate::{TOKEN, assert_token_stayed, client, offline, stranger};

fn diagnose(hub: Hub, owner: &str) -> Diagnosis {
    examine(&HubStore::new(hub, owner).unwrap())
}

fn findings(fake: &FakeHub, diagnosis: &Diagnosis) -> String {
    let lines = diagnosis.findings.iter().map(|found| {
        let cure = found.cure.as_ref().map(|cure| format!("\n  to do: {cure}")).unwrap_or_default();
        format!("{:<7} {:<7} {}{cure}", found.status, found.id, found.found)
    });
    lines.collect::<Vec<_>>().join("\n").replace(&fake.endpoint(), "$HUB")
}

fn finding<'a>(diagnosis: &'a Diagnosis, id: &str) -> &'a Finding {
    diagnosis.findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no `{id}` in {diagnosis:#?}"))
}

fn published() -> FakeHub {
    let fake = FakeHub::new();
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    publish(&HubStore::new(client(&fake), "acme").unwrap(), directory.path()).unwrap();
    fake.forget();
    fake
}

#[test]
fn a_sound_hub_is_told_to_be_sound_and_nothing_is_written() {
    let fake = published();
    fake.require_token(TOKEN);
    insta::assert_snapshot!(findings(&fake, &diagnose(client(&fake), "acme")), @"
    ok      read    it can be read, and has a registry
    ok      listing two listings name the same releases: 1
    ok      records all records that were read are sound: 1
    ok      token   it belongs to `ada`, its role is `write`
    ok      write   the Hub says that it may write to `acme/k_base`; nothing was written to try it out
    ok      clock   its clock and ours differ by no more than 30 seconds
    ");
    assert!(fake.seen().iter().all(|seen| ["GET", "HEAD"].contains(&seen.method.as_str())), "{:#?}", fake.seen());
    assert_token_stayed(&fake);
    // An owner without packages.
    let diagnosis = diagnose(client(&fake), "ada");
    insta::assert_snapshot!(finding(&diagnosis, "write").found, @"nothing that the Hub says keeps it from publishing at `ada`; nothing was written");
}

#[test]
fn who_may_not_publish_is_told_why() {
    let fake = published();
    insta::assert_snapshot!(findings(&fake, &diagnose(stranger(&fake), "acme")), @"
    ok      read    it can be read, and has a registry
    ok      listing two listings name the same releases: 1
    ok      records all records that were read are sound: 1
    warning token   there is no token: what is public can be read, and nothing can be published
      to do: make one at $HUB/settings/tokens and set it: `export HF_TOKEN=hf_…`
    ok      clock   its clock and ours differ by no more than 30 seconds
    ");
    insta::assert_snapshot!(findings(&fake, &diagnose(client(&fake), "other")), @"
    ok      read    it can be read, and has a registry
    ok      listing two listings name the same releases: 0
    ok      records all records that were read are sound: 0
    ok      token   it belongs to `ada`, its role is `write`
    warning write   nothing can be published with this token: `ada` is neither `other` nor one of its members
      to do: ask for the right to write at `other`, or use a token that has it, from $HUB/settings/tokens: `export HF_TOKEN=hf_…`
    ok      clock   its clock and ours differ by no more than 30 seconds
    ");
    fake.identify(json!({ "name": "ada", "auth": { "accessToken": { "role": "read" } } }));
    let diagnosis = diagnose(client(&fake), "ada");
    let write = finding(&diagnosis, "write");
    assert_eq!(write.found, "nothing can be published with this token: the token's role is `read`");
    assert_eq!(write.status, Status::Warning);
    // The token may, and the repository refuses it.
    fake.identify(json!({ "name": "acme" }));
    fake.fault(Fault::at("auth-check", Act::Page(403, Vec::new(), b"Forbidden".to_vec())));
    let diagnosis = diagnose(client(&fake), "acme");
    assert_eq!(
        finding(&diagnosis, "write").found,
        "nothing can be published with this token: `acme/k_base` refuses it"
    );
    // A Hub that does not know the question is believed the rest.
    fake.forgive();
    fake.fault(Fault::at("auth-check", Act::Page(404, Vec::new(), Vec::new())));
    assert_eq!(finding(&diagnose(client(&fake), "acme"), "write").status, Status::Ok);
}

#[test]
fn a_token_that_the_hub_does_not_know_and_a_hub_that_says_nothing_are_told() {
    let fake = published();
    fake.require_token("hf_another");
    let diagnosis = diagnose(client(&fake), "acme");
    let token = finding(&diagnosis, "token");
    assert_eq!(token.status, Status::Failed);
    assert!(token.found.starts_with("the Hub does not know the token: "), "{}", token.found);
    assert!(token.cure.as_ref().unwrap().contains("export HF_TOKEN="), "{token:?}");

    let fake = published();
    fake.fault(Fault::at("whoami", Act::Page(404, Vec::new(), Vec::new())));
    let diagnosis = diagnose(client(&fake), "acme");
    assert_eq!(finding(&diagnosis, "token").status, Status::Warning);
    assert_eq!(finding(&diagnosis, "clock").status, Status::Ok);

    assert_eq!(diagnose(offline(&fake), "acme").worst(), Status::Failed);
}

#[test]
fn a_hub_that_lies_about_the_token_is_not_waited_for() {
    for act in
        [Act::Endless, Act::Truncate(5), Act::Replace(b"<html>".to_vec()), Act::Replace(b"{}".to_vec()), Act::HangUp]
    {
        let fake = published();
        fake.fault(Fault::at("whoami", act.clone()));
        let diagnosis = diagnose(client(&fake), "acme");
        assert_eq!(finding(&diagnosis, "token").status, Status::Failed, "{act:?}");
    }
    // A page for people is no name: what is shown is cut.
    let fake = published();
    fake.identify(json!({ "name": "x".repeat(100_000) }));
    assert!(finding(&diagnose(client(&fake), "acme"), "token").found.len() < 200);
}

#[test]
fn a_wrong_clock_is_told() {
    let fake = published();
    fake.fault(Fault::at("whoami", Act::Header("Date", "Thu, 01 Jan 2015 00:00:00 GMT".to_owned())));
    let diagnosis = diagnose(client(&fake), "acme");
    let clock = finding(&diagnosis, "clock");
    assert_eq!(clock.status, Status::Warning);
    assert!(clock.found.ends_with("seconds behind ours"), "{}", clock.found);
}
