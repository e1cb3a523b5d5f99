//! Hands the target triple to the plugin inspector.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=KADAPTER_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}
