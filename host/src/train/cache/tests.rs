//! The cache gives back exactly what it was given or nothing, whatever happens to its files, and never outgrows its limit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kadapter_registry::Digest;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{CacheDtype, CacheError, CacheIdentity, Stored, TapCache};

const LARGE: u64 = 64 << 20;

fn identity(name: &str, dtype: CacheDtype) -> CacheIdentity {
    CacheIdentity {
        backbone: Digest::of(name.as_bytes()),
        taps: vec![0, 3],
        hidden: 5,
        dtype,
        variant: "cpu".to_owned(),
    }
}

/// Token ids of the n-th segment.
fn ids(n: u32) -> Vec<u32> {
    (0..1 + n % 9).map(|place| n.wrapping_mul(2_654_435_761).wrapping_add(place)).collect()
}

/// Hidden states that follow from the tokens, as those of a backbone do.
fn states(ids: &[u32], identity: &CacheIdentity) -> Vec<Vec<f32>> {
    identity
        .taps
        .iter()
        .map(|tap| {
            let mut values: Vec<f32> = ids
                .iter()
                .flat_map(|id| {
                    (0..identity.hidden).map(move |column| {
                        let mixed = id.wrapping_mul(0x9e37_79b9).wrapping_add((column * 31 + tap) as u32);
                        (mixed as f32 / u32::MAX as f32 - 0.5) * 30.0
                    })
                })
                .collect();
            identity.dtype.round(&mut values);
            values
        })
        .collect()
}

fn put(cache: &TapCache, identity: &CacheIdentity, n: u32) -> Stored {
    let ids = ids(n);
    let states = states(&ids, identity);
    cache.put(&ids, &states.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Whether the n-th segment is kept; if it is, it must be right.
fn has(cache: &TapCache, identity: &CacheIdentity, n: u32) -> bool {
    let ids = ids(n);
    let mut found = vec![vec![7.0]; identity.taps.len()];
    let hit = cache.get(&ids, &mut found);
    for (found, expected) in found.iter().zip(states(&ids, identity)) {
        assert_eq!(found[0], 7.0, "what was there before stays");
        let expected = if hit { expected } else { Vec::new() };
        assert_eq!(bits(&found[1..]), bits(&expected), "segment {n}");
    }
    hit
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn open(directory: &Path, identity: &CacheIdentity, limit: u64) -> TapCache {
    TapCache::open(directory, identity, limit).unwrap()
}

/// Lengths of all files below a folder.
fn files(root: &Path) -> BTreeMap<std::path::PathBuf, u64> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::metadata(path).unwrap().len());
            }
        }
    }
    found
}

fn total(root: &Path) -> u64 {
    files(root).values().sum()
}

#[test]
fn what_is_put_comes_back_bit_for_bit_now_and_later() {
    for dtype in [CacheDtype::F32, CacheDtype::F16] {
        let (folder, identity) = (TempDir::new().unwrap(), identity("one", dtype));
        let cache = open(folder.path(), &identity, LARGE);
        assert!(cache.is_writer());
        assert!(!has(&cache, &identity, 3));
        assert_eq!(put(&cache, &identity, 3), Stored::Kept);
        assert_eq!(put(&cache, &identity, 3), Stored::Known);
        assert!(cache.contains(&ids(3)));
        assert!(has(&cache, &identity, 3));
        let usage = cache.usage();
        assert_eq!((usage.segments, usage.hits, usage.misses, usage.damaged), (1, 1, 1, 0));
        drop(cache);
        assert!(total(folder.path()) < 2000, "room that was not used is given back");
        let cache = open(folder.path(), &identity, LARGE);
        assert!(has(&cache, &identity, 3));
        assert_eq!(put(&cache, &identity, 4), Stored::Kept);
        assert!(has(&cache, &identity, 3) && has(&cache, &identity, 4));
        assert_eq!(files(folder.path()).keys().filter(|path| path.extension().is_some_and(|e| e == "taps")).count(), 1);
    }
}

