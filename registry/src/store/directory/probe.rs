//! What doctor tries in a directory.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Directory, TEMPORARY};
use crate::doctor::{Finding, Status};
use crate::error::Error;
use crate::files;
use crate::layout::Key;
use crate::store::{Objects, Put};

/// What the files that are written to try a place out begin with.
const PROBE: &str = "doctor-";
/// The age at which a temporary file is nobody's any more: no publisher takes that long.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
/// Less free space than this is worth a word, in bytes: large weights have 1.4 GB.
#[cfg(unix)]
const LITTLE: u64 = 2 * 1024 * 1024 * 1024;

pub(super) fn probe(directory: &Directory) -> Vec<Finding> {
    let root = directory.root();
    if !root.is_dir() {
        let found = "there is no such folder yet; publishing makes it".to_owned();
        return vec![Finding::warning("write", found, Some(format!("`mkdir -p {}`", root.display())))];
    }
    let mut findings = writes(directory);
    findings.extend(permissions(root));
    findings.extend(space(root));
    findings.push(leftovers(root));
    findings
}

/// Tries to write a file once, twice and lastingly.
fn writes(directory: &Directory) -> Vec<Finding> {
    // A name of our own: what another doctor left must not be taken for what we wrote.
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    writes_to(directory, &Key::probe(&format!("{PROBE}{}-{nanoseconds}", std::process::id())))
}

fn writes_to(directory: &Directory, key: &Key) -> Vec<Finding> {
    let path = key.below(directory.root());
    let before = SystemTime::now();
    let mut findings = Vec::new();
    match directory.put_new(key, &mut b"kadapter doctor was here\n".as_slice()) {
        Ok(Put::Exists) => {
            let found =
                format!("nothing was written: `{}` was there already, expected a name that is free", path.display());
            let cure = format!("see whose it is, and try again: `ls -l {}`", path.display());
            return vec![broken("write", found, cure)];
        }
        Ok(Put::Created) => findings.push(Finding::ok("write", "files can be written, and last through a power cut")),
        Err(Error::Io { source, .. }) if is_refusal(&source) => {
            let found = format!("nothing can be published here by this user: {source}");
            let cure = format!("see whose it is: `ls -ld {}`", directory.root().display());
            return vec![Finding::warning("write", found, Some(cure))];
        }
        Err(error) => return vec![Finding::failed("write", &error)],
    }
    let after = SystemTime::now();
    findings.push(match directory.put_new(key, &mut b"another".as_slice()) {
        // The second write looks before it writes; what is tried in earnest is the step that makes the file be there.
        Ok(Put::Exists) => match replaces(directory.root(), &path) {
            Ok(false) => Finding::ok("conditional-writes", "a second write of one file is refused"),
            Ok(true) => replaced(directory.root()),
            Err(source) => {
                let error = Error::Io { action: "write", path: path.clone(), source };
                Finding::failed("conditional-writes", &error)
            }
        },
        Ok(Put::Created) => replaced(directory.root()),
        Err(error) => Finding::failed("conditional-writes", &error),
    });
    if let Ok(modified) = path.metadata().and_then(|metadata| metadata.modified()) {
        findings.push(Finding::clock(before, modified, after));
    }
    findings.push(match fs::remove_file(&path) {
        Ok(()) => {
            let older = path.parent().map_or(0, remove_forgotten);
            // Nobody else's probe is there when the folder can be removed.
            let _ = path.parent().map(fs::remove_dir);
            let found = "what was written to try it out is removed";
            match older {
                0 => Finding::ok("remove", found),
                count => Finding::ok("remove", format!("{found}, and {count} older files of that kind")),
            }
        }
        Err(error) => {
            let found = format!("what was written to try it out stays there: {error}");
            Finding::warning("remove", found, Some(format!("`rm {}`", path.display())))
        }
    });
    findings
}

fn broken(id: &'static str, found: String, cure: String) -> Finding {
    Finding { id, status: Status::Failed, found, cure: Some(cure) }
}

fn replaced(root: &Path) -> Finding {
    let found =
        "a second write replaced the first, expected a refusal: two publishers could replace each other's release";
    let cure =
        format!("keep the registry on a file system with hard links, see which this is: `df -T {}`", root.display());
    broken("conditional-writes", found.to_owned(), cure)
}

/// Removes what doctors left that were killed, and counts it.
fn remove_forgotten(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let is_ours = |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PROBE));
    let forgotten = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|metadata| is_forgotten(&metadata));
    let ours = entries.flatten().filter(is_ours).filter(forgotten);
    ours.filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
}

/// Tells whether a regular file is so old that it is nobody's any more.
fn is_forgotten(metadata: &fs::Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
    metadata.is_file() && age.is_some_and(|age| age > FORGOTTEN)
}

/// Tells whether giving a file its name replaces a file that has it, as file systems without links would.
fn replaces(root: &Path, taken: &Path) -> io::Result<bool> {
    let file = files::temporary(&root.join(TEMPORARY))?;
    match file.persist_noclobber(taken) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(unix)]
fn permissions(root: &Path) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt;
    const ANYONE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let mode = root.metadata().ok()?.permissions().mode();
    if mode & ANYONE == 0 || mode & STICKY != 0 {
        return Some(Finding::ok("permissions", "not everybody on this machine may change it"));
    }
    let cure = format!("`chmod o-w {}`", root.display());
    Some(Finding::warning("permissions", "everybody on this machine may replace what is in it", Some(cure)))
}

#[cfg(not(unix))]
fn permissions(_root: &Path) -> Option<Finding> {
    None
}

#[cfg(unix)]
fn space(root: &Path) -> Option<Finding> {
    let file_system = rustix::fs::statvfs(root).ok()?;
    let free = file_system.f_bavail.saturating_mul(file_system.f_frsize);
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let found = format!("{:.1} GB are free", free as f64 / 1e9);
    Some(if free < LITTLE {
        Finding::warning("space", found, Some(format!("make room: `df -h {}`", root.display())))
    } else {
        Finding::ok("space", found)
    })
}

#[cfg(not(unix))]
fn space(_root: &Path) -> Option<Finding> {
    None
}

/// Counts what publishers left that were killed.
fn leftovers(root: &Path) -> Finding {
    const ID: &str = "leftovers";
    let entries = match fs::read_dir(root.join(TEMPORARY)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Finding::ok(ID, "no publisher left anything"),
        Err(source) => return Finding::failed(ID, &Error::Io { action: "list", path: root.join(TEMPORARY), source }),
    };
    let (mut count, mut bytes) = (0_u64, 0_u64);
    for metadata in entries.flatten().filter_map(|entry| entry.metadata().ok()) {
        if is_forgotten(&metadata) {
            count += 1;
            bytes = bytes.saturating_add(metadata.len());
        }
    }
    if count == 0 {
        return Finding::ok(ID, "no publisher left anything");
    }
    let files = if count == 1 { "file" } else { "files" };
    let found = format!("publishers that were killed left {count} {files} of {bytes} bytes");
    Finding::warning(ID, found, Some(format!("`kadapter gc --registry {}`", root.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_no_sign_that_files_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::new(folder.path()).unwrap();
        let key = Key::probe("doctor-1-1");
        directory.put_new(&key, &mut b"left".as_slice()).unwrap();
        let findings = writes_to(&directory, &key);
        assert_eq!(findings.iter().map(|finding| finding.status).collect::<Vec<_>>(), [Status::Failed], "{findings:?}");
        assert!(key.below(folder.path()).is_file(), "what somebody else wrote is not removed");
    }
}
