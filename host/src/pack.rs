//! A plugin crate whose release build is done becomes a package directory.
//!
//! ```text
//! Cargo.toml               name, licence, description ─┐
//! target/release/lib….so   note: version, ABI, target ─┼─> kadapter-package.toml, plugins/<target triple>/lib….so,
//! README.md, LICENSE…      the card, the notices ──────┘   README.md, LICENSE…
//! ```
//! Libraries are read as bytes and none is opened; what was inspected is what is written. The directory is checked as
//! publishing checks it before it appears.

mod error;
mod library;
mod manifest;
mod sources;

pub use error::{Error, Warning};
pub use library::Library;

use crate::stage::Stage;
use kadapter_registry::package::{CARD_FILE, Content, Plugin};
use kadapter_registry::{AbiVersion, Package, PackagePath, Target, publish};
use manifest::CrateManifest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The longest card or licence text, in bytes; as publishing has it.
const MAX_PROSE: u64 = 1 << 20;

/// What is packed, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// The folder with the crate's `Cargo.toml`.
    pub crate_directory: PathBuf,
    /// Libraries to take, each for the machine that its note names.
    pub libraries: Vec<PathBuf>,
    /// Targets whose libraries cargo built with `--target`. Where this and `libraries` are empty, the one that cargo built
    /// without is taken, which must be for this machine.
    pub targets: Vec<Target>,
    /// Where cargo builds; `target` of the crate or of its workspace when it is not given.
    pub target_directory: Option<PathBuf>,
    /// The package directory to make.
    pub out: PathBuf,
}

/// A package directory that was made.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Where it is.
    pub directory: PathBuf,
    /// What its package file says.
    pub package: Package,
    /// Its libraries.
    pub libraries: Vec<Library>,
    /// Its licence texts.
    pub notices: Vec<PackagePath>,
    /// What its author should look at before publishing.
    pub warnings: Vec<Warning>,
}

/// Makes the package directory of a plugin crate.
///
/// # Errors
/// See [`Error`]; `out` is then not there.
pub fn pack(request: &Request) -> Result<Packed, Error> {
    let manifest = CrateManifest::read(&request.crate_directory)?;
    let libraries = read_libraries(request, &manifest)?;
    let abi = one_abi(&libraries)?;
    let card = read_prose(&request.crate_directory.join(CARD_FILE), true)?;
    let notices = read_notices(&manifest)?;

    let stage = Stage::new(&request.out)?;
    let mut paths = BTreeMap::new();
    for (library, bytes) in &libraries {
        stage.write(library.path.as_str(), bytes)?;
        paths.insert(library.target.clone(), library.path.clone());
    }
    stage.write(CARD_FILE, &card)?;
    for (path, bytes) in &notices {
        stage.write(path.as_str(), bytes)?;
    }
    let mut warnings = Vec::new();
    if notices.is_empty() {
        warnings.push(Warning::NoNotice { license: manifest.license.clone() });
    }
    warnings.extend(libraries.iter().filter_map(|(library, _)| sources::stale(&request.crate_directory, library)));
    let package = Package {
        name: manifest.package,
        version: manifest.version,
        license: manifest.license,
        description: manifest.description,
        attribution: manifest.attribution,
        content: Content::Plugin(Plugin { abi, libraries: paths }),
    };
    package.write(stage.path())?;
    publish::check(stage.path())?;
    Ok(Packed {
        directory: stage.finish()?,
        package,
        libraries: libraries.into_iter().map(|(library, _)| library).collect(),
        notices: notices.into_iter().map(|(path, _)| path).collect(),
        warnings,
    })
}

/// Finds, reads and inspects every library; no two are for one target.
fn read_libraries(request: &Request, manifest: &CrateManifest) -> Result<Vec<(Library, Vec<u8>)>, Error> {
    let built = |target: Option<&Target>| -> Result<(PathBuf, Option<Target>), Error> {
        let path = library::built(request, manifest, target)?;
        Ok((path, Some(target.cloned().unwrap_or_else(Target::host))))
    };
    let mut wanted: Vec<_> = request.libraries.iter().map(|path| (path.clone(), None)).collect();
    for target in &request.targets {
        wanted.push(built(Some(target))?);
    }
    if wanted.is_empty() {
        wanted.push(built(None)?);
    }
    let mut libraries: Vec<(Library, Vec<u8>)> = Vec::new();
    for (path, target) in wanted {
        let (library, bytes) = Library::read(&path, manifest, target.as_ref())?;
        if let Some((other, _)) = libraries.iter().find(|(other, _)| other.target == library.target) {
            return Err(Error::TwoLibraries { target: library.target, first: other.source.clone(), second: path });
        }
        libraries.push((library, bytes));
    }
    Ok(libraries)
}

/// The ABI that all libraries speak.
fn one_abi(libraries: &[(Library, Vec<u8>)]) -> Result<AbiVersion, Error> {
    let mut first: Option<&Library> = None;
    for (library, _) in libraries {
        match first {
            None => first = Some(library),
            Some(first) if first.abi == library.abi => {}
            Some(first) => {
                return Err(Error::TwoAbis {
                    first: first.source.clone(),
                    first_abi: first.abi,
                    second: library.source.clone(),
                    second_abi: library.abi,
                });
            }
        }
    }
    first.map(|library| library.abi).ok_or(Error::NoLibraries)
}

/// The licence texts: those that the crate names, or those that lie beside its `Cargo.toml`.
fn read_notices(manifest: &CrateManifest) -> Result<Vec<(PackagePath, Vec<u8>)>, Error> {
    let mut notices = BTreeMap::new();
    for path in manifest.notices()? {
        let name: Option<PackagePath> = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        let Some(name) = name.filter(publish::is_notice) else { return Err(Error::NotANotice { path }) };
        let text = read_prose(&path, false)?;
        if notices.insert(name.clone(), text).is_some() {
            return Err(Error::TwoNotices { name });
        }
    }
    Ok(notices.into_iter().collect())
}

/// Reads a text that people will read.
fn read_prose(path: &Path, is_card: bool) -> Result<Vec<u8>, Error> {
    let bytes = match sources::read_bounded(path, MAX_PROSE) {
        Err(Error::Io { source, path, .. }) if is_card && source.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoCard { path });
        }
        other => other?,
    };
    let problem = match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim().is_empty() => "it has no text".to_owned(),
        Ok(_) => return Ok(bytes),
        Err(error) => format!("byte {} is not UTF-8", error.valid_up_to()),
    };
    Err(Error::Prose { path: path.to_owned(), problem })
}
