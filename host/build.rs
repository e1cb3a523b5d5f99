//! Hands the target triple to the plugin inspector, and the SDK's source to `kadapter plugin new`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What of `plugin-api` authors get, beside `src`: it builds by itself.
const SDK_FILES: [&str; 3] = ["Cargo.toml", "README.md", "build.rs"];

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=KADAPTER_TARGET={}", env::var("TARGET").unwrap_or_default());
    embed_sdk()
}

/// Writes `sdk.rs`: the path and the text of each file of the SDK, with the licence texts that travel with it.
fn embed_sdk() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..");
    let sdk = root.join("plugin-api");
    let mut files: Vec<(String, PathBuf)> = SDK_FILES.iter().map(|name| ((*name).to_owned(), sdk.join(name))).collect();
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        files.push((name.to_owned(), root.join(name)));
    }
    println!("cargo:rerun-if-changed={}", sdk.join("src").display());
    sources(&sdk.join("src"), "src", &mut files)?;
    files.sort();

    let mut code =
        "/// The SDK's files: path with `/`, text.\npub(super) const FILES: &[(&str, &str)] = &[\n".to_owned();
    for (name, path) in files {
        println!("cargo:rerun-if-changed={}", path.display());
        let path = path.canonicalize()?;
        let _ = writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string());
    }
    code += "];\n";
    fs::write(Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("sdk.rs"), code)
}

fn sources(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            sources(&path, &name, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((name, path));
        }
    }
    Ok(())
}
