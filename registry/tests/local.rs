//! A directory is a store like every other.

use std::sync::atomic::{AtomicUsize, Ordering};

use kadapter_registry::store::LocalStore;

use crate::stores::conformance::conforms;
use crate::stores::hostile::withstands;

#[test]
fn a_directory_conforms() {
    let root = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    conforms(&|| {
        let name = count.fetch_add(1, Ordering::Relaxed).to_string();
        Box::new(LocalStore::new(&root.path().join(name)).unwrap())
    });
}

#[test]
fn no_lie_about_a_directory_is_believed() {
    let root = tempfile::tempdir().unwrap();
    withstands(&|| Box::new(LocalStore::new(root.path()).unwrap()));
}
