//! What doctor tries in an OCI registry, and that it leaves as little as the registry allows.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use kadapter_registry::doctor::{Diagnosis, Finding, Status, examine};
use kadapter_registry::store::Scope;

use super::fake::{Fake, Reply};
use super::login::{AUTH, Locked, is_alone, log_in};
use super::place::Place;
use super::real;

fn findings(place: &Place, diagnosis: &Diagnosis) -> String {
    let lines = diagnosis.findings.iter().map(|found| {
        let cure = found.cure.as_ref().map(|cure| format!("\n  to do: {cure}")).unwrap_or_default();
        format!("{:<7} {:<16} {}{cure}", found.status, found.id, found.found)
    });
    let text = place.plain(&lines.collect::<Vec<_>>().join("\n"));
    // The tag is another one each time.
    match text.find("probe-") {
        None => text,
        Some(start) => {
            let end = start + text[start..].find('`').unwrap();
            text.replace(&text[start..end], "$TAG")
        }
    }
}

fn finding<'a>(diagnosis: &'a Diagnosis, id: &str) -> &'a Finding {
    diagnosis.findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no `{id}` in {diagnosis:#?}"))
}

/// The tags of the repository that is tried, as a stranger sees them.
fn tags_left(place: &Place) -> String {
    let address = format!("http://{}/v2/{}/kadapter-doctor/tags/list", place.host, place.prefix);
    let output = Command::new("curl").args(["--silent", "--max-time", "10", &address]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["tags"].to_string()
}

#[test]
fn docker_registry_is_sound_but_for_its_tags() {
    let place = real();
    place.publish(1);
    let diagnosis = examine(&*place.store());
    // How many there are depends on the other tests, whose places are on the same server.
    insta::assert_snapshot!(findings(&place, &diagnosis), @"
    ok      read             it can be read, and has a registry
    ok      listing          two listings name the same releases: 1
    ok      records          all records that were read are sound: 1
    ok      login            it asks nobody for a name
    ok      write            blobs and manifests can be pushed
    ok      read-after-write what was just pushed is there, for readers and in lists
    warning conditional-tags tags are not conditional: a second push under one tag takes it over, so of two publishers at one moment the last one's release stays, and only locks notice
      to do: make tags immutable where the registry can, and publish a version from one place
    ok      remove           what was pushed to try it out is removed
    ok      clock            its clock and ours differ by no more than 30 seconds
    ");
    assert_eq!(tags_left(&place), "null");
    assert_eq!(place.store().releases(Scope::All).unwrap().len(), 1);
}

#[test]
fn who_is_not_let_in_is_told_and_so_is_what_cannot_be_removed() {
    if !is_alone(module_path!(), "who_is_not_let_in_is_told_and_so_is_what_cannot_be_removed", &[]) {
        return;
    }
    // It lets nobody remove anything.
    let locked = Locked::start();
    let place = Place::new(&locked.host);
    insta::assert_snapshot!(findings(&place, &examine(&*place.store())), @"
    ok      read             it can be read, and has a registry
    ok      listing          this kind of registry lists the versions of a package, and not all packages
    warning login            it asks for a login, and there is none for it
      to do: log in with `docker login $HOST`, or without Docker: `export KADAPTER_OCI_HOST=$HOST KADAPTER_OCI_USERNAME=NAME KADAPTER_OCI_PASSWORD=SECRET`
    warning write            nothing can be published with these credentials: it answers 401
      to do: log in with `docker login $HOST`, or without Docker: `export KADAPTER_OCI_HOST=$HOST KADAPTER_OCI_USERNAME=NAME KADAPTER_OCI_PASSWORD=SECRET`
    ok      clock            its clock and ours differ by no more than 30 seconds
    ");
    log_in(&locked.host, "YWRhOndyb25n");
    let diagnosis = examine(&*place.store());
    assert_eq!(finding(&diagnosis, "login").found, "it does not take `ada` with this password");
    log_in(&locked.host, AUTH);
    insta::assert_snapshot!(findings(&place, &examine(&*place.store())), @"
    ok      read             it can be read, and has a registry
    ok      listing          two listings name the same releases: 0
    ok      records          all records that were read are sound: 0
    ok      login            it knows us as `ada`
    ok      write            blobs and manifests can be pushed
    ok      read-after-write what was just pushed is there, for readers and in lists
    warning conditional-tags tags are not conditional: a second push under one tag takes it over, so of two publishers at one moment the last one's release stays, and only locks notice
      to do: make tags immutable where the registry can, and publish a version from one place
    warning remove           what was pushed to try it out stays at `oci://$HOST/$PREFIX/kadapter-doctor:$TAG`: Could not remove `oci://$HOST/$PREFIX/kadapter-doctor:$TAG`: the registry answered 405, \"The operation is unsupported.\"
      to do: remove the repository `$PREFIX/kadapter-doctor` with the registry's own means, if it disturbs
    ok      clock            its clock and ours differ by no more than 30 seconds
    ");
}

#[test]
fn tags_that_do_not_move_are_told_and_so_is_a_wrong_clock() {
    let fake = Fake::start();
    let pushes = AtomicUsize::new(0);
    fake.spoil(move |request, reply| {
        let second = request.method == "PUT"
            && request.target.contains("/manifests/")
            && pushes.fetch_add(1, Ordering::SeqCst) == 1;
        let reply = if second { Reply::new(409, r#"{"errors":[{"code":"TAG_IMMUTABLE"}]}"#) } else { reply };
        reply.with("Date", "Thu, 01 Jan 2015 00:00:00 GMT")
    });
    let place = Place::new(&fake.host);
    let diagnosis = examine(&*place.store());
    let conditional = finding(&diagnosis, "conditional-tags");
    assert_eq!(
        (conditional.status, conditional.found.as_str()),
        (Status::Ok, "a second push under one tag is refused")
    );
    let clock = finding(&diagnosis, "clock");
    assert_eq!(clock.status, Status::Warning);
    assert!(clock.found.ends_with("seconds behind ours"), "{}", clock.found);
    // This one knows no removal: it says that there is no such thing, and the tag stays.
    let remove = finding(&diagnosis, "remove");
    assert_eq!(remove.status, Status::Warning);
    assert!(remove.found.starts_with("what was removed is still at `oci://"), "{}", remove.found);
}

#[test]
fn a_registry_that_loses_or_changes_what_is_pushed_is_found_out() {
    for (status, body, expected) in [(404, "", Status::Warning), (200, "{}", Status::Failed), (500, "", Status::Failed)]
    {
        let fake = Fake::start();
        fake.spoil(move |request, reply| {
            let reads = request.method == "GET" && request.target.contains("/manifests/probe-");
            if reads { Reply::new(status, body) } else { reply }
        });
        let diagnosis = examine(&*Place::new(&fake.host).store());
        assert_eq!(finding(&diagnosis, "read-after-write").status, expected, "{status} {diagnosis:#?}");
    }
    let fake = Fake::start();
    fake.spoil(|request, reply| if request.method == "POST" { Reply::new(507, "") } else { reply });
    let diagnosis = examine(&*Place::new(&fake.host).store());
    assert_eq!(finding(&diagnosis, "write").status, Status::Failed);
}
