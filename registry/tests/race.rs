//! Sixteen publishers of one version: exactly one wins, and what it published is whole.

use std::sync::Barrier;

use kadapter_registry::publish::publish;
use kadapter_registry::verify::{Verified, verify_release};
use kadapter_registry::{Error, Registry};

use crate::world::{World, backbone_content, package, parse, write_package};

const PUBLISHERS: usize = 16;

#[test]
fn one_of_sixteen_different_contents_wins() {
    for _ in 0..5 {
        let world = World::new();
        let directories: Vec<_> = (0..PUBLISHERS as u8)
            .map(|seed| {
                let directory = tempfile::tempdir().unwrap();
                write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), seed);
                directory
            })
            .collect();
        let start = Barrier::new(PUBLISHERS);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let publishers: Vec<_> = directories
                .iter()
                .map(|directory| {
                    let (world, start) = (&world, &start);
                    scope.spawn(move || {
                        let store = world.store();
                        start.wait();
                        publish(&store, directory.path())
                    })
                })
                .collect();
            publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(lost.iter().all(|outcome| matches!(outcome, Err(Error::VersionTaken { .. }))));
        let registry = Registry::with_store(Box::new(world.store())).unwrap();
        let record = registry.release(&parse("k/base"), &parse("1.0.0")).unwrap().unwrap();
        assert_eq!(record.digest, won[0].as_ref().unwrap().record.digest);
        assert!(verify_release(&registry, &record).iter().all(Verified::is_whole));
        assert_eq!(std::fs::read_dir(world.path("registry/tmp")).unwrap().count(), 0);
    }
}

#[test]
fn sixteen_publishers_of_the_same_content_all_succeed_and_one_created_it() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let start = Barrier::new(PUBLISHERS);
    let created: Vec<bool> = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|_| {
                let (world, start, directory) = (&world, &start, &directory);
                scope.spawn(move || {
                    let store = world.store();
                    start.wait();
                    publish(&store, directory.path()).unwrap().created
                })
            })
            .collect();
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    });
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
}
