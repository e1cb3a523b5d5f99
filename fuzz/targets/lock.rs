//! `kadapter.lock`: no text panics, and what is read is written back as the same lock.
#![no_main]

use kadapter_registry::Lock;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(lock) = Lock::from_toml("kadapter.lock", text) {
        let written = lock.to_toml().expect("a lock that was read can be written");
        assert_eq!(Lock::from_toml("kadapter.lock", &written).expect("and read again"), lock);
    }
});
