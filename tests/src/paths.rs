//! Where test data and built files are.

use std::path::{Path, PathBuf};

/// A file under `tests/data`.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// A file of the workspace.
pub fn workspace(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is the parent").join(name)
}

/// The folder that the running test was built into, `target/debug` or the like.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.ancestors().nth(2).expect("tests lie in deps").to_path_buf()
}

/// A plugin of the workspace as cargo built it.
pub fn plugin(name: &str) -> PathBuf {
    let file = format!("{}kadapter_{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let path = built().join(file);
    assert!(path.exists(), "{} is not built: run the tests with `cargo xtask test`", path.display());
    path
}

/// The `kadapter` command as cargo built it.
pub fn kadapter() -> PathBuf {
    let path = built().join(format!("kadapter{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is not built: run the tests with `cargo xtask test`", path.display());
    path
}