#[test]
fn a_batch_has_every_row_at_its_place_and_zeros_where_nothing_is_kept() {
    let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F16));
    let cache = open(folder.path(), &identity, LARGE);
    for n in [8, 2, 5] {
        assert_eq!(put(&cache, &identity, n), Stored::Kept);
    }
    let segments: Vec<Vec<u32>> = [2, 7, 8, 5, 1, 8].map(ids).to_vec();
    let views: Vec<&[u32]> = segments.iter().map(Vec::as_slice).collect();
    // Vectors of an earlier batch, too long and full.
    let mut batch = vec![vec![9.0; 10_000], vec![9.0; 3]];
    assert_eq!(cache.get_batch(&views, &mut batch), [true, false, true, true, false, true]);
    for (tap, found) in batch.iter().enumerate() {
        let expected: Vec<f32> = [2, 7, 8, 5, 1, 8]
            .into_iter()
            .flat_map(|n| {
                let states = states(&ids(n), &identity).swap_remove(tap);
                if n == 7 || n == 1 { vec![0.0; states.len()] } else { states }
            })
            .collect();
        assert_eq!(bits(found), bits(&expected));
    }
    assert_eq!(cache.get_batch(&[], &mut batch), [] as [bool; 0]);
}

#[test]
fn rounding_is_what_the_cache_does() {
    let identity = CacheIdentity { taps: vec![1], hidden: 1, ..identity("one", CacheDtype::F16) };
    let folder = TempDir::new().unwrap();
    let cache = open(folder.path(), &identity, LARGE);
    let values =
        [0.1, -0.0, 1e-8, 6e-8, 65504.0, 65519.0, 1e6, -1e30, f32::INFINITY, f32::NEG_INFINITY, 2049.0, 1.0 / 3.0];
    let ids: Vec<u32> = (0..values.len() as u32).collect();
    let mut rounded = values.to_vec();
    CacheDtype::F16.round(&mut rounded);
    assert_eq!(rounded[4..8], [65504.0, 65504.0, 65504.0, -65504.0]);
    assert_eq!(rounded[8..11], [f32::INFINITY, f32::NEG_INFINITY, 2048.0]);
    let mut nan = [f32::NAN];
    CacheDtype::F16.round(&mut nan);
    assert!(nan[0].is_nan());
    assert_eq!(cache.put(&ids, &[&values]), Stored::Kept);
    let mut found = vec![Vec::new()];
    assert!(cache.get(&ids, &mut found));
    assert_eq!(bits(&found[0]), bits(&rounded));
    let mut exact = values.to_vec();
    CacheDtype::F32.round(&mut exact);
    assert_eq!(bits(&exact), bits(&values));
}

#[test]
fn one_process_writes_and_others_read() {
    let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F16));
    let first = open(folder.path(), &identity, LARGE);
    assert_eq!(put(&first, &identity, 1), Stored::Kept);
    let second = open(folder.path(), &identity, LARGE);
    assert!(!second.is_writer());
    assert!(has(&second, &identity, 1));
    assert_eq!(put(&second, &identity, 2), Stored::ReadOnly);
    assert_eq!(put(&first, &identity, 2), Stored::Kept);
    assert!(!has(&second, &identity, 2));
    second.refresh().unwrap();
    assert!(has(&second, &identity, 2));
    drop(first);
    assert!(has(&second, &identity, 1));
    assert!(open(folder.path(), &identity, LARGE).is_writer());
}

#[test]
fn nothing_grows_over_the_limit() {
    let (one, two) = (identity("one", CacheDtype::F32), identity("two", CacheDtype::F16));
    for limit in [0, 100, 250, 500, 1000, 3000, 10_000, 40_000] {
        let folder = TempDir::new().unwrap();
        let caches = [open(folder.path(), &one, limit), open(folder.path(), &two, limit)];
        let mut kept = Vec::new();
        for n in 0..200 {
            for (cache, identity) in caches.iter().zip([&one, &two]) {
                let stored = put(cache, identity, n);
                assert!(matches!(stored, Stored::Kept | Stored::Full | Stored::ReadOnly), "{stored:?}");
                if stored == Stored::Kept {
                    kept.push((identity, n));
                }
                assert!(total(folder.path()) <= limit, "{limit}: {:?}", files(folder.path()));
            }
        }
        assert_eq!(kept.is_empty(), limit < 1000, "{limit}: {}", kept.len());
        for (identity, n) in kept {
            assert!(caches.iter().zip([&one, &two]).any(|(cache, own)| own == identity && has(cache, own, n)));
        }
    }
}

#[test]
fn room_is_used_to_the_end() {
    let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F32));
    let cache = open(folder.path(), &identity, 100_000);
    let kept = (0..5000).filter(|n| put(&cache, &identity, *n) == Stored::Kept).count();
    drop(cache);
    // Entries need more room where segments are short, and what is left is smaller than a record.
    assert!(total(folder.path()) > 95_000, "{kept}: {}", total(folder.path()));
}

