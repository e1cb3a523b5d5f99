//! Which files a package directory has: those that the package file names, a card, notices, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::package::{CARD_FILE, PACKAGE_FILE, Package};
use crate::path::PackagePath;
use crate::release::{MAX_FILES, Role, named_files};
use crate::target::Target;

type Named = (PackagePath, Role, Option<Target>);

/// Lists the package's files, having compared what is named with what is there.
pub(super) fn files(directory: &Path, package: &Package) -> Result<Vec<Named>, Error> {
    let mut present = BTreeSet::new();
    walk(directory, "", &mut present)?;
    let mut files = named_files(&package.content);
    files.push((PACKAGE_FILE.parse()?, Role::Manifest, None));
    files.push((CARD_FILE.parse()?, Role::Card, None));
    let mut left = present;
    let mut folded = BTreeMap::new();
    for (path, ..) in &files {
        if let Some(other) = folded.insert(path.folded(), path.clone()) {
            return Err(Error::NamedTwice { path: path.clone(), other });
        }
        if !left.remove(path) {
            return Err(Error::MissingFile { path: path.clone(), directory: directory.to_path_buf() });
        }
    }
    for path in left {
        if !is_notice(&path) {
            return Err(Error::UnnamedFile { path: path.to_string(), directory: directory.to_path_buf() });
        }
        if let Some(other) = folded.insert(path.folded(), path.clone()) {
            return Err(Error::NamedTwice { path, other });
        }
        files.push((path, Role::Notice, None));
    }
    Ok(files)
}

/// Tells whether a package's file is a licence text, which need not be named: `LICENSE`, `LICENSE-MIT`, `NOTICE.txt`, …
#[must_use]
pub fn is_notice(path: &PackagePath) -> bool {
    let stem = path.as_str().split(['.', '-']).next().unwrap_or_default();
    !path.as_str().contains('/') && ["LICENSE", "LICENCE", "NOTICE", "COPYING"].contains(&stem)
}

/// Collects the regular files below a folder; links and whatever else is no file are refused.
fn walk(folder: &Path, relative: &str, found: &mut BTreeSet<PackagePath>) -> Result<(), Error> {
    let io_error = |source| Error::Io { action: "list", path: folder.to_path_buf(), source };
    for entry in fs::read_dir(folder).map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        let unnamed = |path: String| Error::UnnamedFile { path, directory: folder.to_path_buf() };
        let name = entry.file_name();
        let child = format!("{relative}{}", name.to_string_lossy());
        let kind = entry.file_type().map_err(io_error)?;
        if !kind.is_file() && !kind.is_dir() {
            return Err(Error::NotAFile { path: entry.path() });
        }
        let Ok(path) = child.parse::<PackagePath>() else { return Err(unnamed(crate::text::shorten(&child))) };
        if kind.is_dir() {
            walk(&entry.path(), &format!("{child}/"), found)?;
        } else if found.len() == MAX_FILES {
            return Err(Error::TooManyFiles { directory: folder.to_path_buf(), limit: MAX_FILES });
        } else {
            found.insert(path);
        }
    }
    Ok(())
}
