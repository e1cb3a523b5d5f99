//! OCI registries: Debian's docker-registry as a store, other people's tools that read what is pushed, and registries that
//! lie.

mod doctor;
mod fake;
mod hostile;
mod login;
mod memory;
mod place;
mod tools;

use kadapter_registry::Error;
use kadapter_registry::project::LockMode;
use kadapter_registry::store::Scope;

use super::environment::variable;
use crate::packages::parse;
use crate::stores::conformance::conforms;
use crate::stores::hostile::withstands;
use fake::{Fake, Reply};
use place::{Folder, Place};

/// A fresh place in docker-registry.
fn real() -> Place {
    Place::new(&variable("KADAPTER_TEST_OCI"))
}

#[test]
fn docker_registry_conforms() {
    conforms(&|| real().store());
}

#[test]
fn no_lie_about_docker_registry_is_believed() {
    let place = real();
    withstands(&|| place.store());
}

#[test]
fn a_registry_of_short_pages_conforms() {
    let fake = Fake::start();
    conforms(&|| Place::new(&fake.host).store());
    assert!(fake.requests().iter().any(|request| request.target.contains("last=")), "no list had two pages");
}

#[test]
fn a_registry_without_a_catalog_conforms() {
    let fake = Fake::start();
    fake.spoil(|request, reply| if request.target.contains("_catalog") { Reply::new(401, "") } else { reply });
    let place = Place::new(&fake.host);
    place.publish(1);
    let namespace = parse("k");
    for scope in [Scope::All, Scope::Namespace(&namespace)] {
        assert!(matches!(place.store().releases(scope), Err(Error::NotOffered { .. })), "{scope:?}");
    }
    conforms(&|| Place::new(&fake.host).store());
}

#[test]
fn a_project_is_locked_fetched_and_then_needs_no_registry() {
    let place = real();
    let record = place.publish(1);
    let folder = Folder::new(&place);
    folder.project().fetch(LockMode::KeepLocked).unwrap();
    let project = folder.project();
    let resolved = project.resolve(LockMode::Frozen).unwrap();
    assert_eq!(resolved.backbone.weights.digest, record.release.backbone_weights().unwrap());
    assert!(resolved.backbone.weights.path.starts_with(folder.cache()));
}

#[test]
fn a_moved_tag_is_refused_by_the_lock() {
    let (place, other) = (real(), real());
    let first = place.publish(1);
    let folder = Folder::new(&place);
    folder.project().fetch(LockMode::KeepLocked).unwrap();
    let second = other.publish(2);
    tools::copy(&other, &place);
    std::fs::remove_dir_all(folder.cache()).unwrap();
    for mode in [LockMode::Frozen, LockMode::KeepLocked, LockMode::Update] {
        match folder.project().fetch(mode) {
            Err(Error::LockedDiffers { locked, found, .. }) => {
                assert_eq!((locked, found), (first.digest, second.digest));
            }
            other => panic!("{mode:?}: {other:?}"),
        }
    }
    // Who published first and comes again is told, too.
    assert!(matches!(place.try_publish(1), Err(Error::VersionTaken { .. })));
}

#[test]
fn a_publisher_that_is_overtaken_finds_out_when_it_reads_back() {
    let other = real();
    let rival = other.publish(2);
    let fake = Fake::start();
    let overtaken = Place::new(&fake.host);
    // The rival's push comes between this publisher's and its reading back.
    let manifest = tools::manifest(&other);
    let blob = rival.bytes.clone();
    let digest = rival.digest.to_string();
    let pushed = std::sync::atomic::AtomicBool::new(false);
    fake.spoil(move |request, reply| {
        let is_manifest = request.target.contains("/manifests/1.0.0");
        if is_manifest && request.method == "PUT" {
            pushed.store(true, std::sync::atomic::Ordering::SeqCst);
        } else if pushed.load(std::sync::atomic::Ordering::SeqCst) {
            if is_manifest {
                return Reply::new(200, manifest.clone());
            } else if request.target.ends_with(&digest) {
                return Reply::new(200, blob.clone());
            }
        }
        reply
    });
    match overtaken.try_publish(1) {
        Err(Error::VersionTaken { theirs, .. }) => assert_eq!(theirs, rival.digest),
        other => panic!("{other:?}"),
    }
}
