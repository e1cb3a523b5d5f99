//! A directory is a store like every other.

use std::sync::atomic::{AtomicUsize, Ordering};

use kadapter_registry::store::LocalStore;

use crate::stores::conformance::conforms;

#[test]
fn a_directory_conforms() {
    let root = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    conforms(&|| {
        let name = count.fetch_add(1, Ordering::Relaxed).to_string();
        Box::new(LocalStore::new(&root.path().join(name)).unwrap())
    });
}
