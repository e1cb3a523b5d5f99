//! What every store must do, written against the trait: a new store adds one line to [`each_store`].

use std::io::{self, Read};
use std::sync::Barrier;

use super::{Directory, Objects, Put};
use crate::digest::Digest;
use crate::layout::{Key, Prefix};

/// Runs a check on a fresh store of each kind.
fn each_store(check: impl Fn(&dyn Objects)) {
    let directory = tempfile::tempdir().unwrap();
    check(&Directory::new(directory.path()).unwrap());
}

fn blob(content: &[u8]) -> Key {
    Key::blob(&Digest::of(content))
}

#[test]
fn what_was_put_is_got_and_what_was_not_is_none() {
    each_store(|store| {
        assert_eq!(store.get(&blob(b"a"), 10).unwrap(), None);
        assert!(store.open(&blob(b"a")).unwrap().is_none());
        assert_eq!(store.put_new(&blob(b"a"), &mut &b"a"[..]).unwrap(), Put::Created);
        assert_eq!(store.get(&blob(b"a"), 1).unwrap().unwrap(), b"a");
    });
}

#[test]
fn an_object_is_never_replaced() {
    each_store(|store| {
        let key = Key::registry();
        assert_eq!(store.put_new(&key, &mut &b"first"[..]).unwrap(), Put::Created);
        assert_eq!(store.put_new(&key, &mut &b"second"[..]).unwrap(), Put::Exists);
        assert_eq!(store.get(&key, 100).unwrap().unwrap(), b"first");
    });
}

#[test]
fn a_longer_object_than_allowed_is_an_error() {
    each_store(|store| {
        store.put_new(&Key::registry(), &mut &b"12345"[..]).unwrap();
        assert!(store.get(&Key::registry(), 4).is_err());
    });
}

#[test]
fn a_failing_stream_leaves_nothing() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the cable was pulled"));
            }
            let count = buffer.len().min(self.0);
            buffer[..count].fill(1);
            self.0 -= count;
            Ok(count)
        }
    }
    each_store(|store| {
        assert!(store.put_new(&Key::registry(), &mut Failing(100_000)).is_err());
        assert_eq!(store.get(&Key::registry(), 1 << 20).unwrap(), None);
        assert_eq!(store.put_new(&Key::registry(), &mut &b"whole"[..]).unwrap(), Put::Created);
    });
}

#[test]
fn listing_is_sorted_and_keeps_to_its_prefix() {
    each_store(|store| {
        let release = |name: &str, version: &str| Key::release(&name.parse().unwrap(), &version.parse().unwrap());
        let keys =
            [release("a/b", "1.0.0"), release("a/b", "1.1.0"), release("a/bc", "1.0.0"), release("b/b", "1.0.0")];
        for key in keys.iter().rev().chain([&blob(b"x"), &Key::registry()]) {
            store.put_new(key, &mut &b"x"[..]).unwrap();
        }
        assert_eq!(store.list(&Prefix::index()).unwrap(), keys);
        assert_eq!(store.list(&Prefix::namespace(&"a".parse().unwrap())).unwrap(), keys[..3]);
        assert_eq!(store.list(&Prefix::package(&"a/b".parse().unwrap())).unwrap(), keys[..2]);
        assert_eq!(store.list(&Prefix::package(&"a/none".parse().unwrap())).unwrap(), []);
    });
}

#[test]
fn one_of_sixteen_writers_wins_and_readers_see_its_whole_object() {
    each_store(|store| {
        for round in 0..20_u8 {
            let key = blob(&[round]);
            let start = Barrier::new(17);
            let outcomes: Vec<Put> = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..16_u8)
                    .map(|writer| {
                        let (key, start) = (&key, &start);
                        scope.spawn(move || {
                            start.wait();
                            store.put_new(key, &mut io::repeat(writer).take(50_000)).unwrap()
                        })
                    })
                    .collect();
                start.wait();
                let seen = loop {
                    if let Some(seen) = store.get(&key, 50_000).unwrap() {
                        break seen;
                    }
                    std::thread::yield_now();
                };
                assert_eq!(seen.len(), 50_000);
                writers.into_iter().map(|writer| writer.join().unwrap()).collect()
            });
            assert_eq!(outcomes.iter().filter(|outcome| **outcome == Put::Created).count(), 1);
            let content = store.get(&key, 50_000).unwrap().unwrap();
            assert!(content.iter().all(|byte| *byte == content[0]));
        }
    });
}
