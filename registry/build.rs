//! Hands the triple that the crate is built for to `target.rs`; cargo tells it to build scripts only.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let triple = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=KADAPTER_TARGET={triple}");
}
