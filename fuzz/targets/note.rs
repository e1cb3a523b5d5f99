//! The metadata note of a plugin: no bytes panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = kadapter_plugin_api::note::parse(bytes);
});
