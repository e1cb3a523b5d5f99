//! A built library: where cargo puts it, and what its bytes say about it.

use super::Error;
use super::Request;
use super::manifest::CrateManifest;
use crate::plugin;
use kadapter_plugin_api::note::Note;
use kadapter_registry::{AbiVersion, PackagePath, Target};
use std::path::{Path, PathBuf};

/// A library of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// The file that it was read from.
    pub source: PathBuf,
    /// Its place in the package.
    pub path: PackagePath,
    /// Its size in bytes.
    pub size: u64,
    /// The machines that it is for.
    pub target: Target,
    /// The ABI that it speaks.
    pub abi: AbiVersion,
    /// What it says about itself.
    pub note: Note,
}

impl Library {
    /// Reads a library and compares it with the crate and with the target that it was built for, where one is known.
    pub(super) fn read(
        path: &Path,
        manifest: &CrateManifest,
        target: Option<&Target>,
    ) -> Result<(Self, Vec<u8>), Error> {
        let bytes = plugin::read(path).map_err(|error| match error {
            plugin::PluginError::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::NoLibrary { path, directory: manifest.directory.clone(), target: target.cloned() }
            }
            other => other.into(),
        })?;
        let inspected = plugin::inspect_for_any_machine(path, &bytes)?;
        let abi: AbiVersion = inspected.abi().parse()?;
        let note = inspected.note;
        let path = path.to_owned();
        if note.debug {
            return Err(Error::DebugBuild { path });
        }
        let differs = |what, expected: &str, found: &str| Error::Differs {
            what,
            expected: expected.into(),
            found: found.into(),
            path: path.clone(),
        };
        if note.name != manifest.crate_name {
            return Err(differs("crate", &manifest.crate_name, &note.name));
        }
        if note.version != manifest.version.to_string() {
            return Err(differs("version", &manifest.version.to_string(), &note.version));
        }
        let found: Target = note.target.parse()?;
        if let Some(expected) = target.filter(|&expected| *expected != found) {
            return Err(Error::OtherMachine { path, expected: expected.clone(), found });
        }
        let place = format!("plugins/{found}/{}", file_name(&manifest.library, &found)).parse()?;
        let size = bytes.len() as u64;
        Ok((Self { source: path, path: place, size, target: found, abi, note }, bytes))
    }
}

/// The file that cargo makes of a `cdylib` for a target.
fn file_name(library: &str, target: &Target) -> String {
    if target.as_str().contains("-windows-") {
        format!("{library}.dll")
    } else if target.as_str().contains("-apple-") {
        format!("lib{library}.dylib")
    } else {
        format!("lib{library}.so")
    }
}

/// Where cargo puts the release build for `target`, without one that of this machine.
pub(super) fn built(request: &Request, manifest: &CrateManifest, target: Option<&Target>) -> Result<PathBuf, Error> {
    let host = Target::host();
    let file = file_name(&manifest.library, target.unwrap_or(&host));
    let below = |folder: &Path| match target {
        None => folder.join("release").join(&file),
        Some(target) => folder.join(target.as_str()).join("release").join(&file),
    };
    if let Some(folder) = &request.target_directory {
        return Ok(below(folder));
    }
    let own = below(&manifest.directory.join("target"));
    if own.exists() {
        return Ok(own);
    }
    Ok(manifest.workspace()?.map_or(own, |workspace| below(&workspace.directory.join("target"))))
}