#[test]
fn the_identity_that_was_not_used_for_longest_makes_room() {
    let folder = TempDir::new().unwrap();
    let identities = ["one", "two", "three"].map(|name| identity(name, CacheDtype::F32));
    let (limit, mut clock) = (30_000, std::time::SystemTime::UNIX_EPOCH);
    for (identity, last) in identities.iter().zip([45, 45, 0]) {
        let cache = open(folder.path(), identity, limit);
        for n in 0..last {
            assert_eq!(put(&cache, identity, n), Stored::Kept);
        }
        drop(cache);
        // Used a minute after the one before.
        clock += Duration::from_secs(60);
        let lock = folder.path().join("v1").join(identity.folder_name()).join("lock");
        fs::File::open(lock).unwrap().set_modified(clock).unwrap();
    }
    let is_there = |identity: &CacheIdentity| folder.path().join("v1").join(identity.folder_name()).exists();
    let two = open(folder.path(), &identities[1], limit);
    let three = open(folder.path(), &identities[2], limit);
    assert_eq!(put(&three, &identities[2], 0), Stored::Kept);
    assert!(is_there(&identities[0]), "there is room");
    for n in 0..200 {
        put(&three, &identities[2], n);
        assert!(total(folder.path()) <= limit);
    }
    assert!(!is_there(&identities[0]), "the oldest goes");
    assert!(is_there(&identities[1]), "one that is written stays");
    assert!((0..45).all(|n| has(&two, &identities[1], n)));
    assert!(has(&three, &identities[2], 60), "its room is used");
}

#[test]
fn a_lower_limit_is_kept_from_the_start() {
    let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F32));
    let cache = open(folder.path(), &identity, 100_000);
    for n in 0..100 {
        assert_eq!(put(&cache, &identity, n), Stored::Kept);
    }
    drop(cache);
    let cache = open(folder.path(), &identity, 5000);
    assert!(total(folder.path()) <= 5000);
    assert!(!has(&cache, &identity, 1));
    assert_eq!(put(&cache, &identity, 1), Stored::Kept);
    assert!(total(folder.path()) <= 5000);
}

#[test]
fn a_damaged_record_is_computed_anew() {
    let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F16));
    let cache = open(folder.path(), &identity, LARGE);
    for n in 0..20 {
        put(&cache, &identity, n);
    }
    let shard = folder.path().join("v1").join(identity.folder_name()).join("0000.taps");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[30] ^= 1;
    fs::write(&shard, bytes).unwrap();
    assert!(!has(&cache, &identity, 0));
    assert_eq!(cache.usage().damaged, 1);
    assert!((1..20).all(|n| has(&cache, &identity, n)));
    assert_eq!(put(&cache, &identity, 0), Stored::Kept);
    assert!(has(&cache, &identity, 0));
    drop(cache);
    assert!(has(&open(folder.path(), &identity, LARGE), &identity, 0), "the later record is taken");
}

#[test]
fn a_write_that_fails_stops_the_cache_and_not_the_run() {
    let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F16));
    let cache = open(folder.path(), &identity, LARGE);
    fs::create_dir(folder.path().join("v1").join(identity.folder_name()).join("0000.taps")).unwrap();
    assert_eq!(put(&cache, &identity, 0), Stored::Stopped);
    assert_eq!(put(&cache, &identity, 0), Stored::Stopped);
    let problem = cache.usage().problem.unwrap();
    assert!(problem.contains("Could not open") && problem.contains("0000.taps"), "{problem}");
}

#[test]
fn another_identity_in_the_folder_is_refused() {
    let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F16));
    drop(open(folder.path(), &identity, LARGE));
    let path = folder.path().join("v1").join(identity.folder_name()).join("identity.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("hidden = 5", "hidden = 6")).unwrap();
    let error = TapCache::open(folder.path(), &identity, LARGE).unwrap_err();
    assert!(matches!(&error, CacheError::Identity { .. }));
    assert!(error.to_string().contains("hidden = 6") && error.to_string().contains("hidden = 5"), "{error}");
    assert!(error.hint().contains("rm -r"));
    // What a process that was killed left of it is made whole.
    fs::write(&path, &text[..40]).unwrap();
    assert!(open(folder.path(), &identity, LARGE).is_writer());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let none = CacheIdentity { taps: Vec::new(), ..identity };
    assert!(matches!(TapCache::open(folder.path(), &none, LARGE), Err(CacheError::Empty { taps: 0, hidden: 5 })));
}

