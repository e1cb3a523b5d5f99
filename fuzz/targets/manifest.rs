//! `kadapter.toml`: no text panics, and errors are sentences.
#![no_main]

use kadapter_registry::Manifest;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = Manifest::from_toml("kadapter.toml", text) {
        let sentence = error.to_string();
        assert!(!sentence.contains('\n') && sentence.len() < 4096, "{sentence}");
        let _ = error.hint();
    }
});
