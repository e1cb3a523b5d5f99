//! S3-compatible servers: what each kept of what a store must be, and what is told when one fails.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kadapter_registry::doctor::{Diagnosis, Status, examine};
use kadapter_registry::gc::{self, Collected};
use kadapter_registry::layout::Key;
use kadapter_registry::publish::publish;
use kadapter_registry::store::s3::{Bucket, S3Error, SILENCE};
use kadapter_registry::store::{Objects, Put, Scope, Store, Tree};
use kadapter_registry::verify::{Verified, verify_release};
use kadapter_registry::{Digest, Error, Registry};

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

fn findings(diagnosis: &Diagnosis) -> String {
    let lines = diagnosis.findings.iter().map(|found| {
        let cure = found.cure.as_ref().map(|cure| format!("\n  to do: {cure}")).unwrap_or_default();
        format!("{:<7} {:<19} {}{cure}", found.status, found.id, found.found)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn doctor_finds_good_servers_good_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    for server in ["KADAPTER_TEST_SEAWEEDFS", "KADAPTER_TEST_MOTO"] {
        let store = Tree::over(bucket(&variable(server), "doctor"));
        assert_eq!(examine(&store).worst(), Status::Warning, "there is no registry yet");
        publish(&store, directory.path()).unwrap();
        let before = store.objects().describe_all("").unwrap();
        let diagnosis = examine(&store);
        assert_eq!(store.objects().describe_all("").unwrap(), before);
        insta::allow_duplicates! { insta::assert_snapshot!(findings(&diagnosis), @r#"
    ok      read                it can be read, and has a registry
    ok      listing             two listings name the same releases: 1
    ok      records             all records that were read are sound: 1
    ok      write               objects can be written
    ok      conditional-writes  a second write of one key is refused
    ok      conditional-uploads an upload in parts to a key that is taken is refused
    ok      read-after-write    what was just written is there, for readers and in listings
    ok      freshening          what is copied onto itself counts as just written, which keeps it from collectors
    ok      clock               its clock and ours differ by no more than 30 seconds
    ok      remove              what was written to try it out is removed
    "#); }
    }
}

#[test]
fn doctor_refuses_s3rver() {
    let store = Tree::over(bucket_as(&variable("KADAPTER_TEST_S3RVER"), "doctor", "S3RVER", "S3RVER"));
    let diagnosis = examine(&store);
    assert_eq!(diagnosis.worst(), Status::Failed);
    insta::assert_snapshot!(findings(&diagnosis), @r#"
    warning read                it can be read, and has no registry yet
      to do: publishing makes one: `kadapter publish DIRECTORY --registry s3://kadapter-test/doctor`
    ok      write               objects can be written
    failed  conditional-writes  Could not publish to `s3://kadapter-test/doctor`: its server ignores `If-None-Match`, so one publisher could replace another's release
      to do: keep the registry in a directory or in a store that knows conditional writes (AWS, MinIO, SeaweedFS, R2); see all that is wrong: `kadapter doctor --registry s3://kadapter-test/doctor`
    warning conditional-uploads uploads in parts replace what is there; only content by digest is uploaded so, and that is the same under one key
    ok      read-after-write    what was just written is there, for readers and in listings
    warning freshening          what is copied onto itself is as old as before, so garbage is not collected here
    ok      clock               its clock and ours differ by no more than 30 seconds
    ok      remove              what was written to try it out is removed
    "#);
    assert_eq!(store.objects().describe_all("").unwrap(), []);
}

/// Puts content under its digest that no release names.
fn orphan(bucket: &Bucket, content: &[u8]) -> Key {
    let key = Key::blob(&Digest::of(content));
    assert_eq!(bucket.put_new(&key, &mut { content }).unwrap(), Put::Created);
    key
}

fn all_whole(store: Tree<Bucket>) -> usize {
    let registry = Registry::with_store(Box::new(store)).unwrap();
    let releases = registry.releases().unwrap();
    for (name, version) in &releases {
        let record = registry.release(name, version).unwrap().unwrap();
        let files = verify_release(&registry, &record);
        assert!(files.iter().all(Verified::is_whole), "{files:?}");
    }
    releases.len()
}

/// An age that a test can wait for. Ages are told in whole seconds.
const SHORT: Duration = Duration::from_secs(3);

fn sizes(collected: &Collected) -> (usize, usize, u64) {
    (collected.removed.len(), collected.young.len(), collected.removed_bytes())
}

/// Collects what is older than `gap` in a place of its own; false when this machine took longer for all of it than that.
fn collects(server: &str, gap: Duration) -> bool {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let place = || bucket(server, &format!("garbage-{}", gap.as_secs()));
    let store = Tree::over(place());
    assert!(matches!(store.collect(&gc::Options::default()), Err(Error::NoRegistry { .. })));
    publish(&store, directory.path()).unwrap();
    let before = store.objects().describe_all("").unwrap();
    let (old, used) = (orphan(store.objects(), b"old one"), orphan(store.objects(), b"found again"));
    let probe = Key::probe("forgotten");
    store.objects().put_new(&probe, &mut &b"tried"[..]).unwrap();
    // Nothing is old enough by the usual rule.
    assert_eq!(sizes(&store.collect(&gc::Options::default()).unwrap()), (0, 3, 0));
    std::thread::sleep(gap);
    // A publisher that finds content there makes it young again, and leaves its bytes.
    let start = Instant::now();
    assert!(store.objects().sweep().unwrap().freshen(&used).unwrap());
    let young = orphan(store.objects(), b"young");
    let options = gc::Options { older_than: gap, dry_run: true };
    let dry = store.collect(&options).unwrap();
    let collected = store.collect(&gc::Options { dry_run: false, ..options }).unwrap();
    // Ages are told in whole seconds.
    if start.elapsed() + Duration::from_secs(2) > gap {
        return false;
    }
    assert_eq!(sizes(&dry), (2, 2, 12), "{dry:?}");
    assert_eq!(collected, dry);
    let there = |key: &Key| store.objects().describe(key).unwrap().is_some();
    assert_eq!([&old, &probe, &used, &young].map(there), [false, false, true, true]);
    assert_eq!(store.objects().get(&used, 100).unwrap().unwrap(), b"found again");
    for key in [&used, &young] {
        store.objects().remove(key).unwrap();
    }
    assert_eq!(store.objects().describe_all("").unwrap(), before);
    assert_eq!(all_whole(store), 1);
    // What is gone cannot be freshened.
    assert!(!place().sweep().unwrap().freshen(&old).unwrap());
    true
}

#[test]
fn garbage_is_collected_when_it_is_old_and_nothing_else_is() {
    for server in ["KADAPTER_TEST_SEAWEEDFS", "KADAPTER_TEST_MOTO"] {
        let server = variable(server);
        assert!([6, 24, 96].into_iter().any(|gap| collects(&server, Duration::from_secs(gap))), "{server} is too slow");
    }
}

#[test]
fn a_collector_takes_nothing_from_a_publisher_at_work() {
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let server = variable("KADAPTER_TEST_SEAWEEDFS");
    let store = || Tree::over(bucket(&server, "busy"));
    publish(&store(), directory.path()).unwrap();
    let record = Key::release(&parse("k/base"), &parse("1.0.0"));
    for round in 0..6 {
        // As if the publisher had died before its record, long ago.
        store().objects().remove(&record).unwrap();
        std::thread::sleep(SHORT + Duration::from_secs(1));
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                publish(&store(), directory.path()).unwrap();
            });
            scope.spawn(|| {
                start.wait();
                store().collect(&gc::Options { older_than: SHORT, dry_run: false }).unwrap();
            });
        });
        assert_eq!(all_whole(store()), 1, "round {round}");
    }
}

#[test]
fn who_may_not_write_collects_nothing_and_is_told() {
    let server = variable("KADAPTER_TEST_SEAWEEDFS");
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let store = Tree::over(bucket(&server, "guarded"));
    publish(&store, directory.path()).unwrap();
    let garbage = orphan(store.objects(), b"garbage");
    std::thread::sleep(Duration::from_secs(2));
    let reader = Tree::over(bucket_as(&server, "guarded", "kadapter-reader", "kadapter-reader-secret"));
    let options = gc::Options { older_than: Duration::ZERO, dry_run: false };
    match reader.collect(&options) {
        Err(Error::S3(problem)) => assert!(matches!(*problem, S3Error::Denied { .. }), "{problem}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(sizes(&reader.collect(&gc::Options { dry_run: true, ..options }).unwrap()), (1, 0, 7));
    assert!(store.objects().describe(&garbage).unwrap().is_some());
}

#[test]
fn a_reader_that_had_enough_and_one_that_may_not_write_are_served() {
    // moto lets everybody do everything; SeaweedFS knows who may not write.
    let server = variable("KADAPTER_TEST_SEAWEEDFS");
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    publish(&Tree::over(bucket(&server, "reader")), directory.path()).unwrap();
    let reader = Tree::over(bucket_as(&server, "reader", "kadapter-reader", "kadapter-reader-secret"));
    assert_eq!(reader.releases(Scope::All).unwrap().len(), 1);
    let diagnosis = examine(&reader);
    assert_eq!(diagnosis.worst(), Status::Warning);
    insta::assert_snapshot!(findings(&diagnosis), @r#"
    ok      read                it can be read, and has a registry
    ok      listing             two listings name the same releases: 1
    ok      records             all records that were read are sound: 1
    warning write               nothing can be published with these credentials: 403 Forbidden: AccessDenied: Access Denied
      to do: reading needs `s3:ListBucket` and `s3:GetObject`, publishing `s3:PutObject` as well; see whose credentials are used: `env | grep AWS_`
    "#);
    write_package(directory.path(), &package("k/base", "1.0.1", backbone_content()), 1);
    assert!(publish(&reader, directory.path()).is_err());
}

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Publishes and reads 400 MB in a process of its own, and tells how much memory that took.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_bounded() {
    const LONG: u64 = 400 * 1024 * 1024;
    if std::env::var_os("KADAPTER_TEST_CHILD").is_none() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "services::s3::memory_stays_bounded"]).env("KADAPTER_TEST_CHILD", "1");
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    let mut header = format!(r#"{{"weight":{{"dtype":"U8","shape":[{LONG}],"data_offsets":[0,{LONG}]}}}}"#);
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let start = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let weights = directory.path().join("weights.safetensors");
    std::fs::write(&weights, &start).unwrap();
    std::fs::File::options().write(true).open(&weights).unwrap().set_len(start.len() as u64 + LONG).unwrap();
    let store = Tree::over(bucket(&variable("KADAPTER_TEST_SEAWEEDFS"), "memory"));
    let published = publish(&store, directory.path()).unwrap();
    assert!(published.uploaded > LONG);
    let registry = Registry::with_store(Box::new(store)).unwrap();
    assert!(verify_release(&registry, &published.record).iter().all(Verified::is_whole));
    assert!(peak() < 64 * 1024 * 1024, "{} bytes were used", peak());
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
