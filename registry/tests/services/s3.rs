//! S3-compatible servers: what each kept of what a store must be, and what is told when one fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use kadapter_registry::publish::publish;
use kadapter_registry::store::s3::{Bucket, S3Error, SILENCE};
use kadapter_registry::store::{Objects, Put, Store, Tree};
use kadapter_registry::{Error, Registry};

use super::environment::variable;
use crate::packages::{backbone_content, package, parse, write_package};
use crate::stores::conformance::conforms;
use crate::stores::hostile::withstands;

/// A bucket's prefix at a server, with these keys.
fn bucket_as(server: &str, prefix: &str, key: &str, secret: &str) -> Bucket {
    let variables = [("AWS_ENDPOINT_URL", server), ("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let location = format!("s3://{}/{prefix}", variable("KADAPTER_TEST_BUCKET"));
    Bucket::open(&parse(&location), variables, SILENCE).unwrap()
}

fn bucket(server: &str, prefix: &str) -> Bucket {
    bucket_as(server, prefix, &variable("AWS_ACCESS_KEY_ID"), &variable("AWS_SECRET_ACCESS_KEY"))
}

/// Makes stores of their own in one bucket.
fn fresh(server: &str, what: &str) -> impl Fn() -> Box<dyn Store> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let (server, what) = (variable(server), what.to_owned());
    move || {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Box::new(Tree::over(bucket(&server, &format!("{what}/{number}"))))
    }
}

#[test]
fn seaweedfs_conforms() {
    conforms(&fresh("KADAPTER_TEST_SEAWEEDFS", "conforms"));
}

#[test]
fn no_lie_about_seaweedfs_is_believed() {
    withstands(&fresh("KADAPTER_TEST_SEAWEEDFS", "hostile"));
}

#[test]
fn moto_conforms() {
    conforms(&fresh("KADAPTER_TEST_MOTO", "conforms"));
}

#[test]
fn no_lie_about_moto_is_believed() {
    withstands(&fresh("KADAPTER_TEST_MOTO", "hostile"));
}

#[test]
fn a_bucket_without_a_prefix_is_a_registry_too() {
    let root = bucket(&variable("KADAPTER_TEST_MOTO"), "");
    assert!(!root.location().ends_with('/'), "{}", root.location());
    let key = kadapter_registry::layout::Key::probe("root");
    assert_eq!(root.put_new(&key, &mut &b"x"[..]).unwrap(), Put::Created);
    assert_eq!(root.get(&key, 10).unwrap().unwrap(), b"x");
    assert!(root.describe_all("probe/").unwrap().iter().any(|found| found.key == key && found.size == 1));
    root.remove(&key).unwrap();
    assert_eq!(root.describe(&key).unwrap(), None);
}

#[test]
fn s3rver_is_refused_before_anything_is_published() {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let bucket = bucket_as(&variable("KADAPTER_TEST_S3RVER"), "refused", "S3RVER", "S3RVER");
    let store = Tree::over(bucket);
    match publish(&store, directory.path()) {
        Err(Error::S3(problem)) => assert!(matches!(*problem, S3Error::Unconditional { .. }), "{problem}"),
        other => panic!("{other:?}"),
    }
    assert!(!store.is_registry().unwrap());
    assert_eq!(store.objects().describe_all("").unwrap(), [], "something was left");
    assert!(matches!(Registry::with_store(Box::new(store)), Err(Error::NoRegistry { .. })));
}

#[test]
fn a_bucket_that_is_not_there_is_told_and_so_are_wrong_keys() {
    let server = variable("KADAPTER_TEST_SEAWEEDFS");
    let variables = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name.to_owned(), variable(name)));
    let variables = [("AWS_ENDPOINT_URL".to_owned(), server.clone())].into_iter().chain(variables);
    let missing = Bucket::open(&parse("s3://no-such-bucket/x"), variables, SILENCE).unwrap();
    let told = Tree::over(missing).is_registry().unwrap_err();
    assert_eq!(told.to_string(), format!("Could not find the bucket `no-such-bucket` at `{server}`"));
    let stranger = bucket_as(&server, "x", "stranger", "secret");
    match Tree::over(stranger).is_registry() {
        Err(Error::S3(problem)) => assert!(matches!(*problem, S3Error::Denied { .. }), "{problem}"),
        other => panic!("{other:?}"),
    }
}
