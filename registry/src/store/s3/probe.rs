//! What doctor tries in a bucket.

use std::time::{Duration, SystemTime};

use super::sweep::Copied;
use super::transport::nanoseconds;
use super::{Bucket, S3Error};
use crate::doctor::Finding;
use crate::error::Error;
use crate::layout::Key;
use crate::store::{Objects, Put};

/// Where probes are.
const PROBES: &str = "probe/";
/// The age at which a probe object is nobody's any more.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

pub(super) fn probe(bucket: &Bucket) -> Vec<Finding> {
    let key = Key::probe(&format!("doctor-{}-{}", std::process::id(), nanoseconds()));
    let content = b"kadapter doctor was here\n";
    let before = SystemTime::now();
    match bucket.put_new(&key, &mut content.as_slice()) {
        Ok(_) => {}
        Err(error) => {
            return vec![match denied(&error) {
                Some(answer) => {
                    let found = format!("nothing can be published with these credentials: {answer}");
                    Finding::warning("write", found, error.hint())
                }
                None => Finding::failed("write", &error),
            }];
        }
    }
    let after = SystemTime::now();
    let mut findings = vec![Finding::ok("write", "objects can be written")];
    findings.push(match bucket.require_conditions() {
        Ok(()) => Finding::ok("conditional-writes", "a second write of one key is refused"),
        Err(error) => Finding::failed("conditional-writes", &error),
    });
    findings.push(uploads(bucket, &key));
    findings.push(what_was_written(bucket, &key, content));
    findings.push(freshening(bucket));
    match bucket.describe(&key) {
        Ok(Some(found)) => findings.push(Finding::clock(before, found.modified, after)),
        Ok(None) => {}
        Err(error) => findings.push(Finding::failed("clock", &error)),
    }
    findings.push(removal(bucket, &key));
    findings
}

/// What a server said that refused something to these credentials.
fn denied(error: &Error) -> Option<&str> {
    match error {
        Error::S3(problem) => match &**problem {
            S3Error::Denied { answer, .. } => Some(answer),
            _ => None,
        },
        _ => None,
    }
}

/// Tries to complete an upload in parts under a key that is taken.
fn uploads(bucket: &Bucket, key: &Key) -> Finding {
    const ID: &str = "conditional-uploads";
    match bucket.put_parts(key, b"another".to_vec(), &mut std::io::empty()) {
        Ok(Put::Exists) => Finding::ok(ID, "an upload in parts to a key that is taken is refused"),
        Ok(Put::Created) => {
            let found = "uploads in parts replace what is there; only content by digest is uploaded so, and that is the same \
                         under one key";
            Finding::warning(ID, found, None)
        }
        Err(error) => Finding::failed(ID, &error),
    }
}

/// Reads the object back and looks for it in a listing.
fn what_was_written(bucket: &Bucket, key: &Key, content: &[u8]) -> Finding {
    const ID: &str = "read-after-write";
    let lags = |found: &str| {
        let cure = "readers may see a release late; nothing is lost, try again in a minute".to_owned();
        Finding::warning(ID, found, Some(cure))
    };
    match (bucket.get(key, content.len() as u64), bucket.describe_all(PROBES)) {
        (Ok(None), _) => lags("what was just written cannot be read yet"),
        (_, Ok(listed)) if listed.iter().all(|found| found.key != *key) => {
            lags("what was just written is not listed yet")
        }
        (Ok(Some(_)), Ok(_)) => Finding::ok(ID, "what was just written is there, for readers and in listings"),
        // An upload in parts has replaced it, which is told where that was tried.
        (Err(Error::TooLong { .. }), _) => Finding::ok(ID, "what was just written is there"),
        (Err(error), _) | (_, Err(error)) => Finding::failed(ID, &error),
    }
}

/// Tries whether content can be made to count as just written.
fn freshening(bucket: &Bucket) -> Finding {
    const ID: &str = "freshening";
    let found = match bucket.freshens() {
        Ok(Copied::Fresh) => {
            return Finding::ok(
                ID,
                "what is copied onto itself counts as just written, which keeps it from collectors",
            );
        }
        Ok(Copied::Old) => "what is copied onto itself is as old as before",
        Ok(Copied::Another) => "what is copied onto itself is not what it was; it is not done to content",
        Ok(Copied::Refused) => "nothing can be copied onto itself",
        Err(error) => return Finding::failed(ID, &error),
    };
    Finding::warning(ID, format!("{found}, so garbage is not collected here"), None)
}

/// Removes our object, and those that others forgot.
fn removal(bucket: &Bucket, key: &Key) -> Finding {
    const ID: &str = "remove";
    if let Err(error) = bucket.remove(key) {
        let found = match denied(&error) {
            Some(answer) => format!("what was written to try it out stays there: {answer}"),
            None => return Finding::failed(ID, &error),
        };
        return Finding::warning(ID, found, Some("who collects garbage needs `s3:DeleteObject`".to_owned()));
    }
    let forgotten = match bucket.describe_all(PROBES) {
        Ok(listed) => listed,
        Err(error) => return Finding::failed(ID, &error),
    };
    if forgotten.iter().any(|found| found.key == *key) {
        return Finding::warning(ID, "what was removed is still listed", None);
    }
    let old = |modified: SystemTime| modified.elapsed().is_ok_and(|age| age > FORGOTTEN);
    let mut removed = 0;
    for object in forgotten.iter().filter(|object| old(object.modified)) {
        removed += usize::from(bucket.remove(&object.key).is_ok());
    }
    match removed {
        0 => Finding::ok(ID, "what was written to try it out is removed"),
        count => Finding::ok(
            ID,
            format!("what was written to try it out is removed, and {count} older objects of that kind"),
        ),
    }
}
