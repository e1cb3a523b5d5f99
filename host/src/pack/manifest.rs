//! What `Cargo.toml` says about a plugin crate, with the values that it inherits from its workspace.

use super::Error;
use super::sources::read_bounded;
use kadapter_registry::{License, PackageName, PackagePath, Version, publish};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest `Cargo.toml`, in bytes.
const MAX_MANIFEST: u64 = 1 << 20;
const FILE: &str = "Cargo.toml";

/// A plugin crate.
#[derive(Debug)]
pub(super) struct CrateManifest {
    /// The folder of the crate.
    pub(super) directory: PathBuf,
    /// `[package] name`.
    pub(super) crate_name: String,
    /// The library's name, as in the names of built files.
    pub(super) library: String,
    pub(super) package: PackageName,
    pub(super) version: Version,
    pub(super) license: License,
    pub(super) description: String,
    pub(super) attribution: Option<String>,
    license_files: Option<Vec<PathBuf>>,
    is_root: bool,
}

/// The workspace that a crate belongs to.
pub(super) struct Workspace {
    pub(super) directory: PathBuf,
    package: Shared,
}

#[derive(Deserialize)]
struct Wire {
    package: Option<PackageTable>,
    lib: Option<LibraryTable>,
    workspace: Option<WorkspaceTable>,
}

#[derive(Deserialize)]
struct PackageTable {
    name: String,
    version: Option<Inheritable>,
    license: Option<Inheritable>,
    description: Option<Inheritable>,
    #[serde(default)]
    metadata: Metadata,
}

/// A value, or `key.workspace = true`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or `workspace = true`")]
enum Inheritable {
    Here(String),
    Workspace {
        #[expect(dead_code, reason = "cargo knows no other value than true")]
        workspace: bool,
    },
}

#[derive(Default, Deserialize)]
struct Metadata {
    kadapter: Option<Kadapter>,
}

/// `[package.metadata.kadapter]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Kadapter {
    name: PackageName,
    license: Option<License>,
    description: Option<String>,
    attribution: Option<String>,
    license_files: Option<Vec<PathBuf>>,
}

#[derive(Deserialize)]
struct LibraryTable {
    name: Option<String>,
    #[serde(default, rename = "crate-type", alias = "crate_type")]
    crate_type: Vec<String>,
}

#[derive(Deserialize)]
struct WorkspaceTable {
    #[serde(default)]
    package: Shared,
}

/// `[workspace.package]`.
#[derive(Default, Deserialize)]
struct Shared {
    version: Option<String>,
    license: Option<String>,
    description: Option<String>,
}

impl CrateManifest {
    /// Reads `directory/Cargo.toml`.
    pub(super) fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let wire = read(&path)?.ok_or_else(|| Error::NoManifest { path: path.clone() })?;
        let Some(package) = wire.package else { return Err(Error::NoCrate { path }) };
        let Some(kadapter) = package.metadata.kadapter else {
            return Err(Error::NoMetadata { path, name: package.name });
        };
        let (library, kinds) = wire.lib.map(|lib| (lib.name, lib.crate_type)).unwrap_or_default();
        if !kinds.iter().any(|kind| kind == "cdylib") {
            return Err(Error::NotACdylib { path });
        }
        let own = |table: WorkspaceTable| Workspace { directory: directory.to_owned(), package: table.package };
        let workspace = wire.workspace.map(own);
        let is_root = workspace.is_some();
        let inherited = |key, value: Option<Inheritable>| inherit(directory, workspace.as_ref(), key, value);
        let missing = |key| Error::MissingKey { path: path.clone(), key };
        let bad = |key, source| Error::Value { path: path.clone(), key, source: Box::new(source) };

        let version = inherited("version", package.version)?.ok_or_else(|| missing("version"))?;
        let license = match kadapter.license {
            Some(license) => license,
            None => inherited("license", package.license)?
                .ok_or_else(|| missing("license"))
                .and_then(|text| License::from_str(&text).map_err(|source| bad("license", source)))?,
        };
        let description = match kadapter.description {
            Some(description) => description,
            None => inherited("description", package.description)?.ok_or_else(|| missing("description"))?,
        };
        Ok(Self {
            directory: directory.to_owned(),
            library: library.unwrap_or_else(|| package.name.replace('-', "_")),
            crate_name: package.name,
            package: kadapter.name,
            version: version.parse().map_err(|source| bad("version", source))?,
            license,
            description,
            attribution: kadapter.attribution,
            license_files: kadapter.license_files,
            is_root,
        })
    }

    /// The workspace above the crate; none when the crate is its own.
    pub(super) fn workspace(&self) -> Result<Option<Workspace>, Error> {
        if self.is_root { Ok(None) } else { find_workspace(&self.directory) }
    }

    /// The licence texts: those that are named, or those beside `Cargo.toml`.
    pub(super) fn notices(&self) -> Result<Vec<PathBuf>, Error> {
        let directory = &self.directory;
        if let Some(named) = &self.license_files {
            return Ok(named.iter().map(|path| directory.join(path)).collect());
        }
        let refuse = |source| Error::Io { action: "list", path: directory.to_owned(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let name: Option<PackagePath> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if name.is_some_and(|name| publish::is_notice(&name)) && entry.path().is_file() {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }
}

fn read(path: &Path) -> Result<Option<Wire>, Error> {
    let bytes = match read_bounded(path, MAX_MANIFEST) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let refuse = |line, problem| Error::Manifest { path: path.to_owned(), line, problem };
    let line = |offset: usize| 1 + bytes.iter().take(offset).filter(|&&byte| byte == b'\n').count();
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| refuse(line(error.valid_up_to()), "it is not UTF-8 there".to_owned()))?;
    toml::from_str(text).map(Some).map_err(|error| {
        refuse(line(error.span().map_or(0, |span| span.start)), error.message().trim().replace('\n', ", "))
    })
}

/// The nearest folder above `directory` whose `Cargo.toml` is a workspace's.
fn find_workspace(directory: &Path) -> Result<Option<Workspace>, Error> {
    let absolute = std::path::absolute(directory).map_err(|source| Error::Io {
        action: "find",
        path: directory.to_owned(),
        source,
    })?;
    for folder in absolute.ancestors().skip(1) {
        if let Some(table) = read(&folder.join(FILE))?.and_then(|wire| wire.workspace) {
            return Ok(Some(Workspace { directory: folder.to_owned(), package: table.package }));
        }
    }
    Ok(None)
}

fn inherit(
    directory: &Path,
    own: Option<&Workspace>,
    key: &'static str,
    value: Option<Inheritable>,
) -> Result<Option<String>, Error> {
    let pick = |shared: &Shared| match key {
        "version" => shared.version.clone(),
        "license" => shared.license.clone(),
        _ => shared.description.clone(),
    };
    match value {
        None => Ok(None),
        Some(Inheritable::Here(text)) => Ok(Some(text)),
        Some(Inheritable::Workspace { .. }) => match own {
            Some(workspace) => Ok(pick(&workspace.package)),
            None => Ok(find_workspace(directory)?.and_then(|workspace| pick(&workspace.package))),
        },
    }
}
