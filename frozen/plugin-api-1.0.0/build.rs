//! Hands the compiler version and the target to the metadata note.
use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(compiler)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".into(), |text| text.trim().to_owned());
    println!("cargo:rustc-env=KADAPTER_RUSTC={version}");
    println!("cargo:rustc-env=KADAPTER_TARGET={}", env::var("TARGET").unwrap_or_else(|_| "unknown".into()));
}
