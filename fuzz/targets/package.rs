//! `kadapter-package.toml`: no text panics, and what is read is written back as the same package.
#![no_main]

use kadapter_registry::Package;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(package) = Package::from_toml("kadapter-package.toml", text) {
        let written = package.to_toml().expect("a package that was read can be written");
        assert_eq!(Package::from_toml("kadapter-package.toml", &written).expect("and read again"), package);
    }
});