#[test]
fn threads_share_a_cache() {
    let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F16));
    let cache = open(folder.path(), &identity, LARGE);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (cache, identity) = (&cache, &identity);
            scope.spawn(move || {
                for n in 0..300 {
                    let n = (n * 7 + thread * 50) % 300;
                    if !has(cache, identity, n) {
                        assert!(matches!(put(cache, identity, n), Stored::Kept | Stored::Known));
                    }
                    assert!(has(cache, identity, n));
                }
            });
        }
    });
    assert_eq!(cache.usage().segments, 300);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes are changed, files cut, or made longer: a hit is right all the same, and what is missing can be put again.
    #[test]
    fn whatever_happens_to_the_files_a_hit_is_right(
        harm in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..6),
        while_open in any::<bool>(),
    ) {
        let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F16));
        let cache = open(folder.path(), &identity, LARGE);
        for n in 0..30 {
            put(&cache, &identity, n);
        }
        let cache = if while_open { Some(cache) } else { drop(cache); None };
        let mut paths: Vec<_> = files(folder.path()).into_keys().collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension != "toml"));
        for (file, place, kind, byte) in harm {
            let path = file.get(&paths);
            let mut bytes = fs::read(path).unwrap();
            bytes.truncate(4000);
            let place = place.index(bytes.len().max(1));
            match kind {
                0 if !bytes.is_empty() => bytes[place] ^= byte,
                1 => bytes.truncate(place),
                2 => bytes.extend(std::iter::repeat_n(byte, place)),
                _ => bytes.drain(..place / 32 * 32).for_each(drop),
            }
            fs::write(path, bytes).unwrap();
        }
        let cache = cache.unwrap_or_else(|| open(folder.path(), &identity, LARGE));
        for n in 0..30 {
            if !has(&cache, &identity, n) {
                prop_assert!(matches!(put(&cache, &identity, n), Stored::Kept));
            }
        }
        drop(cache);
        let cache = open(folder.path(), &identity, LARGE);
        for n in 0..30 {
            has(&cache, &identity, n);
        }
    }

    /// Values of any bits come back as rounding leaves them.
    #[test]
    fn any_values_come_back(bits in prop::collection::vec(any::<u32>(), 1..40), exact in any::<bool>()) {
        let dtype = if exact { CacheDtype::F32 } else { CacheDtype::F16 };
        let identity = CacheIdentity { taps: vec![0], hidden: 1, ..identity("one", dtype) };
        let folder = TempDir::new().unwrap();
        let cache = open(folder.path(), &identity, LARGE);
        let mut values: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
        cache.put(&bits, &[&values]);
        dtype.round(&mut values);
        let mut found = vec![Vec::new()];
        prop_assert!(cache.get(&bits, &mut found));
        let same = |one: f32, other: f32| one.to_bits() == other.to_bits();
        prop_assert!(found[0].iter().zip(&values).all(|(found, value)| same(*found, *value)));
        let once = values.clone();
        dtype.round(&mut values);
        prop_assert!(once.iter().zip(&values).all(|(once, twice)| same(*once, *twice)));
    }
}

const CHILD: &str = "KADAPTER_TEST_TAP_CACHE";

/// The process that is killed: adds segments for ever.
#[test]
fn a_process_that_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let identity = identity("one", CacheDtype::F16);
    let cache = open(Path::new(&folder), &identity, 3 << 20);
    for n in 0.. {
        put(&cache, &identity, n % 20_000);
        if n == 0 {
            fs::write(Path::new(&folder).join("started"), "").unwrap();
        }
    }
}

fn child(folder: &Path) -> Child {
    let test = "train::cache::tests::a_process_that_is_killed";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact"]).env(CHILD, folder).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn kill_9_leaves_a_sound_cache() {
    let (folder, identity) = (TempDir::new().unwrap(), identity("one", CacheDtype::F16));
    let mut most = 0;
    for round in 0..8 {
        let started = folder.path().join("started");
        let _ = fs::remove_file(&started);
        let mut child = child(folder.path());
        while !started.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the child must go on until it is killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(700 * round));
        // A reader beside the writer.
        let reader = open(folder.path(), &identity, 3 << 20);
        assert!(!reader.is_writer());
        assert!(has(&reader, &identity, 0));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(total(folder.path()) <= 3 << 20);
        let cache = open(folder.path(), &identity, 3 << 20);
        assert!(cache.is_writer());
        let known = (0..20_000).take_while(|n| has(&cache, &identity, *n)).count();
        assert_eq!(cache.usage().segments, known as u64, "segments were added one after the other");
        assert_eq!(cache.usage().damaged, 0);
        assert!(known >= most);
        most = known;
    }
    assert!(most > 50, "{most}");
}
