//! `release.json`: no bytes panic, and a record that is accepted has exactly one spelling.
#![no_main]

use kadapter_registry::Release;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Release::decode("release.json", bytes.to_vec()) {
        assert_eq!(record.release.encode().expect("an accepted record has bytes").bytes, bytes);
    }
});
